"""The form of an assessment: its fields are generated from `AssessOptions`, its files are roles."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from api.bundles import model_folder
from api.folders import JobFolder, Role
from api.problems import ServiceError
from damagenet.bundle import read_card
from damagenet.config import make_settings
from damagenet.engine.option_checks import check_options
from damagenet.errors import BundleError, ConfigError
from damagenet.options import AUTO, AssessOptions

ROLES: dict[Role, str] = {
    "image": "Scenes to assess: GeoTIFF, COG, PNG or JPEG; one or more.",
    "pre": "Pictures of the same ground before the storm; of several, each scene takes the one "
    "that reaches over most of it.",
    "buildings": "Buildings, polygons or points; without them scenes are cut into grid cells.",
    "exclude": "Polygons or a raster mask of what hides the ground.",
}
"""What is sent as files, and what for."""

NOT_OFFERED = {
    "allow_driver",
    "allow_url",
    "asset",
    "buildings",
    "device",
    "engine",
    "exclude",
    "format",
    "on_error",
    "overwrite",
    "pre",
    "ray_address",
    "resume",
    "runtime",
}
"""Files, and what the service decides on: all formats, its own device and engine."""

OFFERED = [name for name in AssessOptions.model_fields if name not in NOT_OFFERED]
UPLOADS = "uploads"
UPLOADS_HELP = (
    "Files that were sent in parts, as JSON: "
    '`{"image": ["ID", ...], "pre": "ID", "buildings": "ID", "exclude": "ID"}`.'
)


def read_options(
    fields: Mapping[str, list[str]], folder: JobFolder, models: Path
) -> dict[str, Any]:
    """Return the options of a request as JSON values, checked like those of the command line.

    Args:
        fields: Text fields by name, as sent; empty ones count as not given.
        folder: The job's folder, with the files that were sent.
        models: Folder of adapted models.

    Raises:
        ServiceError: If there is no such model.
        ConfigError: If an option is unknown or out of range, or would be ignored, or asks for
            what the model cannot do.
    """
    given: dict[str, object] = {
        name: ",".join(texts) for name, texts in fields.items() if "".join(texts).strip()
    }
    for name in given:
        if name not in OFFERED:
            raise ConfigError(_unknown(name))
    options = make_settings(AssessOptions, given | _files(folder))
    try:
        check_options(options, read_card(model_folder(options.bundle, models)))
    except (BundleError, ConfigError) as err:
        raise type(err)(folder.public(str(err))) from None
    asked = options.model_dump(mode="json", include=set(given))
    for name, value in asked.items():
        if isinstance(value, float) and not isfinite(value):
            raise ConfigError(f"options: {name} must be a finite number, got {value}")
    return asked


def asked_model(options: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """Return the model that a job asks for, `auto` resolved."""
    pre = Path("pre") if inputs.get("pre") else None
    return AssessOptions(model=options.get("model", AUTO), pre=pre).bundle


def form_schema() -> dict[str, Any]:
    """Return the form as a JSON schema, for the OpenAPI document and OGC process descriptions."""
    options = AssessOptions.model_json_schema()["properties"]
    one_file = {"type": "string", "format": "binary"}
    files = {
        role: {"type": "array", "items": one_file, "description": text}
        if role in ("image", "pre")
        else one_file | {"description": text}
        for role, text in ROLES.items()
    }
    uploads = {"type": "string", "contentMediaType": "application/json"}
    return {
        "type": "object",
        "properties": files
        | {name: options[name] for name in OFFERED}
        | {UPLOADS: uploads | {"description": UPLOADS_HELP}},
        "additionalProperties": False,
    }


def read_uploads(texts: list[str]) -> dict[Role, list[str]]:
    """Return the ids in the field `uploads` by role; raise ServiceError if it is no such JSON."""
    if not "".join(texts).strip():
        return {}
    try:
        loaded = json.loads(texts[0])
    except (ValueError, RecursionError):
        loaded = None
    if len(texts) > 1 or not isinstance(loaded, dict) or loaded.keys() - set(get_args(Role)):
        raise ServiceError(422, f"uploads cannot be read: {UPLOADS_HELP}")
    found: dict[Role, list[str]] = {}
    for role, ids in loaded.items():
        found[role] = ids if isinstance(ids, list) else [ids]
        if not all(isinstance(one, str) for one in found[role]):
            raise ServiceError(422, f"uploads.{role} must be ids of uploads: {UPLOADS_HELP}")
    return found


def _files(folder: JobFolder) -> dict[str, Path]:
    found = {}
    for role in ("pre", "buildings", "exclude"):
        paths = folder.files(role)
        if paths:
            found[role] = paths[0] if len(paths) == 1 else folder.inputs(role)
    return found


def _unknown(name: str) -> str:
    allowed = [*ROLES, *OFFERED, UPLOADS]
    close = get_close_matches(name, allowed, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    file = " is a file: send it with a file name" if name in ROLES else None
    if file:
        return f"{name!r}{file}"
    return f"options: unknown setting {name[:80]!r}{hint}; choose one of: {', '.join(allowed)}"
