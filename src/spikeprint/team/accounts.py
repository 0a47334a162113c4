"""Users of the team's MLflow server. Enters: names, roles, passwords. Leaves: accounts, by MLflow's REST interface."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ..core.errors import ConfigError, RegistryError

TIMEOUT_S = 30
WORKSPACE = "default"
MEMBERS = "spikeprint-members"
"""The role, in MLflow's sense, that may change every experiment and model."""

GRANTS = ("experiment", "registered_model")


class Accounts:
    """MLflow's user management, as its admin.

    Parameters
    ----------
    url : of the MLflow server
    password : of the user ``admin``
    """

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self.token = base64.b64encode(f"admin:{password}".encode()).decode()

    def put(self, name: str, password: str, role: str) -> None:
        """Make a user, or give the one of that name a new password, and the rights of ``role``."""
        if self._exists(name):
            self._ask("PATCH", "2.0/mlflow/users/update-password", username=name, password=password)
        else:
            self._ask("POST", "2.0/mlflow/users/create", username=name, password=password)
        self._ask("PATCH", "2.0/mlflow/users/update-admin", username=name, is_admin=role == "admin")
        members = self._members()
        held = self._ask("GET", "3.0/mlflow/users/roles/list", username=name)["roles"]
        is_member = any(entry["id"] == members for entry in held)
        if is_member != (role == "member"):
            verb = "unassign" if is_member else "assign"
            self._ask("DELETE" if is_member else "POST", f"3.0/mlflow/roles/{verb}", username=name, role_id=members)

    def remove(self, name: str) -> None:
        """Delete a user; nothing when there is none."""
        if self._exists(name):
            self._ask("DELETE", "2.0/mlflow/users/delete", username=name)

    def _exists(self, name: str) -> bool:
        try:
            self._ask("GET", "2.0/mlflow/users/get", username=name)
        except KeyError:
            return False
        return True

    def _members(self) -> int:
        """Id of the members' role, made when absent."""
        for role in self._ask("GET", "3.0/mlflow/roles/list", workspace=WORKSPACE)["roles"]:
            if role["name"] == MEMBERS:
                return role["id"]
        made = self._ask("POST", "3.0/mlflow/roles/create", name=MEMBERS, workspace=WORKSPACE)["role"]["id"]
        for kind in GRANTS:
            grant = {"role_id": made, "resource_type": kind, "resource_pattern": "*", "permission": "MANAGE"}
            self._ask("POST", "3.0/mlflow/roles/permissions/add", **grant)
        return made

    def _ask(self, method: str, path: str, **values: Any) -> dict[str, Any]:
        """Send a request; KeyError when what it names does not exist."""
        url, body = f"{self.url}/api/{path}", None
        if method == "GET":
            url += "?" + urllib.parse.urlencode(values)
        else:
            body = json.dumps(values).encode()
        headers = {"Authorization": f"Basic {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                text = response.read()
                return json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            told = error.read().decode("utf-8", "replace")
            if error.code == 404 and "RESOURCE_DOES_NOT_EXIST" in told:
                raise KeyError(path) from None
            if error.code in (401, 403):
                raise ConfigError(
                    f"{self.url}: the admin's password of settings.json is refused; it was changed elsewhere: "
                    "put it there, or set it back with MLflow"
                ) from None
            raise RegistryError(f"{self.url}: {path} answers {error.code}: {' '.join(told.split())[:200]}") from None
        except (urllib.error.URLError, TimeoutError) as error:
            why = getattr(error, "reason", error)
            raise RegistryError(f"{self.url}: no MLflow server answers ({why}); run spikeprint team up") from None
