"""`damagenet serve`: the REST service, its page and its workers in one command."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of jobs, uploads and adapted models."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML file with settings, as in `lease_s: 60`."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where networks run: auto, cpu, cuda or cuda:N."),
]


def command(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    data: Data = None,
    workers: Annotated[
        int | None, typer.Option(min=0, max=64, help="Worker processes beside the API.")
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Start none: they run elsewhere.")
    ] = False,
    device: Device = None,
    config: ConfigFile = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve other machines although there are no keys.")
    ] = False,
) -> None:
    """Serve damage maps by REST and on a web page.

    Settings also come from the environment (DAMAGENET_*) and from --config; options given here
    win. Addresses that other machines reach need an API key (`damagenet keys add`).
    """
    from api.serve import serve
    from api.settings import read_service_settings

    settings = read_service_settings(
        config, data_dir=data, workers=0 if no_worker else workers, device=device
    )
    serve(settings, host=host, port=port, insecure=insecure)
