"""Pairs: what may be drawn, how often, and that layouts and shortcuts leave the distribution as it was."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp

from spikeprint.core.errors import PopulationError
from spikeprint.population.criterion import TILE, build_criterion, info_nce
from spikeprint.population.labels import Label, LabelSpec
from spikeprint.population.neighbours import ClassRows, LabelIndex, draw_within
from spikeprint.population.pools import Pool, Rules, check_classes, make_pool
from spikeprint.population.sampling import Sampler

OFFSET = (2, 3)


def pool_of(
    labels: list[Label], rules: Rules, lengths: tuple[int, ...] = (300,), valid: np.ndarray | None = None
) -> tuple[Pool, LabelSpec]:
    n = sum(lengths)
    valid = np.ones(n, dtype=bool) if valid is None else valid
    spec = LabelSpec.fit([labels], "raw", [valid])
    return make_pool(np.repeat(np.arange(len(lengths)), lengths), valid, spec.apply(labels, valid), rules, spec), spec


def rows_of(session: dict, name: str) -> np.ndarray:
    """The rows that a batch pairs, whatever its layout."""
    runs = [(starts[:, None] + torch.arange(length)).reshape(-1) for starts, length in session["runs"]]
    return torch.cat(runs)[session[name]].numpy()


@pytest.mark.parametrize("layout", ["iid", "block", "full"])
def test_pairs_in_time_stay_in_their_segment_and_references_are_uniform(layout: str) -> None:
    valid = np.ones(120, dtype=bool)
    valid[50] = False
    rules = Rules("time", (4,), OFFSET)
    pool, _ = pool_of([], rules, (40, 40, 40), valid)
    sampler = Sampler((pool,), rules, 256, None, layout)  # type: ignore[arg-type]
    rng, seen = np.random.default_rng(0), []
    for _ in range(80):
        (session,) = sampler.draw(rng)["sessions"]
        reference, positive = rows_of(session, "reference"), rows_of(session, "positive")
        assert (positive == reference + 4).all()
        assert (positive // 40 == reference // 40).all()
        seen.append(reference)
    windows = np.concatenate(seen)[:, None] + np.arange(-2, 3)
    assert not (windows == 50).any()
    # rows of one run come together: thin them before asking whether all are equally likely
    counts = np.bincount(
        np.concatenate([np.random.default_rng(1).permutation(part)[:15] for part in seen]), minlength=120
    )
    assert (counts[pool.references] > 0).all()
    assert chisquare(counts[pool.references]).pvalue > 1e-3


def test_a_run_never_meets_its_own_rows_as_negatives() -> None:
    rules = Rules("time", (4,), OFFSET)
    pool, _ = pool_of([], rules, (400,))
    batch = Sampler((pool, pool), rules, 64, None, "block").draw(np.random.default_rng(0))
    group = batch["group"].numpy()
    assert (batch["negative_group"].numpy() == group).all()
    assert len(set(group)) == 2 * len(batch["sessions"][0]["runs"][0][0])


@pytest.mark.parametrize("width", [1, 4, 12])
def test_the_nearest_value_is_that_of_brute_force(width: int) -> None:
    rng = np.random.default_rng(width)
    values = rng.normal(size=(400, width)).round(1)
    queries = rng.normal(size=(200, width))
    index = LabelIndex.build(values, np.arange(400))
    found = np.linalg.norm(values[index.draw(queries, rng)] - queries, axis=1)
    brute = np.linalg.norm(values[None] - queries[:, None], axis=2).min(axis=1)
    assert np.allclose(found, brute, atol=1e-6)


def test_rows_of_equal_value_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(np.arange(5.0), 12)[:, None]
    index = LabelIndex.build(values, np.arange(60))
    drawn = index.draw(np.full((6000, 1), 3.2), rng)
    counts = np.bincount(drawn, minlength=60)
    assert counts[36:48].sum() == 6000
    assert chisquare(counts[36:48]).pvalue > 1e-3


def test_one_value_alone_is_always_found() -> None:
    index = LabelIndex.build(np.ones((3, 1)), np.arange(3))
    assert set(index.draw(np.array([[5.0], [-1.0]]), np.random.default_rng(0))) <= {0, 1, 2}


def test_within_a_class_the_nearest_row_is_of_that_class() -> None:
    rng = np.random.default_rng(0)
    values, codes = rng.normal(size=(200, 2)), np.arange(200) % 2
    indices = {c: LabelIndex.build(values[codes == c], np.flatnonzero(codes == c)) for c in (0, 1)}
    queries, asked = rng.normal(size=(50, 2)), np.arange(50) % 2
    rows = draw_within(indices, queries, asked, rng)
    assert (codes[rows] == asked).all()
    for row, query, code in zip(rows, queries, asked, strict=True):
        distances = np.linalg.norm(values - query, axis=1)
        assert np.isclose(distances[row], distances[codes == code].min())


def test_classes_of_any_name_are_drawn_equally_often() -> None:
    rng = np.random.default_rng(0)
    codes = np.array([0] * 90 + [1] * 10)
    rows = ClassRows.build(codes, np.arange(100), 3).draw_uniform(4000, rng)  # a class without rows is never drawn
    assert abs(codes[rows].mean() - 0.5) < 0.03


def test_steps_of_a_label_never_cross_a_border_and_circles_close() -> None:
    jump = np.repeat([0.0, 100.0, 200.0], 100)[:, None]
    pool, _ = pool_of([Label("continuous", jump)], Rules("time_delta", (5,), OFFSET), (100, 100, 100))
    assert (pool.steps == 0).all()
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)[:, None]
    pool, _ = pool_of([Label("continuous", angle, 2 * np.pi)], Rules("time_delta", (1,), (0, 1)))
    assert pool.values.shape == (300, 2)
    assert pool.nearest[0].draw(np.array([[np.cos(-0.01), np.sin(-0.01)]]), np.random.default_rng(0)) in (299, 0)


@pytest.mark.parametrize("mode", ["time_delta", "delta"])
def test_positives_differ_from_references_as_the_rule_says(mode: str) -> None:
    rng = np.random.default_rng(0)
    label = np.cumsum(rng.normal(size=3000))[:, None] % 50
    rules = Rules(mode, (10,), OFFSET, delta=np.array([2.0]))
    pool, _ = pool_of([Label("continuous", label)], rules, (3000,))
    (session,) = (batch := Sampler((pool,), rules, 2000, None, "iid").draw(rng))["sessions"]
    gap = label[rows_of(session, "positive")[batch["order"]], 0] - label[rows_of(session, "reference"), 0]
    inner = (label[rows_of(session, "reference"), 0] > 12) & (label[rows_of(session, "reference"), 0] < 38)
    expected = rng.normal(0, 2, 2000) if mode == "delta" else rng.choice(pool.steps[:, 0], 2000)
    expected = expected[np.abs(expected) < 10]
    found = gap[inner]
    assert ks_2samp(found[np.abs(found) < 10], expected).pvalue > 1e-3


def test_sessions_answer_equally_often_and_pairs_find_each_other() -> None:
    rng = np.random.default_rng(0)
    labels = [np.sort(rng.uniform(0, 10, n))[:, None] for n in (400, 700)]
    rules = Rules("delta", (1,), OFFSET, delta=np.array([0.01]))
    pools = tuple(pool_of([Label("continuous", label)], rules, (len(label),))[0] for label in labels)
    batch = Sampler(pools, rules, 256, None, "iid").draw(rng)
    found, asked = [], []
    for label, session in zip(labels, batch["sessions"], strict=True):
        found.append(label[rows_of(session, "positive"), 0])
        asked.append(label[rows_of(session, "reference"), 0])
    assert [len(part) for part in found] == [256, 256]
    gap = np.concatenate(found)[batch["order"].numpy()] - np.concatenate(asked)
    assert np.abs(gap).max() < 0.2


def test_a_class_that_a_session_lacks_is_named_with_it() -> None:
    rules = Rules("discrete", (1,), OFFSET)
    labels = [np.arange(100) % 3, np.arange(100) % 2]
    spec = LabelSpec.fit([[Label("discrete", label)] for label in labels], "raw", [np.ones(100, dtype=bool)] * 2)
    valid = np.ones(100, dtype=bool)
    pools = [
        make_pool(np.zeros(100, dtype=int), valid, spec.apply([Label("discrete", label)], valid), rules, spec)
        for label in labels
    ]
    with pytest.raises(PopulationError, match=r"session 'b' has no usable row of class .*2"):
        check_classes(pools, spec, ["a", "b"])


def test_all_invalid_rows_leave_no_reference() -> None:
    with pytest.raises(PopulationError, match="no row of 100 can be a reference"):
        pool_of([], Rules("time", (4,), OFFSET), (100,), np.zeros(100, dtype=bool))


def test_negatives_of_the_batch_have_the_loss_of_fresh_ones() -> None:
    """At fixed embeddings; the baseline of each is the log of its number of negatives."""
    rng = np.random.default_rng(0)
    rules = Rules("time", (3,), OFFSET)
    pool, _ = pool_of([], rules, (600,))
    flat = torch.nn.functional.normalize(torch.from_numpy(np.cumsum(rng.normal(size=(600, 3)), axis=0)).float(), dim=1)
    criterion = build_criterion("cosine", "constant", 0.3, None)

    def bits(sampler: Sampler) -> np.ndarray:
        values = []
        for _ in range(2000):
            batch = sampler.draw(rng)
            (session,) = batch["sessions"]
            reference, positive = (flat[rows_of(session, name)] for name in ("reference", "positive"))
            negative = flat[rows_of(session, "negative")] if "negative" in session else reference
            loss = info_nce(criterion, reference, positive, negative, batch["group"], batch["negative_group"])
            values.append(float(loss.total - loss.log_negatives))
        return np.array(values)

    fresh, own = bits(Sampler((pool,), rules, 128, 128, "iid")), bits(Sampler((pool,), rules, 128, None, "iid"))
    error = np.sqrt(fresh.var() / 2000 + own.var() / 2000)
    assert abs(fresh.mean() - own.mean()) < 4 * error


def test_a_collapsed_embedding_has_the_log_of_its_negatives_as_loss() -> None:
    constant = torch.ones(64, 3) / 3**0.5
    criterion = build_criterion("cosine", "constant", 0.1, None)
    group = torch.arange(64)
    loss = info_nce(criterion, constant, constant, constant, group, group)
    assert float(loss.total) == pytest.approx(np.log(63), abs=1e-4)
    assert float(loss.log_negatives) == pytest.approx(np.log(63), abs=1e-6)


@pytest.mark.parametrize("tile", [2**12, 2**30])
def test_tiles_of_the_loss_change_neither_value_nor_gradient(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TILE, "cpu", tile)
    torch.manual_seed(0)
    data = [torch.nn.functional.normalize(torch.randn(2000, 4), dim=1) for _ in range(2)]
    negative = data[0][:300].clone()
    criterion = build_criterion("cosine", "auto", 0.5, 0.1)
    reference, others = data[0].clone().requires_grad_(), negative.clone().requires_grad_()
    loss = info_nce(criterion, reference, data[1], others, torch.arange(2000), torch.arange(300))
    loss.total.backward()
    slope = criterion.log_inverse_temperature.grad.clone()
    criterion.zero_grad()
    plain = data[0].clone().requires_grad_()
    plain_others = negative.clone().requires_grad_()
    near, far = criterion._distance(plain, data[1], plain_others)
    far = far.masked_fill(torch.arange(2000)[:, None] == torch.arange(300), -torch.inf)
    expected = -near.mean() + torch.logsumexp(far, dim=1).mean()
    expected.backward()
    assert float(loss.total) == pytest.approx(float(expected), rel=1e-5)
    assert float(loss.align) == pytest.approx(-float(near.mean()), rel=1e-5)
    assert torch.allclose(others.grad, plain_others.grad, atol=1e-6)
    assert torch.allclose(reference.grad, plain.grad, atol=1e-7)
    assert float(slope) == pytest.approx(float(criterion.log_inverse_temperature.grad), rel=1e-4)
    assert slope.abs() > 0
