"""`damagenet models`: the shipped bundles and what they are worth."""

from pathlib import Path
from typing import Annotated

import typer

from damagenet.card import Card, Score


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write the cards as JSON.")] = False,
) -> None:
    """List the shipped models with licence, size, scores and what their totals mean."""
    from damagenet.bundle import find_bundle, read_card, shipped_bundles

    cards = {name: read_card(name) for name in shipped_bundles()}
    if as_json:
        import json

        typer.echo(json.dumps({name: card.model_dump(mode="json") for name, card in cards.items()}))
        return
    for name, card in cards.items():
        for line in describe(name, card, find_bundle(name)):
            typer.echo(line)


def describe(name: str, card: Card, folder: Path) -> list[str]:
    """Return the lines that describe one bundle."""
    size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    model = card.model
    terms = "non-commercial: " if card.training_tiles.non_commercial else ""
    return [
        f"{name}  ({model.architecture.name}, {model.activation.name}, {size_mb:.1f} MB)",
        f"  {card.headline}",
        f"  {card.sentence}",
        f"  trained on: {card.training_tiles.count} tiles, {card.training_tiles.split}",
        f"  licence: {terms}{card.licence}",
        *(f"  {_score_line(score)}" for score in card.scores),
    ]


def _score_line(score: Score) -> str:
    interval = f" ({score.low:.3f} to {score.high:.3f})" if score.low is not None else ""
    return (
        f"{score.protocol} [{score.fold}] {score.metric} {score.value:.3f}{interval}, n {score.n}"
    )
