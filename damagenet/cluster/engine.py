"""`--engine ray`: the parts of a run made by the workers of a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

from damagenet.bundle import Bundle
from damagenet.cluster.connection import choose_device, connected
from damagenet.engine.runner import Engine
from damagenet.options import AssessOptions


@contextmanager
def ray_engine(options: AssessOptions, bundle: Bundle) -> Iterator[Engine]:
    """Yield the engine of a Ray cluster, which is joined or started as long as the block runs.

    Raises:
        ConfigError: If there is no Ray, or no cluster at the address.
        DeviceError: If the cluster lacks the device that the options ask for.
    """
    with connected(options.ray_address):
        # Only now is it known that there is a Ray to import.
        from damagenet.cluster.scenes import ScenesOnCluster

        device = choose_device(options.device)
        yield Engine(
            device=device,
            assess=lambda runner: ScenesOnCluster(runner, bundle, device=device).assess(),
        )
