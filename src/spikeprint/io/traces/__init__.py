"""Raw recordings through SpikeInterface. Enters: traces. Leaves: spikes, mean waveforms, amplitudes, noise."""
