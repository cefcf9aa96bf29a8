"""`damagenet summarise`: how many buildings are damaged, area by area, with honest intervals."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.cli.option_parameters import given_values, option_parameters, take_parameters
from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.outputs.totals import TOTALS_FOLDER
from damagenet.totals.options import SummariseOptions, require_together

if TYPE_CHECKING:
    from damagenet.outputs.totals import Totals

Results = Annotated[
    Path,
    typer.Argument(
        metavar="RESULTS",
        help="An assessment: the --out folder of a run, a scene's folder, or a damage.* file.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def command(results: Results, as_json: AsJson = False, **given: object) -> None:
    """Count damaged buildings per area, with 95 % intervals.

    With labels drawn at random (--labels) the intervals hold for this event; without them they
    rest on the error rates of the model's card, and say so. Writes totals.csv, totals.json and,
    with --areas, totals.geojson and totals.gpkg, and shows the totals in report.html.
    """
    try:
        options = make_settings(SummariseOptions, given_values(given), source="command line")
        require_together(options)
    except ConfigError as err:
        raise typer.BadParameter(str(err)) from None
    totals, written = _summarise(results, options)
    sys.stderr.write("".join(f"{line}\n" for line in written))
    _tell(totals, as_json=as_json)


take_parameters(command, option_parameters(SummariseOptions, first="labels"))


def _summarise(results: Path, options: SummariseOptions) -> tuple["Totals", list[str]]:
    """Count and write; return the totals and what must be said of files."""
    from damagenet.totals.summarise import read_areas_of, summarise_results
    from damagenet.totals.verdicts import read_verdicts
    from damagenet.totals.writing import require_free, show_in_reports, write_totals

    verdicts = read_verdicts(results)
    out = options.out or verdicts.folder / TOTALS_FOLDER
    require_free(out, overwrite=options.overwrite)
    areas = read_areas_of(options)
    totals = summarise_results(verdicts, areas, options)
    said = [f"written: {path}" for path in write_totals(out, totals, areas)]
    if options.report:
        shown, old = show_in_reports(totals, verdicts)
        said += [f"on the first screen of: {path}" for path in shown]
        said += [f"{path} has no place for totals: assess again to get one" for path in old]
    return totals, said


def _tell(totals: "Totals", *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(totals.model_dump_json(indent=2) + "\n")
        return
    from rich.console import Console

    from damagenet.totals.tables import total_tables

    # Wide enough for all columns where stdout is a file; a terminal keeps its own width.
    width = None if sys.stdout.isatty() else 180
    console = Console(width=width, markup=False, highlight=False)
    for block in total_tables(totals):
        console.print(block, soft_wrap=isinstance(block, str))
