"""Models that train in a fraction of a second."""

from typing import Any

from spikeprint.population import PopulationEmbedder

QUICK: dict[str, Any] = {
    "model_architecture": "offset5-model", "batch_size": 64, "max_iterations": 30, "check_every": 10,
    "learning_rate": 3e-3, "temperature": 0.3, "output_dimension": 4, "num_hidden_units": 8, "device": "cpu",
    "random_state": 0,
}  # fmt: skip


def quick(**settings: Any) -> PopulationEmbedder:
    """A model that trains in a fraction of a second."""
    return PopulationEmbedder(**{**QUICK, **settings})
