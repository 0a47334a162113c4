"""``spikeprint fetch`` against a mirror on this machine."""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spikeprint.commands import add, fetch
from spikeprint.core.errors import ConfigError, DataError
from spikeprint.io import catalog
from spikeprint.io.catalog import CATALOG, RemoteFile
from web import Site, serve

BODIES = {"waveforms.csv": b"0,1\n1,2\n", "labels.csv": b"label\nPV\n"}


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A mirror of a small ``hausser_mouse``."""
    files = tuple(RemoteFile(name, hashlib.sha256(body).hexdigest(), len(body)) for name, body in BODIES.items())
    row = replace(CATALOG["hausser_mouse"], files=files, label_column="label", citation="Someone 2020")
    monkeypatch.setattr(catalog, "CATALOG", {**CATALOG, row.name: row})
    with serve(Site({f"/x/{row.name}/{name}": body for name, body in BODIES.items()})) as site:
        yield site


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is a project; the current one."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> int:
    """Run the verb as the command line would, without its error handling."""
    parser = argparse.ArgumentParser()
    fetch.add_arguments(parser)
    return fetch.run(parser.parse_args(words))


def test_files_come_and_the_next_step_is_told(project: Path, mirror: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("hausser_mouse", "--url", f"{mirror.url}/x/") == 0
    folder = project / "data" / "downloads" / "hausser_mouse"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == BODIES
    shown = capsys.readouterr().out
    assert "fetched hausser_mouse: 2 files, checksums agree" in shown
    assert "BSD-3-Clause; cite Someone 2020" in shown
    assert shown.rstrip().endswith(
        f"next: spikeprint add hausser_mouse {folder} --technology neuropixels --species mouse "
        "--representation legacy --label-column label"
    )


def test_twice_transfers_once(project: Path, mirror: Site, capsys: pytest.CaptureFixture[str]) -> None:
    call("hausser_mouse", "--url", f"{mirror.url}/x")
    call("hausser_mouse", "--url", f"{mirror.url}/x")
    assert len(mirror.asked) == 2
    assert "0 files, 2 were there" in capsys.readouterr().out


def test_to_a_folder_outside_any_project(
    tmp_path: Path, mirror: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    call("hausser_mouse", "--url", f"{mirror.url}/x", "--to", "my data", "--json")
    result = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in (tmp_path / "my data").iterdir()) == sorted(BODIES)
    assert result["files"][0] == {"path": "waveforms.csv", "bytes": 8, "transferred": True}
    assert (result["dataset"], result["folder"], result["bytes"]) == ("hausser_mouse", "my data", 17)
    assert result["next"].startswith("spikeprint add hausser_mouse 'my data' --technology")


@pytest.mark.parametrize("as_json", [True, False])
def test_add_runs_add_with_those_words(
    project: Path,
    mirror: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    def declare(parser: argparse.ArgumentParser) -> None:
        for name in ("name", "folder", "--technology", "--species", "--representation", "--label-column"):
            parser.add_argument(name)
        parser.add_argument("--json", action="store_true")

    def run(arguments: argparse.Namespace) -> int:
        sys.stdout.write(json.dumps(vars(arguments)) + "\n")
        return 0

    monkeypatch.setattr(add, "add_arguments", declare)
    monkeypatch.setattr(add, "run", run)
    words = ["--json"] if as_json else []
    assert call("hausser_mouse", "--url", f"{mirror.url}/x", "--add", *words) == 0
    shown = capsys.readouterr().out
    assert "next: " not in shown
    added = json.loads(shown)["added"] if as_json else json.loads(shown.splitlines()[-1])
    assert (added["name"], added["technology"], added["representation"]) == ("hausser_mouse", "neuropixels", "legacy")


def test_wrong_checksum_leaves_no_file(project: Path, mirror: Site) -> None:
    mirror.files["/x/hausser_mouse/labels.csv"] = b"label\nPX\n"
    with pytest.raises(DataError, match=r"labels\.csv: not downloaded: http://.*wrong content: SHA-256 is"):
        call("hausser_mouse", "--url", f"{mirror.url}/x")
    assert [path.name for path in (project / "data" / "downloads" / "hausser_mouse").iterdir()] == ["waveforms.csv"]


def test_without_a_public_address_nothing_is_written(project: Path, mirror: Site) -> None:
    with pytest.raises(ConfigError, match=r"has no public address .*--url"):
        call("hausser_mouse")
    assert not (project / "data").exists()


def test_usage_is_told(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"no dataset 'lakunina'; did you mean 'lakunina_mouse_a1'\?"):
        call("lakunina")
    with pytest.raises(ConfigError, match="no dataset named; `spikeprint fetch --list`"):
        call()
    (project / "file").write_text("x")
    with pytest.raises(ConfigError, match="file: a file; a folder is needed"):
        call("lakunina_mouse_a1", "--to", "file")


def test_list_for_people_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--list") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["name", "units", "MB", "technology"]
    assert [row.split()[0] for row in rows] == list(CATALOG)
    assert rows[2].split()[:5] == ["lisberger_macaque", "1152", "3.9", "metal_electrode", "macaque"]
    assert call("--list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["dataset"] for row in listed if not row["is_public"]] == ["hausser_mouse", "neonatal_slice_mouse"]


def test_progress_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = RemoteFile("a.csv", "0", 2_000_000)
    assert fetch._progress(file) is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    show = fetch._progress(file)
    show(1_000_000, 2_000_000)
    show(2_000_000, 2_000_000)
    assert capsys.readouterr().err == "\ra.csv: 1.0 of 2.0 MB\ra.csv: 2.0 of 2.0 MB\n"
    monkeypatch.setenv("SPIKEPRINT_QUIET", "1")
    assert fetch._progress(file) is None
