"""What a benchmark left as JSON, as named measurements and ratios."""

from collections.abc import Iterator, Mapping

from bench_result import Bar, Measurement, Ratio

UNITS = {
    "chips_per_s": "chips/s",
    "rows_per_s": "rows/s",
    "mb_per_s": "MB/s",
    "processor_s": "s of processor time",
    "seconds": "s",
    "s": "s",
    "ms": "ms",
    "gb": "GB",
    "mb": "MB",
    "bytes": "bytes",
    "px": "px",
}
"""What the end of a key says of its unit; the first that fits."""
NO_FIGURES = ("machine", "bar", "bar_s", "bar_gb", "bars", "ratios")


def measurements(figures: Mapping[str, object]) -> Iterator[Measurement]:
    """Yield every number of a benchmark's JSON by name, lists of numbers as runs.

    A list of objects, or an object of objects or lists, is a table: the words of each row, or its
    key, are the row's name, else its number. Texts elsewhere and truth values are passed over.
    """
    for key, value in figures.items():
        match value:
            case _ if key in NO_FIGURES:
                continue
            case [Mapping(), *_]:
                yield from _rows(value, table=key, row="")
            case Mapping():
                yield from _row(value, table=key, row=key.replace("_", " "))
                for name, row in value.items():
                    yield from _rows(row, table=key, row=name)
            case _:
                yield from _row({key: value}, table="", row="")


def _rows(value: object, *, table: str, row: str) -> Iterator[Measurement]:
    """Yield one row of an object, or one for each object of a list."""
    if isinstance(value, Mapping):
        yield from _row(value, table=table, row=row)
    elif isinstance(value, list):
        for number, each in enumerate(value, start=1):
            if not isinstance(each, Mapping):
                return
            words = [text for text in each.values() if isinstance(text, str)] or [str(number)]
            yield from _row(each, table=table, row=", ".join(filter(None, [row, *words])))


def _row(values: Mapping[str, object], *, table: str, row: str) -> Iterator[Measurement]:
    for key, value in values.items():
        runs = value if isinstance(value, list) else [value]
        if runs and all(_is_number(run) for run in runs) and key not in NO_FIGURES:
            name, unit = _unit(key)
            yield Measurement.of(name, unit, runs, table=table, row=row)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unit(key: str) -> tuple[str, str]:
    """Return name and unit of a key, as in `end_to_end_chips_per_s`."""
    for end, unit in UNITS.items():
        if key == end or key.endswith(f"_{end}"):
            return key.removesuffix(end).strip("_").replace("_", " "), unit
    return key.replace("_", " "), ""


def ratios(figures: Mapping[str, object], bars: tuple[Bar, ...]) -> Iterator[Ratio]:
    """Yield the ratios that are there; `missing` names the others."""
    for bar in bars:
        value = _at(figures, bar.key)
        if value is not None:
            yield Ratio(name=bar.words, value=value, bar=bar.bar, holds=bar.holds)


def missing(figures: Mapping[str, object], bars: tuple[Bar, ...]) -> str:
    """Return what is to be said of the ratios that the figures lack; empty where there is none."""
    absent = [bar.words for bar in bars if _at(figures, bar.key) is None]
    return f"No figure for: {'; '.join(absent)}." if absent else ""


def _at(figures: Mapping[str, object], key: str) -> float | None:
    value: object = figures
    for part in key.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value if _is_number(value) else None
