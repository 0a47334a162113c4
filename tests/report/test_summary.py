"""The page says what the numbers say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spikeprint.core.config import Params
from spikeprint.report.summary import render_summary

ROOT = Path(__file__).resolve().parents[2]
ALIKE = {"n_datasets": 2, "outside": []}
NOTHING_MADE: dict = {"ablation": "production"}


@pytest.fixture(scope="module")
def params() -> Params:
    return Params.load(ROOT / "params.yaml")


def make_validation(tables: dict, success: bool = True) -> dict:
    check = {"expectation": "ExpectColumnMeanToBeBetween", "column": "passes_qc", "success": success, "observed": 0.25}
    return {name: {"expectations": [check]} for name in tables}


@pytest.fixture
def render(params: Params, two_tables: dict, metrics_of: Callable) -> Callable[..., str]:
    def page(tables: dict = two_tables, level: float = 0.8, with_control: bool = True, success: bool = True) -> str:
        metrics = {name: metrics_of(name, tables, level, with_control) for name in params.ablations}
        return render_summary(params, tables, make_validation(tables, success), metrics, ALIKE, NOTHING_MADE, {})

    return page


def rows_of(page: str, first: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith(f"| {first}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_headline_names_the_registered_ablation_and_its_score(render: Callable, params: Params) -> None:
    headline = render().splitlines()[2]
    assert f"**{params.register_.ablation}**" in headline
    assert "**0.80**" in headline


@pytest.mark.parametrize(("level", "verdict"), [(0.8, "control: met"), (0.3, "not met")])
def test_gate_is_told(render: Callable, level: float, verdict: str) -> None:
    assert verdict in render(level=level)


def test_gate_fails_without_a_control(render: Callable) -> None:
    assert "there is no control" in render(with_control=False)


def test_data_table_counts_units_and_cell_types(render: Callable, two_tables: dict) -> None:
    table = two_tables["toy_silicon"]
    (row,) = rows_of(render(), "**toy_silicon**")
    n_labelled = int((table.labels != "").sum())
    assert row[3:6] == [str(len(table.labels)), str(int(table.metadata["passes_qc"].sum())), str(n_labelled)]
    assert row[6] == ", ".join(f"{name} {(table.labels == name).sum()}" for name in ("PV", "VIP"))


def test_a_modality_without_values_is_called_missing(render: Callable, odd_tables: dict) -> None:
    (row,) = rows_of(render(odd_tables), "**no_acg**")
    assert row[7] == "acg"


def test_every_ablation_and_readout_has_a_row(render: Callable, params: Params) -> None:
    page = render()
    registered, others = params.register_.ablation, [n for n in params.ablations if n != params.register_.ablation]
    assert len(rows_of(page, f"**`{registered}`**")) == 1
    assert {len(rows_of(page, f"`{name}`")) for name in others} == {3}


def test_score_cells_are_mean_and_sd(render: Callable, params: Params, two_tables: dict, metrics_of: Callable) -> None:
    (row,) = rows_of(render(), f"**`{params.register_.ablation}`**")
    score = metrics_of(params.register_.ablation, two_tables, 0.8)["datasets"]["toy_neuropixels"]["network"]
    found = score["balanced_accuracy"]
    assert row[2] == f"**{found['mean']:.2f} ± {found['sd']:.2f}**"


def test_only_parameters_that_differ_are_listed(render: Callable) -> None:
    page = render()
    assert rows_of(page, "`conditions`")
    assert not rows_of(page, "`coverage`")


def test_missed_expectations_are_told(render: Callable) -> None:
    assert "`toy_silicon`: ExpectColumnMeanToBeBetween passes_qc (observed 0.25)" in render(success=False)


def test_a_page_without_scores_says_so(params: Params, two_tables: dict) -> None:
    metrics = {name: {"datasets": {}, "overall": {}} for name in params.ablations}
    page = render_summary(params, two_tables, make_validation(two_tables), metrics, ALIKE, NOTHING_MADE, {})
    assert "No dataset has enough labelled units to be scored." in page


def test_tables_are_whole(render: Callable, odd_tables: dict) -> None:
    blocks = [block for block in render(odd_tables).split("\n\n") if block.startswith("|")]
    assert blocks
    assert all(len({line.count("|") for line in block.splitlines()}) == 1 for block in blocks)


def test_what_sets_datasets_apart_is_told(params: Params, two_tables: dict) -> None:
    metrics = {name: {"datasets": {}, "overall": {}} for name in params.ablations}
    apart = {"n_datasets": 2, "outside": [{"dataset": "toy_silicon", "column": "fwhm_ms_ks", "value": 0.75}]}
    page = render_summary(params, two_tables, make_validation(two_tables), metrics, apart, NOTHING_MADE, {})
    assert "* `toy_silicon`: fwhm_ms_ks 0.75" in page
    assert "(validation/_between/index.html)" in page


def test_a_single_dataset_is_compared_with_nothing(params: Params, two_tables: dict) -> None:
    metrics = {name: {"datasets": {}, "overall": {}} for name in params.ablations}
    page = render_summary(
        params, two_tables, make_validation(two_tables), metrics, {"n_datasets": 1, "outside": []}, NOTHING_MADE, {}
    )
    assert "_between" not in page


def test_the_page_links_to_the_validation_pages(render: Callable) -> None:
    (row,) = rows_of(render(), "**toy_silicon**")
    assert row[9] == "[valid, 1 of 1 expectations](validation/toy_silicon/index.html)"


def test_what_is_made_up_is_told(
    params: Params, two_tables: dict, metrics_of: Callable, generative_of: Callable
) -> None:
    metrics = {name: metrics_of(name, two_tables, 0.8) for name in params.ablations}
    made = generative_of(two_tables)
    page = render_summary(params, two_tables, make_validation(two_tables), metrics, ALIKE, made, {})
    rows = [row for row in rows_of(page, "**toy_silicon**") if row[1] in ("waveform", "isi", "acg")]
    assert [row[1] for row in rows] == ["waveform", "isi"]
    assert rows[0][2:] == ["30", "0.100", "0.200", "0.250", "1.000", "50%"]
    assert "nearer to those there in 1 of 2 cases (pair of datasets and modality), in 1 by more" in page
    assert "From PV to SOM the probability of the latter goes from 0.06 to 0.94." in page
    assert "Samples cover 60% of the real units (reconstructions: 70%)" in page


def test_nothing_made_up_is_told(render: Callable) -> None:
    assert "No dataset has units to be tested on." in render()


def test_what_sorters_found_has_a_row(
    params: Params, two_tables: dict, metrics_of: Callable, hybrid_of: Callable, render: Callable
) -> None:
    metrics = {name: metrics_of(name, two_tables, 0.8) for name in params.ablations}
    told = {"toy_hybrid": hybrid_of()}
    page = render_summary(params, two_tables, make_validation(two_tables), metrics, ALIKE, NOTHING_MADE, told)
    (row,) = rows_of(page, "`toy_hybrid`")
    assert row[1:8] == ["toy_recording (lupin)", "4", "1,200", "3", "2", "0.75", "0.80"]
    assert "(hybrid/toy_hybrid/score.png)" in row[8]
    told = {"toy_hybrid": hybrid_of(None)}
    page = render_summary(params, two_tables, make_validation(two_tables), metrics, ALIKE, NOTHING_MADE, told)
    assert rows_of(page, "`toy_hybrid`")[0][4:8] == ["0", "0", "–", "–"]
    assert "How well sorting finds neurons" not in render()
