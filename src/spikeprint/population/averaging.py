"""Weights that are kept. Enters: the weights after every step. Leaves: their running mean, kept in their place.

Steps of constant size end in noise around an optimum; the mean of the last ones lies nearer to it.
"""

from collections.abc import Iterable

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

EARLY = 9
"""Before ``decay`` is reached the mean is that of the last tenth of the steps, so that first weights are forgotten."""


class RunningMean:
    """The running mean of parameters.

    Parameters
    ----------
    parameters : those that are trained, on the device where they stay
    decay : weight of the past in one step, 0 = no mean
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], decay: float) -> None:
        self.decay, self.n_steps, self.is_shown = decay, 0, False
        self.live = [parameter for parameter in parameters if parameter.requires_grad] if decay else []
        self.mean = [parameter.detach().clone() for parameter in self.live]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.n_steps += 1
        if self.live:
            decay = min(self.decay, self.n_steps / (self.n_steps + EARLY))
            get_ema_multi_avg_fn(decay)(self.mean, self.live, self.n_steps)

    def show(self) -> None:
        """Put the mean in the place of the weights."""
        self._turn(True)

    def hide(self) -> None:
        """Put the weights back, to go on from them."""
        self._turn(False)

    @torch.no_grad()
    def _turn(self, is_shown: bool) -> None:
        if is_shown != self.is_shown:
            for live, mean in zip(self.live, self.mean, strict=True):
                kept = live.clone()
                live.copy_(mean)
                mean.copy_(kept)
            self.is_shown = is_shown
