"""Benchmarks start and write their rows; their numbers come from the full run, not from here."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


FIELDS = {"name", "value", "unit", "target", "holds", "peer", "peer_value", "ratio"}


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))])
def test_the_quick_run_writes_rows(name: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    words = [sys.executable, ROOT / "benchmarks" / f"{name}.py", "--quick", "--json", out]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    rows = json.loads(out.read_text())
    assert rows
    assert all(set(row) >= FIELDS for row in rows)
    assert done.returncode == int(not all(row["holds"] for row in rows))
    assert all(row["name"] in done.stdout for row in rows)


def test_a_target_is_for_the_value_or_for_the_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("_common", ROOT / "benchmarks" / "_common.py")
    common = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(common)
    peer = common.Peer("theirs", 8.0, 4.0)
    rows = [
        common.make_row("no target", 2, "s"),
        common.make_row("at most", 2, "s", common.Target(2.0), peer),
        common.make_row("at least", 2, "s", common.Target(2.5, at_least=True), peer),
        common.make_row("times", 2, "s", common.Target(3.0, at_least=True, of_ratio=True), peer, load=1.5),
    ]
    assert [row["holds"] for row in rows] == [True, True, False, True]
    assert (rows[3]["peer"], rows[3]["peer_value"], rows[3]["ratio"], rows[3]["load"]) == ("theirs", 8.0, 4.0, 1.5)
    assert common.report(rows, tmp_path / "rows.json") == 1
    assert common.report(rows[:2], None) == 0
    assert json.loads((tmp_path / "rows.json").read_text()) == rows
    assert "MISSED (>= 2.5)" in capsys.readouterr().out
