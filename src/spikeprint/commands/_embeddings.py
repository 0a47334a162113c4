"""What `spikeprint population` does with embeddings and tables. Enters: files. Leaves: files, what is printed."""

import argparse
from pathlib import Path
from typing import Any

NWB = ".nwb"


def compare(arguments: argparse.Namespace) -> int:
    """Turn embeddings onto the first; print what each fills, and how well each tells the others."""
    import numpy as np

    from ..core.errors import ConfigError
    from ..io.population.files import load_data
    from ..population.alignment import align, ensemble
    from ..population.consistency import consistency_score
    from ..population.dimension import dimensionality

    parts = [load_data(path) for path in arguments.embeddings]
    labels = None if arguments.by is None else [np.squeeze(load_data(path)) for path in arguments.by]
    if labels is not None and len(labels) != len(parts):
        raise ConfigError(f"--by: {len(labels)} files, {len(parts)} embeddings; a label for each")
    turned = align(parts, labels)
    for path, part in zip(arguments.embeddings, parts, strict=True):
        found = dimensionality(part)
        print(f"{path}: {found.local:.1f} dimensions (participation {found.participation:.1f} of {part.shape[1]})")
    whole = np.logical_and.reduce([np.isfinite(part).all(axis=1) for part in parts]) if labels is None else slice(None)
    asked = {"between": "runs"} if labels is None else {"between": "datasets", "labels": labels}
    scores, pairs, _ = consistency_score([part[whole] for part in parts], **asked)
    for (a, b), score in zip(pairs, scores, strict=True):
        print(f"{arguments.embeddings[a]} -> {arguments.embeddings[b]}: R2 {score:.3f}")
    if arguments.aligned:
        arguments.aligned.mkdir(parents=True, exist_ok=True)
        for number, (path, part) in enumerate(zip(arguments.embeddings, turned, strict=True)):
            save(arguments.aligned / f"{number}_{path.stem}.npy", part)
        print(f"wrote {len(turned)} embeddings to {arguments.aligned}")
    if arguments.ensemble:
        save(arguments.ensemble, ensemble(parts, labels))
        print(f"wrote {arguments.ensemble}")
    return 0


def save_embedding(arguments: argparse.Namespace, embedding: Any, population: Any) -> None:
    """Write an embedding as an array, or into a copy of the NWB file that its spikes are from."""
    from ..core.errors import ConfigError

    if arguments.out.suffix.lower() != NWB:
        save(arguments.out, embedding)
        return
    import numpy as np

    from ..io.population.nwb_embedding import write_nwb_embedding
    from ..population.transform import row_times

    if arguments.data.suffix.lower() != NWB:
        raise ConfigError(
            f"{arguments.out}: a copy of DATA with the embedding; {arguments.data} is no .nwb, write .npy"
        )
    times = row_times(population)
    inside = np.isfinite(times)  # rows between segments have none
    told = f"by spikeprint from model {arguments.model.name}, bins of {population.bin_width:g} s, rows at their middle"
    write_nwb_embedding(
        arguments.data, arguments.out, embedding[inside], times[inside], arguments.series, told, arguments.overwrite
    )


def save(path: Path, array: Any) -> None:
    """Write an array, whole or not at all."""
    import numpy as np

    from ..core.files import atomic_path

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def write(path: Path | None, table: Any) -> None:
    """Write a table where one was asked for, and say so."""
    if path is not None:
        from ..core.files import write_csv

        write_csv(path, table)
        print(f"wrote {path}")
