"""The reading half of a run's handle."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from modeldb_core.errors import InvalidTypeError, NotFoundError, StoreUnavailableError
from modeldb_core.log import display
from modeldb_core.model import entities
from modeldb_core.model.entities import ENDS
from modeldb_core.queries import condition
from modeldb_core.queries.literals import quote
from modeldb_core.queries.query import Query
from modeldb_core.tracking import artifacts as artifact_kinds
from modeldb_core.tracking.description.figures import figure_paths, read_figure

if TYPE_CHECKING:
    from modeldb_core.log.points import Series
    from modeldb_core.tracking.description.figures import LoggedFigure
    from modeldb_core.tracking.session import Session


class RunReader:
    """What can be read of a run.

    Properties such as :attr:`metrics` show what the store has: of a run that this handle logs to, after all that was
    logged before has arrived there, also what is logged after its end; of one that came from a search, as it was then,
    until :meth:`refresh`.
    """

    is_silent = False
    """Whether it records nothing: in processes that train together with others, all but the first."""

    def __init__(
        self,
        client: Session,
        run_id: str,
        fields: Mapping[str, Any] | None = None,
        *,
        entity: entities.Entity | None = None,
    ) -> None:
        self.client = client
        self.run_id = run_id
        self._fields = dict(fields or {})
        self._entity = entity
        self._is_snapshot = entity is not None
        self._read_at: object = None
        self._ended = isinstance(entity, entities.Run) and entity.status in ENDS
        self._process_id = os.getpid()
        self._outer: RunReader | None = None

    @property
    def entity(self) -> entities.Run:
        """The run as the store has it; of a handle that came from a search, as it was then (:meth:`refresh`)."""
        if self._entity is None or not (self._is_snapshot or (self._ended and not self._is_outdated())):
            self.refresh()
        assert isinstance(self._entity, entities.Run)
        return self._entity

    @property
    def has_ended(self) -> bool:
        """Whether this handle knows that the run has ended: nothing is asked of the store."""
        return self._ended

    def refresh(self) -> Self:
        """Read the run from the store again, after what was logged has arrived there."""
        self.client.settle()
        self._read_at = self.client.writer.position
        self._entity = self.client.store.get("run", self.run_id)
        return self

    def _is_outdated(self) -> bool:
        """Whether anything was logged since the run was read: scores, tags and comments come after its end as well."""
        position = self.client.writer.position
        return position is not None and position != self._read_at

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._fields.get("name") or self.entity.name)

    @property
    def url(self) -> str:
        """The address of its page: on the server that keeps it, else where `modeldb ui` shows it when it is started."""
        return self.client.url_of(self.run_id)

    @property
    def project(self) -> str:
        """The name of its project."""
        return self.client.container_name("project", self.container_ids[0])

    @property
    def experiment(self) -> str:
        """The name of its experiment."""
        return self.client.container_name("experiment", self.container_ids[1])

    @property
    def container_ids(self) -> tuple[str, str]:
        """The identifiers of its project and experiment."""
        if "project_id" in self._fields:
            return self._fields["project_id"], self._fields["experiment_id"]
        return self.entity.project_id, self.entity.experiment_id

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process started the run, rather than the one that this one was forked or started from."""
        return self._process_id == os.getpid()

    def learn_containers(self, patience_s: float = 1.0) -> None:
        """Find out which project and experiment the run is in, where only the store knows: of a run that is continued.

        Raises:
            StoreUnavailableError: the store does not say so within that many seconds.
        """
        if "project_id" in self._fields:
            return
        asking = threading.Thread(target=self._ask_containers, name="modeldb-ask", daemon=True)
        asking.start()
        asking.join(patience_s)
        if "project_id" not in self._fields:
            msg = f"the experiment of run {self.run_id} is not known, and the store does not say"
            raise StoreUnavailableError(msg)

    @property
    def started_at(self) -> datetime | None:
        """When it began, in UTC."""
        if "started_at" in self._fields:
            return entities.to_datetime(self._fields["started_at"])
        return self.entity.started_at

    @property
    def finished_at(self) -> datetime | None:
        """When it ended, in UTC; ``None`` as long as it has no end."""
        return None if self._fields and not self._ended else self.entity.finished_at

    @property
    def duration(self) -> float | None:
        """Seconds from its start to its end; of a run that is running, until now."""
        start, end = self.started_at, self.finished_at
        if end is None and (self._fields.get("status") or self.entity.status) == entities.RUNNING:
            end = datetime.now(UTC)
        return None if start is None or end is None else (end - start).total_seconds()

    @property
    def description(self) -> str:
        """What it is, in words."""
        return self.entity.description

    @property
    def status(self) -> str:
        """How it is: running, finished, failed, killed, pruned or lost."""
        return str(self._fields.get("status") if self._ended and self._fields else self.entity.status)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Its hyperparameters, exactly as they were logged."""
        return self._resolved(self.entity.hyperparameters)

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes."""
        return self._resolved(self.entity.attributes)

    @property
    def metrics(self) -> dict[str, Any]:
        """By name: the value logged once, else the last value of the series."""
        return dict(self.entity.metrics)

    @property
    def series(self) -> Mapping[str, entities.SeriesSummary]:
        """What is known of each series; :meth:`history` reads the points."""
        return self.entity.series

    @property
    def tags(self) -> tuple[str, ...]:
        """Its labels."""
        return self.entity.tags

    @property
    def artifacts(self) -> dict[str, Any]:
        """By path: digest, size, media type and kind of what was stored with the run."""
        return dict(self.entity.artifacts)

    @property
    def commits(self) -> dict[str, Any]:
        """By the name of a repository: the commit that it was given, and the locations that it used."""
        return dict(self.entity.commits)

    @property
    def notes(self) -> tuple[str, ...]:
        """What ModelDB has to say about the run."""
        return self.entity.notes

    @property
    def failure(self) -> dict[str, str]:
        """Of a failed run, ``type``, ``message`` and ``traceback`` of the exception that ended it; else empty."""
        return dict(self.entity.failure)

    def history(self, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None) -> Series:
        """Return the points of a metric: steps, times (microseconds since 1970-01-01 UTC) and values.

        Args:
            steps: only points with first <= step <= last.
            max_points: thin out to so many, keeping every extreme, ordered by step.

        Raises:
            NotFoundError: nothing was logged with a step under this name.
        """
        self.client.settle()
        try:
            return self.client.store.read_series(self.run_id, key, steps=steps, max_points=max_points)
        except NotFoundError as error:
            from modeldb_core.log.points import missing_series

            raise NotFoundError(missing_series(self.entity, key)) from error

    def read_artifact(self, name: str) -> bytes:
        """Return the content of an artifact, checked against its digest; it goes by its path or the name it was logged by."""
        with self.client.blobs.open(self._artifact(name)["digest"]) as stream:
            return stream.read()

    def download_artifact(self, name: str, path: str | os.PathLike[str]) -> Path:
        """Write an artifact, or all under a folder's name, to ``path``; returns it."""
        return artifact_kinds.download(self.artifacts, name, Path(path), self.client.blobs)

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of the figures that were recorded with it as numbers: what :meth:`figure` reads."""
        return tuple(figure_paths(artifact_kinds.files_of(self.artifacts)))

    def figure(self, name: str) -> LoggedFigure:
        """Return a figure that was recorded as numbers, such as ``"training_roc_curve"``; its ``draw()`` draws it.

        Raises:
            NotFoundError: there is none of this name.
            IntegrityError: the file is not a figure.
        """
        paths = figure_paths(artifact_kinds.files_of(self.artifacts))
        path = name if name in paths.values() else paths.get(name)
        if path is None:
            msg = f"run {self.run_id} has no figure {name!r}; it has {sorted(paths) or 'none'}"
            raise NotFoundError(msg)
        return read_figure(name, self.read_artifact(path))

    def load_model(self, name: str = "model", *, trusted: Iterable[str] = ()) -> Any:  # noqa: ANN401
        """Return a model that :meth:`log_model` stored.

        Args:
            trusted: names of types that may be built although they are not known to be harmless.

        Raises:
            NotFoundError: there is no model of this name.
            UntrustedModelError: it holds types that were not allowed; the message lists them.
        """
        from modeldb_core.tracking.description.model_formats import load_model

        given: object = trusted
        if isinstance(given, (str, bool)) or not isinstance(given, Iterable):
            msg = (
                f"trusted is {trusted!r}; expected a list with the names of the types that may be built, as the error of "
                "a call without it lists them"
            )
            raise InvalidTypeError(msg)
        files = artifact_kinds.files_of(self.artifacts)
        entries = {path: entry for path, entry in files.items() if path.partition("/")[0] == name}
        described = next(
            (entry["model"] for entry in entries.values() if isinstance(entry.get("model"), Mapping)), None
        )
        if described is None:
            msg = f"run {self.run_id} has no model {name!r}; it has the artifacts {sorted(self.artifacts) or 'none'}"
            raise NotFoundError(msg)
        with artifact_kinds.scratch_folder() as folder:
            artifact_kinds.download(entries, name, folder / "model", self.client.blobs)
            return load_model(folder / "model", described, trusted=trusted, settings=self.client.settings)

    def __repr__(self) -> str:
        status = self._fields.get("status") or (self._entity.status if isinstance(self._entity, entities.Run) else "")
        name = self._fields.get("name") or (self._entity.name if self._entity else "")
        return f"<Run {name!r} {self.run_id} {status}>"

    def _repr_html_(self) -> str:
        return display.run_html(self.entity, lambda key, points: self.history(key, max_points=points)._repr_html_())

    def _ask_containers(self) -> None:
        with suppress(Exception):  # whatever it is, there is no answer
            project_id, experiment_id = self.container_ids
            self._fields.update(project_id=project_id, experiment_id=experiment_id)

    def _artifact(self, name: str) -> Mapping[str, Any]:
        if not (self._is_snapshot or self._ended) and (found := self._artifact_alone(name)):
            return found
        artifacts = self.entity.artifacts
        if named := artifact_kinds.files_of({name: artifacts[name]} if name in artifacts else {}):
            return named[name]
        found = artifact_kinds.files_of(artifacts)
        name = artifact_kinds.find_path(found, name)
        if name not in found:
            msg = f"run {self.run_id} has no artifact {name!r}; it has {sorted(found) or 'none'}"
            raise NotFoundError(msg)
        return found[name]

    def _artifact_alone(self, name: str) -> Mapping[str, Any] | None:
        """Ask the store for one artifact by its path: of a run that goes on, what is read is not kept for the next time."""
        self.client.settle()
        its, fields = condition("entity_id = ?", self.run_id), (f"artifacts.{quote(name)}",)
        page = self.client.store.find(Query(filter=its, fields=fields, include_deleted=True))
        found = [artifact_kinds.files_of(run.artifacts) for run in page.entities if isinstance(run, entities.Run)]
        return found[0].get(name) if found else None

    def _resolved(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.client.resolve(value) for key, value in values.items()}
