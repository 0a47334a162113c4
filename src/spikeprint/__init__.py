"""spikeprint: from extracellular recordings to versioned, validated, registered models of neuron identity."""

__version__ = "0.1.0"
