"""Every error that damagenet raises on purpose.

Each one is a `DamageNetError` and also the builtin it resembles, so that callers may catch
either. A message says what was wrong, with the value, and what to do about it; the command line
prints it as one line and the service maps the class to a status code.
"""


class DamageNetError(Exception):
    """Anything that went wrong and that a person can put right."""


class ConfigError(DamageNetError, ValueError):
    """A setting, an option or an argument is unknown, of the wrong type or out of range."""


class SceneError(DamageNetError, OSError):
    """A scene cannot be read, or cannot be assessed as it is."""


class UnreachableError(SceneError):
    """A scene could not be read just now or from here: a server, a network or a worker failed.

    It says nothing against the scene, so that what is finished is kept and the same run goes on.
    """


class FootprintError(DamageNetError, ValueError):
    """A file of buildings or of excluded areas cannot be used."""


class DataError(DamageNetError, ValueError):
    """A training data set is missing, incomplete or not what it says it is."""


class LeakError(DataError):
    """A split shares files or ground between training and evaluation."""


class BundleError(DamageNetError, ValueError):
    """A model bundle is incomplete, altered, of an unknown format, or not found."""


class OutputError(DamageNetError, OSError):
    """A result cannot be written, or would overwrite what is already there."""


class DeviceError(DamageNetError, RuntimeError):
    """The device that was asked for is not there."""


class EvaluationError(DamageNetError, ValueError):
    """A score cannot be computed honestly from what was given."""


class CancelledError(DamageNetError):
    """Somebody asked for the work to stop; what is finished is kept."""
