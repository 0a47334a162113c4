"""Every hard rule: broken once, told once, where it is."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from spikeprint.core.types import MODALITIES, UnitTable
from spikeprint.validate.schemas import MAX_CASES, MESSAGES, Failure, check_canonical, format_failures

Frames = dict[str, pd.DataFrame]


def put(file: str, row: int, column: str, value: object) -> Callable[[Frames], None]:
    """Change one cell (row counted from 1)."""

    def change(frames: Frames) -> None:
        if isinstance(value, str) and frames[file][column].dtype != "str":
            frames[file] = frames[file].astype({column: "str"})
        frames[file].loc[row - 1, column] = value

    return change


def swap(file: str, *columns: str) -> Callable[[Frames], None]:
    """Exchange two columns."""

    def change(frames: Frames) -> None:
        order = list(frames[file].columns)
        i, j = map(order.index, columns)
        order[i], order[j] = order[j], order[i]
        frames[file] = frames[file][order]

    return change


def put_pair(frames: Frames) -> None:
    put("acg.csv", 9, "acg_m005", 1.5)(frames)
    put("acg.csv", 9, "acg_p005", 1.5)(frames)


def empty_pairs(frames: Frames) -> None:
    frames["acg.csv"].loc[5] = 0.0


BROKEN: dict[str, tuple[Callable[[Frames], object], list[tuple[str, int | None, str | None, str]]]] = {
    "waveform inf": (put("waveforms.csv", 8, "w03", np.inf), [("waveforms.csv", 8, "w03", "finite")]),
    "waveform in part": (put("waveforms.csv", 8, "w03", np.nan), [("waveforms.csv", 8, None, "whole_row")]),
    "waveform text": (put("waveforms.csv", 8, "w03", "n.a."), [("waveforms.csv", 8, "w03", "number")]),
    "acg too large": (put("acg.csv", 2, "acg_p003", 2e30), [("acg.csv", 2, "acg_p003", "finite_not_negative")]),
    "isi negative": (put("isi_dist.csv", 1, "isi_099", -1), [("isi_dist.csv", 1, "isi_099", "finite_not_negative")]),
    "isi inf": (put("isi_dist.csv", 1, "isi_099", np.inf), [("isi_dist.csv", 1, "isi_099", "finite_not_negative")]),
    "isi fraction": (put("isi_dist.csv", 2, "isi_005", 0.5), [("isi_dist.csv", 2, "isi_005", "whole")]),
    "acg in part": (put("acg.csv", 7, "acg_p100", np.nan), [("acg.csv", 7, None, "whole_row")]),
    "acg asymmetric": (put("acg.csv", 7, "acg_p001", 90), [("acg.csv", 7, None, "symmetric")]),
    "acg centre": (put("acg.csv", 7, "acg_p000", 2), [("acg.csv", 7, "acg_p000", "centre_zero")]),
    "acg fractions": (put_pair, [("acg.csv", 9, "acg_m005", "whole"), ("acg.csv", 9, "acg_p005", "whole")]),
    "acg without pairs": (empty_pairs, [("acg.csv", 6, None, "acg_covers_isi")]),
    "too many intervals": (put("metadata.csv", 1, "n_spikes", 5.0), [("isi_dist.csv", 1, None, "isi_within_spikes")]),
    "id repeats": (put("metadata.csv", 9, "unit_id", "u2"), [("metadata.csv", 9, "unit_id", "unique")]),
    "id empty": (put("metadata.csv", 9, "unit_id", ""), [("metadata.csv", 9, "unit_id", "not_empty")]),
    "scalar inf": (put("metadata.csv", 9, "firing_rate_hz", np.inf), [("metadata.csv", 9, "firing_rate_hz", "finite")]),
    "qc as text": (put("metadata.csv", 9, "passes_qc", "yes"), [("metadata.csv", None, "passes_qc", "type")]),
    "column order": (
        swap("isi_dist.csv", "isi_000", "isi_001"),
        [("isi_dist.csv", None, "isi_001", "columns"), ("isi_dist.csv", None, "isi_000", "columns")],
    ),
    "column missing": (lambda f: f["acg.csv"].pop("acg_p100"), [("acg.csv", None, "acg_p100", "columns")]),
    "column extra": (lambda f: f["acg.csv"].insert(201, "x", 1.0), [("acg.csv", None, "x", "columns")]),
    "no unit_id": (lambda f: f["metadata.csv"].pop("unit_id"), [("metadata.csv", None, "unit_id", "columns")]),
    "two label columns": (lambda f: f["labels.csv"].insert(0, "x", "a"), [("labels.csv", None, "x", "columns")]),
    "fewer labels": (
        lambda f: f.update({"labels.csv": f["labels.csv"].head(29)}),
        [("labels.csv", None, None, "row_count")],
    ),
    "one class": (
        lambda f: f["labels.csv"].replace("SOM", "PV", inplace=True),
        [("labels.csv", None, "cell_type", "classes")],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_told_once_and_located(frames: Frames, table: UnitTable, case: str) -> None:
    spoil, expected = BROKEN[case]
    spoil(frames)
    failures = check_canonical(frames, table.card)
    assert [(f.file, f.row, f.column, f.check) for f in failures] == expected
    assert all(f.found and f.message == MESSAGES[f.check] for f in failures)


def test_good_features_pass(frames: Frames, table: UnitTable) -> None:
    assert check_canonical(frames, table.card) == []


def test_faults_of_all_files_are_told_together(frames: Frames, table: UnitTable) -> None:
    for spoil, _ in (
        BROKEN[case] for case in ("waveform inf", "isi negative", "acg centre", "id repeats", "one class")
    ):
        spoil(frames)
    failures = check_canonical(frames, {**table.card, "technology": "telepathy"})
    assert len(failures) == 6
    assert {f.file for f in failures} == {*frames, "representation.json"}


@pytest.mark.parametrize(
    "case", ["isi fraction", "acg asymmetric", "acg centre", "too many intervals", "acg fractions"]
)
def test_rules_of_counts_do_not_bind_other_representations(frames: Frames, table: UnitTable, case: str) -> None:
    BROKEN[case][0](frames)
    legacy = {"representation": "legacy"}
    assert check_canonical(frames, {**table.card, "isi": legacy, "acg": legacy}) == []


def test_all_unlabelled_passes(frames: Frames, table: UnitTable) -> None:
    frames["labels.csv"]["cell_type"] = ""
    assert check_canonical(frames, table.card) == []


def test_a_modality_may_be_missing_everywhere(frames: Frames, table: UnitTable) -> None:
    frames["acg.csv"].loc[:] = np.nan
    assert check_canonical(frames, table.card) == []


@pytest.mark.parametrize("key", ["dataset", "technology", "species", "format", "source_md5", *MODALITIES])
def test_the_card_needs_its_keys(frames: Frames, table: UnitTable, key: str) -> None:
    del table.card[key]
    (failure, *_) = check_canonical(frames, table.card)
    assert failure == Failure("representation.json", None, key, "card", "missing", MESSAGES["card"])


def test_numbers_of_failures_stay_bounded(table: UnitTable) -> None:
    n = 3000
    frames = {
        m.file: pd.DataFrame(np.full((n, m.length), np.nan), columns=list(m.columns)) for m in MODALITIES.values()
    }
    frames["isi_dist.csv"].loc[:] = -1.0
    frames["labels.csv"] = pd.DataFrame({"cell_type": pd.Series([""] * n, dtype="str")})
    frames["metadata.csv"] = pd.DataFrame({"unit_id": np.arange(n).astype(str), "passes_qc": True, "qc_reason": ""})
    frames["metadata.csv"] = frames["metadata.csv"].astype({"unit_id": "str", "qc_reason": "str"})
    assert len(check_canonical(frames, table.card)) == MAX_CASES * 100


def test_60000_units_take_seconds(table: UnitTable) -> None:
    rng, n = np.random.default_rng(0), 60_000
    frames = {m.file: pd.DataFrame(rng.random((n, m.length)), columns=list(m.columns)) for m in MODALITIES.values()}
    frames["labels.csv"] = pd.DataFrame({"cell_type": pd.Series(["a", "b"] * (n // 2), dtype="str")})
    frames["metadata.csv"] = pd.DataFrame({"unit_id": pd.Series(np.arange(n).astype(str), dtype="str")})
    frames["metadata.csv"] = frames["metadata.csv"].assign(passes_qc=True, qc_reason=pd.Series([""] * n, dtype="str"))
    legacy = {"representation": "legacy"}
    started = time.process_time()
    assert check_canonical(frames, {**table.card, "isi": legacy, "acg": legacy}) == []
    assert time.process_time() - started < 5


def test_failures_are_grouped_for_people() -> None:
    failures = [Failure("acg.csv", row, "acg_p001", "whole", "0.5", "a whole number") for row in range(1, 15)]
    failures.append(Failure("labels.csv", None, "cell_type", "classes", "1 class", "at least 2"))
    assert format_failures(failures, limit=2).splitlines() == [
        "acg.csv: a whole number (14 found)",
        "  row 1, column acg_p001: 0.5",
        "  row 2, column acg_p001: 0.5",
        "  ... and 12 more",
        "labels.csv: at least 2 (1 found)",
        "  column cell_type: 1 class",
    ]
