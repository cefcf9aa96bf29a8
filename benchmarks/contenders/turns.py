"""How a contender is asked: one process that stays, one line of orders, one line of answer.

Runs in every contender's environment, so nothing is imported that only ours has.

    run          judge the whole scene once; answers chips, seconds, processor seconds
    check FILE   judge it once more and keep where each chip lies and its logit, as .npz
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch


def arguments() -> argparse.Namespace:
    """Return scene, network, batch size, chip size and workers as the contest gives them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--network", type=Path, required=True, help="TorchScript: chips to logits")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--chip", type=int, required=True, help="side in pixels")
    parser.add_argument("--workers", type=int, default=0, help="of the DataLoader")
    return parser.parse_args()


def answer(
    given: argparse.Namespace,
    pipeline: str,
    batches: Callable[[], Iterable[torch.Tensor]],
    places: Callable[[], Iterator[tuple[list[int], list[int]]]],
) -> None:
    """Answer orders from standard input until it closes.

    Args:
        given: From `arguments`.
        pipeline: Its name and version.
        batches: Opens the scene anew and yields its chips, float32 (N, 3, S, S) of 0..255.
        places: Yields rows and columns of the same batches, in the same order.
    """
    network = torch.jit.load(given.network).eval()
    warm = torch.zeros(given.batch_size, 3, given.chip, given.chip)
    with torch.inference_mode():
        for _ in range(3):
            network(warm)
    _say(
        {
            "pipeline": pipeline,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "threads": torch.get_num_threads(),
        }
    )
    for line in sys.stdin:
        order, _, path = line.strip().partition(" ")
        if order == "run":
            _say(_timed(lambda: sum(len(logits) for logits in _logits(network, batches()))))
        elif order == "check":
            _check(Path(path), list(_logits(network, batches())), places())
            _say({})


def _logits(network: torch.nn.Module, batches: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    for batch in batches:
        with torch.inference_mode():
            yield network(batch)


def _timed(work: Callable[[], int]) -> dict[str, float]:
    wall, processor = time.perf_counter(), _processor_s()
    chips = work()
    return {
        "chips": chips,
        "seconds": time.perf_counter() - wall,
        "processor_s": _processor_s() - processor,
    }


def _processor_s() -> float:
    """Return processor seconds of this process and of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _check(path: Path, logits: list[torch.Tensor], places: Iterable[tuple]) -> None:
    rows, columns = zip(*places, strict=True)
    np.savez(
        path,
        logits=torch.cat(logits).squeeze(1).numpy(),
        rows=np.concatenate(rows),
        columns=np.concatenate(columns),
    )


def _say(facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
