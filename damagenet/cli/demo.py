"""`damagenet demo`: the main job, end to end, on scenes whose answer is known."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.errors import ConfigError

if TYPE_CHECKING:
    from damagenet.assessment import Assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScene:
    """One scene of the demo with its buildings and what is known about them."""

    name: str
    scene: Path
    buildings: Path | None
    known: str


def command(
    out: Annotated[Path, typer.Option(help="Folder for the maps.")] = Path("demo"),
    scene: Annotated[Path | None, typer.Option(help="Your own scene instead.")] = None,
    buildings: Annotated[Path | None, typer.Option(help="Buildings of --scene.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier demo.")] = False,
) -> None:
    """Assess a scene and say where the map is.

    Without --scene: real scenes where DAMAGENET_DATA points at the data folder, else a made one.
    """
    from damagenet.cli.assess_progress import progress_bar
    from damagenet.cli.assess_summary import counts_text, honest_lines
    from damagenet.engine.batch import assess_scenes
    from damagenet.options import AssessOptions

    lines: list[str] = []
    assessments: list[Assessment] = []
    exit_codes = [0]
    for demo in _demo_scenes(out, scene, buildings):
        options = AssessOptions(buildings=demo.buildings, overwrite=overwrite)
        with progress_bar(shown=True) as progress:
            result = assess_scenes([demo.scene], out / demo.name, options, progress=progress)
        exit_codes.append(result.exit_code)
        assessments += result.assessments
        for assessment in result.assessments:
            lines += [
                f"{demo.name}: {counts_text(assessment.counts, assessment.kind)}",
                f"  known: {demo.known}{_learned(assessment)}",
                f"  map: {assessment.folder / 'report.html'}",
            ]
    lines = [*honest_lines(tuple(assessments)), *lines]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    if max(exit_codes):
        raise typer.Exit(max(exit_codes))


def _learned(assessment: "Assessment") -> str:
    """Say how many of the units lie on ground that the model learned from: no test of it."""
    import numpy as np

    from damagenet.evaluation.seen_ground import learned_tiles, seen_points

    parts = [part[["lon", "lat"]].to_numpy(float) for part in assessment.parts()]
    places = np.concatenate(parts)
    seen = int(seen_points(places, learned_tiles(assessment.options.bundle)).sum())
    return f"; {seen} of {len(places)} lie on ground that the model learned from" if seen else ""


def _demo_scenes(out: Path, scene: Path | None, buildings: Path | None) -> list[DemoScene]:
    if scene is not None:
        return [
            DemoScene(name=scene.stem, scene=scene, buildings=buildings, known="no survey given")
        ]
    if buildings is not None:
        raise ConfigError(f"--buildings {buildings} needs its --scene")
    data = os.environ.get("DAMAGENET_DATA")
    return _real_scenes(Path(data)) if data else [_made_scene(out)]


def _real_scenes(data: Path) -> list[DemoScene]:
    if not (data / "xbd").is_dir():
        raise ConfigError(f"DAMAGENET_DATA={data} holds no xbd folder: point it at the data folder")
    houston = data / "scenes" / "houston_00"
    storm = "hurricane-harvey_000000"
    return [
        DemoScene(
            name="houston_00",
            scene=houston.with_name("houston_00_post.tif"),
            buildings=houston.with_name("houston_00_buildings.geojson"),
            known="all flooded or damaged",
        ),
        *(
            DemoScene(
                name=f"xbd_{number}",
                scene=data / "xbd" / f"{storm}{number}_post_disaster.tif",
                buildings=data / "xbd" / f"{storm}{number}_post_disaster.geojson",
                known=known,
            )
            for number, known in (("03", "some damaged, some not"), ("11", "nothing damaged"))
        ),
    ]


def _made_scene(out: Path) -> DemoScene:
    from data_prep.synthetic import make_scene

    sys.stderr.write("DAMAGENET_DATA is not set: the demo makes a scene of its own\n")
    made = make_scene(out / "made_scene.tif", seed=0)
    return DemoScene(
        name="made_scene",
        scene=made.scene,
        buildings=made.buildings,
        known=f"{made.flooded} of {made.count} houses stand in water; a made scene shows how this "
        "works, not how good the model is",
    )
