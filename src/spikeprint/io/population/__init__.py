"""Recorded populations: outside formats <-> ``SpikeSession`` and the folder of a population."""
