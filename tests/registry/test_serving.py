import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.types import LARGEST, MODALITIES
from spikeprint.features.transforms import normalise
from spikeprint.registry.bundle import open_bundle
from spikeprint.registry.client import ORIGIN as TOLD
from spikeprint.registry.serving import LARGEST as LARGEST_SERVED
from spikeprint.registry.serving import LENGTHS, ORIGIN, find_problem, find_unknown
from spikeprint.registry.tracking import connect


@pytest.fixture(scope="module")
def saved(registered_template):
    """The folder of the registered version, as MLflow keeps it."""
    client = connect(registered_template)
    source = client.get_model_version("spikeprint-cvae", "1").source
    return client.get_logged_model(source.removeprefix("models:/")).artifact_location.removeprefix("file://")


@pytest.fixture(scope="module")
def client(saved):
    import mlflow.pyfunc
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    return TestClient(scoring_server.init(mlflow.pyfunc.load_model(saved)))


@pytest.fixture
def complete(request_units):
    """Three units with every modality: the only ones that dataframe forms can carry."""
    return {name: values[:3] for name, values in request_units.items()}


def as_frame(units):
    return pd.DataFrame({name: values.tolist() for name, values in units.items()})


def post(client, payload):
    return client.post("/invocations", json=payload)


def as_inputs(units):
    """The ``inputs`` form; NaN becomes null, as JSON wants it."""
    plain = {name: [[None if np.isnan(x) else x for x in row] for row in rows] for name, rows in units.items()}
    return {"inputs": plain}


def reason(response):
    return response.json()["message"].splitlines()[-1]


FORMS = {
    "split": lambda units: {"dataframe_split": as_frame(units).to_dict(orient="split")},
    "records": lambda units: {"dataframe_records": as_frame(units).to_dict(orient="records")},
    "inputs": as_inputs,
}


def test_a_client_tells_the_words_that_the_server_takes():
    assert TOLD == ORIGIN


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_answers_of_the_bundle(client, registered_template, complete, form):
    predictor = open_bundle(registered_template / "models" / "cvae" / "production")
    expected = predictor.predict(complete)
    answers = post(client, FORMS[form](complete)).json()["predictions"]
    assert [row["label"] for row in answers] == expected.labels.tolist()
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in answers], expected.probabilities)
    np.testing.assert_allclose([row["embedding"] for row in answers], expected.embedding, rtol=1e-6)
    np.testing.assert_allclose([row["confidence"] for row in answers], expected.confidence)


def test_parquet_bodies_are_understood(client, complete):
    body = io.BytesIO()
    as_frame(complete).to_parquet(body)
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    found = client.post("/invocations", content=body.getvalue(), headers=headers)
    assert found.json() == post(client, as_inputs(complete)).json()


def test_probabilities_are_named_by_class(client, complete):
    (first, *_) = post(client, as_inputs(complete)).json()["predictions"]
    assert list(first["probabilities"]) == ["PV", "SOM", "pyramidal"]


def test_a_row_of_null_is_a_missing_modality(client, registered_template, request_units):
    predictor = open_bundle(registered_template / "models" / "cvae" / "production")
    found = post(client, as_inputs(request_units)).json()["predictions"]
    np.testing.assert_allclose([row["embedding"] for row in found], predictor.embed(request_units), rtol=1e-6)


def test_integers_are_numbers(client, complete):
    whole = {name: np.round(values).astype(int).tolist() for name, values in complete.items()}
    assert post(client, {"inputs": whole}).status_code == 200


def test_origin_changes_the_answer(client, registered_template, complete):
    predictor = open_bundle(registered_template / "models" / "cvae" / "production")
    found = post(client, {**as_inputs(complete), "params": {"dataset": "left", "technology": "tetrode"}}).json()
    expected = predictor.embed(complete, {"dataset": "left", "technology": "tetrode"})
    np.testing.assert_allclose([row["embedding"] for row in found["predictions"]], expected, rtol=1e-6)


def test_an_empty_origin_is_neutral(client, complete):
    told = post(client, {**as_inputs(complete), "params": {"dataset": "", "technology": ""}})
    assert told.json() == post(client, as_inputs(complete)).json()


UNKNOWN = {
    "technology": "unknown technology 'nope'; known: neuropixels, tetrode; leave it empty for the neutral condition",
    "dataset": "unknown dataset 'nope'; known: left, right; leave it empty for the neutral condition",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_origin_is_refused_with_the_known_ones(client, complete, name):
    response = post(client, {**as_inputs(complete), "params": {name: "nope"}})
    assert response.status_code == 400
    assert UNKNOWN[name] in reason(response)


def test_what_the_model_is_not_told_makes_no_difference():
    assert find_unknown({"dataset": "any", "technology": ""}, {"technology": ["tetrode"]}) is None


def spoil(name, row, column, value):
    def change(units):
        units[name][row, column] = value

    return change


BAD_UNITS = {
    "isi: rows [1] are partly NaN": spoil("isi", 1, 3, np.nan),
    "waveform: rows [2] hold infinite values": spoil("waveform", 2, 0, 1e300),
    "acg: rows [0] hold negative values": spoil("acg", 0, 100, -1),
}


@pytest.mark.parametrize("expected", BAD_UNITS)
def test_a_bad_row_is_named_at_the_end_of_the_message(client, complete, expected):
    BAD_UNITS[expected](complete)
    response = post(client, as_inputs(complete))
    assert response.status_code == 400
    assert expected in reason(response)


CENTRE_ONLY = np.eye(1, 201, 100)[0] * 7
NOTHING = {
    "all missing": {"waveform": np.nan, "isi": np.nan, "acg": np.nan},
    "all zero": {"waveform": 0.0, "isi": 0.0, "acg": 0.0},
    "counts in the centre of the ACG only": {"waveform": np.nan, "isi": 0.0, "acg": CENTRE_ONLY},
    "a flat waveform only": {"waveform": 3.0, "isi": np.nan, "acg": np.nan},
}


@pytest.mark.parametrize("what", NOTHING)
def test_a_unit_without_usable_modality_is_refused(client, complete, what):
    for name, values in NOTHING[what].items():
        complete[name][1] = values
    response = post(client, as_inputs(complete))
    assert response.status_code == 400
    assert "rows [1] have no modality with content" in reason(response)


BAD_PAYLOADS = {
    "no acg": lambda units: {"inputs": {k: v.tolist() for k, v in units.items() if k != "acg"}},
    "too short": lambda units: {"inputs": {k: v[:, :-1].tolist() for k, v in units.items()}},
    "uneven": lambda units: {"inputs": {k: v[: 1 + (k == "isi")].tolist() for k, v in units.items()}},
    "words": lambda units: {"inputs": {k: [["x"] * v.shape[1]] for k, v in units.items()}},
    "no units": lambda units: {"inputs": {k: [] for k in units}},
    "no form": lambda units: {"units": 3},
    "a number as dataset": lambda units: {**as_inputs(units), "params": {"dataset": 3}},
}


@pytest.mark.parametrize("name", BAD_PAYLOADS)
def test_bad_payloads_are_the_clients_fault_and_show_no_trace(client, complete, name):
    response = post(client, BAD_PAYLOADS[name](complete))
    assert response.status_code == 400
    assert "Traceback" not in response.text


def test_the_model_loads_without_pickle_and_without_spikeprint(saved):
    script = (
        "import os, sys\n"
        "os.environ |= {'MLFLOW_ALLOW_PICKLE_DESERIALIZATION': 'false', 'MLFLOW_DISABLE_TELEMETRY': 'true'}\n"
        "sys.modules['spikeprint'] = None\n"
        "import mlflow.pyfunc, numpy as np\n"
        f"model = mlflow.pyfunc.load_model({saved!r})\n"
        "units = {'waveform': np.eye(1, 50), 'isi': np.ones((1, 100)), 'acg': np.ones((1, 201))}\n"
        "print(model.predict(units)['label'][0])"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() in ("PV", "SOM", "pyramidal")


def test_requirements_are_pinned(saved):
    from pathlib import Path

    lines = (Path(saved) / "requirements.txt").read_text().split()
    assert all("==" in line and "+" not in line for line in lines)
    assert {line.split("==")[0] for line in lines} == {"torch", "numpy", "pandas", "safetensors", "mlflow"}


def test_the_example_can_be_posted_as_it_is(client, saved):
    from pathlib import Path

    payload = json.loads((Path(saved) / "serving_input_example.json").read_text())
    assert len(post(client, payload).json()["predictions"]) == 2


def test_lengths_and_the_largest_value_are_those_of_the_package():
    assert {name: modality.length for name, modality in MODALITIES.items()} == LENGTHS
    assert LARGEST_SERVED == LARGEST


def test_usable_units_have_no_problem(request_units):
    assert find_problem(request_units, normalise) is None
