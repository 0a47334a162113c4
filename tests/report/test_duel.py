import re

import numpy as np
import pandas as pd
import pytest

from spikeprint.evaluate.paired import compare_predictions
from spikeprint.report.duel import calibration_error, class_recalls, reliability, render_duel


def make_predictions(seed: int, share: float, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    actual = np.array(["PV", "SOM", "<VIP>"])[np.arange(n) % 3]
    wrong = rng.random(n) > share
    return pd.DataFrame(
        {
            "dataset": np.where(np.arange(n) < n / 2, "left", "right"),
            "unit_id": [f"u{i}" for i in range(n)],
            "cell_type": actual,
            "fold": 0,
            "predicted": np.where(wrong, np.roll(actual, 1), actual),
            "confidence": np.where(wrong, 0.55, 0.95),
        }
    )


@pytest.fixture
def found():
    return compare_predictions(make_predictions(0, 0.7), make_predictions(1, 0.9), 500)


@pytest.fixture
def page(found):
    gates = [("balanced accuracy", "0.900", ">= 0.5", "yes", ""), ("lineage", "incomplete", "complete", "NO", "a & b")]
    facts = {f"version {n}": {"commit": f"c{n}", "data": "d"} for n in (1, 2)}
    return render_duel("m @production", found, gates, facts)


def test_the_page_needs_no_network_and_no_script(page: str) -> None:
    assert "<script" not in page
    assert not re.search(r'(?:src|href)=(?!"#)', page)
    assert page.count("<svg") == 3
    assert set(re.findall(r"https?://[^\"' >]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_page_tells_verdict_scores_and_changed_units(page: str, found) -> None:
    assert "version 2 against version 1" in page
    assert "refused: lineage" in page
    assert str(found.overall) in page
    left = found.datasets[0]
    lost = int((left.hits("champion") & ~left.hits("challenger")).sum())
    assert f"left: {lost} lost, " in page
    for unit in left.changed["unit_id"]:
        assert f"<td>{unit}</td>" in page


def test_words_of_the_data_are_no_markup(page: str) -> None:
    assert "&lt;VIP&gt;" in page
    assert "<VIP>" not in page
    assert "a &amp; b" in page


def test_the_same_comparison_gives_the_same_page(page: str, found) -> None:
    facts = {f"version {n}": {"commit": f"c{n}", "data": "d"} for n in (1, 2)}
    first, second = (render_duel("m", found, [], facts) for _ in range(2))
    assert first == second


def test_long_lists_are_cut_and_say_so() -> None:
    before, after = make_predictions(0, 1.0, 900), make_predictions(0, 1.0, 900)
    after["predicted"] = "none"
    facts = {f"version {n}": {"commit": "c"} for n in (1, 2)}
    page = render_duel("m", compare_predictions(before, after, 300), [], facts)
    assert "left: 450 lost" in page
    assert "150 more are not listed" in page


def test_numbers_behind_the_figures(found) -> None:
    one = found.datasets[0]
    names, recalls = class_recalls(one)
    assert np.mean(recalls["challenger"]) == pytest.approx(one.challenger.value)
    assert len(names) == 3
    confidence, accuracy, counts = reliability(one, "champion")
    assert counts.sum() == len(one.pairs)
    np.testing.assert_allclose(confidence, [0.55, 0.95])
    np.testing.assert_allclose(accuracy, [0, 1])
    assert 0 < calibration_error(one, "champion") < 0.5
