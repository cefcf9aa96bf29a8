"""`ServiceSettings`: every setting of the service, from the environment or a YAML file."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from damagenet.errors import ConfigError
from damagenet.options import Runtime

GIB = 2**30


def _split_commas(value: object) -> object:
    """Let `DAMAGENET_ALLOWED_HOSTS=a.org,b.org` be written as one word."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaSeparated = BeforeValidator(_split_commas)


class ServiceSettings(BaseSettings):
    """How the service runs; frozen. `DAMAGENET_<NAME>` in the environment sets each of them."""

    model_config = SettingsConfigDict(
        env_prefix="DAMAGENET_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    data_dir: Path = Path("damagenet-service")
    """Folder of jobs, uploads and adapted models; shared by all machines of one service."""
    database_url: str | None = None
    """SQLAlchemy address of the jobs table; without one, SQLite in the data folder."""
    queue_url: str | None = None
    """redis:// or postgresql:// address of the queue; without one, SQLite in the data folder."""
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    """Worker processes that `damagenet serve` starts beside the API."""
    device: str = "auto"
    """Where networks run: auto, cpu, cuda or cuda:N."""
    runtime: Runtime = "torch"
    """What computes: torch, compile, onnx (the fastest on a CPU) or bfloat16."""
    require_keys: bool = False
    """Refuse requests without an API key; always so on addresses other than loopback."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, CommaSeparated] = ()
    """Names under which a service without keys may be called, `*` for any. IP addresses and names
    without a dot always may: nobody else can let them point to this machine."""
    lease_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds without a sign of life after which a worker's job goes to another one."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """How often a job is begun before it counts as failed: a scene may kill its worker."""
    max_upload_bytes: Annotated[int, Field(gt=0)] = 8 * GIB
    """Bytes of one request, or of one upload in parts."""
    max_pixels: Annotated[int, Field(gt=0)] = 40_000_000_000
    """Pixels of one scene."""
    max_chips: Annotated[int, Field(gt=0)] = 5_000_000
    """Windows that one assessment may ask a network for."""
    max_features: Annotated[int, Field(gt=0)] = 2_000_000
    """Buildings or areas in one file."""
    max_vertices: Annotated[int, Field(gt=0)] = 50_000_000
    """Vertices in one file of buildings or areas."""
    max_vector_bytes: Annotated[int, Field(gt=0)] = 2 * GIB
    """Bytes of one file of buildings or areas, unpacked; the engine holds it in memory."""
    max_scenes: Annotated[int, Field(gt=0)] = 1_000
    """Scenes in one assessment."""
    max_jobs: Annotated[int, Field(gt=0)] = 100
    """Jobs of one key that wait or run at a time."""
    requests_per_minute: Annotated[int, Field(gt=0)] = 6_000
    """Requests of one key, or of one address where there are no keys."""
    concurrent_requests: Annotated[int, Field(gt=0)] = 256
    """Requests of one key, or of one address, that may be open at a time."""
    predict_queue_chips: Annotated[int, Field(gt=0)] = 4_096
    """Chips of `/v1/predict` that may wait for the network; beyond it the answer is 429."""
    predict_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """How long a batch of `/v1/predict` waits for more chips."""

    @property
    def database(self) -> str:
        """Address of the jobs table."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'jobs.sqlite'}"

    @property
    def queue(self) -> str:
        """Address of the queue."""
        return self.queue_url or f"sqlite:///{self.data_dir.absolute() / 'queue.sqlite'}"


def read_service_settings(path: Path | None = None, **given: object) -> ServiceSettings:
    """Return settings of a YAML file, over them the environment, over both what is given by name.

    Raises:
        ConfigError: If the file cannot be read, or a value is unknown or out of range.
    """
    try:
        from_environment = ServiceSettings().model_dump(exclude_unset=True)
        from_file = {} if path is None else yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if not isinstance(from_file, dict):
            raise ConfigError(f"{path} holds no settings: it must be `key: value` lines")
        named = {name: value for name, value in given.items() if value is not None}
        return ServiceSettings(**(from_file | from_environment | named))
    except (OSError, yaml.YAMLError) as err:
        raise ConfigError(f"cannot read the service's settings {path}: mend the file") from err
    except ValidationError as err:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, got {fault['input']!r}"
            for fault in err.errors()
        )
        raise ConfigError(f"settings of the service: {faults}") from None
