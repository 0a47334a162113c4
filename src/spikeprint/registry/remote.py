"""A tracking store that is a server. Enters: its address and who asks. Leaves: a check within seconds, reasons in words."""

import base64
import os
import urllib.error
import urllib.request
from pathlib import Path

from ..core.access import FILE, Access, read_access
from ..core.errors import RegistryError

TIMEOUT_S = 10
"""Longest wait for the first answer of a server: MLflow's own client would try for minutes."""

USERNAME, PASSWORD = CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


def team_access(root: Path) -> Access | None:
    """Return how this clone reaches its team's server, None when it never joined one or the environment names another.

    Raises
    ------
    ConfigError
        The clone's file is damaged.
    """
    path = Path(root) / FILE
    return read_access(path) if not os.environ.get("MLFLOW_TRACKING_URI") and path.is_file() else None


def use_credentials(access: Access | None) -> None:
    """Hand user and password to MLflow's client, and to what is started from here, by the environment."""
    if access:
        os.environ.update(zip(CREDENTIALS, (access.username, access.password), strict=True))


def is_server(uri: str) -> bool:
    """Whether a tracking store is reached over HTTP."""
    return uri.startswith(("http://", "https://"))


def check_server(access: Access) -> None:
    """Ask the server something that needs a login, and wait no longer than ``TIMEOUT_S``.

    Raises
    ------
    RegistryError
        Nobody answers, or not MLflow, or the credentials are refused.
    """
    uri = access.tracking_uri.rstrip("/")
    request = urllib.request.Request(f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default")
    if access.username:
        token = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        is_mlflow = error.code == 404 and b"RESOURCE_DOES_NOT_EXIST" in error.read()
        if error.code in (401, 403):
            raise RegistryError(f"tracking server {uri}: {explain(f'error code {error.code}')}") from None
        if not is_mlflow:
            raise RegistryError(f"tracking server {uri}: answers {error.code}; is MLflow there?") from None
    except ValueError as error:
        raise RegistryError(f"tracking server {uri}: not an address ({error})") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise RegistryError(f"tracking server {uri}: {explain(f'failed with exception {error}')}") from None


def check_store(uri: str) -> None:
    """Check the server of a tracking store with the credentials in the environment; other stores need no check."""
    if is_server(uri):
        check_server(Access(uri, *(os.environ.get(name, "") for name in CREDENTIALS)))


def explain(error: str) -> str:
    """Say in one line why MLflow's client failed: its own words are long and do not say what to do."""
    text = " ".join(error.split())
    user = os.environ.get(CREDENTIALS[0], "")
    for sign, reason in REASONS.items():
        if sign in text:
            return reason.format(user=f"user {user}" if user else "no user name was given and")
    return text


REASONS = {
    "error code 401": "login refused: {user} is not known there, or the password is wrong or has expired; "
    "ask the team's admin for a new file and run spikeprint team join FILE",
    "error code 403": "{user} has no right to do that; ask the team's admin for another role",
    "403 Client Error": "{user} has no right to do that; ask the team's admin for another role",
    "failed with exception": "no server answers; is it running (spikeprint team status), and is the address right?",
    "Max retries exceeded": "the server stopped answering; nothing is lost: run the same command again when it is back",
    "Connection aborted": "the server stopped answering; nothing is lost: run the same command again when it is back",
    "Connection refused": "the server stopped answering; nothing is lost: run the same command again when it is back",
}
"""What MLflow's client says (first match) -> what it means."""
