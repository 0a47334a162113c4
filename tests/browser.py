"""A page in headless Chromium, driven over two pipes: what it says on the console, what it asks of the network."""

import fcntl
import json
import os
import shutil
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
    "--hide-scrollbars",
    "--window-size=1500,1150",
]


def find_browser() -> str | None:
    """Path of a Chromium on this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One page. ``errors``: what went to the console or was thrown; ``asked``: every address it wanted."""

    def __init__(self, read: int, write: int) -> None:
        self._in, self._out = os.fdopen(read, "rb"), os.fdopen(write, "wb")
        self._n, self._rest, self._session = 0, b"", ""
        self.errors: list[str] = []
        self.asked: list[str] = []

    def open(self, url: str) -> None:
        """Open an address with everything heard from the start."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Say something to the browser and return its answer."""
        self._n += 1
        said = {"id": self._n, "method": method, "params": params}
        said |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(said).encode() + b"\0")
        self._out.flush()
        while True:
            heard = self._listen()
            if heard.get("id") == self._n:
                assert "error" not in heard, f"{method}: {heard['error']}"
                return heard["result"]
            self._note(heard)

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, expression: str, within_s: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + within_s
        while not self.ask(f"Boolean({expression})"):
            assert time.monotonic() < end, f"not within {within_s} s: {expression}; {self.errors}"
            time.sleep(0.05)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def picture(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        path.write_bytes(b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """Let the browser end by itself; it does when its pipe closes, too."""
        self._session = ""
        self.call("Browser.close")
        self._out.close()
        self._in.close()

    def _listen(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._in.fileno(), 1 << 20)
            assert piece, "the browser has gone"
            self._rest += piece
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    def _note(self, heard: dict[str, Any]) -> None:
        params, method = heard.get("params", {}), heard.get("method")
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(str([item.get("value", item.get("description")) for item in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])


@contextmanager
def browse(browser: str, folder: Path) -> Iterator[Page]:
    """Start a browser with a profile of its own in ``folder``, and end it."""
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()
    # the browser reads from 3 and writes to 4: our ends must lie elsewhere before they are moved there
    ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 50) for fd in (to_browser, to_us)]
    for fd in (to_browser, to_us):
        os.close(fd)
    log = os.open(folder / "browser.log", os.O_WRONLY | os.O_CREAT, 0o600)
    moves = [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in ((log, 1), (log, 2), (ends[0], 3), (ends[1], 4))]
    command = [browser, *OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    process = os.posix_spawn(browser, command, os.environ, file_actions=moves)
    for fd in (log, *ends):
        os.close(fd)
    page = Page(from_browser, from_us)
    try:
        yield page
    finally:
        page.close()
        os.waitpid(process, 0)
