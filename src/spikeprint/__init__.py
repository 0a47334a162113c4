"""spikeprint: from extracellular recordings to versioned, validated, registered models of neuron identity."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load an estimator when it is first asked for: ``import spikeprint`` stays light."""
    modules = {"UnitEmbedder": ".estimator", "SpikeLocalizer": ".localizer"}
    if name in modules:
        import importlib

        return getattr(importlib.import_module(modules[name], __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
