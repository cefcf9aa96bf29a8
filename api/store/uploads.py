"""Files that are sent in parts: who sends what, and which job took it over."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import select, update

from api.folders import ID
from api.problems import not_found
from api.store.database import Database, now
from api.store.tables import Upload


@dataclass(frozen=True, slots=True)
class UploadStore:
    """All changes of the uploads table; the bytes themselves are in `data_dir/uploads/ID`."""

    database: Database

    def create(self, owner: str, name: str, bytes_total: int) -> Upload:
        """Announce a file of this many bytes."""
        upload = Upload(
            id=uuid4().hex, owner=owner, name=name, bytes_total=bytes_total, created=now()
        )
        with self.database.transaction() as session:
            session.add(upload)
        return upload

    def get(self, upload_id: str, owner: str) -> Upload:
        """Return an upload of this caller; raise ServiceError 404 for any other."""
        mine = select(Upload).where(Upload.id == upload_id, Upload.owner == owner)
        # What is no id may be nothing that a database takes, such as a text with a NUL.
        if not ID.fullmatch(upload_id):
            raise not_found("upload")
        with self.database.transaction() as session:
            upload = session.scalar(mine)
        if upload is None:
            raise not_found("upload")
        return upload

    def known(self, upload_ids: Collection[str]) -> set[str]:
        """Return those of some ids of which there is an upload."""
        with self.database.transaction() as session:
            return set(session.scalars(select(Upload.id).where(Upload.id.in_(upload_ids))))

    def finish(self, upload_id: str, sha256: str) -> None:
        """Keep the hash of a file that is whole."""
        with self.database.transaction() as session:
            session.execute(update(Upload).where(Upload.id == upload_id).values(sha256=sha256))

    def take(self, upload_id: str, job_id: str) -> None:
        """Note that a job took a file over."""
        with self.database.transaction() as session:
            session.execute(update(Upload).where(Upload.id == upload_id).values(job=job_id))

    def made_before(self, moment: dt.datetime) -> list[str]:
        """Return the ids of all uploads that were announced before a moment."""
        old = select(Upload.id).where(Upload.created < moment)
        with self.database.transaction() as session:
            return list(session.scalars(old))

    def remove(self, upload_id: str) -> None:
        """Forget an upload."""
        with self.database.transaction() as session:
            upload = session.get(Upload, upload_id)
            if upload is not None:
                session.delete(upload)
