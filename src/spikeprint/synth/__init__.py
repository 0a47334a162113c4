"""Data with known truth. Enters: parameters and a seed. Leaves: core types whose answer is known."""
