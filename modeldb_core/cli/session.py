"""What the commands share: options, opening the store, finding a run by the beginning of its identifier."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.output import echo
from modeldb_core.cli.text import clean
from modeldb_core.commands.operation import execute
from modeldb_core.config import Settings
from modeldb_core.errors import NotFoundError, StoreUnavailableError
from modeldb_core.journal.rescue import BackgroundRecovery
from modeldb_core.log.settling import SETTLER
from modeldb_core.plugins import load_settings, open_artifacts, open_store, places_for
from modeldb_core.reproduction.values import resolving
from modeldb_core.runtime.notices import listing
from modeldb_core.runtime.users import login_name
from modeldb_core.stores.clashes import clashes
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.stores.references import find_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Run
    from modeldb_core.stores import ArtifactStore, MetadataStore


class Session:
    """The settings of one command and the stores that it opens; closed when the command ends.

    Args:
        ships_orphans: whether opening the store ships what dead processes of this user have left for it.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        artifact_url: str | None = None,
        ships_orphans: bool = True,
        **overrides: Any,  # noqa: ANN401 - settings by name
    ) -> None:
        self.settings: Settings = settings_for(url, artifact_url, **overrides)
        self._store: MetadataStore | None = None
        self._artifacts: ArtifactStore | None = None
        self._rescue: BackgroundRecovery | None = None
        self._ships_orphans = ships_orphans

    @classmethod
    def of(cls, store: MetadataStore, settings: Settings) -> Session:
        """Return a session with a store that is open already, and that stays open."""
        session = cls.__new__(cls)
        session.settings, session._store, session._artifacts = settings, store, None
        session._rescue, session._ships_orphans = None, False
        return session

    @property
    def store(self) -> MetadataStore:
        """The store, which must exist: looking for runs makes no new database.

        Raises:
            StoreUnavailableError: there is none.
        """
        if self._store is None:
            if (problem := missing_store(self.settings)) is not None:
                raise problem
            self._store = open_store(self.settings.url, self.settings)
            self._ship_orphans(self._store)
        return self._store

    def _ship_orphans(self, store: MetadataStore) -> None:
        """Ship what dead processes of this user have left for the store that is about to be read."""
        if not self._ships_orphans:
            return
        self._rescue = BackgroundRecovery(self.settings.journal_dir, store.url, lambda: self.artifacts)
        self._rescue.before_reading(store)

    def store_to_write(self) -> MetadataStore:
        """Return the store, which is made where there is none: for a command that begins something."""
        if self._store is None:
            self._store = open_store(self.settings.url, self.settings)
            self._ship_orphans(self._store)
        return self._store

    @property
    def actor(self) -> str:
        """In whose name the command changes something."""
        return self.store.user or self.settings.user or login_name()

    def settle(self) -> None:
        """Do nothing: a command logs nothing that would have to arrive first."""

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        """Return the identifiers of containers by their names."""
        return self.store.identify(*path)

    @property
    def blobs(self) -> ArtifactStore:
        """Where content is read and kept."""
        return self.artifacts

    @property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        if self._artifacts is None:
            self._artifacts = open_artifacts(self.settings.artifact_url, self.settings)
        return self._artifacts

    def execute(self, operation: Operation) -> None:
        """Carry out an operation of :mod:`modeldb_core.commands`, in the name of this user; durable when this returns."""
        with writer_for(self.store, self.settings) as writer:
            execute(writer, operation)

    def close(self) -> None:
        """Close what was opened."""
        if self._rescue is not None:
            self._rescue.stop(0.0)
        for store in (self._store, self._artifacts):
            if store is not None:
                store.close()

    def resolve(self, value: Any) -> Any:  # noqa: ANN401 - any value
        """Return a value; one that was moved to the artifact store is read from there, if it can be."""
        return resolving(lambda digest: self.artifacts.open(digest))(value)

    def container_id(self, project: str | None, experiment: str | None) -> str | None:
        """Return the identifier of a project or experiment, by name; ``None`` where neither is given.

        Raises:
            NotFoundError: there is none of that name.
        """
        if project is None and experiment is None:
            return None
        project = project if project is not None else self.settings.project
        path = [("workspace", self.settings.workspace), ("project", project)]
        path += [] if experiment is None else [("experiment", experiment)]
        for (kind, name), entity_id in list(zip(path, found := self.store.identify(*path), strict=True))[1:]:
            try:
                self.store.get(kind, entity_id)
            except NotFoundError:
                msg = f"there is no {kind} {name!r}; {listing('projects', self.store.url)}"
                raise NotFoundError(msg) from None
        return found[-1]

    def run(self, reference: str) -> Run:
        """Return the run that is meant; see :func:`~modeldb_core.stores.references.find_run`."""
        return find_run(self.store, reference)


def settings_for(url: str | None, artifact_url: str | None, **overrides: Any) -> Settings:  # noqa: ANN401
    """Return the settings with another store; the artifact URL of the configured one does not apply to it."""
    settings = load_settings(url=url, artifact_url=artifact_url, **overrides)
    if url is not None and artifact_url is None and settings.url != load_settings().url:
        settings = replace(settings, artifact_url=places_for(settings).artifacts_of(settings.url))
    return settings


def writer_for(store: MetadataStore, settings: Settings) -> DirectWriter:
    """Return what writes changes into a store at once, in the name of this user."""
    return DirectWriter(store, store.user or settings.user or login_name())


@contextmanager
def telling_what_is_settled(store: MetadataStore) -> Iterator[None]:
    """Say which names and numbers the store has settled, and which decisions clash, now that the block has brought streams together."""
    before, known = store.heads(), set(clashes(store))
    yield
    for sentence in clashes(store):
        if sentence not in known:
            echo(clean(sentence), err=True)
    for stream_id, head in store.heads().items():
        if stream_id in before or head.seq > 2:  # one change and the closing one
            continue
        for change in store.read_changes(stream_id=stream_id, limit=1).changes:
            if change.actor == SETTLER:
                for field, value in change.data().get("set", {}).items():
                    text = (
                        f"{change.kind} {change.entity_id} has the {field} {value!r} now: another one has its {field}"
                    )
                    echo(clean(text), err=True)


def examples(*lines: str) -> str:
    """Return the epilog of a command: its examples, each on a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def missing_store(settings: Settings) -> StoreUnavailableError | None:
    """Return the error to raise where the store is a file that does not exist; opening it would make a new store."""
    path = places_for(settings).path_in(settings.url)
    if path is None or path.exists():
        return None
    return StoreUnavailableError(
        f"there is no store at {path}; log a run first, or name another store with --url, MODELDB_URL or modeldb.toml"
    )


def with_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--url`` and ``--artifact-url`` to a command and pass it a :class:`Session` as its first argument."""

    @click.option("--url", metavar="URL", help="The store, such as sqlite:///modeldb.db; default: the configured one.")
    @click.option("--artifact-url", metavar="URL", help="Where files and models are; default: beside the store.")
    @functools.wraps(function)
    def command(*args: object, url: str | None, artifact_url: str | None, **kwargs: object) -> object:
        session = Session(url=url, artifact_url=artifact_url)
        try:
            return function(session, *args, **kwargs)
        finally:
            session.close()

    return command
