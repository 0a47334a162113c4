"""Canonical features from spike trains. Enters: a ``Sorting`` per session. Leaves: one ``UnitTable`` with its card."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.config import FeatureParams
from ..core.errors import DataError
from ..core.types import Sorting, Templates, UnitTable
from .assemble import SCHEMA_VERSION, Units, assemble, concatenate, waveform_card
from .correlograms import compute_close_pairs, compute_isi_acg
from .evidence import Evidence
from .representations import COUNTS, HISTOGRAMS, make_histogram_card
from .scalars import compute_scalars
from .trains import Trains, clean_trains
from .waveform import (
    CANONICAL_HZ,
    CANONICAL_MS_PER_SAMPLE,
    LOW_PASS_HZ,
    LOW_PASS_ORDER,
    N_SAMPLES,
    TROUGH_INDEX,
    align_waveforms,
)

PLACES = ("x_um", "y_um", "depth_um")
"""Columns of a sorting whose units are localised."""
DROPPED = ("invalid", "duplicates", "censored")
"""Kinds of spikes that cleaning takes out; the card counts them."""


def build_from_sortings(sortings: Sequence[Sorting], params: FeatureParams, card: dict[str, Any]) -> UnitTable:
    """Compute the canonical features of the sessions of one dataset from their spike trains and templates.

    A unit without spikes has empty histograms (zeros, flag ``low_n``); one without a template has a missing waveform.
    With several sessions a unit is called ``<session_id>/<unit_id>``.

    Parameters
    ----------
    sortings : one per session, each with a ``session_id`` of its own where there are several
    params : extraction options, quality limits and label rules
    card : ``dataset, technology, species, format, source_md5``; copied into the card of the result

    Raises
    ------
    DataError
        No session, sessions of one name, times that cannot be spike times, or labels of exactly one class.
    """
    names = [sorting.session_id for sorting in sortings]
    if not names or len(set(names)) < len(names):
        repeated = ", ".join(f"'{name}'" for name, count in Counter(names).items() if count > 1) or "no session"
        raise DataError(f"{card['dataset']}: {repeated} among {len(names)} sessions; each needs a name of its own")
    sessions = [_measure_session(sorting, params, card["dataset"], len(names) > 1) for sorting in sortings]
    units = concatenate([found for found, _ in sessions])
    templates = [sorting.templates for sorting in sortings if sorting.templates is not None]
    card = {
        **card,
        "schema_version": SCHEMA_VERSION,
        "n_sessions": len(names),
        "extraction": {
            "censor_ms": params.censor_ms,
            "refine_trough": params.refine_trough,
            "min_waveform_coverage": params.min_waveform_coverage,
            "low_pass_hz": LOW_PASS_HZ,
            "low_pass_order": LOW_PASS_ORDER,
        },
        "waveform": waveform_card(CANONICAL_HZ, _common_unit(templates), _common_samples(templates)),
        **{name: make_histogram_card(name, COUNTS, None) for name in HISTOGRAMS},
        "dropped": {name: sum(int(getattr(trains, f"n_{name}").sum()) for _, trains in sessions) for name in DROPPED},
    }
    return assemble(units, params, card)


def _measure_session(
    sorting: Sorting, params: FeatureParams, dataset: str, is_one_of_many: bool
) -> tuple[Units, Trains]:
    """Features, scalars and flags of the units of one session, and its clean trains."""
    try:
        trains = clean_trains(
            sorting.spike_times,
            sorting.offsets,
            sorting.time_rate_hz,
            sorting.duration_s,
            sorting.segment,
            params.censor_ms,
        )
        isi, acg = compute_isi_acg(trains.ticks, trains.offsets, trains.runs)
        shapes, flags = _measure_waveforms(sorting, params)
    except DataError as error:
        session = f"session {sorting.session_id}: " if is_one_of_many else ""
        raise DataError(f"{dataset}: {session}{error}") from None
    of_spikes: dict[str, Any] = {
        name: None if values is None else values[trains.kept]
        for name, values in (("amplitudes", sorting.amplitudes_uv), ("depths_um", sorting.depths_um))
    }
    evidence = Evidence(
        **shapes,
        places_um=_told_places(sorting),
        trains=trains,
        acg=acg,
        close_pairs=compute_close_pairs(trains.ticks, trains.offsets, trains.runs),
        **of_spikes,
        noise=sorting.noise_uv,
        unit=sorting.templates.unit if sorting.templates else "uV",
    )
    flags |= {
        "low_n": trains.n_spikes < 2,
        "invalid_times": trains.n_invalid > 0,
        "unsorted_times": trains.n_unsorted > 0,
        "duplicate_times": trains.n_duplicates > 0,
        "censored_times": trains.n_censored > 0,
    }
    unit_ids = sorting.unit_ids.astype(str).astype(object)
    units = Units(
        unit_ids=f"{sorting.session_id}/" + unit_ids if is_one_of_many else unit_ids,
        labels=sorting.labels,
        features={
            "waveform": evidence.waveform,
            "isi": isi.astype(np.float64),
            "acg": acg.astype(np.float64),
        },
        scalars=compute_scalars(evidence),
        flags=flags,
        session_id=np.full(len(unit_ids), sorting.session_id, dtype=object),
        extra={name: values for name, values in sorting.extra.items() if name not in PLACES},
    )
    return units, trains


def _told_places(sorting: Sorting) -> np.ndarray | None:
    """(n_units, 3) places that the stage ``localize`` has added, None where it has not run."""
    if not all(name in sorting.extra for name in PLACES):
        return None
    return np.column_stack([np.asarray(sorting.extra[name], dtype=np.float64) for name in PLACES])


def _measure_waveforms(sorting: Sorting, params: FeatureParams) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The part of the evidence that templates give, and their flags; a sorting without templates has neither."""
    templates, n_units = sorting.templates, len(sorting.unit_ids)
    trough = np.full(n_units, TROUGH_INDEX)
    if templates is None:
        return {"waveform": np.full((n_units, N_SAMPLES), np.nan), "trough": trough}, {}
    aligned = align_waveforms(
        templates.values, templates.sampling_frequency_hz, params.min_waveform_coverage, params.refine_trough
    )
    positions = templates.positions_um
    shapes = {
        "waveform": aligned.waveform.astype(np.float64),
        "trough": trough,
        "time_base": CANONICAL_MS_PER_SAMPLE,
        "aligned": aligned,
        "positions_um": None
        if positions is None
        else np.broadcast_to(positions, (n_units, templates.values.shape[2], 2)),
    }
    return shapes, dict(aligned.flags)


def _common_unit(templates: Sequence[Templates]) -> str | None:
    """Unit of all templates, "mixed" where sessions differ, None without any."""
    units = sorted({each.unit for each in templates})
    return "mixed" if len(units) > 1 else next(iter(units), None)


def _common_samples(templates: Sequence[Templates]) -> int | None:
    """Samples of all templates, None where sessions differ."""
    widths = {each.values.shape[1] for each in templates}
    return widths.pop() if len(widths) == 1 else None
