"""The audit of the Harvey data as tables on the terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from damagenet.labels import CLASSES
from data_prep.audit import Audit, LabelCount
from data_prep.audit_baselines import Baselines


def print_audit(audit: Audit) -> None:
    """Print the audit to stdout."""
    console = Console()
    console.print(
        f"{audit.tiles} tiles, {audit.distinct_tiles} of them distinct. "
        f"Of {audit.undamaged_coordinates} undamaged coordinates "
        f"{audit.also_damaged_coordinates} are also damaged ones: the picture before the storm."
    )
    for table in (
        _byte_copies(audit),
        _opposite_labels(audit),
        _shared_ground(audit),
        _label_counts("Distinct tiles by region", audit.regions),
        _label_counts("Distinct tiles by satellite pass", audit.acquisitions),
        _baselines(audit.baselines),
    ):
        console.print(table)
    console.print(audit.baselines.colour_note)


def _table(title: str, headings: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    return table


def _byte_copies(audit: Audit) -> Table:
    return _table(
        "Byte copies of `test`",
        ("class", "tiles", "train", "validation", "test_another", "in none"),
        (
            (
                CLASSES[row.label],
                row.tiles,
                row.in_train,
                row.in_validation,
                row.in_test_another,
                row.in_none,
            )
            for row in audit.byte_copies
        ),
    )


def _opposite_labels(audit: Audit) -> Table:
    return _table(
        "Opposite labels at one coordinate",
        ("one", "other", "shared coordinates"),
        (
            (
                f"{row.first} {CLASSES[row.first_label]}",
                f"{row.second} {CLASSES[row.second_label]}",
                row.shared_coordinates,
            )
            for row in audit.opposite_labels
        ),
    )


def _shared_ground(audit: Audit) -> Table:
    return _table(
        "Evaluation tiles with a training tile of their class nearby, and of any class",
        ("evaluation", "tiles", "10 m", "32 m", "overlapping", "any class"),
        (
            (
                f"{row.split} {CLASSES[row.label]}",
                row.tiles,
                row.within_10_m,
                row.within_32_m,
                row.overlapping,
                row.overlapping_any_class,
            )
            for row in audit.shared_ground
        ),
    )


def _label_counts(title: str, rows: Iterable[LabelCount]) -> Table:
    return _table(
        title,
        ("name", *CLASSES),
        ((row.name or "(unknown)", row.undamaged, row.damaged) for row in rows),
    )


def _baselines(baselines: Baselines) -> Table:
    size = baselines.file_size
    colour = [
        (f"colour on {row.split}", row.auroc, row.recall_damaged, row.recall_undamaged)
        for row in baselines.colour
    ]
    always = ("always damaged on test_another", 0.5, 1.0, 0.0)
    return _table(
        "Shortcuts that know nothing of buildings",
        ("shortcut", "AUROC", "recall damaged", "recall undamaged"),
        (
            *colour,
            (
                f"file size, train_another (mean {size.mean_bytes_damaged:.0f} and "
                f"{size.mean_bytes_undamaged:.0f} bytes)",
                size.auroc,
                "",
                "",
            ),
            (f"{always[0]} ({baselines.always_damaged_accuracy:.1%} right)", *always[1:]),
        ),
    )
