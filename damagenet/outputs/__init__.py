"""The files that an assessment is written to."""
