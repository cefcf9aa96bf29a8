"""A network compiled by torch (Inductor) for this processor or GPU.

Compiling takes from several seconds to a minute at every start, which only many chips pay back:
see `benchmarks/runtimes.py`.
"""

from collections.abc import Callable

import torch

from damagenet.devices import crew_of
from damagenet.errors import ConfigError
from damagenet.runtimes.answers import Answering

Compiled = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def compiled(answering: Answering, example: tuple[torch.Tensor, ...]) -> Compiled:
    """Return a compiled network for any number of chips, compiled already.

    Args:
        answering: In evaluation mode, on its device.
        example: Two chips or more for each of the inputs, on the same device.

    Raises:
        ConfigError: If it cannot be compiled here.
    """
    made: Compiled = torch.compile(
        answering,
        dynamic=True,
        # Else the number of threads at this moment would be written into the code.
        options={"cpp.dynamic_threads": True},
    )

    def forward(*images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if len(images[0]) > 1:
            return made(*images)
        # For one chip alone torch would compile the network again.
        logits, features = made(*(torch.cat([image, image]) for image in images))
        return logits[:1], features[:1]

    try:
        with crew_of(example[0].device) as crew, torch.inference_mode():
            crew.prepare()
            forward(*example)
    except Exception as err:
        cause = " ".join(str(err).split())[:200]
        raise ConfigError(
            "--runtime compile cannot be used here (on a CPU torch needs a C++ compiler such as "
            f"g++): take --runtime torch or onnx; the cause: {cause}"
        ) from err
    return forward
