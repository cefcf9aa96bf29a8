"""`damagenet train`: from a recipe to a bundle."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from damagenet.recipe import read_recipe

Config = Annotated[
    Path,
    typer.Option("--config", "-c", help="Recipe: a YAML file, or the name of a shipped one."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for checkpoints, logs and the bundle.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Change a setting, as in model.activation=gelu."
    ),
]
Devices = Annotated[int, typer.Option(min=1, help="GPUs of a machine, or processes on its CPU.")]
Nodes = Annotated[
    int, typer.Option(min=1, help="Machines, which share OUT; started by torchrun or SLURM.")
]
Accelerator = Annotated[Literal["auto", "cpu", "gpu"], typer.Option(help="What a device is.")]
Resume = Annotated[bool, typer.Option(help="Continue an interrupted training in the same folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Draw no progress bar.")]


def command(
    *,
    config: Config,
    out: Out,
    overrides: Overrides = None,
    devices: Devices = 1,
    nodes: Nodes = 1,
    accelerator: Accelerator = "auto",
    resume: Resume = True,
    quiet: Quiet = False,
) -> None:
    """Train a network by a recipe, to a bundle in OUT/bundle.

    The batch of the recipe is that of all devices together: on any number of them the same
    training. Run the same command again, or with other devices, to continue it.
    """
    recipe = read_recipe(config, overrides=overrides or ())

    from lightning.pytorch.utilities import rank_zero_only

    from damagenet.training.hardware import Hardware
    from damagenet.training.train import train

    try:
        bundle = train(
            recipe,
            out,
            resume=resume,
            hardware=Hardware(devices=devices, nodes=nodes, accelerator=accelerator),
            command=shlex.join(["damagenet", *sys.argv[1:]]),
            progress=not quiet,
        )
    except KeyboardInterrupt:
        # typer would end without a word.
        sys.stderr.write("damagenet: interrupted; run the same command again to continue\n")
        raise typer.Exit(130) from None
    # Several processes come here after a distributed training; stdout holds the folder once.
    rank_zero_only(typer.echo)(str(bundle.folder))
