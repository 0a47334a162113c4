"""The server answers every form alike, and refuses in one line: no 500, no trace of calls, no path of the machine."""

import io
import json
import os
import pickle
import shutil
import threading
import time

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.errors import IncompatibleBundle
from spikeprint.registry.bundle import SCHEMA_VERSION, import_closure, open_bundle
from spikeprint.registry.client import ORIGIN, RemotePredictor
from spikeprint.registry.server import App, open_served
from spikeprint.registry.tracking import connect
from spikeprint.registry.versions import Follower
from support import free_ports

NAMES = ("waveform", "isi", "acg")
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
LIMIT = 200_000


@pytest.fixture(scope="module")
def target(registered_template):
    return Follower(registered_template, "models:/spikeprint-cvae@staging").find()


@pytest.fixture(scope="module")
def client(target):
    from fastapi.testclient import TestClient

    return TestClient(App(open_served(target.folder, target.card), LIMIT))


@pytest.fixture(scope="module")
def plain_client(target):
    """The same version behind MLflow's own scoring server."""
    import mlflow.pyfunc
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    return TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(target.folder))))


@pytest.fixture(scope="module")
def predictor(registered_template):
    return open_bundle(registered_template / "models" / "cvae" / "production")


def cells(values):
    """Rows of one modality as JSON: null for a row that is missing."""
    return [None if np.isnan(row).all() else row.tolist() for row in values]


def as_records(units):
    return [dict(zip(units, row, strict=True)) for row in zip(*map(cells, units.values()), strict=True)]


def as_split(units):
    rows = [list(row) for row in zip(*map(cells, units.values()), strict=True)]
    return {"columns": list(units), "index": list(range(len(rows))), "data": rows}


def as_columns(units):
    return {name: cells(values) for name, values in units.items()}


def without_nulls(records):
    return [{name: value for name, value in record.items() if value is not None} for record in records]


FORMS = {
    "dataframe_split": lambda u: {"dataframe_split": as_split(u)},
    "dataframe_records": lambda u: {"dataframe_records": as_records(u)},
    "records whose keys are absent": lambda u: {"dataframe_records": without_nulls(as_records(u))},
    "inputs by column": lambda u: {"inputs": as_columns(u)},
    "inputs by unit": lambda u: {"inputs": as_records(u)},
    "instances by unit": lambda u: {"instances": as_records(u)},
    "instances by column": lambda u: {"instances": as_columns(u)},
}


def as_parquet(units, dtype):
    import pyarrow
    import pyarrow.parquet

    body = io.BytesIO()
    columns = {name: pyarrow.array(cells(values), dtype) for name, values in units.items()}
    pyarrow.parquet.write_table(pyarrow.table(columns), body)
    return body.getvalue()


def post(client, payload):
    return client.post("/invocations", json=payload)


def check_answers(response, expected, classes):
    """Exactly the numbers of the predictor: a float32 comes back as the same float32."""
    assert response.status_code == 200, response.text
    rows = response.json()["predictions"]
    assert [row["label"] for row in rows] == expected.labels.tolist()
    assert [[row["probabilities"][c] for c in classes] for row in rows] == expected.probabilities.tolist()
    assert [row["confidence"] for row in rows] == expected.confidence.tolist()
    np.testing.assert_array_equal(np.array([row["embedding"] for row in rows], np.float32), expected.embedding)


@pytest.mark.parametrize("form", FORMS)
def test_every_json_form_gives_the_numbers_of_the_bundle(client, predictor, request_units, form):
    check_answers(post(client, FORMS[form](request_units)), predictor.predict(request_units), predictor.classes)


def test_parquet_gives_the_numbers_of_the_bundle(client, predictor, request_units):
    import pyarrow

    expected = predictor.predict(request_units)
    for dtype in (pyarrow.list_(pyarrow.float64()), pyarrow.large_list(pyarrow.float64())):
        response = client.post("/invocations", content=as_parquet(request_units, dtype), headers=PARQUET)
        check_answers(response, expected, predictor.classes)


def test_parquet_of_pandas_with_fixed_lists_or_float32(client, predictor, request_units):
    import pyarrow

    single = {name: values.astype(np.float32).astype(float) for name, values in request_units.items()}
    expected, body = predictor.predict(single), io.BytesIO()
    pd.DataFrame({name: cells(values) for name, values in single.items()}, index=list("abcd")).to_parquet(body)
    for content in (body.getvalue(), as_parquet(single, pyarrow.list_(pyarrow.float32()))):
        check_answers(client.post("/invocations", content=content, headers=PARQUET), expected, predictor.classes)
    complete = {"isi": single["isi"]}
    fixed = as_parquet(complete, pyarrow.list_(pyarrow.float64(), 100))
    response = client.post("/invocations", content=fixed, headers=PARQUET)
    check_answers(response, predictor.predict(complete), predictor.classes)


SUBSETS = [("waveform",), ("isi",), ("acg",), ("waveform", "isi"), ("waveform", "acg"), ("isi", "acg")]


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_an_absent_column_is_a_missing_modality(client, predictor, request_units, names):
    units = {name: request_units[name][:3] for name in names}
    for form in ("dataframe_split", "inputs by column", "instances by unit"):
        check_answers(post(client, FORMS[form](units)), predictor.predict(units), predictor.classes)


@pytest.mark.parametrize("n_units", [1, 50])
def test_one_unit_or_many(client, predictor, request_units, n_units):
    units = {name: values[np.arange(n_units) % 4] for name, values in request_units.items()}
    check_answers(post(client, FORMS["inputs by column"](units)), predictor.predict(units), predictor.classes)


def test_nan_is_read_like_null(client, predictor, request_units):
    body = json.dumps({"inputs": {name: values.tolist() for name, values in request_units.items()}})
    assert "NaN" in body
    response = client.post("/invocations", content=body)
    check_answers(response, predictor.predict(request_units), predictor.classes)


def test_the_origin_is_told_by_params_or_by_the_address(client, predictor, request_units):
    import pyarrow

    expected = predictor.predict(request_units, {"dataset": "left"})
    payload = {**FORMS["inputs by column"](request_units), "params": {"dataset": "left"}}
    check_answers(post(client, payload), expected, predictor.classes)
    body = as_parquet(request_units, pyarrow.list_(pyarrow.float64()))
    response = client.post("/invocations?dataset=left", content=body, headers=PARQUET)
    check_answers(response, expected, predictor.classes)


def test_mlflows_own_server_gives_the_same_answers(client, plain_client, request_units):
    """What differs is how a float32 is written: with 9 digits here, with the 17 of a double there."""
    payload = {
        "inputs": {
            k: [[None] * len(r) if np.isnan(r).all() else r.tolist() for r in v] for k, v in request_units.items()
        }
    }
    ours, theirs = (post(c, payload).json()["predictions"] for c in (client, plain_client))
    for row in (*ours, *theirs):
        row["embedding"] = np.array(row["embedding"], np.float32).tolist()
    assert ours == theirs


def test_every_answer_names_version_and_data(client, registered_template, request_units):
    version = connect(registered_template).get_model_version("spikeprint-cvae", "1")
    row = post(client, FORMS["inputs by unit"](request_units)).json()["predictions"][0]
    assert (row["model_version"], row["data_hash"]) == ("1", version.tags["data_md5"])
    card = client.get("/version").json()
    assert (card["model"], card["model_version"], card["data_hash"]) == ("spikeprint-cvae", "1", row["data_hash"])
    assert card["bundle_sha256"] == version.tags["bundle_sha256"]


@pytest.mark.parametrize("address", ["/ping", "/health"])
def test_health(client, address):
    assert client.get(address).status_code == 200
    assert client.head(address).status_code == 200


ROW = {"waveform": [1.0, 2.0] * 25, "isi": [1.0] * 100, "acg": [1.0] * 201}
SPLIT = {"columns": ["isi"], "data": [[ROW["isi"]]]}
BAD_JSON = {
    "not JSON": (b"{", "the body is not JSON"),
    "not UTF-8": (b'{"inputs": "\xff"}', "the body is not JSON"),
    "nothing": (b"", "the body is not JSON"),
    "nested deeply": (b'{"inputs":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
    "an integer of many digits": (b'{"inputs": ' + b"9" * 5000 + b"}", "the body is not JSON"),
    "a list": ([ROW], "a JSON list found; one of dataframe_split, dataframe_records, inputs, instances"),
    "a word": ("x", "a JSON str found"),
    "no form": ({"units": [ROW]}, "units found; one of dataframe_split"),
    "no form at all": ({}, "an empty object found"),
    "two forms": ({"inputs": [ROW], "instances": [ROW]}, "inputs, instances found"),
    "a stray key": ({"inputs": [ROW], "signature_name": "x"}, "signature_name found"),
    "an empty list": ({"inputs": []}, "no units given"),
    "empty columns": ({"inputs": {name: [] for name in NAMES}}, "no units given"),
    "no columns": ({"inputs": {}}, "no modality given"),
    "no records": ({"dataframe_records": []}, "no units given"),
    "no rows": ({"dataframe_split": {"columns": list(NAMES), "data": []}}, "no units given"),
    "a column misspelt": (
        {"inputs": [{"wavefrom": ROW["waveform"]}]},
        "unknown column 'wavefrom'; did you mean 'waveform'?",
    ),
    "a number": ({"inputs": 3}, "inputs: a list of objects, one per unit"),
    "a number for a unit": ({"inputs": [3]}, "unit 0 is a int"),
    "a number for a column": ({"inputs": {"isi": 3}}, "isi must be a list of rows"),
    "a number for a row": ({"inputs": {"isi": [3]}}, "isi: row 0 holds a int; 100 numbers are needed"),
    "too short": ({"inputs": {"isi": [[1.0] * 99]}}, "isi: row 0 holds 99 values; 100 numbers are needed"),
    "too deep": ({"inputs": {"isi": [[[1.0]] * 100]}}, "isi: "),
    "words": ({"inputs": {"isi": [["1"] * 100]}}, "isi: row 0 holds a str; numbers are needed"),
    "a word among numbers": ({"inputs": {"isi": [[1.0] * 99 + ["x"]]}}, "isi: row 0 holds a str"),
    "a truth among numbers": ({"inputs": {"isi": [[1.0] * 99 + [True]]}}, "isi: row 0 holds a bool"),
    "a huge integer": ({"inputs": {"isi": [[10**400] + [1] * 99]}}, "isi: "),
    "partly null": ({"inputs": {"isi": [[1.0] * 99 + [None]]}}, "isi: rows [0] are partly NaN"),
    "infinite": (b'{"inputs": {"isi": [[' + b"1," * 99 + b"Infinity]]}}", "isi: rows [0] hold infinite values"),
    "negative": ({"inputs": {"isi": [[1.0] * 99 + [-1.0]]}}, "isi: rows [0] hold negative values"),
    "all null": ({"inputs": {"isi": [None], "acg": [None]}}, "rows [0] have no modality with content"),
    "uneven": ({"inputs": {"isi": [ROW["isi"]], "acg": [ROW["acg"]] * 2}}, "every input needs one row per unit"),
    "split without columns": ({"dataframe_split": {"data": []}}, "an object of 'columns' and 'data'"),
    "split of a word": ({"dataframe_split": "x"}, "an object of 'columns' and 'data'"),
    "split of numbered columns": ({"dataframe_split": {**SPLIT, "columns": [0]}}, "'columns' must be a list of names"),
    "split with a column twice": ({"dataframe_split": {"columns": ["isi"] * 2, "data": []}}, "named twice"),
    "split of short rows": ({"dataframe_split": {**SPLIT, "data": [[]]}}, "row 0 must be a list of 1 cells"),
    "an unknown parameter": (
        {"inputs": [ROW], "params": {"data_set": "x"}},
        "unknown 'data_set'; did you mean 'dataset'?",
    ),
    "a parameter of another type": ({"inputs": [ROW], "params": {"dataset": 3}}, "dataset must be a word, found a int"),
    "parameters as a list": ({"inputs": [ROW], "params": [1]}, "params: an object of words"),
    "an unknown dataset": ({"inputs": [ROW], "params": {"dataset": "x"}}, "unknown dataset 'x'; known: left, right"),
    "half a character": (b'{"inputs": [{"\\ud800": [1]}]}', r"unknown column '\ud800'"),
    "half a character as a word": (
        b'{"inputs": [{"isi": [%s 1]}], "params": {"dataset": "\\udfff"}}' % (b"1," * 99),
        "\\udf",
    ),
    "a word of several lines": ({"inputs": [ROW], "params": {"dataset": "x\ny"}}, "unknown dataset 'x y'; known"),
    "a book for a word": ({"inputs": [ROW], "params": {"dataset": "x" * 9999}}, "unknown dataset 'xxx"),
}


def check_refusal(response, status, reason):
    assert response.status_code == status, response.text
    message = response.json()["message"]
    assert reason in message
    assert "\n" not in message
    assert len(message) < 500
    assert not any(word in response.text for word in ("Traceback", "site-packages", ".py", "/tmp"))


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_refused_with_the_reason(client, name):
    content, reason = BAD_JSON[name]
    body = content if isinstance(content, bytes) else json.dumps(content)
    response = client.post("/invocations", content=body, headers={"Content-Type": "application/json"})
    check_refusal(response, 400, reason)


def parquet_of(columns):
    body = io.BytesIO()
    pd.DataFrame(columns).to_parquet(body)
    return body.getvalue()


def test_a_remote_predictor_takes_words_as_its_own_predictor_does(target, predictor, request_units):
    import uvicorn

    port = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(App(open_served(target.folder, target.card)), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        remote = RemotePredictor(f"http://127.0.0.1:{port}")
        for origin in ({"dataset": "left"}, {"dataset": "never met", "technology": "neuropixels"}, {}):
            expected, found = predictor.predict(request_units, origin), remote.predict(request_units, origin)
            np.testing.assert_array_equal(found.probabilities, expected.probabilities)
            np.testing.assert_array_equal(found.embedding, expected.embedding)
    finally:
        server.should_exit = True
        thread.join()
    assert remote.vocabulary == {name: words for name, words in predictor.vocabulary.items() if name in ORIGIN}


BAD_PARQUET = {
    "a name that is no text": (
        parquet_of({"isi": [[1.0] * 100]}).replace(b"isi", b"\xb0si"),
        "the body is not parquet",
    ),
    "not parquet": (b"PAR1" * 10, "the body is not parquet"),
    "nothing": (b"", "the body is not parquet"),
    "words": (parquet_of({"isi": ["x"]}), "isi: a column of type"),
    "numbers": (parquet_of({"isi": [1.0]}), "isi: a column of type double found; lists of 100 numbers are needed"),
    "words in lists": (parquet_of({"isi": [["x"] * 100]}), "isi: a column of type list"),
    "too short": (parquet_of({"isi": [[1.0] * 100, [1.0]]}), "isi: row 1 holds 1 values; 100 numbers are needed"),
    "partly null": (parquet_of({"isi": [[1.0] * 99 + [None]]}), "isi: rows [0] are partly NaN"),
    "a stray column": (parquet_of({"isi": [[1.0] * 100], "unit_id": ["a"]}), "unknown column 'unit_id'"),
    "no rows": (parquet_of({"isi": []}), "no units given"),
    "no columns": (parquet_of({}), "no modality given"),
    "all null": (parquet_of({"isi": [None]}), "rows [0] have no modality with content"),
}


@pytest.mark.parametrize("name", BAD_PARQUET)
def test_bad_parquet_is_refused_with_the_reason(client, name):
    content, reason = BAD_PARQUET[name]
    check_refusal(client.post("/invocations", content=content, headers=PARQUET), 400, reason)


def test_a_cut_parquet_body_is_refused(client, request_units):
    import pyarrow

    whole = as_parquet(request_units, pyarrow.list_(pyarrow.float64()))
    for n in (10, len(whole) // 2, len(whole) - 1):
        check_refusal(client.post("/invocations", content=whole[:n], headers=PARQUET), 400, "not parquet")
    middle = len(whole) // 3
    spoilt = whole[:middle] + bytes(64) + whole[middle + 64 :]
    assert client.post("/invocations", content=spoilt, headers=PARQUET).status_code in (200, 400)


TYPES = ["text/csv", "text/plain", "application/octet-stream", "application/json; charset=latin-1"]


@pytest.mark.parametrize("content_type", TYPES)
def test_another_type_is_refused_with_those_that_work(client, content_type):
    response = client.post("/invocations", content=b"isi\n1", headers={"Content-Type": content_type})
    check_refusal(response, 415, "one of dataframe_split, dataframe_records, inputs, instances in a JSON object")


def test_a_body_without_a_type_is_json(client):
    response = client.post("/invocations", content=json.dumps({"inputs": [ROW]}))
    assert response.status_code == 200


@pytest.mark.parametrize("n_bytes", [LIMIT + 1, 5 * LIMIT, 100_000_000])
def test_a_large_body_is_refused(client, n_bytes):
    check_refusal(client.post("/invocations", content=bytes(n_bytes)), 413, "a body of at most 0.2 MB is read")


def test_an_announced_giant_is_refused_unread(client):
    response = client.post("/invocations", content=iter([b"x"]), headers={"Content-Length": str(10**12)})
    check_refusal(response, 413, "1000000.0 MB found")


def test_other_addresses_and_methods(client):
    check_refusal(client.get("/"), 404, "/invocations, /ping, /health, /version")
    check_refusal(client.get("/invocations"), 405, "POST only")
    check_refusal(client.post("/ping"), 405, "GET and HEAD only")


def test_a_draining_server_lets_its_clients_go(target):
    from fastapi.testclient import TestClient

    app = App(open_served(target.folder, target.card))
    client = TestClient(app)
    assert "connection" not in client.get("/ping").headers
    app.drain()
    assert client.get("/ping").headers["connection"] == "close"


SPOILT = {
    "weights.safetensors": "weights.safetensors: changed",
    "code/cvae/networks.py": "networks.py: changed",
    "loader.py": "loader.py: changed",
}


@pytest.fixture
def folder(target, tmp_path):
    """A copy of a version that a test may damage."""
    return shutil.copytree(target.folder, tmp_path / "version")


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_version_is_not_served(folder, name):
    path = folder / "artifacts" / "bundle" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IncompatibleBundle, match=SPOILT[name]):
        open_served(folder, {})


def test_damaged_weights_are_not_served_by_mlflow_either(folder):
    import mlflow.pyfunc

    path = folder / "artifacts" / "bundle" / "weights.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"weights\.safetensors: changed since the bundle was written"):
        mlflow.pyfunc.load_model(str(folder))


def test_a_version_of_another_schema_is_not_served(folder):
    card = folder / "artifacts" / "bundle" / "bundle.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "schema_version": 1}))
    with pytest.raises(IncompatibleBundle, match=f"bundle schema 1 found, {SCHEMA_VERSION} needed"):
        open_served(folder, {})


def test_a_version_of_an_older_package_is_not_served(folder):
    code = folder / "serving.py"
    code.write_text(code.read_text().replace("def answer(", "def respond("))
    with pytest.raises(IncompatibleBundle, match="registered by an older spikeprint; register it again"):
        open_served(folder, {})


class Burglar:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


PICKLES = ["python_model.pkl", "model.pkl", "artifacts/bundle/weights.pkl", "artifacts/bundle/arrays.npy"]


def test_a_pickle_in_the_folder_is_never_opened(folder, target, tmp_path, request_units):
    trace = tmp_path / "trace"
    evil = pickle.dumps(Burglar(trace))
    for name in PICKLES:
        (folder / name).write_bytes(evil)
    served = open_served(folder, target.card)
    assert served.answer(json.dumps({"inputs": [ROW]}).encode(), "", {})
    with pytest.raises(FileNotFoundError):
        trace.stat()
    pickle.loads(evil)
    assert trace.is_dir()  # it would have worked


@pytest.mark.parametrize("name", ["weights.safetensors", "bundle.json"])
def test_a_pickle_in_place_of_a_file_of_the_bundle_is_refused(folder, tmp_path, name):
    (folder / "artifacts" / "bundle" / name).write_bytes(pickle.dumps(Burglar(tmp_path / "trace")))
    with pytest.raises(IncompatibleBundle):
        open_served(folder, {})
    assert not (tmp_path / "trace").exists()


def test_a_model_that_mlflow_would_unpickle_is_refused(folder, tmp_path, monkeypatch):
    """The environment that ``spikeprint serve`` and ``make serve`` set."""
    import mlflow.pyfunc
    import yaml
    from mlflow import MlflowException

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Burglar(tmp_path / "trace")))
    card = yaml.safe_load((folder / "MLmodel").read_text())
    flavor = card["flavors"]["python_function"]
    flavor["python_model"] = "python_model.pkl"
    flavor.pop("model_code_path", None)
    (folder / "MLmodel").write_text(yaml.safe_dump(card))
    with pytest.raises(MlflowException, match="pickle is disallowed"):
        mlflow.pyfunc.load_model(str(folder))
    assert not (tmp_path / "trace").exists()


LOAD_PATH = [
    "loader.py",
    "serving.py",
    "server.py",
    "wire.py",
    "worker.py",
    "supervisor.py",
    "versions.py",
    "bundle.py",
]


def test_nothing_on_the_load_path_can_unpickle(root):
    package = root / "src" / "spikeprint"
    files = [package / "registry" / name for name in LOAD_PATH]
    files += [package / name for name in import_closure("cvae/predictor.py")]
    forbidden = ("import pickle", "import dill", "cloudpickle", "joblib", "torch.load", "allow_pickle", "np.load")
    found = [f"{path.name}: {word}" for path in files for word in forbidden if word in path.read_text(encoding="utf-8")]
    assert not found
