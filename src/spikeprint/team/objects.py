"""A small S3 server with rights. Enters: the home folder of a team. Leaves: HTTP answers; objects are files on disk.

nanio checks signatures and keeps the objects; here is who may do what: the MLflow server everything, members read and
write DVC's bucket, readers read it. Keys are looked up in the settings as they are now: who was removed is out at once.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from nanio.app import build_app
from nanio.config import Settings as StoreSettings
from nanio.errors import AccessDenied
from starlette.middleware import Middleware
from starlette.responses import Response

from ..core.errors import SpikeprintError
from .settings import ARTIFACTS, DATA, FILE, Settings, load_settings

FOLDER = "objects"
READS = ("GET", "HEAD")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Keys:
    """Access keys and what they may do, read again whenever the settings file has changed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.seen = -1
        self.settings = Settings()

    def _now(self) -> Settings:
        stamp = (self.home / FILE).stat().st_mtime_ns
        if stamp != self.seen:
            self.settings, self.seen = load_settings(self.home), stamp
        return self.settings

    def resolve(self, access_key: str) -> str | None:
        """Return the secret of an access key, None when nobody has it."""
        settings = self._now()
        if access_key == settings.access_key:
            return settings.secret_key
        return {user.access_key: user.secret_key for user in settings.users.values()}.get(access_key)

    def access_keys(self) -> list[str]:
        """Return all known access keys."""
        settings = self._now()
        return [settings.access_key, *(user.access_key for user in settings.users.values())]

    def may(self, access_key: str, method: str, buckets: set[str]) -> bool:
        """Whether the owner of a key may do this to all these buckets."""
        settings = self._now()
        if access_key == settings.access_key:
            return True
        role = {user.access_key: user.role for user in settings.users.values()}.get(access_key)
        return buckets == {DATA} and (role in ("member", "admin") or (role == "reader" and method in READS))


class Rights:
    """Refuses what ``Keys.may`` does not allow. Runs after nanio has checked the signature."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], keys: Keys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 or hand on."""
        if scope["type"] == "http" and not self.keys.may(scope["nanio.principal"], scope["method"], _buckets(scope)):
            refusal = AccessDenied("this key has no right to do that; ask the team's admin")
            await Response(refusal.to_xml(), refusal.http_status, media_type="application/xml")(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _buckets(scope: Scope) -> set[str]:
    """The bucket of the address and that of the object to be copied, where there is one."""
    copied = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-amz-copy-source"]
    return {path.lstrip("/").split("/", 1)[0] for path in (scope["path"], *copied)}


def serve(home: Path) -> None:
    """Run the server until it is stopped."""
    keys = Keys(home)
    settings = load_settings(home)
    folder = home / FOLDER
    for bucket in (ARTIFACTS, DATA):
        (folder / bucket).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    app = build_app(StoreSettings(data_dir=folder, credentials=keys))
    app.user_middleware.append(Middleware(Rights, keys=keys))  # innermost: after the signature
    # an access log would fill the disk with DVC's many small objects
    uvicorn.run(app, host=settings.host, port=settings.port + 1, access_log=False, log_level="warning")


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]))
    except SpikeprintError as error:
        sys.exit(f"error: {error}")
