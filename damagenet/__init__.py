"""damagenet: flooded and damaged buildings from post-hurricane imagery, with honest scores."""

__version__ = "0.1.0"
