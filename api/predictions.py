"""`Predictions`: the models, batches and threads behind `/v1/predict`."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.batching import Batching
from api.chip_files import Pixels, read_chips
from api.chip_form import ChipForm
from api.predictors import Predictors
from api.problems import ServiceError
from api.settings import ServiceSettings

if TYPE_CHECKING:
    from damagenet.card import Card


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyChips:
    """The chips of a request, as a model takes them.

    Attributes:
        names: One for each chip, N.
        images: uint8 (N, 3, S, S) for each picture that the model compares.
    """

    names: tuple[str, ...]
    images: tuple[Pixels, ...]


class Predictions:
    """What all requests to `/v1/predict` share.

    Args:
        settings: Of the service.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.predictors = Predictors(settings.device, runtime=settings.runtime)
        self.batching = Batching(
            wait_s=settings.predict_wait_ms / 1000, queue_chips=settings.predict_queue_chips
        )
        # As many as can run: more of them would only take turns with the network.
        self._decoders = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")

    async def decode(self, form: ChipForm, card: "Card") -> ReadyChips:
        """Return `ready_chips` of a form; the event loop goes on with other requests."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoders, ready_chips, form, card)

    def close(self) -> None:
        """End all threads after what they are at."""
        self._decoders.shutdown(wait=True, cancel_futures=True)
        self.predictors.close()
        self.batching.close()


def ready_chips(form: ChipForm, card: "Card") -> ReadyChips:
    """Return the chips of a form as a model takes them.

    Raises:
        ServiceError: 422 if a file is no chip for this model, or files are missing or too many.
    """
    sent = {"post": form.chips, "pre": form.pre}
    if not form.chips:
        raise ServiceError(422, "chips: send at least one file")
    if form.pre and "pre" not in card.inputs:
        raise ServiceError(422, f"pre: model {card.name} looks at one picture: leave it out")
    if not form.pre and "pre" in card.inputs:
        raise ServiceError(
            422, f"pre: model {card.name} compares two pictures: send those from before the storm"
        )
    read = {
        role: read_chips(sent[role], size_px=card.chip.size_px, resize=form.options.resize)
        for role in card.inputs
    }
    counts = {role: len(chips.names) for role, chips in read.items()}
    if len(set(counts.values())) > 1:
        raise ServiceError(
            422, f"pre: {counts['pre']} chips for {counts['post']} in chips: send one for each"
        )
    return ReadyChips(
        names=read["post"].names, images=tuple(read[role].pixels for role in card.inputs)
    )
