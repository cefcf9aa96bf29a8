"""Where the service keeps files: one folder for each job, uploads and adapted models beside them.

data_dir/jobs/ID/inputs/{image,pre,buildings,exclude}/NAME   what was sent
data_dir/jobs/ID/results/                                    as `damagenet assess --out` writes
data_dir/jobs/ID/maps/STEM.{imagery,pre}.tif                 COGs for map tiles
data_dir/jobs/ID/labels/labels.geojson                       labels given on the page
data_dir/uploads/ID                                          a file sent in parts
data_dir/models/OWNER/NAME/                                  bundles made by `adapt`
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from api.sentences import without_library
from api.settings import ServiceSettings

Role = Literal["image", "pre", "buildings", "exclude"]

ID = re.compile(r"[0-9a-f]{32}")
"""Form of a job's or upload's id: 128 random bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFolder:
    """The files of one job."""

    root: Path

    @property
    def results(self) -> Path:
        """What `damagenet assess --out` writes."""
        return self.root / "results"

    @property
    def maps(self) -> Path:
        """COGs that map tiles are cut from: `STEM.imagery.tif`, `STEM.pre.tif`."""
        return self.root / "maps"

    @property
    def labels(self) -> Path:
        """Labels that callers gave, as `damagenet suggest` keeps them."""
        return self.root / "labels" / "labels.geojson"

    def inputs(self, role: Role) -> Path:
        """Return the folder of the files that were sent in one role."""
        return self.root / "inputs" / role

    def files(self, role: Role) -> list[Path]:
        """Return the files that were sent in one role, by name."""
        folder = self.inputs(role)
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def public(self, text: str) -> str:
        """Return a text about files of the service with their names in place of their paths.

        What a library said of a file is left out: `without_library`.
        """
        text = without_library(text)
        for role in get_args(Role):
            text = text.replace(f"{self.inputs(role)}/", "")
        text = text.replace(f"{self.root}/", "").replace(str(self.root), "the job's folder")
        return text.replace(f"{self.root.parent.parent}/", "")

    def delete(self) -> None:
        """Delete all files of the job; those already gone are no fault."""
        shutil.rmtree(self.root, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFolders:
    """The folders of one service."""

    data_dir: Path
    """Absolute and without links, so that everybody names a file alike."""

    @classmethod
    def of(cls, settings: ServiceSettings) -> "ServiceFolders":
        """Return the folders of a service with these settings."""
        return cls(data_dir=settings.data_dir.resolve())

    def job(self, job_id: str) -> JobFolder:
        """Return the folder of a job; its id comes from the jobs table, never from an address."""
        return JobFolder(root=self.data_dir / "jobs" / job_id)

    @property
    def uploads(self) -> Path:
        """Files that are being sent in parts."""
        return self.data_dir / "uploads"

    def upload(self, upload_id: str) -> Path:
        """Return the file of an upload; its id comes from the table, never from an address."""
        return self.uploads / upload_id

    @property
    def models(self) -> Path:
        """Bundles that callers made by adapting shipped ones: a folder for each owner."""
        return self.data_dir / "models"

    def models_of(self, owner: str) -> Path:
        """Return the folder of the bundles of one caller, which may not be there yet."""
        return self.models / owner
