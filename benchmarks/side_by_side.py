"""The network asked as an assessment asks it: whole batches side by side."""

import numpy as np

from damagenet.devices import crew_of
from damagenet.engine.prefetch import prefetched
from damagenet.inference import Predictor


def ask_side_by_side(predictor: Predictor, images: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the probabilities of all chips, float64 (N,), with as many batches as suit the device.

    Args:
        predictor: The network, on its device.
        images: One array uint8 (N, 3, S, S) for each picture that it takes.
    """
    starts = range(0, len(images[0]), predictor.batch_size)
    batches = (tuple(image[n : n + predictor.batch_size] for image in images) for n in starts)
    with crew_of(predictor.device) as crew:
        answers = prefetched(
            predictor.probabilities,
            batches,
            ahead=crew.workers,
            workers=crew.workers,
            prepare=crew.prepare,
        )
        return np.concatenate(list(answers))
