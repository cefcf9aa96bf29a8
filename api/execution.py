"""The JSON body of an execution (OGC 18-062r2, 7.11) as what a form would have held."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import ValidationError

from api.folders import ID, JobFolder
from api.form import OFFERED, ROLES, UPLOADS
from api.inputs import as_role, new_input
from api.multipart import Received
from api.problems import ServiceError
from api.process import ENDINGS, OUTPUTS
from api.schemas import SentFile
from damagenet.config import Settings
from damagenet.outputs.atomic import appears

MOST_BYTES = 32 * 2**20
"""Bytes of a body, which is held in memory; larger files are sent as uploads."""
UPLOAD_PATH = re.compile(rf"/v1/uploads/({ID.pattern})/?")
FILE = "execution.json"


class Wanted(Settings):
    """How the results of an execution are given out; kept beside them."""

    outputs: tuple[str, ...] | None = None
    """Names of results; None for all."""
    raw: bool = False
    """As `Link` headers alone instead of a document."""

    def keep(self, folder: JobFolder) -> None:
        """Write it down for when the job is done."""
        with appears(folder.root / FILE) as path:
            path.write_text(self.model_dump_json(), encoding="utf-8")


def read_wanted(folder: JobFolder) -> Wanted:
    """Return how results are wanted; all of them as a document for jobs that were not executed."""
    try:
        return Wanted.model_validate_json((folder.root / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return Wanted()


async def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        ServiceError: 400 if it is none, 413 if it is too large.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise ServiceError(
                413,
                f"the body is larger than {MOST_BYTES} bytes: send files to /v1/uploads, "
                'and name them as {"href": ".../v1/uploads/ID"}',
            )
    try:
        loaded = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise ServiceError(400, "the body is no JSON: send an object with `inputs`") from err
    if not isinstance(loaded, dict) or not isinstance(loaded.get("inputs"), dict):
        raise ServiceError(400, "the body must be a JSON object with an object `inputs`")
    return loaded


def read_outputs(body: dict[str, Any]) -> Wanted:
    """Return which results are wanted; raise ServiceError 400 for unknown or unoffered ones."""
    outputs, response = body.get("outputs"), body.get("response", "raw")
    if response not in ("raw", "document"):
        raise ServiceError(400, "response must be raw or document")
    if outputs is None or outputs == {}:
        return Wanted(raw=response == "raw")
    if not isinstance(outputs, dict) or not all(isinstance(v, dict) for v in outputs.values()):
        raise ServiceError(400, "outputs must be an object of objects, by name of the result")
    unknown = sorted(set(outputs) - set(OUTPUTS))
    if unknown:
        raise ServiceError(
            400, f"there is no output {unknown[0][:80]!r}; choose from: {', '.join(OUTPUTS)}"
        )
    if any(asked.get("transmissionMode", "reference") != "reference" for asked in outputs.values()):
        raise ServiceError(400, "results come by reference only: transmissionMode reference")
    return Wanted(outputs=tuple(outputs), raw=response == "raw")


def receive_inputs(inputs: dict[str, Any], folder: JobFolder, host: str) -> Received:
    """Put files given by value into a job's folder and return all inputs as a form's fields.

    Args:
        inputs: By name, values or lists of them.
        folder: Of the job to be.
        host: Host and port that the request was sent to; links must lead there.

    Raises:
        ServiceError: 400 for an unknown or malformed input, or a link to anywhere else.
    """
    fields: dict[str, list[str]] = {}
    files: dict[str, list[SentFile]] = {}
    uploads: dict[str, list[str]] = {}
    for name, value in inputs.items():
        if name in ROLES:
            for number, one in enumerate(value if isinstance(value, list) else [value], start=1):
                if isinstance(one, dict) and "href" in one:
                    uploads.setdefault(name, []).append(_upload_id(name, one["href"], host))
                else:
                    files.setdefault(name, []).append(_write(folder, name, number, one))
        elif name in OFFERED:
            fields[name] = [_text(name, value)]
        else:
            choices = ", ".join([*ROLES, *OFFERED])
            raise ServiceError(400, f"there is no input {name[:80]!r}; choose from: {choices}")
    if uploads:
        fields[UPLOADS] = [json.dumps(uploads)]
    return Received(fields=fields, files={as_role(name): sent for name, sent in files.items()})


def _upload_id(name: str, href: object, host: str) -> str:
    try:
        address = urlsplit(str(href))
        found = UPLOAD_PATH.fullmatch(address.path)
    except ValueError:  # no address at all
        found = None
    ours = found and (not address.netloc or address.netloc.lower() == host.lower())
    if found is None or not ours or address.scheme not in ("", "http", "https"):
        raise ServiceError(
            400,
            f"input {name}: {str(href)[:80]!r} is not fetched, as links may only lead to uploads "
            "of this service: send the file to /v1/uploads and name it by its address",
        )
    return found.group(1)


def _write(folder: JobFolder, role: str, number: int, given: object) -> SentFile:
    """Write a file that was given by value; its name is made of role, number and media type."""
    value, kind = given, None
    if isinstance(given, dict) and "value" in given:
        value, kind = given["value"], given.get("mediaType")
        encoding = given.get("encoding", "base64")
        if encoding != "base64":
            raise ServiceError(400, f"input {role}: encoding must be base64")
    ending = _ending(role, kind)
    content = _content(role, value)
    path = new_input(folder, role, f"{role}-{number}{ending}")
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return SentFile(name=Path(path).name, bytes=len(content), sha256=digest)


def _ending(role: str, kind: object) -> str:
    known = ENDINGS[role]
    if kind is None:
        return next(iter(known.values()))
    plain = {one.split(";")[0]: ending for one, ending in known.items()}
    ending = plain.get(str(kind).split(";")[0].strip().lower())
    if ending is None:
        raise ServiceError(
            400, f"input {role}: mediaType {str(kind)[:80]!r} is none of {', '.join(known)}"
        )
    return ending


def _content(role: str, value: object) -> bytes:
    if isinstance(value, dict) and role in ("buildings", "exclude"):
        return json.dumps(value).encode()
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass  # said below, with all other wrong forms
    raise ServiceError(
        400,
        f'input {role}: give a base64 text, {{"value": ...}} or {{"href": ".../v1/uploads/ID"}}',
    )


def _text(name: str, given: object) -> str:
    """Return the value of an option as a form has it."""
    value = given["value"] if isinstance(given, dict) and "value" in given else given
    values = list(_scalars(value))
    if not values or any(one is None for one in values):
        raise ServiceError(400, f"input {name}: give a text, a number, true, false or a list")
    return ",".join(str(one) for one in values)


def _scalars(value: object) -> Iterator[str | None]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, bool):
            yield str(one).lower()
        elif isinstance(one, str | int | float):
            yield str(one)
        else:
            yield None
