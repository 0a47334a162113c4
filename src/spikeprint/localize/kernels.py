"""Compiled loops over spikes. Enters: arrays. Leaves: results in the arrays given. The room's one module with numba."""

import numba
import numpy as np

MAX_STEPS = 25
"""Levenberg-Marquardt steps of a monopole fit."""
_DONE = 1e-6


@numba.njit(cache=True)
def render_waves(
    bank: np.ndarray, which: np.ndarray, delays: np.ndarray, sizes: np.ndarray, origin: int, out: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Add waves to ``out`` (n, k, T): wave i at contact j, ``delays[i, j]`` fine samples late, ``sizes[i, j]`` large.

    ``bank`` (n_waves, n_fine) has ``origin`` at sample 0 of a window and ``step`` fine samples a sample, of which
    ``step`` = ``bank.shape[1] // (3 * T)``: one window of rest before and one after.
    """
    n, k, length = out.shape
    n_fine = bank.shape[1]
    step = n_fine // (3 * length)
    for i in range(n):
        wave = bank[which[i]]
        for j in range(k):
            size = sizes[i, j]
            if size == 0.0:
                continue
            at = origin - delays[i, j]
            for t in range(length):
                if at >= 0.0 and at < n_fine - 1:
                    low = int(at)
                    rest = at - low
                    out[i, j, t] += size * (wave[low] * (1.0 - rest) + wave[low + 1] * rest)
                at += step


@numba.njit(cache=True)
def fit_monopoles(
    sizes: np.ndarray, offsets: np.ndarray, start: np.ndarray, reach: float, found: np.ndarray, alpha: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Fit size = alpha / distance to each spike.

    The amplitude is eliminated in closed form (Golub & Pereyra 1973): for a place, alpha = (s.q) / (q.q), q = 1 / r.
    What is left is a least-squares problem in (x, y, z), solved by Levenberg-Marquardt (derivative: Kaufman 1975).

    Parameters
    ----------
    sizes : (n, k) float64, 0 = no contact; offsets : (n, k, 2) float64, µm; start : (n, 3) float64; reach : bound of
        |x|, |y| and z, µm
    found : (n, 3) float64 and alpha : (n,) float64, filled
    """
    n, k = sizes.shape
    q = np.empty(k)
    residual = np.empty(k)
    slope = np.empty((k, 3))
    for i in range(n):
        x, y, z = start[i, 0], start[i, 1], start[i, 2]
        damping, best, size = 1e-2, -1.0, 0.0
        for _ in range(MAX_STEPS):
            if best < 0.0:
                best, size = _score(sizes[i], offsets[i], x, y, z, q, residual)
            qq = 0.0
            for j in range(k):
                qq += q[j] * q[j]
            for j in range(k):
                cube = -size * q[j] * q[j] * q[j]
                slope[j, 0] = cube * (x - offsets[i, j, 0])
                slope[j, 1] = cube * (y - offsets[i, j, 1])
                slope[j, 2] = cube * z
            for axis in range(3):  # project the slopes on what alpha cannot explain
                dot = 0.0
                for j in range(k):
                    dot += slope[j, axis] * q[j]
                for j in range(k):
                    slope[j, axis] -= dot / qq * q[j]
            a = np.zeros((3, 3))
            b = np.zeros(3)
            for j in range(k):
                for row in range(3):
                    b[row] += slope[j, row] * residual[j]
                    for column in range(3):
                        a[row, column] += slope[j, row] * slope[j, column]
            is_better, gain = False, 0.0
            for _again in range(6):
                move = _solve(a, b, damping)
                new_x = min(max(x + move[0], -reach), reach)
                new_y = min(max(y + move[1], -reach), reach)
                new_z = min(max(abs(z + move[2]), 1.0), reach)
                score, new_size = _score(sizes[i], offsets[i], new_x, new_y, new_z, q, residual)
                if score < best:
                    gain, is_better = best - score, True
                    x, y, z, best, size = new_x, new_y, new_z, score, new_size
                    damping = max(damping * 0.2, 1e-9)
                    break
                damping *= 5.0
            if not is_better or gain < _DONE * best:
                break
        found[i, 0], found[i, 1], found[i, 2] = x, y, z
        alpha[i] = size


@numba.njit(cache=True)
def _score(
    sizes: np.ndarray, offsets: np.ndarray, x: float, y: float, z: float, q: np.ndarray, residual: np.ndarray
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Squared error and the best alpha at a place; fills q and residual (k,)."""
    sq, qq = 0.0, 0.0
    for j in range(len(q)):
        q[j] = 0.0
        if sizes[j] > 0.0:
            dx, dy = x - offsets[j, 0], y - offsets[j, 1]
            q[j] = 1.0 / np.sqrt(dx * dx + dy * dy + z * z)
            sq += sizes[j] * q[j]
            qq += q[j] * q[j]
    size = sq / qq
    total = 0.0
    for j in range(len(q)):
        residual[j] = sizes[j] - size * q[j] if sizes[j] > 0.0 else 0.0
        total += residual[j] * residual[j]
    return total, size


@numba.njit(cache=True)
def _solve(a: np.ndarray, b: np.ndarray, damping: float) -> np.ndarray:  # pragma: no cover - compiled
    """Solve (a + damping diag a) move = b for a 3 x 3 matrix by Cramer's rule; no move where it is singular."""
    m00, m11, m22 = a[0, 0] * (1 + damping) + 1e-12, a[1, 1] * (1 + damping) + 1e-12, a[2, 2] * (1 + damping) + 1e-12
    m01, m02, m12 = a[0, 1], a[0, 2], a[1, 2]
    c00, c01, c02 = m11 * m22 - m12 * m12, m02 * m12 - m01 * m22, m01 * m12 - m02 * m11
    det = m00 * c00 + m01 * c01 + m02 * c02
    move = np.zeros(3)
    if abs(det) > 1e-30:
        c11, c12, c22 = m00 * m22 - m02 * m02, m01 * m02 - m00 * m12, m00 * m11 - m01 * m01
        move[0] = (c00 * b[0] + c01 * b[1] + c02 * b[2]) / det
        move[1] = (c01 * b[0] + c11 * b[1] + c12 * b[2]) / det
        move[2] = (c02 * b[0] + c12 * b[1] + c22 * b[2]) / det
    return move
