"""Files from the web. Enters: addresses, size and SHA-256. Leaves: the whole, verified file, or a part to go on from.

Bytes go to ``<target>.part``; only a file of the right size and checksum is renamed to ``target``. A part is continued
by an HTTP range, also after the program was killed and also from another mirror.
"""

import hashlib
import http.client
import logging
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from urllib.parse import urlsplit

from ..core.errors import ConfigError, DataError

LOGGER = logging.getLogger(__name__)
SCHEMES = ("http", "https")
BLOCK = 1 << 18
TIMEOUT_S = 30.0
ATTEMPTS = 3
"""Tries of one address before the next."""
PAUSE_S = 1.0
"""Before the second try; twice that before the third."""
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP codes that may pass; any other sends us to the next address."""

Progress = Callable[[int, int], None]
"""Called with bytes there and bytes in all."""


@dataclass(frozen=True)
class _Wanted:
    """What must be there in the end."""

    target: Path
    sha256: str
    size: int
    progress: Progress | None

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    def n_there(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0


class _FailedError(Exception):
    """One try of one address failed; ``final`` = no use to ask there again."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def download(urls: Sequence[str], target: Path, sha256: str, size: int, progress: Progress | None = None) -> bool:
    """Put a file at ``target``; return False when it was there already and nothing was transferred.

    Parameters
    ----------
    urls : addresses of the same file, tried in this order
    target : path of the file; ``<target>.part`` beside it holds what has come so far
    sha256, size : what the file must be: hex digest and bytes
    progress : called after every block

    Raises
    ------
    ConfigError
        An address is neither http nor https.
    DataError
        No address gave the file (each is listed with its reason), the disk is full, or the folder is not writable.
    """
    for url in urls:
        _check_address(url)
    wanted = _Wanted(Path(target), sha256, size, progress)
    if wanted.target.is_file() and wanted.target.stat().st_size == size and hash_sha256(wanted.target) == sha256:
        return False
    with _disk(wanted):
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
    _check_space(wanted)
    reasons = []
    for url in urls:
        reason = _try_address(url, wanted)
        if reason is None:
            with _disk(wanted):
                os.replace(wanted.part, wanted.target)
            return True
        reasons.append(f"{url}: {reason}")
    kept = f"; {wanted.part} keeps {wanted.n_there()} bytes, run it again to go on" if wanted.n_there() else ""
    raise DataError(f"{wanted.target}: not downloaded: {'; '.join(reasons)}{kept}")


def read_url(url: str, limit: int) -> bytes:
    """Return what is at an address whose content is not known beforehand; more than ``limit`` bytes are refused.

    Raises
    ------
    ConfigError
        The address is neither http nor https.
    DataError
        Nothing came, or too much; the message holds address and reason.
    """
    _check_address(url)
    request = urllib.request.Request(url, headers={"User-Agent": "spikeprint"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            content, announced = response.read(limit + 1), response.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        raise DataError(f"{url}: HTTP {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{url}: no connection ({getattr(error, 'reason', None) or error})") from None
    if len(content) > limit:
        raise DataError(f"{url}: more than {limit} bytes; not what is looked for")
    if announced.isdigit() and len(content) < int(announced):
        raise DataError(f"{url}: connection lost, {len(content)} of {announced} bytes came")
    return content


def _check_address(url: str) -> None:
    if urlsplit(url).scheme not in SCHEMES or not urlsplit(url).netloc:
        raise ConfigError(f"'{url}': not an http or https address")


def hash_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _try_address(url: str, wanted: _Wanted) -> str | None:
    """Why an address did not give the file, None when it did."""
    reason = ""
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_S * attempt)
        is_resumed = wanted.n_there() > 0
        try:
            if not wanted.part.is_file() or wanted.n_there() != wanted.size:
                _transfer(url, wanted)
            _check_content(wanted, is_resumed)
        except _FailedError as failed:
            reason = str(failed)
            LOGGER.debug("%s: try %d: %s", url, attempt + 1, reason)
            if failed.final:
                return reason
        else:
            return None
    return f"{reason} ({ATTEMPTS} tries)"


def _check_content(wanted: _Wanted, is_resumed: bool) -> None:
    """Compare the part with what is needed; a wrong one is deleted. A resumed one may be two halves of two files."""
    n_bytes = wanted.n_there()
    if n_bytes < wanted.size:
        raise _FailedError(f"the transfer ended after {n_bytes} of {wanted.size} bytes")
    found = hash_sha256(wanted.part)
    if found != wanted.sha256:
        wanted.part.unlink()
        raise _FailedError(f"wrong content: SHA-256 is {found}, {wanted.sha256} is needed", final=not is_resumed)


def _transfer(url: str, wanted: _Wanted) -> None:
    """Add what an address sends to the part, from its start where the server cannot continue."""
    start = wanted.n_there()
    if start > wanted.size:
        wanted.part.unlink()
        start = 0
    request = urllib.request.Request(url, headers={"User-Agent": "spikeprint"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            is_continued = _check_answer(response, start, wanted)
            _receive(response, "ab" if is_continued else "wb", wanted)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is not a beginning of what is there: start over
            wanted.part.unlink(missing_ok=True)
        raise _FailedError(f"HTTP {error.code} {error.reason}", final=error.code not in AGAIN | {416}) from None
    except urllib.error.URLError as error:
        raise _FailedError(f"no connection ({getattr(error.reason, 'strerror', None) or error.reason})") from None
    except TimeoutError:
        raise _FailedError(f"no answer for {TIMEOUT_S:g} s, {wanted.n_there()} of {wanted.size} bytes came") from None
    except (OSError, http.client.HTTPException) as error:
        told = type(error).__name__
        raise _FailedError(f"connection lost ({told}), {wanted.n_there()} of {wanted.size} bytes came") from None


def _check_answer(response: http.client.HTTPResponse, start: int, wanted: _Wanted) -> bool:
    """Whether the answer continues the part; raise when it announces another size than that of the file."""
    span, length = response.headers.get("Content-Range", ""), response.headers.get("Content-Length", "")
    is_continued = response.status == 206 and span.startswith(f"bytes {start}-")
    if response.status == 206 and not is_continued:
        wanted.part.unlink(missing_ok=True)
        raise _FailedError(f"bytes from {start} were asked for, '{span}' came")
    announced = span.rpartition("/")[2] if is_continued else length
    if announced.isdigit() and int(announced) != wanted.size:
        raise _FailedError(f"another file: {announced} bytes, {wanted.size} are needed", final=True)
    return is_continued


def _receive(response: http.client.HTTPResponse, mode: str, wanted: _Wanted) -> None:
    """Write the body to the part as it comes; unbuffered, so that a full disk is told here."""
    with _disk(wanted):
        file = FileIO(wanted.part, mode)
    with file:
        n_bytes = file.tell() if mode == "wb" else wanted.n_there()
        while block := response.read(BLOCK):
            n_bytes += len(block)
            if n_bytes > wanted.size:
                wanted.part.unlink()
                raise _FailedError(f"another file: more than the {wanted.size} bytes needed", final=True)
            with _disk(wanted):
                write_block(file, block)
            if wanted.progress:
                wanted.progress(n_bytes, wanted.size)


def write_block(file: FileIO, block: bytes) -> None:
    """Write all of ``block``; a raw file may take only a part of it at a time."""
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


def _check_space(wanted: _Wanted) -> None:
    """Raise before the first byte when the rest of the file does not fit."""
    missing, free = wanted.size - wanted.n_there(), shutil.disk_usage(wanted.target.parent).free
    if missing > free:
        raise DataError(
            f"{wanted.target}: {missing} more bytes are needed, {free} are free on this disk; "
            "free some space or choose another folder"
        )


@contextmanager
def _disk(wanted: _Wanted) -> Iterator[None]:
    """Tell what the disk refused, with the bytes needed and free; what came so far is kept."""
    try:
        yield
    except OSError as error:
        folder = wanted.target.parent
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        raise DataError(
            f"{wanted.target}: cannot be written ({error.strerror}): {wanted.size} bytes are needed, "
            f"{wanted.n_there()} are written, {free} are free; free some space or choose another folder"
        ) from None
