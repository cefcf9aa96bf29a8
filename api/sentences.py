"""Sentences of the engine as callers may read them: without what a library said."""

import re

LIBRARY_SAYS = re.compile(
    r"(damaged or incomplete|a vector file|with a geometry|cannot be read as CSV)"
    r" \((?:(?!\): ).)*\)(?=: )",
    re.DOTALL,
)
"""Where `data_prep.opening` and `vector_files` quote GDAL, pyarrow or pandas. A quotation may hold
brackets, but no closing one before a colon but its own."""


def without_library(text: str) -> str:
    """Return sentences of errors without what GDAL, pyarrow or pandas said in brackets.

    The command line shows it to its user; in a service it tells strangers about the machine.
    """
    return LIBRARY_SAYS.sub(r"\1", text)
