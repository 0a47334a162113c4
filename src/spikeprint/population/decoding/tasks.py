"""What a network is asked for. Enters: the name of a task. Leaves: its loss, and how scores become an answer.

``classify`` says which stimulus was shown, ``forecast`` the counts of the next bin, ``features`` a vector that
describes the stimulus.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ...core.errors import SettingError, suggest

SMOOTHING = 0.1


@dataclass(frozen=True)
class Task:
    """A task of the table.

    Attributes
    ----------
    loss : scores (n, n_outputs), targets, and whether it is training -> mean loss
    answer : scores -> probabilities, rates or values
    target_type : of the targets, (n,) classes or (n, n_outputs) values
    thins : whether training may leave out spikes; it may not where their number is the answer
    """

    loss: Callable[[torch.Tensor, torch.Tensor, bool], torch.Tensor]
    answer: Callable[[torch.Tensor], torch.Tensor]
    target_type: torch.dtype = torch.float32
    thins: bool = True


def _cross_entropy(scores: torch.Tensor, codes: torch.Tensor, is_training: bool) -> torch.Tensor:
    return nn.functional.cross_entropy(scores, codes, label_smoothing=SMOOTHING if is_training else 0.0)


TASKS: dict[str, Task] = {
    "classify": Task(_cross_entropy, lambda scores: scores.softmax(dim=1), torch.int64),
    "forecast": Task(lambda scores, counts, _: nn.functional.poisson_nll_loss(scores, counts), torch.exp, thins=False),
    "features": Task(lambda scores, values, _: nn.functional.mse_loss(scores, values), lambda scores: scores),
}


def find_task(name: str) -> Task:
    """Return a task of the table.

    Raises
    ------
    SettingError
        No such task.
    """
    if name not in TASKS:
        raise SettingError(f"task '{name}': unknown{suggest(name, TASKS)}; known: {', '.join(TASKS)}")
    return TASKS[name]
