"""What the OGC faces of the service answer with."""

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import Answer, JobStatus, Link

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


class LandingPage(Answer):
    """What there is, and where."""

    title: str
    description: str
    links: list[Link]


class Conformance(Answer):
    """Which classes of which standards hold."""

    conformsTo: list[str]  # noqa: N815  the standard's spelling


class SpatialExtent(Answer):
    """Where features lie."""

    bbox: list[Annotated[list[float], Field(min_length=4, max_length=4)]]
    """West, south, east, north in degrees."""
    crs: str = CRS84


class TemporalExtent(Answer):
    """When the pictures were taken."""

    interval: list[Annotated[list[str | None], Field(min_length=2, max_length=2)]]


class Extent(Answer):
    """Where and when."""

    spatial: SpatialExtent
    temporal: TemporalExtent | None = None


class Collection(Answer):
    """The units of one finished assessment."""

    id: str
    title: str
    description: str
    itemType: Literal["feature"] = "feature"  # noqa: N815  the standard's spelling
    extent: Extent
    crs: list[str] = Field(default_factory=lambda: [CRS84])
    links: list[Link]


class Collections(Answer):
    """Collections of one caller, the newest first."""

    collections: list[Collection]
    links: list[Link]


class ProcessSummary(Answer):
    """A process, in short."""

    id: str
    title: str
    description: str
    version: str
    jobControlOptions: list[str]  # noqa: N815  the standard's spelling
    outputTransmission: list[str]  # noqa: N815  the standard's spelling
    links: list[Link]


class ProcessList(Answer):
    """All processes."""

    processes: list[ProcessSummary]
    links: list[Link]


class ProcessInput(Answer):
    """One input of a process."""

    title: str
    description: str
    minOccurs: int = 0  # noqa: N815  the standard's spelling
    maxOccurs: int = 1  # noqa: N815  the standard's spelling
    value_schema: dict[str, Any] = Field(alias="schema", serialization_alias="schema")


class ProcessOutput(Answer):
    """One output of a process."""

    title: str
    description: str
    value_schema: dict[str, Any] = Field(alias="schema", serialization_alias="schema")


class ProcessDescription(ProcessSummary):
    """A process with its inputs and outputs."""

    inputs: dict[str, ProcessInput]
    outputs: dict[str, ProcessOutput]


class Reference(Answer):
    """A result, by its address."""

    href: str
    type: str | None = None
    title: str | None = None


class JobList(Answer):
    """Jobs of one caller, the newest first."""

    jobs: list[JobStatus]
    links: list[Link]
