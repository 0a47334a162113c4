"""What a SpikeGLX run is. Enters: a ``.meta`` file. Leaves: rate, gains, probe, size, without reading the ``.bin``.

Keys as in billkarsh.github.io/SpikeGLX/Sgl_help/Metadata_30.html. The gain of a channel is range / largest integer /
amplification; probes of the 1.0 family choose the amplification per channel (``imroTbl``), those of the 2.0 family have
a fixed one.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.errors import DataError

Stream = Literal["ap", "lf", "nidq", "obx"]

_RATES = {"imec": "imSampRate", "nidq": "niSampRate", "obx": "obSampRate"}
_RANGES = {
    "imec": ("imAiRangeMax", "imMaxInt"),
    "nidq": ("niAiRangeMax", "niMaxInt"),
    "obx": ("obAiRangeMax", "obMaxInt"),
}
_FIXED_GAIN = {21: 80, 24: 80, 2003: 100, 2004: 100, 2013: 100, 2014: 100, 2020: 100, 2021: 100}
"""Probe type -> amplification of a 2.0 probe, where ``imChan0apGain`` does not say."""
_MAX_INT = {"imec": 512, "nidq": 32768, "obx": 32768}
_MAX_INT_2 = 8192
_NAME = re.compile(r"\.(ap|lf|nidq|obx)\.meta$")


@dataclass(frozen=True)
class SpikeGLXMeta:
    """The head of one SpikeGLX binary.

    Attributes
    ----------
    device : imec, nidq or obx
    stream : ap, lf, nidq or obx
    name : of the stream, from the name the file was recorded under: imec0.ap, nidq
    sampling_frequency_hz : as written, not rounded
    n_channels : saved ones, sync included
    n_neural : those of them that are electrodes
    gains_uv : (n_neural,) µV per bit
    probe_type : number of the probe's type, None before it was written (3A) or without a probe
    part_number : of the probe, "" where not written
    n_bytes, duration_s : None in a run that was not ended properly
    """

    path: Path
    device: Literal["imec", "nidq", "obx"]
    stream: Stream
    name: str
    sampling_frequency_hz: float
    n_channels: int
    n_neural: int
    gains_uv: np.ndarray
    probe_type: int | None
    part_number: str
    n_bytes: int | None
    duration_s: float | None


def read_meta(path: Path) -> SpikeGLXMeta:
    """Read a ``.meta`` file.

    Raises
    ------
    DataError
        The file is missing, not of SpikeGLX, or lacks a key or a number.
    """
    meta = _read_keys(path)
    try:
        device = _read_device(path, meta)
        counts = _count_channels(meta, device)
        n_channels = int(meta["nSavedChans"])
        rate_hz = float(meta[_RATES[device]])
        gains, stream = _read_gains(meta, device, counts)
        n_bytes = int(meta["fileSizeBytes"]) if "fileSizeBytes" in meta else None
        probe_type = int(meta["imDatPrb_type"]) if "imDatPrb_type" in meta else None
    except KeyError as error:
        raise DataError(f"{path}: no {error}; copy the .meta file again, or see the SpikeGLX metadata guide") from None
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise DataError(f"{path}: a number is damaged ({error}); copy the .meta file again") from None
    if not (rate_hz > 0 and n_channels > 0):
        raise DataError(f"{path}: {rate_hz} Hz, {n_channels} channels; both must be above 0")
    return SpikeGLXMeta(
        path=path,
        device=device,
        stream=stream,
        name=_name_stream(meta, device, stream),
        sampling_frequency_hz=rate_hz,
        n_channels=n_channels,
        n_neural=len(gains),
        gains_uv=gains,
        probe_type=probe_type,
        part_number=meta.get("imDatPrb_pn", ""),
        n_bytes=n_bytes,
        duration_s=None if n_bytes is None else n_bytes / (2 * n_channels) / rate_hz,
    )


def check_run(path: Path) -> SpikeGLXMeta:
    """Read a ``.meta`` file and compare it with the ``.bin`` beside it.

    Raises
    ------
    DataError
        The binary is missing, does not hold whole rows of the saved channels, or not as many bytes as stated.
    """
    meta = read_meta(path)
    binary = path.with_suffix(".bin")
    if not binary.is_file():
        raise DataError(f"{binary}: missing; the traces of {path.name} are needed")
    n_bytes, row = binary.stat().st_size, 2 * meta.n_channels
    if n_bytes == 0 or n_bytes % row:
        raise DataError(
            f"{binary}: {n_bytes} bytes; {meta.n_channels} channels of int16 (nSavedChans) need a multiple of {row}; "
            "copy it again"
        )
    if meta.n_bytes is not None and n_bytes != meta.n_bytes:
        raise DataError(
            f"{binary}: {n_bytes} bytes; {path.name} says fileSizeBytes={meta.n_bytes}: cut off or changed; "
            "copy both again"
        )
    return meta


def read_positions(path: Path) -> np.ndarray | None:
    """Return the contacts of a run, (n_neural, 2) µm; None where the file has no probe or an unknown one.

    Raises
    ------
    DataError
        The file is missing or not of SpikeGLX.
    """
    import probeinterface

    meta = read_meta(path)
    if meta.device != "imec":
        return None
    try:
        positions = probeinterface.read_spikeglx(path).contact_positions
    except (KeyError, ValueError, IndexError, TypeError, AssertionError):
        return None
    return np.asarray(positions, dtype=np.float64)


def find_metas(folder: Path) -> list[Path]:
    """Return the ``.meta`` files of SpikeGLX below a folder, by their names (``run_g0_t0.imec0.ap.meta``)."""
    return [path for path in sorted(folder.rglob("*.meta")) if _NAME.search(path.name)]


def _read_keys(path: Path) -> dict[str, str]:
    """Key -> value of the lines ``key=value``; the tilde of tables is dropped."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a SpikeGLX .meta file is needed") from None
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    meta = {key.strip().lstrip("~"): value.strip() for key, value in pairs}
    if "nSavedChans" not in meta:
        raise DataError(f"{path}: no 'nSavedChans'; this is not a SpikeGLX .meta file")
    return meta


def _read_device(path: Path, meta: dict[str, str]) -> Literal["imec", "nidq", "obx"]:
    """What was recorded with: the key, or the rate that stands in the file."""
    found = meta.get("typeThis", "")
    for device in ("imec", "nidq", "obx"):
        if found == device or (not found and _RATES[device] in meta):
            return device  # type: ignore[return-value]
    raise DataError(f"{path}: typeThis = '{found}'; imec, nidq or obx is needed")


def _name_stream(meta: dict[str, str], device: str, stream: str) -> str:
    """The stream's name in SpikeInterface, which goes by ``fileName`` too: a renamed file keeps its stream."""
    part = re.search(rf"\.{device}(\d*)\.", meta.get("fileName", ""))
    number = part[1] if part else ""
    return f"{device}{number}.{stream}" if device == "imec" else f"{device}{number}"


def _count_channels(meta: dict[str, str], device: str) -> list[int]:
    """Saved channels of each kind, in the order of the file: AP, LF, SY; MN, MA, XA, DW; XA, DW, SY."""
    key = {"imec": "snsApLfSy", "nidq": "snsMnMaXaDw", "obx": "snsXaDwSy"}[device]
    return [int(n) for n in meta[key].split(",")]


def _read_gains(meta: dict[str, str], device: str, counts: list[int]) -> tuple[np.ndarray, Stream]:
    """µV per bit of the neural channels (analog ones of a NI or OneBox stream), and the stream."""
    range_key, max_key = _RANGES[device]
    if device == "imec":
        stream: Stream = "ap" if counts[0] else "lf"
        gains = _imec_amplification(meta, stream, counts)
        is_fixed = _is_fixed_gain(meta)
        largest = int(meta.get(max_key, _MAX_INT_2 if is_fixed else _MAX_INT["imec"]))
        return float(meta[range_key]) * 1e6 / largest / gains, stream
    if device == "nidq":
        amplification = np.repeat([float(meta["niMNGain"]), float(meta["niMAGain"]), 1.0], counts[:3])
        return float(meta[range_key]) * 1e6 / int(meta.get(max_key, _MAX_INT[device])) / amplification, "nidq"
    return np.full(counts[0], float(meta[range_key]) * 1e6 / int(meta.get(max_key, _MAX_INT[device]))), "obx"


def _is_fixed_gain(meta: dict[str, str]) -> bool:
    """Whether the probe is of the 2.0 family, whose table of channels has no gains."""
    first: Any = meta["imroTbl"].strip("()").split(")(")[1].split()
    return len(first) < 5 or int(meta.get("imDatPrb_type", 0)) in _FIXED_GAIN


def _imec_amplification(meta: dict[str, str], stream: Stream, counts: list[int]) -> np.ndarray:
    """(n_neural,) amplification of the saved channels."""
    n_neural = counts[0] + counts[1]
    if _is_fixed_gain(meta):
        gain = float(meta["imChan0apGain"]) if "imChan0apGain" in meta else _FIXED_GAIN[int(meta["imDatPrb_type"])]
        return np.full(n_neural, float(gain))
    rows = meta["imroTbl"].strip("()").split(")(")[1:]
    column = {"ap": 3, "lf": 4}[stream]
    table = np.array([float(row.split()[column]) for row in rows])
    return table[_saved(meta, n_neural, len(table))]


def _saved(meta: dict[str, str], n_neural: int, n_all: int) -> np.ndarray:
    """Which channels of the table were saved; LF channels are numbered after the AP ones."""
    text = meta.get("snsSaveChanSubset", "all")
    if text == "all" or not text:
        return np.arange(n_neural)
    ranges = [[int(n) for n in part.split(":")] for part in text.split(",")]
    numbers = np.concatenate([np.arange(r[0], r[-1] + 1) for r in ranges])[:n_neural]
    return numbers % n_all
