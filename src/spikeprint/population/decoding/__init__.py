"""Which stimulus was shown: models on trials, k-shot studies, scores."""
