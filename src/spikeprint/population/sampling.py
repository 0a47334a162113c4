"""Batches. Enters: pools and a way to lay out rows. Leaves: which runs of rows to embed, and which are paired.

A batch lists, for every session, runs of consecutive rows. The encoder passes over each run once; references, positives
and negatives are places in its output. Runs of one row are single windows, runs of 16 share most of the work, one run
over all rows is the whole recording: three layouts of one distribution, chosen by cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from .pools import MODES, RUN, Pool, Rules

Layout = Literal["iid", "block", "full"]


@dataclass(frozen=True)
class Sampler:
    """Draws batches from the pools of one or more sessions.

    Attributes
    ----------
    pools, rules : what may be paired, and how
    batch_size : references of each session; None = all of them, once each
    n_negatives : drawn apart from the references; None = the other references of the batch
    layout : how rows are laid out
    """

    pools: tuple[Pool, ...]
    rules: Rules
    batch_size: int | None
    n_negatives: int | None
    layout: Layout

    @cached_property
    def steps(self) -> np.ndarray:
        """Differences of the label, pooled over the sessions."""
        return np.concatenate([pool.steps for pool in self.pools])

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Return one batch.

        Returns
        -------
        ``sessions``: for each the runs (``starts``, ``length``) and places ``reference, positive, negative, time`` in
        the rows of the runs, put end to end; ``order``: place of each reference's positive among the positives of all
        sessions; ``group``, ``negative_group``: a negative of the reference's own group is none, that of -1 always is
        """
        draws = [self._draw_references(pool, rng) for pool in self.pools]
        positives, order = self._draw_positives(draws, rng)
        sessions, groups, negative_groups, n_groups = [], [], [], 0
        for number, (pool, draw) in enumerate(zip(self.pools, draws, strict=True)):
            negatives, own = self._draw_negatives(pool, draw, rng)
            sessions.append(_lay_out(pool, draw, positives[number], negatives, self.layout))
            groups.append(draw.group + n_groups)
            negative_groups.append(np.where(own < 0, -1, own + n_groups))
            n_groups += int(draw.group.max(initial=0)) + 1
        return {
            "sessions": sessions,
            "order": _long(order),
            "group": _long(np.concatenate(groups)),
            "negative_group": _long(np.concatenate(negative_groups)),
        }

    def _draw_references(self, pool: Pool, rng: np.random.Generator) -> "Draw":
        if self.batch_size is None:
            rows = pool.references
            return Draw(rows, np.arange(len(rows)), self._later(rows, None, rng))
        if self.layout == "block":
            return self._draw_runs(pool, self.batch_size, rng)
        if self.rules.by_class and pool.classes is not None:
            rows = pool.classes.draw_uniform(self.batch_size, rng)
        else:
            rows = pool.references[rng.integers(len(pool.references), size=self.batch_size)]
        return Draw(rows, np.arange(len(rows)), self._later(rows, None, rng))

    def _draw_runs(self, pool: Pool, n: int, rng: np.random.Generator) -> "Draw":
        """Runs whose start is uniform over all that touch a reference: every reference is then equally likely."""
        starts = pool.run_starts
        n_runs = max(2, round(n / (len(pool.references) * RUN / len(starts))))
        chosen = starts[rng.integers(len(starts), size=n_runs)]
        rows = chosen[:, None] + np.arange(RUN)
        keep = pool.is_reference[rows + RUN]
        group = np.repeat(np.arange(n_runs), RUN).reshape(n_runs, RUN)[keep]
        return Draw(rows[keep], group, self._later(rows[keep], group, rng), chosen)

    def _later(self, rows: np.ndarray, group: np.ndarray | None, rng: np.random.Generator) -> np.ndarray | None:
        """The partner in time of every reference, where the rules ask for one."""
        if not self.rules.needs_partner:
            return None
        steps = np.asarray(self.rules.time_offsets)
        return rows + (steps[0] if len(steps) == 1 else rng.choice(steps, size=len(rows)))

    def _draw_positives(self, draws: Sequence["Draw"], rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
        """Rows of the positives in each session, and where among all of them each reference finds its own."""
        mode = MODES[self.rules.mode]
        n = sum(len(draw.rows) for draw in draws)
        if mode.ask is None or mode.find is None:
            return [draw.later for draw in draws], np.arange(n)  # type: ignore[misc]
        asked = [
            mode.ask(pool, draw.rows, self.steps, self.rules, rng) for pool, draw in zip(self.pools, draws, strict=True)
        ]
        values, codes = (
            None if parts[0] is None else np.concatenate(parts)  # type: ignore[arg-type]
            for parts in zip(*asked, strict=True)
        )
        # every session answers the same number of queries, so that a positive comes from each equally often
        dealt = rng.permutation(n) if len(draws) > 1 else np.arange(n)
        order = np.empty(n, dtype=np.int64)
        order[dealt] = np.arange(n)
        found = [
            mode.find(pool, (None if values is None else values[hand], None if codes is None else codes[hand]), rng)
            for pool, hand in zip(self.pools, np.array_split(dealt, len(draws)), strict=True)
        ]
        return found, order

    def _draw_negatives(
        self, pool: Pool, draw: "Draw", rng: np.random.Generator
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Rows of the negatives and the group of each; None = the references."""
        if self.n_negatives is None:
            return None, draw.group
        if self.batch_size is None:
            chosen = rng.choice(len(draw.rows), size=min(self.n_negatives, len(draw.rows)), replace=False)
            return draw.rows[chosen], draw.group[chosen]
        if self.rules.by_class and pool.classes is not None:
            rows = pool.classes.draw_uniform(self.n_negatives, rng)
        else:
            rows = pool.references[rng.integers(len(pool.references), size=self.n_negatives)]
        return rows, np.full(self.n_negatives, -1)


@dataclass(frozen=True)
class Draw:
    """References of one session.

    Attributes
    ----------
    rows : (b,) rows of the references
    group : (b,) the run of each; a number of its own where references are independent
    later : (b,) partner in time, None where none is needed
    starts : (n_runs,) first rows of the runs, None = every reference is by itself
    """

    rows: np.ndarray
    group: np.ndarray
    later: np.ndarray | None
    starts: np.ndarray | None = None


def _lay_out(
    pool: Pool, draw: Draw, positives: np.ndarray, negatives: np.ndarray | None, layout: Layout
) -> dict[str, Any]:
    """Runs of one session and the place of every row in their output."""
    given = {"reference": draw.rows, "positive": positives, "negative": negatives, "time": draw.later}
    wanted = {name: rows for name, rows in given.items() if rows is not None}
    if layout == "full":
        return {"runs": [(_long(np.zeros(1)), pool.n_rows)], **{name: _long(rows) for name, rows in wanted.items()}}
    runs: list[tuple[torch.Tensor, int]] = []
    places: dict[str, torch.Tensor] = {}
    base = 0
    if layout == "block" and draw.starts is not None:
        later = draw.later
        reach = RUN + (0 if later is None else int((later - draw.rows).max(initial=0)))
        runs.append((_long(draw.starts), reach))
        origin = draw.group * reach - draw.starts[draw.group]
        places["reference"] = _long(draw.rows + origin)
        if later is not None:
            places["time"] = _long(later + origin)
            if positives is later:
                places["positive"] = places["time"]
        base = len(draw.starts) * reach
    singles = {name: rows for name, rows in wanted.items() if name not in places}
    if singles.get("time") is positives and "positive" in singles:
        singles.pop("time")
    for name, rows in singles.items():
        places[name] = torch.arange(base, base + len(rows))
        base += len(rows)
    if singles:
        runs.append((_long(np.concatenate(list(singles.values()))), 1))
    places.setdefault("time", places["positive"])
    return {"runs": runs, **places}


def _long(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.int64))
