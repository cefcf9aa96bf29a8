"""The layer of records: names and types of its columns, its CRS, and how parts are read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from damagenet.assessment import ROW_COLUMN, Assessment
from damagenet.card import Card
from damagenet.errors import OutputError
from damagenet.outputs.batches import Batch, flat_geometries
from damagenet.outputs.columns import RECORD_TYPES, RUN_TYPES, attribute_types, conform
from damagenet.outputs.trust import run_trust

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

GEOMETRY_COLUMN = "geometry"


@dataclass(frozen=True, kw_only=True)
class VectorLayer:
    """What the table formats must know besides the records themselves."""

    geometry: Literal["point", "polygon"]
    crs: str | None
    """WKT of the geometries' CRS; None for pixel coordinates."""
    types: pa.Schema
    """Names and types of all columns but the geometry, in order."""
    card: Card
    trust: dict[str, str]
    """What is said of the probabilities, by key; see `outputs.trust`."""
    units: int
    """Number of records, or an upper bound; decides whether they are held between formats."""

    @classmethod
    def of(cls, assessment: Assessment) -> Self:
        """Return the layer of one scene."""
        return cls._made([assessment], assessment.crs, RECORD_TYPES)

    @classmethod
    def of_run(cls, assessments: Sequence[Assessment]) -> Self:
        """Return the layer of a whole run, with the columns `scenes` and `disagree`.

        Its CRS is the one that all assessments share, else WGS 84.

        Raises:
            OutputError: If there is no assessment, or scenes in pixel coordinates would have to
                lie on one map with others.
        """
        if not assessments:
            raise OutputError("no scene succeeded: there is nothing to put on a common map")
        systems = {one.crs for one in assessments}
        if None in systems and len(assessments) > 1:
            names = ", ".join(one.stem for one in assessments if one.crs is None)
            raise OutputError(
                f"scenes without a CRS ({names}) cannot share a map with others: "
                "georeference them, or assess each into a folder of its own"
            )
        crs = systems.pop() if len(systems) == 1 else "EPSG:4326"
        return cls._made(assessments, crs, RECORD_TYPES | RUN_TYPES)

    @classmethod
    def _made(
        cls, assessments: Sequence[Assessment], crs: str | None, fixed: dict[str, pa.DataType]
    ) -> Self:
        names = list(dict.fromkeys(name for one in assessments for name in one.attributes))
        schemas = [read_schema(path) for one in assessments for path in one.part_paths()]
        return cls(
            geometry=assessments[0].geometry,
            crs=crs,
            types=pa.schema(fixed | attribute_types(schemas, names)),
            card=assessments[0].card,
            trust=run_trust(assessments),
            units=sum(one.counts.units for one in assessments),
        )

    def batch(self, part: "GeoDataFrame") -> Batch:
        """Return the records of one part under the layer's columns, geometry type and CRS.

        Other columns are left out, another CRS is transformed.
        """
        if self.crs is not None and part.crs is not None and part.crs != self.crs:
            part = part.to_crs(self.crs)
        columns = part[[name for name in self.types.names if name in part.columns]]
        table = pa.Table.from_pandas(columns, preserve_index=False)
        return Batch(
            table=conform(table, self.types),
            geometry=flat_geometries(part.geometry.values, self.geometry),
        )

    def read_part(self, path: Path) -> Batch:
        """Return the records of one part's file, which are in the layer's CRS.

        A GeoDataFrame would say the same, but spends its time on parsing the CRS of every part.

        Raises:
            OutputError: If the file is missing or damaged.
        """
        # `pq.read_table` would take twice the time to find out that this is one small file.
        with reading_part(path), pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
        return Batch(
            table=conform(table, self.types),
            geometry=flat_geometries(
                shapely.from_wkb(table[GEOMETRY_COLUMN].to_numpy()), self.geometry
            ),
            row=table[ROW_COLUMN].to_numpy(),
        )


def read_schema(path: Path) -> pa.Schema:
    """Return the columns of one part's file.

    Raises:
        OutputError: If it is missing or damaged.
    """
    with reading_part(path):
        return pq.read_schema(path)


@contextmanager
def reading_part(path: Path) -> Iterator[None]:
    """Read one part's file.

    Raises:
        OutputError: If it is missing or damaged.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as err:
        raise OutputError(
            f"cannot read the finished part {path}: {err}; assess with --no-resume"
        ) from err


def cannot_write(crs: str | None, formats: Sequence[str]) -> dict[str, str]:
    """Return, for every format that this CRS rules out, one sentence that says why."""
    if crs is None and "geojson" in formats:
        return {
            "geojson": "no damage.geojson: GeoJSON is longitude and latitude, and the scene has "
            "no CRS; georeference it to get one"
        }
    return {}


def check_formats(crs: str | None, formats: Sequence[str]) -> None:
    """Check that all formats can hold geometries of a CRS.

    Raises:
        OutputError: If one cannot, with the reason.
    """
    for why in cannot_write(crs, formats).values():
        raise OutputError(why)
