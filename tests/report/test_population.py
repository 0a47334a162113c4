"""Figures of populations show every model and mode, however many."""

import numpy as np
import pandas as pd

from spikeprint.population.decoding.models import MODELS
from spikeprint.report.population import plot_curves, plot_kshot


def test_all_decoders_are_drawn_and_told_apart() -> None:
    row = {"top1": 0.5, "top1_low": 0.4, "top1_high": 0.7, "chance": 0.1}
    rows = [{"model": model, "k": k, **row} for model in MODELS for k in (1, 3, 0)]
    (axes,) = plot_kshot({"session": pd.DataFrame(rows)}).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["chance", *MODELS]
    looks = {(bars[0].get_color(), bars[0].get_linestyle()) for bars in axes.containers}
    assert len(looks) == len(MODELS)
    (bars,) = axes.containers[0][2]
    assert np.allclose(bars.get_segments()[-1][:, 1], (0.4, 0.7))  # all are drawn once: their interval


def test_all_modes_are_drawn() -> None:
    steps = np.arange(1, 5)
    table = pd.DataFrame({"step": steps, "loss": 1.0, "held_out_loss": 1.0, "temperature": 0.3})
    losses = plot_curves({f"mode {i}": table for i in range(9)}).axes[0]
    assert len(losses.lines) == 18
    assert {"mode 0, in training", "mode 0, held out"} <= {text.get_text() for text in losses.get_legend().get_texts()}
