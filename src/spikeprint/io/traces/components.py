"""Snippets on disk as temporal components. Enters: a source. Leaves: a folder, and a source that reads it again.

A snippet of 16 contacts and 90 samples is 5,760 bytes; its 8 components in float16 are 256, and can be read in any
order without the traces. Written chunk by chunk and read memory-mapped: memory does not grow with the recording.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ...core.config import SnippetParams
from ...core.errors import DataError
from ...core.files import atomic_folder, read_arrays, read_json, write_arrays, write_json
from ...core.spikes import Neighbourhoods, Peaks, Source

PARTS, SPIKES, CARD = "components.npy", "spikes.safetensors", "snippets.json"
FIT_SECONDS = 30
"""Seconds of the recording, at random, that spikes to fit components to come from: a long one is read in part."""
BATCH = 4_096
LARGEST = float(np.finfo(np.float16).max)
"""Components beyond, of artefacts of many mV, are cut to it."""

Read = Callable[[Neighbourhoods, Peaks], Iterator[tuple[slice, np.ndarray]]]


@dataclass(frozen=True)
class Components:
    """The kept spikes of a recording.

    Attributes
    ----------
    parts : (n, k, n_components) float16, memory-mapped; basis : (T, n_components) float32, orthonormal
    contacts : (n_channels, k) int64, the neighbourhood of each channel, -1 = none; peaks : the n spikes
    card : what was kept of them, see ``write_components``
    """

    parts: np.ndarray
    basis: np.ndarray
    contacts: np.ndarray
    peaks: Peaks
    card: dict[str, Any]

    def join(self, source: Source) -> Source:
        """Return a source whose spikes are read from here; what is not kept (other times, contacts) from its traces.

        Raises
        ------
        DataError
            The source is of another recording, or its snippets are of another length.
        """
        mine = {name: self.card[name] for name in ("n_before", "n_after")}
        asked = {"n_before": source.n_before, "n_after": source.n_after}
        asked |= {"n_channels": len(source.contacts_um), "n_samples": source.peaks.n_samples}
        mine |= {"n_channels": len(self.contacts), "n_samples": self.peaks.n_samples}
        wrong = [f"{name} {mine[name]}, the recording {value}" for name, value in asked.items() if mine[name] != value]
        if wrong:
            raise DataError(f"snippets: kept for {'; '.join(wrong)}; run the stage snippets again")
        return replace(source, read=partial(self._read, source.read), n_components=self.basis.shape[1])

    def _read(self, traces: Read, around: Neighbourhoods, peaks: Peaks) -> Iterator[tuple[slice, np.ndarray]]:
        rows, columns = self._find(peaks), self._columns(around)
        if rows is None or columns is None:
            yield from traces(around, peaks)
            return
        for first in range(0, len(rows), BATCH):
            now = slice(first, min(first + BATCH, len(rows)))
            channels = peaks.channels[now]
            parts = self.parts[rows[now, None], columns[channels]].astype(np.float32)
            parts[~around.is_there[channels]] = 0
            yield now, parts @ self.basis.T

    def _find(self, peaks: Peaks) -> np.ndarray | None:
        """(n,) rows of spikes; None unless all are kept."""
        numbers, order = self._numbered
        wanted = _number(peaks, len(self.contacts))
        at = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
        return order[at] if (numbers[at] == wanted).all() else None

    @cached_property
    def _numbered(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the kept spikes, rising, and their rows."""
        numbers = _number(self.peaks, len(self.contacts))
        order = np.argsort(numbers, kind="stable")
        return numbers[order], order

    def _columns(self, around: Neighbourhoods) -> np.ndarray | None:
        """(n_channels, k) where the contacts of neighbourhoods are kept; None unless all are."""
        same = around.channels[:, :, None] == self.contacts[:, None]
        return same.argmax(axis=2) if same.any(axis=2)[around.is_there].all() else None


def write_components(
    folder: Path, source: Source, around: Neighbourhoods, params: SnippetParams, seed: int
) -> dict[str, Any]:
    """Keep all spikes of a source, atomically; one pass through its traces.

    Parameters
    ----------
    folder : gets ``components.npy`` (n, k, n_components) float16, ``spikes.safetensors`` (peaks, basis, contacts) and
        ``snippets.json``, the value that is returned
    around : contacts that are kept of each spike

    Returns
    -------
    ``explained``, ``explained_peak`` : share of the variance that is kept, of all contacts and of the peak contacts
    ``left_out`` : RMS of what is not, in noise levels; noise alone would leave sqrt(1 - n_components / T)
    ``bytes_per_spike``, and the window of a snippet
    """
    basis = fit_basis(source, around, params, seed)
    peaks, losses = source.peaks, Losses(around, source.noise_uv)
    shape = (len(peaks), around.channels.shape[1], basis.shape[1])
    with atomic_folder(folder) as temporary:
        with (temporary / PARTS).open("wb") as file:
            header = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(file, header)
            for rows, snippets in source.read(around, peaks):
                parts = snippets @ basis
                kept = np.clip(parts, -LARGEST, LARGEST).astype(np.float16)
                file.write(kept.tobytes())
                losses.add(peaks.channels[rows], snippets, kept.astype(np.float32) @ basis.T)
        window = {"n_before": source.n_before, "n_after": source.n_after}
        card = {"n_spikes": len(peaks), "n_components": shape[2], "bytes_per_spike": 2 * shape[1] * shape[2]}
        card |= {**losses.told(), **window, "fs_hz": peaks.fs_hz, "n_samples": peaks.n_samples}
        arrays = {"samples": peaks.samples, "channels": peaks.channels, "amplitudes_uv": peaks.amplitudes_uv}
        write_arrays(temporary / SPIKES, arrays | {"basis": basis, "contacts": around.channels})
        write_json(temporary / CARD, card)
    return card


@dataclass
class Losses:
    """What of the snippets is not kept, added up chunk by chunk."""

    around: Neighbourhoods
    noise_uv: np.ndarray
    seen: float = 0.0
    rest: float = 0.0
    seen_peak: float = 0.0
    rest_peak: float = 0.0
    in_noise: float = 0.0
    n_waves: int = 0
    length: int = 1

    def add(self, channels: np.ndarray, snippets: np.ndarray, kept: np.ndarray) -> None:
        """Compare snippets (n, k, T) of peak channels (n,) with what is kept of them."""
        seen = np.square(snippets).sum(axis=2, dtype=np.float64)
        rest = np.square(snippets - kept).sum(axis=2, dtype=np.float64)
        there, noise = self.around.is_there[channels], self.noise_uv[self.around.channels[channels]]
        own = np.arange(len(channels)), self.around.own[channels]
        self.seen, self.rest = self.seen + float(seen.sum()), self.rest + float(rest.sum())
        self.seen_peak += float(seen[own].sum())
        self.rest_peak += float(rest[own].sum())
        self.in_noise += float((rest / np.square(noise))[there].sum())
        self.n_waves, self.length = self.n_waves + int(there.sum()), snippets.shape[2]

    def told(self) -> dict[str, float]:
        """Return ``explained``, ``explained_peak`` and ``left_out``, see ``write_components``."""
        return {
            "explained": 1 - self.rest / self.seen,
            "explained_peak": 1 - self.rest_peak / self.seen_peak,
            "left_out": (self.in_noise / (self.n_waves * self.length)) ** 0.5,
        }


def open_components(folder: Path) -> Components:
    """Open what ``write_components`` wrote; nothing is read of the components yet.

    Raises
    ------
    DataError
        A file is missing, damaged, or not of the others' size.
    """
    card, arrays = read_json(folder / CARD), read_arrays(folder / SPIKES)
    try:
        peaks = Peaks(
            arrays["samples"], arrays["channels"], arrays["amplitudes_uv"], float(card["fs_hz"]), int(card["n_samples"])
        )
        parts = np.load(folder / PARTS, mmap_mode="r", allow_pickle=False)
        found = Components(parts, arrays["basis"], arrays["contacts"], peaks, card)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder}: not whole ({error}); run the stage snippets again") from None
    shape = len(peaks), found.contacts.shape[1], found.basis.shape[1]
    if parts.shape != shape or parts.dtype != np.float16:
        raise DataError(
            f"{folder / PARTS}: {parts.shape} {parts.dtype}, {shape} float16 are needed; run the stage snippets again"
        )
    return found


def fit_basis(source: Source, around: Neighbourhoods, params: SnippetParams, seed: int) -> np.ndarray:
    """Return (T, n_components) float32, the first temporal components of some spikes on all contacts (SVD, no mean)."""
    rng = np.random.default_rng(seed)
    seconds = source.peaks.times_s.astype(np.int64)
    there = np.unique(seconds)
    chosen = rng.choice(there, min(FIT_SECONDS, len(there)), replace=False)
    rows = np.flatnonzero(np.isin(seconds, chosen))
    rows = np.sort(rng.choice(rows, min(params.n_fit, len(rows)), replace=False))
    moments = np.zeros((source.n_before + source.n_after,) * 2)
    for _, snippets in source.read(around, source.peaks.take(rows)):
        waves = snippets.reshape(-1, snippets.shape[2]).astype(np.float64)
        moments += waves.T @ waves
    _, vectors = np.linalg.eigh(moments)
    return np.ascontiguousarray(vectors[:, ::-1][:, : params.n_components]).astype(np.float32)


def _number(peaks: Peaks, n_channels: int) -> np.ndarray:
    """(n,) int64, one for each sample and channel."""
    return peaks.samples * n_channels + peaks.channels
