"""A tracking store that is a server. Enters: its address and who asks. Leaves: a check in seconds, reasons in words."""

import base64
import http.client
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


def tracking_uri(root: Path) -> str:
    """Return where the tracking store of a project is, see ``tracking.connect``."""
    if access := team_access(root):
        return access.tracking_uri
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(root).resolve() / 'mlflow.db'}"


def use_credentials(access: Access | None) -> None:
    """Hand user and password to MLflow's client, and to what is started from here, by the environment."""
    if access:
        os.environ.update(zip(CREDENTIALS, (access.username, access.password), strict=True))


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
        told = error.read()
        if error.code == 401 or (error.code == 403 and REFUSED.encode() in told):
            raise RegistryError(
                f"tracking server {uri}: {explain(f'error code {error.code}', access.username)}"
            ) from None
        if error.code != 404 or b"RESOURCE_DOES_NOT_EXIST" not in told:
            raise RegistryError(
                f"tracking server {uri}: answers {error.code}; is it MLflow that listens there?"
            ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "reason", error)
        raise RegistryError(
            f"tracking server {uri}: no server answers ({why}); is it running, and is the address right? Nothing is "
            "lost: the same command does the rest when it is back"
        ) from None


def check_store(uri: str) -> None:
    """Check the server of a tracking store with the credentials in the environment; other stores need no check."""
    if uri.startswith(("http://", "https://")):
        check_server(Access(uri, *(os.environ.get(name, "") for name in CREDENTIALS)))


def explain(error: str, user: str | None = None) -> str:
    """Say in one line why MLflow's client failed: its own words are long and do not say what to do.

    Parameters
    ----------
    error : what it says
    user : name at the server; default: the one in the environment
    """
    text = " ".join(error.split())
    name = os.environ.get(USERNAME, "") if user is None else user
    who = f"user {name}" if name else "nobody (no user name was given)"
    return next((reason.format(who=who) for sign, reason in REASONS.items() if sign in text), text)


REFUSED = "Permission denied"
_NO_LOGIN = (
    "login refused for {who}: not known there, or the password is wrong or has expired; "
    "ask the team's admin for a new file and run spikeprint team join FILE"
)
_NO_RIGHT = "{who} has no right to do that; ask the team's admin for another role"
_GONE = "the server stopped answering; nothing is lost: the same command does the rest when it is back"
_BROKEN = "the server failed (error 500) at this request; its log says why (mlflow.log of spikeprint team)"
REASONS = {
    "error code 401": _NO_LOGIN,
    "401 Client Error": _NO_LOGIN,
    "error code 403": _NO_RIGHT,
    "403 Client Error": _NO_RIGHT,
    "too many 500": _BROKEN,
    "failed with exception": _GONE,
    "Max retries exceeded": _GONE,
    "Connection aborted": _GONE,
    "Connection refused": _GONE,
    "Server disconnected": _GONE,
}
"""What MLflow's client says (first match) -> what it means."""
