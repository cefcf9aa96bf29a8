"""The form of `/v1/predict`: chips in memory, since they are few and are needed at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from pydantic import Field

from api.chip_files import MOST_CHIPS, ChipFile
from api.form_reader import FormReader, SentPart
from api.names import clean_name
from api.problems import ServiceError
from damagenet.config import Settings, make_settings
from damagenet.options import AUTO, bundle_name

BODY_BYTES = 64 * 2**20
"""Bytes of one request."""
FILES = {
    "chips": f"Chips as PNG, JPEG (8-bit RGB) or NPY (uint8, (N, 3, S, S), (N, S, S, 3) or "
    f"(S, S, 3)); several files in one request, up to {MOST_CHIPS} chips, are judged together.",
    "pre": "The same ground before the storm, in the same order, for models that compare two "
    "pictures.",
}


class ChipOptions(Settings):
    """The text fields of the form."""

    model: str = Field(AUTO, max_length=100)
    """A shipped model or one of your own; `auto` takes the one that errs least after a storm."""
    resize: bool = False
    """Resample chips of another size than the model's instead of refusing them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipForm:
    """What a request held.

    Attributes:
        options: Its text fields.
        chips: Files in the order in which they were sent.
        pre: The same for pictures from before the storm.
    """

    options: ChipOptions
    chips: tuple[ChipFile, ...]
    pre: tuple[ChipFile, ...]

    @property
    def model(self) -> str:
        """Name of the model that is asked for, `auto` resolved."""
        return bundle_name(self.options.model, Path("pre") if self.pre else None)


async def read_chip_form(request: Request) -> ChipForm:
    """Return the form of a request.

    Raises:
        ServiceError: 413 beyond `BODY_BYTES`, 415 for another content type, 422 for a broken form
            or an unknown field.
        ConfigError: If a text field is out of range.
        ClientDisconnect: If the client has gone.
    """
    announced_bytes(request)
    reader = FormReader(request.headers.get("content-type", ""))
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > BODY_BYTES:
            raise _too_large()
        reader.feed(chunk)
    return _sorted(reader.parts())


def announced_bytes(request: Request) -> int:
    """Return how long a request says it is, `BODY_BYTES` where it does not; 413 beyond them."""
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isdigit() else BODY_BYTES
    if length > BODY_BYTES:
        raise _too_large()
    return length


def form_schema() -> dict[str, Any]:
    """Return the form as a JSON schema, for the OpenAPI document."""
    one_file = {"type": "string", "format": "binary"}
    files = {
        name: {"type": "array", "items": one_file, "description": text, "maxItems": MOST_CHIPS}
        for name, text in FILES.items()
    }
    files["chips"]["minItems"] = 1
    return {
        "type": "object",
        "properties": files | ChipOptions.model_json_schema()["properties"],
        "required": ["chips"],
        "additionalProperties": False,
    }


def _sorted(parts: list[SentPart]) -> ChipForm:
    files: dict[str, list[ChipFile]] = {name: [] for name in FILES}
    texts: dict[str, str] = {}
    for part in parts:
        if (part.file_name is not None) != (part.name in files):
            raise ServiceError(
                422,
                f"field {part.name[:80]!r}: {' and '.join(FILES)} are files, with file names, and "
                f"{' and '.join(ChipOptions.model_fields)} are texts",
            )
        if part.file_name is None:
            texts[part.name] = part.text()
        else:
            file = ChipFile(name=clean_name(part.file_name), content=bytes(part.content))
            files[part.name].append(file)
    options = make_settings(ChipOptions, texts, source="form")
    return ChipForm(options=options, chips=tuple(files["chips"]), pre=tuple(files["pre"]))


def _too_large() -> ServiceError:
    return ServiceError(
        413, f"the request is larger than {BODY_BYTES} bytes: send the chips in several requests"
    )
