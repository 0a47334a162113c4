"""Files as acquisition systems write them, byte by byte after their makers' descriptions: no library writes them."""

import struct
from pathlib import Path

import numpy as np

RHD_BLOCK = 128
RHD_GAIN_UV = 0.195
NSX_GAIN_UV = 0.25


def write_blackrock(path: Path, traces: np.ndarray) -> None:
    """A Blackrock ``.ns6`` (NEURALCD 2.3) of one packet; traces (n_samples, n_channels) int16 at 30 kHz."""
    n_samples, n_channels = traces.shape
    heads = b"".join(
        struct.pack(
            "<2sH16sBBhhhh16sIIHIIH", b"CC", k + 1, f"elec{k + 1}".encode(), 1, k % 32, -32764, 32764, -8191, 8191,
            b"uV", 300, 3, 1, 7_500_000, 3, 1,
        )
        for k in range(n_channels)
    )  # fmt: skip
    size = 314 + len(heads)
    day = struct.pack("<8H", 2026, 1, 1, 5, 12, 0, 0, 0)
    basic = struct.pack("<8sBBI16s256sII16sI", b"NEURALCD", 2, 3, size, b"30 kS/s", b"", 1, 30_000, day, n_channels)
    path.write_bytes(basic + heads + struct.pack("<BII", 1, 0, n_samples) + traces.astype("<i2").tobytes())


def write_intan(path: Path, traces: np.ndarray) -> None:
    """An Intan ``.rhd`` (2.0); traces (n_samples, n_channels) int16 at 30 kHz, stored as unsigned words.

    Samples beyond the last whole block of 128 are left out.
    """
    n_channels = traces.shape[1]
    head = struct.pack("<Ihh", 0xC6912702, 2, 0) + struct.pack("<f", 30_000)
    head += struct.pack("<hffffffhff", 1, 1.0, 0.1, 7500.0, 1.0, 0.1, 7500.0, 0, 1000.0, 1000.0)
    head += _text("") * 3 + struct.pack("<hh", 0, 0) + _text("") + struct.pack("<h", 1)
    head += _text("Port A") + _text("A") + struct.pack("<hhh", 1, n_channels, n_channels)
    for k in range(n_channels):
        name = _text(f"A-{k:03d}")
        head += name + name + struct.pack("<10hff", k, k, 0, 1, k, 0, 0, 0, 0, 0, 1e6, -60.0)
    whole = traces[: len(traces) // RHD_BLOCK * RHD_BLOCK].astype(np.int32) + 32768
    blocks = []
    for start in range(0, len(whole), RHD_BLOCK):
        blocks.append(np.arange(start, start + RHD_BLOCK, dtype="<i4").tobytes())
        blocks.append(whole[start : start + RHD_BLOCK].T.astype("<u2").tobytes())
    path.write_bytes(head + b"".join(blocks))


def _text(words: str) -> bytes:
    """A QString."""
    raw = words.encode("utf-16-le")
    return struct.pack("<I", len(raw)) + raw
