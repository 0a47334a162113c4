from spikeprint.core.config import Params
from spikeprint.core.production import PRODUCTION


def test_production_is_what_params_yaml_says(root):
    assert Params.load(root / "params.yaml").model == PRODUCTION
