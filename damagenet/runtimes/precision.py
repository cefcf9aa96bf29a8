"""bfloat16, and what float32 means on a GPU."""

from collections.abc import Callable

import torch

from damagenet.runtimes.answers import Answering


def in_bfloat16(
    answering: Answering, device: torch.device
) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """Return a network whose convolutions and matrix products are computed in bfloat16."""

    def forward(*images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # A cache of cast weights would be freed while a CUDA graph still reads them.
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            found: tuple[torch.Tensor, torch.Tensor] = answering(*images)
        return found

    return forward


def keep_float32() -> None:
    """Let convolutions on a GPU be computed in float32 itself.

    By default cuDNN rounds to TF32, whose ten bits of fraction move probabilities by about 1e-3.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
