"""Downloads from a server that can misbehave: nothing but the whole, right file ever stands at the target."""

import errno
import hashlib
import http.client
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io import download as module
from spikeprint.io.download import download, hash_sha256, read_url, write_block
from web import Site, serve

BODY = np.random.default_rng(0).bytes(600_000)
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)


@pytest.fixture
def site() -> Iterator[Site]:
    """One file, ``/a``."""
    with serve(Site({"/a": BODY})) as site:
        yield site


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the file is wanted; its folder does not exist yet."""
    return tmp_path / "data" / "a.csv"


def part(target: Path) -> Path:
    """What has come so far."""
    return target.with_name("a.csv.part")


def fetch(target: Path, *urls: str, size: int = len(BODY), digest: str = DIGEST) -> bool:
    """Download the file of these tests."""
    return download(urls, target, digest, size)


def refusal(target: Path, *urls: str, **wanted: object) -> str:
    """The one line of a download that fails; nothing stands at the target."""
    with pytest.raises(DataError) as caught:
        fetch(target, *urls, **wanted)
    assert not target.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_whole_file_and_nothing_beside_it(site: Site, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert download([f"{site.url}/a"], target, DIGEST, len(BODY), lambda *there: seen.append(there))
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == ["a.csv"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert [n for n, _ in seen] == sorted({n for n, _ in seen})
    assert len(seen) >= 3


def test_a_complete_file_is_not_transferred_again(site: Site, target: Path) -> None:
    assert fetch(target, f"{site.url}/a")
    assert not fetch(target, f"{site.url}/a")
    assert len(site.asked) == 1


def test_a_damaged_file_is_replaced(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(bytes(len(BODY)))
    assert fetch(target, f"{site.url}/a")
    assert target.read_bytes() == BODY


def test_an_empty_file_is_a_file(target: Path) -> None:
    with serve(Site({"/a": b""})) as site:
        assert fetch(target, f"{site.url}/a", size=0, digest=hashlib.sha256(b"").hexdigest())
    assert target.read_bytes() == b""


def test_truncated_transfer_goes_on_where_it_stopped(site: Site, target: Path) -> None:
    site.cut = [100_000, 50_000]
    assert fetch(target, f"{site.url}/a")
    assert target.read_bytes() == BODY
    assert [span for _, span in site.asked] == ["", "bytes=100000-", "bytes=150000-"]


def test_truncated_every_time_is_told_and_the_part_kept(site: Site, target: Path) -> None:
    site.cut = [1000, 1000, 1000]
    told = refusal(target, f"{site.url}/a")
    assert f"{site.url}/a: the transfer ended after 3000 of 600000 bytes (3 tries)" in told
    assert told.endswith(f"{part(target)} keeps 3000 bytes, run it again to go on")
    assert part(target).read_bytes() == BODY[:3000]
    site.asked.clear()
    assert fetch(target, f"{site.url}/a")
    assert site.asked == [("/a", "bytes=3000-")]
    assert target.read_bytes() == BODY


def test_a_server_without_ranges_starts_over(site: Site, target: Path) -> None:
    site.ranges, site.cut = False, [100_000]
    assert fetch(target, f"{site.url}/a")
    assert target.read_bytes() == BODY


def test_an_answer_for_other_bytes_than_asked_is_not_appended(site: Site, target: Path) -> None:
    site.cut, site.lie = [100_000], f"bytes 7-99/{len(BODY)}"
    assert fetch(target, f"{site.url}/a")
    assert target.read_bytes() == BODY
    assert [span for _, span in site.asked] == ["", "bytes=100000-", ""]


def test_a_part_of_another_file_is_found_out_and_replaced(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(b"x" * 1000)
    assert fetch(target, f"{site.url}/a")
    assert target.read_bytes() == BODY
    assert [span for _, span in site.asked] == ["bytes=1000-", ""]


@pytest.mark.parametrize("content", [BODY, bytes(len(BODY)), BODY + b"more"], ids=["right", "wrong", "longer"])
def test_a_complete_part_is_verified(site: Site, target: Path, content: bytes) -> None:
    target.parent.mkdir()
    part(target).write_bytes(content)
    assert fetch(target, f"{site.url}/a")
    assert target.read_bytes() == BODY
    assert len(site.asked) == (content != BODY)


def test_wrong_content_is_deleted_and_told(target: Path) -> None:
    wrong = bytes(len(BODY))
    with serve(Site({"/a": wrong})) as site:
        told = refusal(target, f"{site.url}/a")
        assert len(site.asked) == 1
    assert f"SHA-256 is {hashlib.sha256(wrong).hexdigest()}, {DIGEST} is needed" in told
    assert list(target.parent.iterdir()) == []


def test_another_size_is_told_before_the_first_byte(site: Site, target: Path) -> None:
    told = refusal(target, f"{site.url}/a", size=5)
    assert f"{site.url}/a: another file: 600000 bytes, 5 are needed" in told
    assert len(site.asked) == 1
    assert not part(target).exists()


def test_more_bytes_than_needed_stop_the_transfer(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_check_answer", lambda *_: False)  # as if the server had told no length
    assert "more than the 300000 bytes needed" in refusal(target, f"{site.url}/a", size=300_000)
    assert not part(target).exists()


def test_404_goes_to_the_next_mirror(site: Site, target: Path) -> None:
    assert fetch(target, f"{site.url}/gone", f"{site.url}/a")
    assert [path for path, _ in site.asked] == ["/gone", "/a"]


def test_404_everywhere_lists_every_address(site: Site, target: Path) -> None:
    told = refusal(target, f"{site.url}/x", f"{site.url}/y")
    assert f"not downloaded: {site.url}/x: HTTP 404 Not Found; {site.url}/y: HTTP 404 Not Found" in told
    assert len(site.asked) == 2


def test_a_busy_server_is_asked_again(site: Site, target: Path) -> None:
    site.codes = [503, 429]
    assert fetch(target, f"{site.url}/a")
    assert len(site.asked) == 3


def test_416_starts_over(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(b"x" * 10)
    site.codes = [416]
    assert fetch(target, f"{site.url}/a")
    assert [span for _, span in site.asked] == ["bytes=10-", ""]


def test_a_part_goes_on_from_another_mirror(site: Site, target: Path) -> None:
    site.cut = [1000, 1000, 1000]
    with serve(Site({"/b": BODY})) as other:
        assert fetch(target, f"{site.url}/a", f"{other.url}/b")
        assert other.asked == [("/b", "bytes=3000-")]
    assert target.read_bytes() == BODY


def test_no_connection_is_told(target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a"
    assert f"{url}: no connection (Connection refused) (3 tries)" in refusal(target, url)


def test_a_silent_server_is_told(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        assert "no answer for 0.1 s, 0 of 600000 bytes came (3 tries)" in refusal(target, url)


@pytest.mark.parametrize("error", [ConnectionResetError(), http.client.IncompleteRead(b"")])
def test_a_lost_connection_is_told(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def lose(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", lose)
    assert f"connection lost ({type(error).__name__}), 0 of 600000 bytes came" in refusal(target, f"{site.url}/a")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "data/a.csv", "http:///a"])
def test_only_http_addresses(target: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="not an http or https address"):
        fetch(target, url)


def test_too_little_space_is_told_before_the_first_byte(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.parent.mkdir()
    part(target).write_bytes(BODY[:1000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    told = refusal(target, f"{site.url}/a")
    assert "599000 more bytes are needed, 7 are free on this disk; free some space or choose another folder" in told
    assert site.asked == []


def test_disk_full_on_the_way_keeps_the_part(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_blocks = iter(range(2))

    def fill(file: FileIO, block: bytes) -> None:
        if next(n_blocks, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_block(file, block)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_block", fill)
        told = refusal(target, f"{site.url}/a")
    there = part(target).stat().st_size
    assert 0 < there < len(BODY)
    assert f"cannot be written (No space left on device): 600000 bytes are needed, {there} are written, " in told
    assert fetch(target, f"{site.url}/a")
    assert site.asked[1:] == [("/a", f"bytes={there}-")]
    assert target.read_bytes() == BODY


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_write_block_tells_a_full_disk() -> None:
    with FileIO("/dev/full", "wb") as full, pytest.raises(OSError, match="No space left"):
        write_block(full, b"x")


def test_a_real_limit_of_the_system_is_told(site: Site, target: Path) -> None:
    pytest.importorskip("resource")
    code = (
        "import resource, sys; from pathlib import Path; from spikeprint.io.download import download\n"
        "from spikeprint.core.errors import DataError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try: download([sys.argv[1]], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))\n"
        "except DataError as error: sys.exit(str(error))"
    )
    words = [sys.executable, "-c", code, f"{site.url}/a", str(target), DIGEST, str(len(BODY))]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be written (File too large): 600000 bytes are needed, 300000 are written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert part(target).read_bytes() == BODY[:300_000]


def test_a_folder_that_is_a_file_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(DataError, match=r"a\.csv: cannot be written \(File exists\)"):
        fetch(tmp_path / "data" / "a.csv", f"{site.url}/a")


def test_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BODY)
    assert hash_sha256(tmp_path / "a") == DIGEST


def test_a_small_file_is_read_whole_or_not_at_all(site):
    assert read_url(f"{site.url}/a", len(BODY)) == BODY
    with pytest.raises(DataError, match=rf"/a: more than {len(BODY) - 1} bytes"):
        read_url(f"{site.url}/a", len(BODY) - 1)
    with pytest.raises(DataError, match="/b: HTTP 404"):
        read_url(f"{site.url}/b", 1)
    site.cut = [100]
    with pytest.raises(DataError, match=rf"/a: connection lost, 100 of {len(BODY)} bytes came"):
        read_url(f"{site.url}/a", len(BODY))
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1/a: no connection"):
        read_url("http://127.0.0.1:1/a", 1)
    with pytest.raises(ConfigError, match="not an http or https address"):
        read_url("file:///etc/hostname", 1)
