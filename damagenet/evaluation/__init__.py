"""Scores by the protocols, and against a survey."""
