"""Whether areas are alike: whether one verdict is as often right in each of them."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

SHUFFLES = 999
DOUBT = 0.1
"""Areas are said to differ where alike ones would do so in less than this share of draws.

Generous, as to take different areas for alike is the worse mistake; it finds no small difference,
so that it may warn and not decide: see DESIGN.md, Tried.
"""


def chance_of_likeness(labelled: Counts, damaged: Counts, *, seed: int = 0) -> float:
    """Return how often alike areas would show differences as large as these (a p-value).

    Pearson's statistic, summed over verdicts, against the labels dealt out to the areas anew,
    verdict by verdict (a permutation test, exact up to the draws: Fisher 1935). With one or two
    labels for each area it can hardly find anything.

    Args:
        labelled: Random labels by area and verdict (A, H).
        damaged: Those of them that are damaged.
        seed: Seed of the draws; equal seeds give equal answers.

    Returns:
        Between 1/1000 and 1; 1 where nothing could differ.
    """
    rng = np.random.default_rng(seed)
    seen, dealt = 0.0, np.zeros(SHUFFLES)
    for n, x in zip(labelled.T, damaged.T, strict=True):
        hits = int(x.sum())
        if not 0 < hits < n.sum():
            continue
        draws = rng.multivariate_hypergeometric(n, hits, size=SHUFFLES, method="count")
        seen += float(_spread(x[None], n)[0])
        dealt += _spread(draws, n)
    return float((1 + np.sum(dealt >= seen - 1e-9)) / (SHUFFLES + 1))


def _spread(damaged: Counts, labelled: Counts) -> npt.NDArray[np.float64]:
    """Return the sum of squared differences from the common share, each over its variance."""
    share = damaged[0].sum() / labelled.sum()
    some = labelled > 0
    off = damaged[:, some] - labelled[some] * share
    spread: npt.NDArray[np.float64] = (off**2 / (labelled[some] * share * (1 - share))).sum(axis=1)
    return spread
