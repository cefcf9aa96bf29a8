"""Comparisons: the same training with one thing changed, over seeds and splits."""
