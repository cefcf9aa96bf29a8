"""The templates of the pages, with the filters that they share."""

import datetime as dt
from functools import lru_cache
from pathlib import Path

import jinja2

OUR_OWN = Path(__file__).parent


@lru_cache
def page_template(name: str, folder: Path = OUR_OWN) -> jinja2.Template:
    """Return a template; everything put into it is escaped, nothing may lack.

    Args:
        name: Its file.
        folder: Where it lies; what it includes may lie here, as the style sheet of all pages does.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, OUR_OWN]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}".replace(",", "\u202f")
    environment.filters["moment"] = _moment
    return environment.get_template(name)


def _moment(iso: str) -> str:
    """Return an ISO 8601 time as people write it, to the minute; a bare date stays one."""
    try:
        time = dt.datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if "T" not in iso:
        return iso
    zone = " UTC" if time.utcoffset() == dt.timedelta(0) else time.strftime(" %z")
    return f"{time:%Y-%m-%d %H:%M}{zone.rstrip()}"
