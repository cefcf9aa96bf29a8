"""`damagenet export`: a model as a file that runs elsewhere, or faster here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from damagenet.runtimes.export_record import ExportRecord

Model = Annotated[str, typer.Argument(help="A shipped model's name, or a bundle's folder.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")]
Format = Annotated[
    Literal["onnx", "torch-export"],
    typer.Option("--format", help="ONNX, or a program of torch (.pt2)."),
]
Quantize = Annotated[
    Literal["int8"] | None,
    typer.Option(help="Round convolutions to eight bits; needs --tiles."),
]
Tiles = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Prepared tiles (`data prepare`) that give the ranges of eight bits, and on which "
        "their loss is measured.",
    ),
]
Lossy = Annotated[
    bool,
    typer.Option("--lossy", help="Write it also where int8 loses more than 0.3 points."),
]


def command(
    model: Model,
    *,
    out: Out,
    kind: Format = "onnx",
    quantize: Quantize = None,
    tiles: Tiles = None,
    lossy: Lossy = False,
) -> None:
    """Write a model as a file that runs without damagenet.

    What was written is compared to the network in torch. DIR holds model.onnx or model.pt2,
    export.json with all that must be known to use it, and the bundle itself, so that
    `damagenet assess --model DIR --runtime onnx` starts at once.
    """
    if (quantize is None) != (tiles is None):
        raise typer.BadParameter("--quantize int8 and --tiles DIR belong together: give both")
    from damagenet.export.export import export_model
    from data_prep.harvey import HarveyTiles

    record = export_model(
        model,
        out,
        kind=kind,
        tiles=None if tiles is None else HarveyTiles.open(tiles),
        lossy=lossy,
    )
    typer.echo(f"{out / record.file}: {record.model}")
    typer.echo(_compared(record))


def _compared(record: "ExportRecord") -> str:
    """Return how far the file lies from the network in torch."""
    lost, most = record.quantized, record.largest_difference
    if lost is None:
        return f"probabilities within {most:.1g} of torch on made chips"
    return (
        f"int8 loses {lost.accuracy_loss:.2f} points of balanced accuracy and "
        f"{lost.auroc_loss:.2f} of AUROC on {lost.measured_on}; probabilities move by "
        f"{lost.mean_difference:.4f} on average, {most:.2f} at most"
    )
