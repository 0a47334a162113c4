"""Waveforms without their noise. Enters: snippets. Leaves: the same, of a few temporal components."""

import numpy as np

N_COMPONENTS = 8


def smooth_snippets(snippets: np.ndarray, n_components: int = N_COMPONENTS) -> np.ndarray:
    """Keep what the first temporal components of the snippets themselves explain.

    Parameters
    ----------
    snippets : (n, k, T) float32; a contact that is not there is 0, and stays so
    n_components : shapes that are kept

    Returns
    -------
    (n, k, T) float32
    """
    waves = snippets.reshape(-1, snippets.shape[2]).astype(np.float64)
    _, vectors = np.linalg.eigh(waves.T @ waves)
    basis = vectors[:, -n_components:]
    return (waves @ basis @ basis.T).reshape(snippets.shape).astype(np.float32)
