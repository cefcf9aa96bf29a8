"""`damagenet evaluate`: honest scores, by a protocol or against a survey."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.cli.option_parameters import given_values, option_parameters, take_parameters
from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.evaluation.options import EvaluateOptions, require_one_way
from damagenet.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from damagenet.evaluation.evaluate import EvaluationSetup
    from damagenet.evaluation.score_report import EvaluationReport
    from damagenet.evaluation.survey_scores import SurveyReport
    from damagenet.evaluation.whole import WholeReport

    Report = EvaluationReport | SurveyReport | WholeReport

EVALUATIONS = Path("runs/eval")

Results = Annotated[
    Path | None,
    typer.Argument(
        metavar="RESULTS",
        help="An assessment: the --out folder of a run, a scene's folder, or a damage.* file.",
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Recipe: train one network per fold."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change the recipe, as in data.limit=500."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def command(
    results: Results = None,
    recipe_file: RecipeFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    **given: object,
) -> None:
    """Score a recipe, a model, or an assessment against a survey.

    With -c, one network per fold is trained (or taken from the cache in --out) and scored. With
    --model, a bundle is scored as it is, where it was not trained. With RESULTS, an assessment
    is joined to --truth.
    """
    try:
        options = make_settings(EvaluateOptions, given_values(given), source="command line")
        require_one_way(options, results=results is not None, recipe=recipe_file is not None)
        if overrides and recipe_file is None:
            raise ConfigError(f"--set {overrides[0]} changes a recipe: name one with -c")
    except ConfigError as err:
        raise typer.BadParameter(str(err)) from None
    if results is not None:
        report: Report = _score_results(results, options)
    else:
        overridden = overrides or []
        recipe = None if recipe_file is None else read_recipe(recipe_file, overrides=overridden)
        report = _score_by_all(recipe, options) if options.all else _score(recipe, options)
    _tell(report, as_json=as_json)


take_parameters(command, option_parameters(EvaluateOptions, first="truth"))


def _score_results(results: Path, options: EvaluateOptions) -> "SurveyReport":
    from damagenet.evaluation.survey_scores import evaluate_results, write_survey_report

    if options.truth is None or options.field is None:  # `require_one_way` made sure
        raise ConfigError("to score RESULTS, name --truth and --field")
    report = evaluate_results(
        results, options.truth, options.field, options.words, id_field=options.id_field
    )
    if options.out is not None:
        write_survey_report(options.out, report)
    return report


def _score_by_all(recipe: Recipe | None, options: EvaluateOptions) -> "WholeReport":
    """Score by every protocol and write the page over all of them."""
    from damagenet.bundle import model_id, read_card
    from damagenet.evaluation.whole import WholeReport, by_every_protocol, write_whole

    reports, not_scored = by_every_protocol(
        lambda protocol: _score(recipe, options.model_copy(update={"protocol": protocol}))
    )
    named = recipe.name if recipe is not None else model_id(read_card(options.model or ""))
    whole = WholeReport(
        subject=named,
        reports=reports,
        not_scored=not_scored,
        command=reports[0].command,
        created=reports[-1].created,
    )
    paths = write_whole(options.out or EVALUATIONS, whole)
    sys.stderr.write("".join(f"written: {path}\n" for path in paths))
    return whole


def _score(recipe: Recipe | None, options: EvaluateOptions) -> "EvaluationReport":
    """Score a recipe, or else the model of the options, by one protocol."""
    from damagenet.evaluation.evaluate import evaluate_bundle, evaluate_recipe
    from damagenet.evaluation.fold_training import FoldCache, require_made_by

    setup = _setup(options)
    if recipe is None:
        return _keep(evaluate_bundle(options.model or "", setup), setup.out, options)
    if options.card is not None:
        require_made_by(options.card, recipe)
    cache = FoldCache(folder=setup.out / "networks", trained=options.trained, command=setup.command)
    return _keep(evaluate_recipe(recipe, setup, cache), setup.out, options)


def _setup(options: EvaluateOptions) -> "EvaluationSetup":
    from damagenet.evaluation.evaluate import EvaluationSetup

    if options.protocol is None:  # `require_one_way` made sure
        raise ConfigError("name the --protocol to score by")
    return EvaluationSetup(
        protocol=options.protocol,
        data=options.data,
        xbd=options.xbd_folder,
        out=options.out or EVALUATIONS,
        device=options.device,
        command=shlex.join(["damagenet", *sys.argv[1:]]),
    )


def _keep(report: "EvaluationReport", out: Path, options: EvaluateOptions) -> "EvaluationReport":
    """Write the report, and the scores into the cards where that was asked for."""
    from damagenet.evaluation.score_report import write_cards, write_recipe_card, write_report

    paths = write_report(out, report)
    cards = write_cards(report) if options.write_card else []
    if options.card is not None:
        cards.append(write_recipe_card(report, options.card))
    plots = f"{paths[0]} and {len(paths) - 1} reliability plots beside it"
    sys.stderr.write("".join(f"written: {path}\n" for path in [plots, *cards]))
    return report


def _tell(report: "Report", *, as_json: bool) -> None:
    """Print a report on stdout, as tables or as JSON."""
    if as_json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
        return
    from rich.console import Console

    from damagenet.evaluation.score_tables import report_tables
    from damagenet.evaluation.whole import WholeReport

    # Wide enough for all columns where stdout is a file; a terminal keeps its own width.
    width = None if sys.stdout.isatty() else 180
    console = Console(width=width, markup=False, highlight=False)
    for one in report.reports if isinstance(report, WholeReport) else (report,):
        for block in report_tables(one):
            console.print(block, soft_wrap=isinstance(block, str))
    if isinstance(report, WholeReport):
        for protocol, why in report.not_scored.items():
            console.print(f"{protocol}: not scored: {why}", soft_wrap=True)
