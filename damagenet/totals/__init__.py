"""Totals per area with intervals that hold: how many buildings are damaged."""
