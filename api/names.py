"""Names that callers give to files, made harmless: they become file names and stand on pages."""

import re
import unicodedata

LENGTH = 100
"""Characters of a name at most; with the suffixes that results add it stays within 255 bytes."""
SUFFIXES = (".shp.zip",)
"""Suffixes of two parts, which belong together when a name is cut."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
"""Names that are devices on Windows, where results may be unpacked."""
NAMELESS = "file"


def clean_name(text: str) -> str:
    """Return a name that is safe as a file's name, in an address and on a page.

    Only its last path part is kept; letters and digits of any script, blanks and `. _ - ( ) +`
    stay, everything else becomes `_`. It never begins with a dot or a hyphen.

    Args:
        text: The name as it was sent.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", text))[-1]
    kept = "".join(character if _harmless(character) else "_" for character in last)
    kept = kept.strip(" .").lstrip("-. ")
    stem, suffix = _split(kept)
    if RESERVED.fullmatch(stem.split(".")[0].strip()):
        stem = f"_{stem}"
    return f"{_cut(stem, LENGTH - len(suffix)) or NAMELESS}{suffix}"


def _harmless(character: str) -> bool:
    # Letters, their accents, and digits; no control, format or private characters.
    return unicodedata.category(character)[0] in "LN" or (
        character in " ._-()+" or unicodedata.category(character) == "Mn"
    )


def _split(name: str) -> tuple[str, str]:
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], name[-len(suffix) :]
    stem, dot, suffix = name.rpartition(".")
    return (stem, f".{suffix}") if dot and len(suffix) <= 10 else (name, "")


def _cut(stem: str, length: int) -> str:
    """Return as much of a stem as fits into this many characters and twice as many bytes."""
    cut = stem[:length]
    while len(cut.encode()) > 2 * length:
        cut = cut[:-1]
    return cut.rstrip(" .")
