"""`explain_inputs`: scenes or chips to maps, pictures and one page over them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from damagenet.bundle import load_bundle
from damagenet.engine.scene_list import folder_names
from damagenet.errors import ConfigError, SceneError
from damagenet.explain.chips import chip_files, explain_chips, sorted_inputs
from damagenet.explain.explainer import Explainer
from damagenet.explain.methods import Asked
from damagenet.explain.options import ExplainOptions
from damagenet.explain.page import Section, write_page
from damagenet.explain.scene import SceneMaps, explain_scene
from damagenet.inference import Predictor
from data_prep.footprints import read_buildings

PAGE = "index.html"

Progress = Callable[[Path, int, int], None]
"""Takes a scene, its units that were looked at, and all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What was written.

    Attributes:
        page: The page over all of it.
        scenes: Maps of each scene; empty for chips.
        chips: How many chips have pictures.
        notes: What must be said, line by line.
        failed: Scenes that could not be explained, each with the reason.
    """

    page: Path
    scenes: tuple[SceneMaps, ...]
    chips: int
    notes: tuple[str, ...]
    failed: tuple[str, ...] = ()


def explain_inputs(
    paths: Sequence[Path], out: Path, options: ExplainOptions, progress: Progress | None = None
) -> Explained:
    """Explain chips into `out`, or scenes into a folder of `out` each, and write the page.

    Args:
        paths: All chips, or all scenes.
        out: Folder of the page.
        options: What is explained, and how.
        progress: Called after every batch of a scene.

    Raises:
        ConfigError: If chips and scenes are mixed, or an option or method does not fit the model.
        BundleError: If the model cannot be loaded.
        SceneError: If a chip cannot be read, or none of the scenes can be explained.
        FootprintError: If the buildings cannot be used.
        OutputError: If something cannot be written.
    """
    if options.layer is not None and "grad_cam" not in options.method:
        raise ConfigError(f"--layer {options.layer} is for grad_cam: ask for it, or leave it out")
    bundle = load_bundle(options.looking.bundle)
    predictor = Predictor(bundle, device=options.device, batch_size=options.batch_size)
    asked = Asked(layer=options.layer, steps=options.steps, batch_size=predictor.batch_size)
    explainer = Explainer(
        bundle, options.method, target=options.target, asked=asked, device=options.device
    )
    chips, scenes = sorted_inputs(paths, bundle.card)
    if chips and scenes:
        raise ConfigError(
            f"{chips[0]} is a chip of this model and {scenes[0]} is none: explain chips and "
            "scenes one after the other"
        )
    if chips:
        _require_for_chips(options)
        files = chip_files(chips, options.pre, bundle.card)
        shown = tuple(explain_chips(files, out, explainer, predictor))
        write_page(out / PAGE, explainer, [Section(name="Chips", folder="", shown=shown)])
        return Explained(page=out / PAGE, scenes=(), chips=len(shown), notes=())
    return _explain_scenes(scenes, out, options, explainer, predictor, progress=progress)


def _explain_scenes(
    scenes: Sequence[Path],
    out: Path,
    options: ExplainOptions,
    explainer: Explainer,
    predictor: Predictor,
    *,
    progress: Progress | None,
) -> Explained:
    buildings = None
    if options.buildings is not None:
        buildings = read_buildings(options.buildings, id_field=options.id_field)
    names, done, failed = folder_names(scenes), [], list[str]()
    for scene in scenes:

        def tell(units: int, total: int, scene: Path = scene) -> None:
            if progress is not None:
                progress(scene, units, total)

        try:
            maps = explain_scene(
                scene,
                out / names[scene],
                options,
                explainer,
                predictor,
                buildings=buildings,
                progress=tell,
            )
        except SceneError as err:
            # As in `damagenet assess`: one spoilt file must not cost the others.
            reason = str(err)
            failed.append(reason if str(scene) in reason else f"{scene}: {reason}")
            continue
        done.append(maps)
    if not done:
        raise SceneError("; ".join(failed))
    sections = [
        Section(name=one.scene.name, folder=f"{one.folder.name}/", shown=one.shown, maps=one)
        for one in done
    ]
    write_page(out / PAGE, explainer, sections)
    notes = [f"{one.scene.name}: {text}" for one in done for text in one.warnings]
    return Explained(
        page=out / PAGE, scenes=tuple(done), chips=0, notes=tuple(notes), failed=tuple(failed)
    )


SCENE_ONLY = (
    *("buildings", "id_field", "units", "limit", "pictures", "stride"),
    *("bands", "pixel_size", "allow_driver", "force_coarse"),
)
"""Options that say nothing of chips."""


def _require_for_chips(options: ExplainOptions) -> None:
    given = [name for name in SCENE_ONLY if name in options.model_fields_set]
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        raise ConfigError(f"{flag} is for scenes, and chips were named: leave it out")
