"""How one person reaches the team's servers. Enters: a file of ``NAME=value`` lines. Leaves: an ``Access``.

The file is what a shell understands (``set -a; . ./team.env``) and what MLflow and every S3 client call their settings.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import ConfigError
from .files import write_private

FILE = "team.env"
"""Where a clone keeps its access: beside ``dvc.yaml``, readable by its owner only, ignored by git."""

VARIABLES = {
    "tracking_uri": "MLFLOW_TRACKING_URI",
    "username": "MLFLOW_TRACKING_USERNAME",
    "password": "MLFLOW_TRACKING_PASSWORD",
    "data": "SPIKEPRINT_DATA",
    "endpoint": "AWS_ENDPOINT_URL",
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
}
"""Field -> environment variable."""

NEEDED = ("tracking_uri", "username", "password")


@dataclass(frozen=True)
class Access:
    """Addresses and credentials of one user; of an S3 store that is not ours its owner gives the keys (then ``""``).

    Attributes
    ----------
    tracking_uri, username, password : of the MLflow server
    data : DVC remote, ``s3://bucket/prefix``
    endpoint, access_key, secret_key : of the S3 store
    """

    tracking_uri: str
    username: str
    password: str
    data: str = ""
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""

    def __repr__(self) -> str:
        """Name the user and the server, never a secret."""
        return f"Access({self.username!r} at {self.tracking_uri!r})"


def write_access(path: Path, access: Access) -> None:
    """Write the file (mode 0600); what is empty is left out."""
    values = asdict(access)
    lines = [f"{variable}={values[field]}\n" for field, variable in VARIABLES.items() if values[field]]
    write_private(path, "".join(lines))


def read_access(path: Path) -> Access:
    """Read such a file; empty lines, comments and variables of other programs are passed over.

    Raises
    ------
    ConfigError
        The file is missing, or lacks an address or a credential.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{path}: cannot be read ({reason}); a file by spikeprint team add-user is needed") from None
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    values = {field: found[variable].strip() for field, variable in VARIABLES.items() if variable in found}
    if lacking := [VARIABLES[field] for field in NEEDED if not values.get(field)]:
        raise ConfigError(f"{path}: no {', '.join(lacking)} in it; a file by spikeprint team add-user is needed")
    return Access(**values)
