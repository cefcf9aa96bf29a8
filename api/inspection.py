"""What an uploaded file may be."""

from pathlib import Path

from api.folders import Role
from api.settings import ServiceSettings


def inspect_upload(path: Path, role: Role, settings: ServiceSettings) -> Path:
    """Return the file to use of an uploaded one; raise ServiceError where it is refused."""
    return path
