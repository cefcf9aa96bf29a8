"""What no single option of an assessment can say: whether they fit each other and the model.

Loads no torch, so that the service can refuse a request without it.
"""

from damagenet.card import Card
from damagenet.errors import ConfigError
from damagenet.options import AssessOptions
from data_prep.windows import check_stride


def check_options(options: AssessOptions, card: Card) -> None:
    """Check what no single option can: the options against each other and against the model.

    Raises:
        ConfigError: If one would be ignored, or asks for what the model cannot do.
    """
    if options.id_field is not None and options.buildings is None:
        raise ConfigError(
            f"--id-field {options.id_field} is a column of --buildings, which is not given: "
            "name the file with --buildings, or leave --id-field out"
        )
    if options.stride is not None and options.buildings is not None:
        raise ConfigError(
            f"--stride {options.stride:g} cuts a grid, and --buildings takes its place: "
            "leave one of them out"
        )
    if options.ray_address is not None and options.engine != "ray":
        raise ConfigError(
            f"--ray-address {options.ray_address} is for --engine ray, which is not asked for: "
            "pass it too, or leave the address out"
        )
    if options.engine == "ray" and ":" in options.device:
        raise ConfigError(
            f"--device {options.device} names one GPU of one machine, and Ray deals out all of "
            "them: say --device cuda"
        )
    if options.stride is not None:
        check_stride(options.stride, card.chip)
    if options.pre is not None and card.inputs != ("post", "pre"):
        raise ConfigError(
            f"--pre {options.pre} cannot be used: model {card.name} takes one picture "
            f"({', '.join(card.inputs)}), not post and pre; leave --pre out"
        )
    if options.pre is None and "pre" in card.inputs:
        raise ConfigError(f"model {card.name} compares two pictures: give the other with --pre")
