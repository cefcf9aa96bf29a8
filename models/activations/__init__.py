"""Activation functions by name: one table, a fresh layer at every site."""

from models.activations.build import build_activation, parameter_names, settle
from models.activations.function import Function
from models.activations.penalty import penalty
from models.activations.settings import ALIASES
from models.activations.site import Activation, ActivationMaker, activation_maker
from models.activations.table import ACTIVATIONS

__all__ = [
    "ACTIVATIONS",
    "ALIASES",
    "Activation",
    "ActivationMaker",
    "Function",
    "activation_maker",
    "build_activation",
    "parameter_names",
    "penalty",
    "settle",
]
