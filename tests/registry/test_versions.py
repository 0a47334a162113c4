import pytest

from spikeprint.core.errors import RegistryError
from spikeprint.registry.bundle import bundle_digest
from spikeprint.registry.tracking import connect
from spikeprint.registry.versions import fetch_bundle, find_version, resolve_version

NAME = "spikeprint-cvae"


@pytest.mark.parametrize("uri", [f"models:/{NAME}@staging", f"models:/{NAME}/1"])
def test_a_version_is_found_by_alias_and_by_number(registered, uri):
    assert str(resolve_version(connect(registered), uri).version) == "1"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"models:/{NAME}@production", "no version behind @production; there are 1, @staging = 1"),
        (f"models:/{NAME}@Staging", "no version behind @Staging"),
        (f"models:/{NAME}/2", "no version 2"),
        ("models:/other@staging", "model 'other': nothing registered"),
        ("models:/other", "models:/<name>@<alias>"),
        (NAME, "models:/<name>@<alias>"),
    ],
)
def test_what_does_not_exist_is_named(registered, uri, reason):
    with pytest.raises(RegistryError, match=reason) as error:
        resolve_version(connect(registered), uri)
    assert "\n" not in str(error.value)


def test_the_bundle_comes_back_without_its_folds(registered):
    found = fetch_bundle(registered, f"models:/{NAME}@staging")
    assert bundle_digest(found) == bundle_digest(registered / "models" / "cvae" / "production")
    assert not (found / "folds.safetensors").exists()


def test_versions_are_found_by_all_their_tags(registered):
    client = connect(registered)
    tags = client.get_model_version(NAME, "1").tags
    wanted = {key: tags[key] for key in ("bundle_sha256", "metrics_md5")}
    assert str(find_version(client, NAME, wanted).version) == "1"
    assert find_version(client, NAME, wanted | {"metrics_md5": "other"}) is None
