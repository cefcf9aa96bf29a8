"""`damagenet inspect`: a pre-flight report on scenes, before anything is assessed."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.card import ChipGround
from damagenet.cli.option_parameters import given_values, option_parameters, take_parameters
from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.options import AssessOptions

if TYPE_CHECKING:
    from data_prep.preflight import Preflight

OPTIONS = ("model", "bands", "pixel_size", "allow_driver", "allow_url", "asset", "force_coarse")
"""The options of an assessment that say how a scene is opened."""

Scenes = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENE", help="Files, folders, globs, STAC Items, or a list of them (.txt)."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the reports as JSON on stdout.")]


def command(scenes: Scenes, as_json: AsJson = False, **given: object) -> None:
    """Say whether scenes can be assessed, and what that would take.

    Exit code 1 when one of them cannot be assessed.
    """
    named = given_values(given)
    options = _options(named)
    from damagenet.engine.scene_list import find_scenes
    from data_prep.preflight import inspect_scene
    from data_prep.scene import SceneOptions

    opening = SceneOptions(
        bands=options.bands,
        pixel_size=options.pixel_size,
        allow_driver=options.allow_driver,
        allow_url=options.allow_url,
        force_coarse=options.force_coarse,
    )
    ground = _ground(options.bundle) if "model" in named else ChipGround()
    reports = [inspect_scene(path, opening, ground) for path in find_scenes(scenes, options.asset)]
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in reports], indent=2, default=str))
    else:
        typer.echo("\n\n".join(_text(report) for report in reports))
    if any(report.problem for report in reports):
        raise typer.Exit(1)


take_parameters(command, [p for p in option_parameters(AssessOptions) if p.name in OPTIONS])


def _options(named: dict[str, object]) -> AssessOptions:
    try:
        return make_settings(AssessOptions, named, source="command line")
    except ConfigError as err:
        raise typer.BadParameter(str(err)) from None


def _ground(model: str) -> ChipGround:
    from damagenet.bundle import read_card

    return read_card(model).chip


def _text(report: "Preflight") -> str:
    verdict = f"PROBLEM: {report.problem}" if report.problem else "can be assessed"
    lines = [("file", _file_words(report))] if report.format else []
    if report.pixel_m and report.training_m:
        lines += _scene_lines(report, report.pixel_m, report.training_m)
    lines += [("warning", text) for text in report.warnings]
    body = [f"  {name:<12}{value}" for name, value in lines]
    return "\n".join([str(report.path), *body, f"  => {verdict}"])


def _file_words(report: "Preflight") -> str:
    kind = {"GTiff": "GeoTIFF"}.get(report.format, report.format)
    if report.format == "GTiff":
        kind += ", a COG" if report.cog else ", not a COG"
    levels = ", ".join(map(str, report.overviews)) or "none"
    return f"{kind}; {report.file_mb:.1f} MB; overviews: {levels}"


def _scene_lines(
    report: "Preflight", pixel_m: tuple[float, float], training_m: tuple[float, float]
) -> list[tuple[str, str]]:
    across, down = pixel_m
    bands = ",".join(map(str, report.bands))
    depth = f"; to 8 bits: {report.depth_rule}" if report.depth_rule else ""
    chips = "resampled onto the training pixel" if report.resampled else "used as they are"
    return [
        (
            "size",
            f"{report.width:,} x {report.height:,} pixels, "
            f"{report.width * across / 1000:.2f} x {report.height * down / 1000:.2f} km",
        ),
        ("CRS", report.crs or "none (pixel coordinates)"),
        (
            "sampling",
            f"{across:.3f} m east-west, {down:.3f} m north-south (training: "
            f"{training_m[0]:.3f}, {training_m[1]:.3f}): pixels are {chips}",
        ),
        ("bands", f"{report.band_count} of {report.dtype}; {bands} read as RGB{depth}"),
        ("no picture", f"{100 * (report.nodata_share or 0):.1f} % of the pixels"),
        ("hidden", _hidden_words(report.hidden_share)),
        ("acquired", report.acquired or "not in the file: pass --acquired to assess"),
        (
            "work",
            f"{report.rows:,} x {report.columns:,} cells, about {report.chips:,} chips; "
            f"{report.read_mb:,.0f} MB to read; about {_duration(report.seconds)} "
            f"at {report.chips_per_s:g} chips a second",
        ),
    ]


def _hidden_words(share: float | None) -> str:
    if share is None:
        return "not looked for: no pixel in the sample"
    return f"about {100 * share:.0f} % of the picture looks hidden by cloud, haze or too much light"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
