"""Totals as a table and sentences for a person to read."""

from collections.abc import Iterator

from rich.table import Table

from damagenet.outputs.totals import METHODS, AreaTotal, Totals


def total_tables(totals: Totals) -> Iterator[Table | str]:
    """Yield a table and sentences, in the order in which they are read."""
    yield f"{totals.headline}. {totals.sentence}"
    yield totals.guarantee
    table = Table(title=f"damaged {totals.kind}s, {totals.results}")
    table.add_column("area", no_wrap=True)
    for heading in ("damaged", "95 % interval", f"{totals.kind}s", "not judged", "labelled"):
        table.add_column(heading, justify="right")
    table.add_column("counted")
    for row in totals.rows:
        table.add_row(*_cells(row))
    yield table
    yield from totals.notes


def _cells(row: AreaTotal) -> list[str]:
    other = f" + {row.labelled_otherwise:,} other" if row.labelled_otherwise else ""
    return [
        row.area,
        "-" if row.estimate is None else f"{row.estimate:,.0f}",
        f"{row.low:,} to {row.high:,}",
        f"{row.units:,}",
        f"{row.not_judged:,}",
        f"{row.labelled_random:,} random{other}",
        METHODS[row.method],
    ]
