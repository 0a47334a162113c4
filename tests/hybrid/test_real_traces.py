"""Real raw traces, where there are any: with hybrid spikes, and back, bit for bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybrid_data import random_plan
from spikeprint.core.hybrid_params import HybridParams
from spikeprint.hybrid.files import apply, apply_in_place, remove
from spikeprint.io.hybrid.source import TRACES, RawSource, open_source
from spikeprint.io.traces.recordings import LAYOUT_FILE


def find_traces(folder: Path) -> list[Path]:
    """Folders of flat binaries: ``recording.json``, a probe file and traces."""
    found = [path.parent for path in sorted(folder.rglob(LAYOUT_FILE))]
    return [path for path in found if any(file.suffix in TRACES for file in path.iterdir())]


def copy_into(folder: Path, given: Path) -> RawSource:
    """A copy that may be changed."""
    folder.mkdir()
    for path in given.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return open_source(folder, HybridParams())


def test_real_traces_come_back(root: Path, tmp_path: Path) -> None:
    """A folder of ../shared/recordings with ``recording.json``, a probe file and raw traces, such as a tetrode's."""
    found = find_traces(root.parent / "shared" / "recordings")
    if not found:
        pytest.skip("no real raw traces are on this machine (../shared/recordings/<name>/recording.json)")
    for number, given in enumerate(found):
        source = copy_into(tmp_path / f"copy{number}", given)
        before = [path.read_bytes() for path in source.files]
        target = tmp_path / f"target{number}"
        target.mkdir()
        plan = random_plan(source, on_clip="clip", n_channels=source.n_channels)
        report = apply(plan, source, target, [f"{path.stem}.GT" for path in source.files])
        assert [path.read_bytes() for path in report.files] != before
        remove(plan, replace(source, files=report.files), target)
        assert [path.read_bytes() for path in report.files] == before
        apply_in_place(plan, source, target)
        remove(plan, source, target)
        assert [path.read_bytes() for path in source.files] == before
        assert len(np.unique(plan.channels)) >= min(source.n_channels, 3)
