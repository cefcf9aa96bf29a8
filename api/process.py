"""The process `assess` as OGC API Processes describes it, generated from `AssessOptions`."""

from typing import Any

from api.form import OFFERED, ROLES
from api.ogc_answers import ProcessDescription, ProcessInput, ProcessOutput, ProcessSummary
from api.result_files import MEDIA_TYPES
from api.schemas import Link
from damagenet import __version__
from damagenet.options import AssessOptions

ASSESS = "assess"
EXECUTE = "http://www.opengis.net/def/rel/ogc/1.0/execute"

PICTURES = {
    "image/tiff; application=geotiff": ".tif",
    "image/png": ".png",
    "image/jpeg": ".jpg",
}
VECTORS = {
    "application/geo+json": ".geojson",
    "application/geopackage+sqlite3": ".gpkg",
    "application/zip": ".zip",
}
ENDINGS: dict[str, dict[str, str]] = {
    "image": PICTURES,
    "pre": PICTURES,
    "buildings": VECTORS,
    "exclude": VECTORS | PICTURES,
}
"""Media types that a file may have, with the ending that it gets; the first one counts if none
is named."""

OUTPUTS: dict[str, str] = {
    "damage.geojson": "Every unit with its verdict, in longitude and latitude.",
    "damage.gpkg": "The same as a GeoPackage, with its style.",
    "damage.parquet": "The same as GeoParquet.",
    "damage.csv": "The same as a table without geometries.",
    "damage.tif": "P(damaged) as a cloud-optimised GeoTIFF; one for each scene.",
    "damage.qml": "Its colours in QGIS; one for each scene.",
    "report.html": "What came out, for people; one for each scene.",
    "summary.json": "What came out, for programs; one for each scene.",
    "run.json": "What the run was made of.",
}
"""Results by name. Of several scenes, those that are one for each scene are called
`scenes/STEM/NAME`."""


def assess_summary(base: str) -> ProcessSummary:
    """Return the process in short.

    Args:
        base: Address of the service.
    """
    return ProcessSummary(**_summary(base))


def assess_description(base: str, *, max_scenes: int) -> ProcessDescription:
    """Return the process with its inputs and outputs.

    Args:
        base: Address of the service.
        max_scenes: Scenes that one job may have.
    """
    options = AssessOptions.model_json_schema()["properties"]
    files = {role: _file_input(role, text, max_scenes) for role, text in ROLES.items()}
    values = {name: _option(name, options[name]) for name in OFFERED}
    outputs = {
        name: ProcessOutput(title=name, description=text, schema=_file(MEDIA_TYPES[name]))
        for name, text in OUTPUTS.items()
    }
    return ProcessDescription(**_summary(base), inputs=files | values, outputs=outputs)


def _summary(base: str) -> dict[str, Any]:
    address = f"{base}/processes/{ASSESS}"
    return {
        "id": ASSESS,
        "title": "Assess scenes",
        "description": "Say building by building, or cell by cell, what a storm has damaged.",
        "version": __version__,
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["reference"],
        "links": [
            Link(href=address, rel="self", type="application/json"),
            Link(href=f"{address}/execution", rel=EXECUTE, title="Ask for an assessment"),
        ],
    }


def _file_input(role: str, text: str, max_scenes: int) -> ProcessInput:
    several = role in ("image", "pre")
    return ProcessInput(
        title=role,
        description=f"{text} By value in base64, or as a link to an upload of yours.",
        minOccurs=int(role == "image"),
        maxOccurs=max_scenes if several else 1,
        schema={"oneOf": [_file(kind) for kind in ENDINGS[role]]},
    )


def _option(name: str, schema: dict[str, Any]) -> ProcessInput:
    # The help speaks of the command line's options, which are inputs here.
    words = " ".join(schema.get("description", "").split()).replace(" --", " ")
    return ProcessInput(title=name, description=words, schema=schema | {"description": words})


def _file(kind: str) -> dict[str, Any]:
    return {"type": "string", "contentEncoding": "base64", "contentMediaType": kind}
