"""A small multipart form, read into memory."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.problems import ServiceError

MOST_PARTS = 600
"""Texts and files of one form."""


@dataclass(slots=True, kw_only=True)
class SentPart:
    """A text or a file; filled while it comes in.

    Attributes:
        name: Of the field.
        file_name: As it was sent; None for a text.
        content: Its bytes.
    """

    name: str
    file_name: str | None
    content: bytearray = field(default_factory=bytearray)

    def text(self) -> str:
        """Return the content of a text."""
        return self.content.decode("utf-8", errors="replace")


class FormReader:
    """Takes the body of a request apart as it comes in.

    Args:
        content_type: Header of the request.

    Raises:
        ServiceError: 415 if it is no multipart form.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise ServiceError(415, "the request must be multipart/form-data with a boundary")
        self._parts: list[SentPart] = []
        self._ended = False
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": self._add_to_header_name,
                    "on_header_value": self._add_to_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._add,
                    "on_end": self._end,
                },
            )
        except FormParserError as err:
            raise _broken() from err

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            ServiceError: 422 if they are no form, or it has too many parts.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as err:
            raise _broken() from err

    def parts(self) -> list[SentPart]:
        """Return all parts in the order in which they were sent; 422 if the form has no end."""
        if not self._ended:
            raise _broken()
        return self._parts

    def _add_to_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _add_to_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _begin_content(self) -> None:
        if len(self._parts) >= MOST_PARTS:
            raise ServiceError(422, f"the form has more than {MOST_PARTS} parts: send fewer")
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name, file_name = options.get(b"name", b""), options.get(b"filename")
        self._parts.append(
            SentPart(
                name=name.decode("utf-8", errors="replace"),
                file_name=None if file_name is None else file_name.decode("utf-8", "replace"),
            )
        )

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._parts[-1].content += memoryview(data)[start:end]

    def _end(self) -> None:
        self._ended = True


def _broken() -> ServiceError:
    return ServiceError(422, "the form cannot be read: send it again, whole")
