"""Activation functions by name: one table, a fresh layer at every site."""

from models.activations.site import Activation, ActivationMaker, activation_maker
from models.activations.table import ACTIVATIONS, build_activation

__all__ = ["ACTIVATIONS", "Activation", "ActivationMaker", "activation_maker", "build_activation"]
