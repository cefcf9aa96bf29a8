"""GDAL as the service runs it."""


def harden_gdal() -> None:
    """Forbid GDAL what no request may ask for."""
