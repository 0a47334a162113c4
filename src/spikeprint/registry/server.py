"""A served model over HTTP. Enters: requests. Leaves: answers, or refusals of one line.

The address and the answers are those of MLflow's scoring server (POST /invocations, GET /ping, /health, /version), and
it is MLflow that opens the model. Bodies are read and written here: in every form, at several times the speed, up to a
limit, and without the trace of calls and the copy of the data that MLflow's own refusals hold.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import mlflow.pyfunc
import orjson
from mlflow import MlflowException

from ..core.errors import IncompatibleBundle
from .bundle import check_bundle
from .wire import Refusal, read_request, write_answers, write_refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 32 << 20
"""About ten thousand units as JSON; larger bodies are refused with 413."""
DISCARDED = 8
"""So many times the limit is read and thrown away, so that the client gets to read why it is refused."""


@dataclass(frozen=True)
class Served:
    """An opened version. ``card`` is what GET /version tells about it."""

    model: Any
    card: dict[str, str]

    def answer(self, body: bytes, content_type: str, query: dict[str, str]) -> bytes:
        """Return the answer to one request.

        Raises
        ------
        Refusal
            The request cannot be answered; the message says why.
        """
        inputs, origin = read_request(body, content_type, query)
        try:
            columns = self.model.answer(inputs, origin)
        except MlflowException as error:
            raise Refusal(error.message) from None
        n_units = len(columns["label"])
        known = {name: [self.card[name]] * n_units for name in ("model_version", "data_hash")}
        return write_answers(columns | known)


def open_served(folder: Path, card: dict[str, str]) -> Served:
    """Open a model as MLflow keeps it, after a look at every file of its bundle.

    Parameters
    ----------
    folder : of the version, see ``versions.fetch_model``
    card : ``model``, ``model_version``, ``data_hash`` and what else is known of it

    Raises
    ------
    IncompatibleBundle
        The bundle is damaged or of another schema version, or the version was registered by an older spikeprint.
    """
    check_bundle(folder / "artifacts" / "bundle")
    model = mlflow.pyfunc.load_model(str(folder)).unwrap_python_model()
    if not hasattr(model, "answer"):
        raise IncompatibleBundle(
            f"{folder}: registered by an older spikeprint; register it again, or use mlflow models serve"
        )
    return Served(model, card)


class App:
    """The ASGI application of one version. After ``drain`` every answer asks the client to come back anew."""

    def __init__(self, served: Served, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.served, self.max_body_bytes = served, max_body_bytes
        self.is_draining = False
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="predict")

    def drain(self) -> None:
        """Close every connection after its next answer: no client is left with one that nobody serves."""
        self.is_draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            status, body = 200, await self._answer(scope, receive)
        except Refusal as reason:
            status, body = reason.status, write_refusal(str(reason))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if self.is_draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        path, method = scope["path"], scope["method"]
        if path not in METHODS:
            raise Refusal(f"no such address; there are {', '.join(METHODS)}", 404)
        if method not in METHODS[path]:
            raise Refusal(f"{path} answers {' and '.join(METHODS[path])} only", 405)
        if path == "/version":
            return orjson.dumps({**self.served.card, "vocabulary": self.served.model.predictor.vocabulary})
        if path != "/invocations":
            return b"\n"
        headers = dict(scope["headers"])
        body = await self._read(receive, headers.get(b"content-length", b""))
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, self.served.answer, body, content_type, query)

    async def _read(self, receive: Receive, announced: bytes) -> bytes:
        limit, n_read, more = self.max_body_bytes, 0, True
        parts: list[bytes] = []
        is_hopeless = announced.isdigit() and int(announced) > DISCARDED * limit
        while more and not is_hopeless:
            message = await receive()
            part, more = message.get("body", b""), message.get("more_body", False)
            n_read += len(part)
            is_hopeless = n_read > DISCARDED * limit
            parts.append(part)
            if n_read > limit:
                parts.clear()
        if n_read > limit or is_hopeless:
            found = f"{int(announced) / 1e6:.1f} MB" if announced.isdigit() else "more"
            raise Refusal(
                f"{found} found; a body of at most {limit / 1e6:.1f} MB is read: send fewer units at once", 413
            )
        return b"".join(parts)


METHODS = {"/invocations": ("POST",), **dict.fromkeys(("/ping", "/health", "/version"), ("GET", "HEAD"))}
"""Address -> methods that it answers."""
