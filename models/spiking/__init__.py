"""Spiking networks: neurons that hold a voltage over time steps and say 0 or 1 at each."""
