"""What reversible layers of capsules save in memory and cost in time, by number of blocks.

    python benchmarks/capsules.py [--width 64] [--num-caps 16] [--batch 32]

For MoCapsNet at 128 px, with stored and with recomputed activations: what autograd keeps between
forward and backward pass, the share of the momentum net in it, and processor time of one step
(the fastest of five), on one core.
"""

import argparse
import time

import torch

from damagenet.recipe import Choice, ModelSettings
from damagenet.study.machine import saved_mb
from models.classifier import Classifier
from models.factory import build_network

BLOCKS = (2, 4, 8, 16)
TRIES = 5


def build(**parameters: float | int | bool) -> Classifier:
    """Return a network with these parameters of the architecture."""
    torch.manual_seed(0)
    model = ModelSettings(architecture=Choice(name="mocapsnet", parameters=parameters))
    return build_network(model, pixel_mean=(100, 110, 90), pixel_std=(40, 50, 60))


def step_seconds(network: Classifier, images: torch.Tensor) -> float:
    """Return the processor time of the fastest forward and backward pass."""
    seconds = []
    for _ in range(TRIES):
        started = time.process_time()
        network.embed(images).square().sum().backward()
        seconds.append(time.process_time() - started)
    return min(seconds)


def main() -> None:
    """Print one row for each number of blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--num-caps", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (given.batch, 3, 128, 128), dtype=torch.uint8)
    capsules = torch.randn(given.batch, given.num_caps, 8)
    print("blocks  kept MB: stored, recomputed  in the momentum net  seconds a step")
    for blocks in BLOCKS:
        kept, inside, seconds = [], [], []
        for reversible in (False, True):
            network = build(
                width=given.width, num_caps=given.num_caps, blocks=blocks, reversible=reversible
            )
            kept.append(saved_mb(network, images, precision="32"))
            inside.append(saved_mb(network.features.momentum, capsules, precision="32"))
            seconds.append(step_seconds(network, images))
        print(
            f"{blocks:6d}  {kept[0]:15.2f}, {kept[1]:10.2f}  {inside[0]:9.2f}, {inside[1]:8.3f}"
            f"  {seconds[0]:6.3f}, {seconds[1]:5.3f}"
        )


if __name__ == "__main__":
    main()
