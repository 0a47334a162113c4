"""Hybrid ground truth. Enters: a recording and its sorting. Leaves: artificial units at known times, and scores."""
