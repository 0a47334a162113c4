"""spikeprint: from extracellular recordings to versioned, validated, registered models of neuron identity."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load the estimator when it is first asked for: ``import spikeprint`` stays light."""
    if name == "UnitEmbedder":
        import importlib

        return importlib.import_module(".estimator", __name__).UnitEmbedder
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
