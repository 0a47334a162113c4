"""No secret of an address reaches a log, an error or the doctor's page."""

import logging

import pytest

from spikeprint.cli import main
from spikeprint.core.runtime import redact, setup_logging

SECRET = "s3cret-W0rd"
ADDRESSES = [
    f"postgresql://team:{SECRET}@db.example.org:5432/mlflow",
    f"postgresql+psycopg2://team:{SECRET}@h/db",
    f"https://team:a@{SECRET}@mlflow.example.org/x",
    f"https://{SECRET}@mlflow.example.org",
    f"mysql://h/db?user=a&password={SECRET}&x=1",
    f"https://s3.example.org/b?X-Amz-Credential=1&token={SECRET}",
    f"'sqlite://u:{SECRET}@h', \"http://u:{SECRET}@h\"",
]
HARMLESS = [
    "models:/spikeprint-cvae@production",
    "http://127.0.0.1:5000/models/x@production",
    "sqlite:////tmp/mlflow.db",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_secrets_are_hidden(address: str) -> None:
    shown = redact(f"store {address}: no answer")
    assert SECRET not in shown
    assert shown.endswith(" no answer")


@pytest.mark.parametrize("address", HARMLESS)
def test_other_addresses_are_left_alone(address: str) -> None:
    assert redact(address) == address


def test_logs_hold_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    logger = logging.getLogger("spikeprint.test")
    try:
        raise ValueError(ADDRESSES[0])
    except ValueError:
        logger.warning("%s failed", ADDRESSES[1], exc_info=True)
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert SECRET not in shown


@pytest.mark.parametrize("words", [["sync"], ["sync", "--debug"], ["serve"], ["promote", "--to", "staging"]])
def test_an_unreachable_store_is_told_without_its_password(
    words: list[str], root, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://team:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(words) in (1, 2)
    out, err = capsys.readouterr()
    assert err
    assert SECRET not in out + err
