"""Benchmarks start and write their rows; their numbers come from the full run, not from here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py"))])
def test_the_quick_run_writes_rows(name: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    words = [sys.executable, ROOT / "benchmarks" / f"{name}.py", "--quick", "--json", out]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    rows = json.loads(out.read_text())
    assert rows
    assert all({"name", "value", "unit", "target", "holds"} <= set(row) for row in rows)
