"""The words that a caller chooses from; nothing heavy is loaded for them."""

from typing import Literal, get_args

MethodName = Literal["grad_cam", "integrated_gradients", "guided_backprop"]
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)

Target = Literal["damaged", "undamaged"]
"""The class that a map speaks for."""
