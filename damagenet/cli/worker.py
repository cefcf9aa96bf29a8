"""`damagenet worker`: does the jobs of a service that may run on another machine."""

from damagenet.cli.serve import ConfigFile, Data, Device


def command(*, data: Data = None, device: Device = None, config: ConfigFile = None) -> None:
    """Do the jobs of a service, also on another machine.

    It must reach the service's database, queue and folder. Settings come from the environment
    (DAMAGENET_DATABASE_URL, DAMAGENET_QUEUE_URL, ...) and from --config; options given here win.
    """
    from api.settings import read_service_settings
    from api.worker import work

    work(read_service_settings(config, data_dir=data, device=device))
