"""Whether traces are those of a plan. Enters: a source. Leaves: BLAKE2b over parts or all of its bytes."""

import hashlib
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.hybrid_plan import Plan, SegmentInfo, SourceInfo
from .source import RawSource

PIECES, PIECE_BYTES = 16, 1 << 14
"""The quick fingerprint: head, tail and what lies evenly between."""
BLOCK_BYTES = 1 << 22


def describe_source(source: RawSource, is_fast: bool) -> SourceInfo:
    """Return what a plan keeps of its source.

    Parameters
    ----------
    is_fast : leave out the fingerprint over all bytes; a restored file is then checked in parts only
    """
    segments = []
    for k, (name, count, start) in enumerate(zip(source.names(), source.counts, source.starts, strict=True)):
        n_bytes = source.files[k].stat().st_size if source.files else count * source.row_bytes
        full = "" if is_fast else hash_segment(source, k)
        segments.append(SegmentInfo(name, count, start, n_bytes, hash_parts(source, k), full))
    return SourceInfo(
        path=str(source.path),
        format=source.format,
        dtype=str(source.dtype.newbyteorder("=")),
        n_channels=source.n_channels,
        sampling_frequency_hz=source.sampling_frequency_hz,
        byte_offset=source.byte_offset,
        segments=tuple(segments),
        gains_uv=source.gains_uv,
        positions_um=source.probe.positions_um,
        shanks=source.probe.shanks,
    )


def hash_parts(source: RawSource, segment: int) -> str:
    """Return the quick fingerprint of a segment: its size and a few pieces."""
    rows = max(1, PIECE_BYTES // source.row_bytes)
    count = source.counts[segment]
    digest = hashlib.blake2b(f"{count} {source.n_channels} {source.dtype.str}".encode(), digest_size=16)
    for start in np.unique(np.linspace(0, max(count - rows, 0), PIECES).astype(np.int64)):
        digest.update(np.ascontiguousarray(source.read(segment, int(start), min(int(start) + rows, count))).data)
    return digest.hexdigest()


def hash_segment(source: RawSource, segment: int) -> str:
    """Return the fingerprint over all bytes: of the file, header included, or of the samples in their order."""
    if source.files:
        return hash_file(source.files[segment])
    digest = hashlib.blake2b(digest_size=16)
    step = max(1, BLOCK_BYTES // source.row_bytes)
    for start in range(0, source.counts[segment], step):
        block = source.read(segment, start, min(start + step, source.counts[segment]))
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return BLAKE2b over the bytes of a file."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def check_source(plan: Plan, source: RawSource) -> None:
    """Check that a source is the one that a plan was made for, by shape and quick fingerprint.

    Raises
    ------
    DataError
        It is another one, or has been changed.
    """
    wanted = plan.source
    found = (len(source.counts), source.n_channels, str(source.dtype.newbyteorder("=")))
    needed = (len(wanted.segments), wanted.n_channels, wanted.dtype)
    if found != needed:
        raise DataError(
            f"{source.path}: {found[0]} segments of {found[1]} channels {found[2]}; the plan was made for "
            f"{needed[0]} of {needed[1]} channels {needed[2]} ({wanted.path}); name that recording, or plan again"
        )
    for k, segment in enumerate(wanted.segments):
        if source.counts[k] != segment.n_samples or hash_parts(source, k) != segment.quick:
            raise DataError(
                f"{source.names()[k]} of {source.path}: not what the plan was made for ({segment.name}, "
                f"{segment.n_samples} samples): its fingerprint differs; name the unchanged recording, or plan again"
            )
