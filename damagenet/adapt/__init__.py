"""A model made to fit one event: which buildings to label, and what the labels change."""
