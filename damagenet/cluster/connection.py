"""A Ray cluster, joined or started: the driver's side of it."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from damagenet.errors import ConfigError, DeviceError

LOCAL = "local"
PATIENCE_S = 5
"""How long a cluster's port may take to answer."""
DEFAULT_PORT = 6379


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Join a Ray cluster while the block runs, or start one of this machine's cores and GPUs.

    A cluster that was started ends with the block, one that was joined goes on.

    Args:
        address: As `10.0.0.5:6379`, or `auto` for the one this machine belongs to; without one
            the variable RAY_ADDRESS counts, which `ray job submit` sets.

    Raises:
        ConfigError: If Ray is not installed, or there is no cluster at the address.
    """
    if find_spec("ray") is None:
        raise ConfigError("--engine ray needs Ray: pip install 'damagenet[ray]'")
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    _check_reachable(where)
    # Nothing is sent to Ray's makers unless somebody has asked for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    with _quiet():
        if ray.is_initialized():
            yield  # whoever called has joined one already, and leaves it
            return
        _join(where)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Ray neither greet nor advertise."""
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _join(address: str) -> None:
    import ray

    try:
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            configure_logging=False,
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as err:
        raise ConfigError(_cannot_join(address, str(err))) from err


def choose_device(device: str) -> str:
    """Return where the networks of a cluster run: `cuda` or `cpu`.

    Args:
        device: `auto`, `cpu` or `cuda`; `auto` takes the GPUs where there are any.

    Raises:
        DeviceError: If the cluster has none of what is asked for.
    """
    if device == "cuda" and not count_slots("cuda"):
        raise DeviceError(
            "--device cuda was asked for, the Ray cluster has no GPU: say --device cpu"
        )
    chosen = "cuda" if device != "cpu" and count_slots("cuda") else "cpu"
    if not count_slots(chosen):
        raise DeviceError("the Ray cluster has no CPU core to work on: add a node to it")
    return chosen


def count_slots(device: str) -> int:
    """Return the number of GPUs (`cuda`) or cores (`cpu`) of a cluster, taken ones included."""
    import ray

    found = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray has no types there
    return int(found.get("GPU" if device == "cuda" else "CPU", 0))


def _check_reachable(address: str) -> None:
    """Refuse an address where nobody answers: Ray itself tries for a minute, and then aborts."""
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise ConfigError(
            f"--ray-address {address} is no address of a cluster: give host and port of its head, "
            f"as in 10.0.0.5:{DEFAULT_PORT}, or auto"
        )
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except (OSError, OverflowError) as err:
        raise ConfigError(_cannot_join(address, str(err))) from err


def _cannot_join(address: str, reason: str) -> str:
    first = reason.strip().partition("\n")[0].rstrip(".")
    if address == LOCAL:
        return f"Ray cannot be started on this machine: {first}"
    return (
        f"no Ray cluster to join at {address} ({first}): this machine must belong to it, by "
        "`ray start --head` or `ray start --address=HOST:PORT`, and where the cluster asks for a "
        "token, RAY_AUTH_MODE=token must be set"
    )
