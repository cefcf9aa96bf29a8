"""COGs that map tiles are cut from."""

from api.folders import JobFolder


def make_map_images(folder: JobFolder) -> None:
    """Turn the scenes of a job into COGs below `folder.maps`."""
    folder.maps.mkdir(exist_ok=True)
