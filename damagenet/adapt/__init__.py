"""A bundle fitted to one event by labels of its buildings."""
