"""`damagenet data`: prepare the Harvey tiles, audit them, lay them out as a scene."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Prepare and audit the Harvey data set.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder made by `damagenet data prepare`.")]


class TileClass(StrEnum):
    """The two class folders of the published data set."""

    DAMAGE = "damage"
    NO_DAMAGE = "no_damage"


@app.command()
def prepare(
    src: Annotated[Path, typer.Argument(help="The published folder, or a tar of it.")],
    dest: Annotated[Path, typer.Argument(help="Folder to make.")],
    acquisitions: Annotated[
        Path | None,
        typer.Option(help="Table of satellite passes; default harvey_acquisitions.csv beside SRC."),
    ] = None,
    quiet: Annotated[bool, typer.Option(help="Show no progress.")] = False,
) -> None:
    """Check every tile and lay the data set out for training.

    A second run does nothing; an interrupted one continues.
    """
    from data_prep.preparation import prepare as prepare_tiles

    report = prepare_tiles(src, dest, acquisitions=acquisitions, quiet=quiet)
    typer.echo(
        f"{dest}: {report.tiles} tiles, {report.byte_copies} of them byte copies, "
        f"{report.with_acquisition} with a known satellite pass; "
        f"{report.rejected} files rejected (rejected.csv)"
    )
    if not report.with_acquisition:
        typer.echo(
            "without satellite passes nothing can be learned from or held out by pass "
            "(harvey_event, harvey_pair, --protocol acquisition): prepare another folder with "
            "--acquisitions FILE for that",
            err=True,
        )


@app.command()
def audit(
    dest: Folder,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Count leaks between the published splits and measure shortcuts.

    Writes DEST/audit.json.
    """
    from damagenet.cli.audit_tables import print_audit
    from data_prep.audit import audit_tiles, write_audit
    from data_prep.harvey import HarveyTiles

    found = audit_tiles(HarveyTiles.open(dest))
    write_audit(found, dest)
    if json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_audit(found)


@app.command()
def scene(
    folder: Folder,
    dest: Annotated[Path, typer.Argument(help="GeoTIFF to write.")],
    *,
    bbox: Annotated[
        tuple[float, float, float, float],
        typer.Option(help="West, south, east and north in degrees.", metavar="W S E N"),
    ],
    label: Annotated[
        TileClass, typer.Option(help="damage is after the storm, no_damage mostly before.")
    ] = TileClass.DAMAGE,
    acquisition: Annotated[
        str | None, typer.Option(help="Only tiles of this satellite pass (catalogue id).")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
) -> None:
    """Lay the tiles of one class out as a GeoTIFF.

    The buildings appear as GeoJSON beside it.
    """
    from data_prep.harvey import HarveyTiles
    from data_prep.mosaic import lay_out

    report = lay_out(
        HarveyTiles.open(folder),
        dest,
        bbox=bbox,
        label=label.value,
        acquisition=acquisition,
        overwrite=overwrite,
    )
    typer.echo(
        f"{report.scene}: {report.width_px} x {report.height_px} pixels from {report.tiles} tiles, "
        f"{report.filled_fraction:.0%} filled; overlaps differ by "
        f"{report.overlap_difference:.1f} of 255 levels; "
        f"{report.buildings_count} buildings in {report.buildings}"
    )
