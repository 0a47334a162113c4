"""A web server on this machine that can misbehave, for tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, how, and what was asked for.

    Attributes
    ----------
    files : path -> content
    cut : bytes after which the connection of the n-th request is closed, None = all are sent
    codes : HTTP code of the n-th request, 0 = the true one
    ranges : whether Range is understood
    asked : (path, Range header) of each request
    """

    files: dict[str, bytes]
    cut: list[int | None] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    ranges: bool = True
    lie: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve a site in a thread; ``site.url`` is its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range", "")
            site.asked.append((self.path, span))
            code = site.codes.pop(0) if site.codes else 0
            body = site.files.get(self.path)
            if code or body is None:
                self.send_error(code or 404)
                return
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span and site.ranges else 0
            if start and start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", site.lie or f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            end = site.cut.pop(0) if site.cut else None
            self.wfile.write(body[start : None if end is None else start + end])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
