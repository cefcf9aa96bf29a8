"""New activations inside a trained network, weights kept.

    maker = activation_maker(Choice(name="pvlu", parameters={"alpha": 0.0}))
    network = swap_activations(network, maker, example=torch.zeros(1, 3, 224, 224))

Call it after the pretrained weights are loaded (their keys fit the network as it was; the keys
stay, those of the new activations are added) and before a bundle's own weights are loaded, which
hold the activations. Equal network, example size and choice give equal keys, so that a bundle can
be built again. Call it before or after the head is replaced; the head it sees is the present one.
"""

from models.swap.sites import Site, Where
from models.swap.swap import activation_sites, swap_activations

__all__ = ["Site", "Where", "activation_sites", "swap_activations"]
