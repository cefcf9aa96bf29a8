"""The table of activation functions: one row each, gathered from the families."""

from models.activations.adaptive import ADAPTIVE
from models.activations.bent_lines import BENT_LINES
from models.activations.dendrites import DENDRITES
from models.activations.function import Function
from models.activations.logical_rows import LOGICAL
from models.activations.oscillating import OSCILLATING
from models.activations.pairing import PAIRING
from models.activations.rational import RATIONAL
from models.activations.rectifiers import RECTIFIERS
from models.activations.saturating import SATURATING
from models.activations.smooth_rectifiers import SMOOTH_RECTIFIERS
from models.activations.standard import STANDARD
from models.activations.stochastic import STOCHASTIC

ACTIVATIONS: dict[str, Function] = {
    **ADAPTIVE,
    **BENT_LINES,
    **DENDRITES,
    **LOGICAL,
    **OSCILLATING,
    **PAIRING,
    **RATIONAL,
    **RECTIFIERS,
    **SATURATING,
    **SMOOTH_RECTIFIERS,
    **STANDARD,
    **STOCHASTIC,
}
