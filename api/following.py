"""Jobs that follow from a finished assessment: suggest labels, adapt a model, assess once more."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.accepting import announce, delete_unless_kept, new_job_id, request_hash, require_turn
from api.again import ROLES, changed_options, copy_inputs, copy_labels, same_units
from api.chip_limit import check_chips
from api.folders import JobFolder, Role
from api.followed import CARRIED, assessed_scenes
from api.form import asked_model, read_options
from api.labels import read_labels
from api.models import check_name, find_model
from api.problems import ServiceError, not_found
from api.service import Service
from api.store.jobs import NewJob
from api.store.tables import SUCCESSFUL, Job
from damagenet.adapt.labelled import require_enough
from damagenet.bundle import read_card
from damagenet.card import ChipGround


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a request for a job that follows asks for.

    Attributes:
        process: What the job does.
        asked: What the caller sent.
        idempotency_key: The caller's name for the request, if any.
    """

    process: str
    asked: Mapping[str, Any]
    idempotency_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """What a job follows from, and the id of the job to be.

    Attributes:
        service: The service.
        source: A successful assessment of the caller.
        wish: What is asked for.
        id: Of the new job; it names its folder.
    """

    service: Service
    source: Job
    wish: Wish
    id: str = field(default_factory=new_job_id)

    @property
    def before(self) -> JobFolder:
        """The files of the assessment."""
        return self.service.folders.job(self.source.id)

    @property
    def folder(self) -> JobFolder:
        """The files of the new job."""
        return self.service.folders.job(self.id)

    def inputs(self, *roles: Role) -> dict[str, Any]:
        """Return what was sent for the assessment in some roles, as its row tells it."""
        return {role: sent for role, sent in self.source.inputs.items() if role in roles}

    def looked_at(self) -> dict[str, Any]:
        """Give the new job the scenes that did not fail, and pictures before; return them so."""
        names = {path.name for path in assessed_scenes(self.before)}
        copy_inputs(self.before, self.folder, roles=("image", "pre"), images=names)
        inputs = self.inputs("image", "pre")
        return inputs | {"image": [one for one in inputs["image"] if one["name"] in names]}

    @property
    def request_sha256(self) -> str:
        """The hash of the request."""
        return request_hash(
            {
                "process": self.wish.process,
                "assessment": self.source.id,
                "asked": dict(self.wish.asked),
            }
        )

    def known(self) -> Job | None:
        """Return the job that the same request has made before, if it had a name."""
        return self.service.jobs.by_request(
            self.source.owner, self.wish.idempotency_key, self.request_sha256
        )

    def accept(self, options: Mapping[str, Any], inputs: Mapping[str, Any]) -> Job:
        """Keep the new job and tell the workers."""
        job = self.service.jobs.create(
            NewJob(
                id=self.id,
                process=self.wish.process,
                owner=self.source.owner,
                options=options,
                inputs=inputs,
                idempotency_key=self.wish.idempotency_key,
                request_sha256=self.request_sha256,
            ),
            max_jobs=self.service.settings.max_jobs,
        )
        announce(self.service, job.id)
        return job


def finished(service: Service, job_id: str, owner: str) -> Job:
    """Return a successful assessment.

    Raises:
        ServiceError: 404 if the caller has no such job, 409 if it is none or has not ended well.
    """
    job = service.jobs.get(job_id, owner)
    if job.process != "assess":
        raise ServiceError(409, f"this job is no assessment, it does {job.process}")
    if job.status != SUCCESSFUL:
        raise ServiceError(409, f"this assessment is {job.status}: wait until it is successful")
    return job


def follow(
    service: Service, source: Job, wish: Wish, make: Callable[[Follow], Job]
) -> tuple[Job, bool]:
    """Make a job that follows from an assessment; where it is refused, its files go.

    Returns:
        The job and whether it is new: the same request under the same name gets the job of then.

    Raises:
        ServiceError: 422 if the name stands for another request, 429 if too many jobs of the
            caller wait, and as `make` does.
    """
    new = Follow(service=service, source=source, wish=wish)
    known = new.known()
    if known is not None:
        return known, False
    require_turn(service, source.owner)
    if not new.before.root.is_dir():  # its row is on the way out, or somebody tidied up by hand
        raise not_found("assessment")
    try:
        return make(new), True
    except BaseException as err:
        delete_unless_kept(service, new.id)
        if isinstance(err, FileNotFoundError):  # deleted while its files were linked
            raise not_found("assessment") from err
        raise


def suggest(new: Follow, *, n: int, random: float, seed: int) -> Job:
    """Accept a job that suggests units to label."""
    source = new.source
    asked = {"assessment": source.id, "n": n, "random": random, "seed": seed}
    carried = {key: source.options[key] for key in ("bands",) if key in source.options}
    model = asked_model(source.options, source.inputs)
    return new.accept(asked | carried | {"model": model}, new.looked_at())


def adapt(new: Follow, asked: Mapping[str, Any]) -> Job:
    """Accept a job that adapts a model by the labels as they are now.

    Args:
        new: The job to be.
        asked: `name`, `model` (None takes that of the assessment), `learn` and `seed`.

    Raises:
        ServiceError: 422 if the name cannot be used or there is no such model, 409 if the caller
            has a model of this name.
        DataError: If there are too few labels, or of one class only.
    """
    source, folders = new.source, new.service.folders
    name = asked["name"]
    check_name(name, folders.models_of(source.owner))
    base = asked["model"] or asked_model(source.options, source.inputs)
    find_model(base, source.owner, folders)
    said = [row.label for row in read_labels(new.before)]
    require_enough(said.count("damaged"), said.count("undamaged"), source=new.before.labels.name)
    inputs = new.looked_at()
    copy_labels(new.before, new.folder)
    content = new.folder.labels.read_bytes()
    labels = {
        "name": new.folder.labels.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    carried = {key: source.options[key] for key in CARRIED if key in source.options}
    options = {**carried, **asked, "assessment": source.id, "model": base}
    return new.accept(options, inputs | {"labels": [labels]})


def assess_again(new: Follow, given: Mapping[str, Any]) -> Job:
    """Accept an assessment of the same files with other options; labels of its units go along.

    A picture before the storm is left out where the model asked for takes none.

    Raises:
        ServiceError: 422 if there is no such model, 413 if there would be too many cells.
        ConfigError: If an option is wrong.
    """
    source, folders = new.source, new.service.folders
    roles = _roles(new, given.get("model"))
    copy_inputs(new.before, new.folder, roles=roles)
    fields = changed_options(source.options, given)
    options = read_options(fields, new.folder, folders.models_of(source.owner))
    check_chips(new.folder, options, new.service.settings)
    inputs = new.inputs(*roles)
    cells = not source.inputs.get("buildings")
    if same_units(source.options, options, cells=cells) and not (
        cells and _chip(new, source.options, source.inputs) != _chip(new, options, inputs)
    ):
        copy_labels(new.before, new.folder)
    return new.accept(options, inputs)


def _chip(new: Follow, options: Mapping[str, Any], inputs: Mapping[str, Any]) -> ChipGround:
    """Return the ground of a chip, and so of a cell, for the model that a job asks for."""
    name = asked_model(options, inputs)
    return read_card(find_model(name, new.source.owner, new.service.folders)).chip


def _roles(new: Follow, model: object) -> tuple[Role, ...]:
    if not isinstance(model, str) or model == "auto":
        return ROLES
    card = read_card(find_model(model, new.source.owner, new.service.folders))
    return ROLES if "pre" in card.inputs else tuple(role for role in ROLES if role != "pre")
