"""`damagenet models`: the shipped bundles and what they are worth."""

from pathlib import Path
from typing import Annotated

import typer

from damagenet.card import Card, Score

SHOWN = ("accuracy", "balanced_accuracy", "recall", "false_alarm_rate", "auroc")
"""Metrics in the list; the others are in the card."""


app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def command(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write the cards as JSON.")] = False,
) -> None:
    """List the shipped models and how good they are.

    Every measured figure, also scene by scene, is in --json.
    """
    if context.invoked_subcommand is not None:
        return
    from damagenet.bundle import find_bundle, read_card, shipped_bundles

    cards = {name: read_card(name) for name in shipped_bundles()}
    if as_json:
        import json

        typer.echo(json.dumps({name: card.model_dump(mode="json") for name, card in cards.items()}))
        return
    for name, card in cards.items():
        for line in describe(name, card, find_bundle(name)):
            typer.echo(line)


@app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a bundle's folder.")],
) -> None:
    """Say what one model is and how good it is; of a spiking network also how often it spikes."""
    from damagenet.bundle import find_bundle, read_card

    card = read_card(model)
    for line in [*describe(card.name, card, find_bundle(model)), *_rate_lines(card)]:
        typer.echo(line)


@app.command("complete")
def complete(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a bundle's folder.")],
    *,
    tiles: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Prepared tiles that it was trained on (`data prepare`)."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder to write; the bundle's own is allowed.")
    ],
) -> None:
    """Add to an older bundle what --max-error and the warning of strange scenes need.

    Its weights, calibration, threshold and scores stay as they are.
    """
    from damagenet.training.complete import complete_bundle
    from data_prep.harvey import HarveyTiles

    complete_bundle(model, out, HarveyTiles.open(tiles))
    typer.echo(str(out))


def describe(name: str, card: Card, folder: Path) -> list[str]:
    """Return the lines that describe one bundle."""
    size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    model = card.model
    terms = "non-commercial: " if card.training_tiles.non_commercial else ""
    split = card.training_tiles.split.split(". ")[0]
    return [
        f"{name}  ({model.architecture.name}, {model.activation.name}, {size_mb:.1f} MB)",
        f"  {card.headline}",
        f"  {card.sentence}",
        f"  trained on: {card.training_tiles.count} tiles, {split}",
        f"  calibrated on: {card.calibration.fitted_on}; assuming {100 * card.prior:.3g} % damaged",
        f"  licence: {terms}{card.licence}",
        *_score_lines(card.scores),
    ]


def _rate_lines(card: Card) -> list[str]:
    """Return the firing rates of a spiking network, one line a layer."""
    if not card.firing_rates:
        return []
    width = max(map(len, card.firing_rates))
    return [
        "  neurons that spike at a time step, on validation tiles:",
        *(f"    {name:<{width}}  {100 * rate:5.1f} %" for name, rate in card.firing_rates.items()),
    ]


def _score_lines(scores: tuple[Score, ...]) -> list[str]:
    """Return one line per protocol and held-out part; single scenes are left to --json."""
    parts: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        single_scene = score.protocol == "post-event" and not score.fold.startswith("all")
        if score.metric in SHOWN and not single_scene:
            parts.setdefault((score.protocol, score.fold), []).append(score)
    return [
        f"  {protocol} [{fold}], n {found[0].n}: {', '.join(map(_figure, found))}"
        for (protocol, fold), found in parts.items()
    ]


def _figure(score: Score) -> str:
    interval = f" ({score.low:.3f} to {score.high:.3f})" if score.low is not None else ""
    return f"{score.metric.replace('_', ' ')} {score.value:.3f}{interval}"
