"""AutoInit (Bingham and Miikkulainen, arXiv:2109.08958): weights by the variance that enters them.

Mean and variance are followed through the network from what enters it; every convolution and
dense layer then starts so that what leaves it has one variance. Written from the equations of the
paper; where its released code approximates, the exact form stands here.

The network is followed in a pass that computes nothing, as `models.swap.recording` does it, rather
than by `torch.fx`: sizes are known there, and a forward may decide by them, as our `Resize` does.
What decides by values finds none there and is refused.
"""

from models.autoinit.options import NAME, AutoInit, read_options
from models.autoinit.start import autoinit
from models.autoinit.walk import Walk, walk

__all__ = ["NAME", "AutoInit", "Walk", "autoinit", "read_options", "walk"]
