"""`damagenet transfer`: how well networks that learned from ImageNet transfer to the tiles."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from damagenet.errors import ConfigError
from damagenet.recipe import Recipe, read_recipe

Config = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        help="Recipe, as kornblith_probe, kornblith_finetune or kornblith_scratch; its "
        "training.transfer is the protocol.",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for tables, reports and bundles.")]
Networks = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="Backbones and bundles to compare, as in resnet18,harvey; default the recipe's own.",
    ),
]
Points = Annotated[
    int | None,
    typer.Option(min=1, help="Try so many points of the grid, spread over it; default all."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting, as in data.limit=500."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")]


def command(
    *,
    config: Config,
    out: Out,
    networks: Networks = "",
    points: Points = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Compare how well networks transfer to the tiles.

    For each network a grid is searched on validation, and the best point scored on the test.
    Several commands may fill one folder, one after the other; points that have a row in
    OUT/points.csv are not tried again.
    """
    recipe = read_recipe(config, overrides=overrides or ())
    if points is not None and recipe.training.transfer == "linear_probe":
        raise ConfigError("--points is for trainings: a linear probe solves for its whole grid")

    from damagenet.transfer.networks import recipe_of
    from damagenet.transfer.report import read_report, report_markdown, with_outcome, write_report
    from damagenet.transfer.search import check_protocol, open_search, run_search

    names = [name.strip() for name in networks.split(",") if name.strip()]
    recipes: list[Recipe] = [recipe_of(recipe, name) for name in names] or [recipe]
    for one in recipes:
        check_protocol(one)
    line = shlex.join(["damagenet", *sys.argv[1:]])
    report = read_report(out)
    for one in recipes:
        outcome = run_search(open_search(one, out, points=points, command=line))
        report = with_outcome(report, outcome)
        paths = write_report(out, report)
    sys.stderr.write("".join(f"written: {path}\n" for path in paths))
    sys.stdout.write(report.model_dump_json(indent=2) if as_json else report_markdown(report))
