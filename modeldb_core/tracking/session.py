"""The part of a client below its runs: the stores, the journal, the containers, and the end of all that."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

from modeldb_core import plugins
from modeldb_core.commands import edits
from modeldb_core.commands.declaring import declare
from modeldb_core.commands.names import check_name
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.journal.records import Draft
from modeldb_core.journal.rescue import BackgroundRecovery
from modeldb_core.journal.shipping import Target
from modeldb_core.journal.writer import Writer
from modeldb_core.log.changes import DELETE, payload_of
from modeldb_core.model.entities import Experiment, Project, now_us
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import condition, portions
from modeldb_core.queries.query import Query
from modeldb_core.runtime import exits
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.runtime.users import login_name
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores.naming import Names, ask_names, derive
from modeldb_core.tracking import endings
from modeldb_core.tracking.blobs import BlobUploader
from modeldb_core.tracking.circumstances import Circumstances

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from modeldb_core.commands.operation import Operation
    from modeldb_core.config import Settings
    from modeldb_core.journal.shipping import OpenStream
    from modeldb_core.model.values import Value
    from modeldb_core.stores import ArtifactStore, BlobInfo, MetadataStore

with suppress(RuntimeError):  # at the end of a program Python refuses it; it is here, since a store may need it then
    import concurrent.futures.thread  # noqa: F401

logger = logging.getLogger("modeldb")
Answer = TypeVar("Answer")

_IDENTIFIED_LIFE_S = 10.0  # of names, where asking is a trip over the network
_PATIENCE_S = 1.0  # with a store that is asked for names
_MAX_PAUSE_S = 60.0  # between two questions to a store that does not answer
_ASK_AGAIN_S = 30.0  # after it did not answer


class Session:
    """What a run needs of its client: the stores, the journal and the names of containers.

    Readers know no more of their client than this class; ``run_session.py`` adds what starts and finds runs.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.RLock()
        self._store: MetadataStore | None = None
        self._artifacts: ArtifactStore | None = None
        self.known_names: dict[str, str] = {}
        """Names of projects and experiments by their identifiers, as far as nobody need ask for them."""
        self.declarations: dict[str, Operation] = {}
        """What this client has declared containers by, by their identifiers."""
        self._declared: dict[tuple[tuple[str, str], ...], tuple[Operation, ...]] = {}  # by their names
        self._identified: dict[tuple[tuple[str, str], ...], Names] = {}
        self._askers = Workers(1, "modeldb-names")
        self.on_close: list[Callable[[], object]] = []
        self.on_flush: list[Callable[[float | None], object]] = []
        """Called with the timeout before what was logged is shipped, ``False``: the time did not do. Autologging waits."""
        plugins.plugin_manager(settings).call("modeldb_configure", settings=settings)
        store_url = self._find_store_url()
        self._ask_again_at, self._pause_s = 0.0, _PATIENCE_S
        self._secure_again_at = 0.0
        actor, is_actor_known = self._find_actor()
        self._target = Target(
            open_store=self._open_store,
            open_artifacts=self._open_artifacts,
            store_url=store_url,
            journal_dir=settings.journal_dir,
            actor=actor,
            is_actor_known=is_actor_known,
            flush_interval_s=settings.flush_interval_s,
            lease_s=settings.lease_s,
            fsync=settings.durability == "fsync",
        )
        self.writer = Writer(self._target, exit_timeout_s=settings.exit_timeout_s)
        self._rescue = self._new_rescue()
        self.writer.on_stream += [partial(endings.close_at_exit, self), self._prepare_store]
        self.blobs = BlobUploader(self._open_artifacts, self.writer)
        self._circumstances = Circumstances(settings, self.blobs)

    # -- stores -------------------------------------------------------------------------------------------------------

    @property
    def actor(self) -> str:
        """In whose name things are recorded; where the store has not said yet, it is asked again, more and more rarely."""
        target = self._target
        if not target.is_actor_known and time.monotonic() >= self._ask_again_at:
            was_open = self._store is not None
            target.actor, target.is_actor_known = self._find_actor()
            if was_open and not target.is_actor_known:
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
                self._ask_again_at = time.monotonic() + self._pause_s
        return target.actor

    @property
    def store(self) -> MetadataStore:
        """The store; raises :class:`~modeldb_core.errors.StoreUnavailableError` while it cannot be opened."""
        return self._open_store()

    @property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        return self._open_artifacts()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until the stores have everything that was logged; False where not within ``timeout_s`` seconds."""
        return self._flush(timeout_s, files=True, patient=True)

    def _flush(self, timeout_s: float | None, *, files: bool, patient: bool) -> bool:
        waited = [wait(timeout_s) for wait in self.on_flush]
        return self.writer.flush(timeout_s, files=files, patient=patient) and False not in waited

    def settle(self) -> None:
        """Wait, before reading, until the store has what this process logged; say so where it has not in time.

        What dead processes of this user logged to it is shipped, too.
        """
        if not self._flush(exits.time_left(self.settings.exit_timeout_s), files=False, patient=False):
            logger.warning(
                "%s does not have everything yet that this process logged: what is read may lack it.",
                self.writer.store_url,
            )
        self._rescue.before_reading(self.store)

    def secure(self) -> None:
        """In a worker of a pool, or a forked process, wait until all that is worked out beside the program is in the journal.

        Pools end their workers by a signal, at any time after a task is done. The store is not waited for: what workers
        leave in their journals is shipped by the process that started them. Elsewhere this does nothing.
        """
        if not exits.may_end_unheard() or time.monotonic() < self._secure_again_at:
            return
        deadline = time.monotonic() + exits.time_left(self.settings.exit_timeout_s)
        if False in [wait(max(0.0, deadline - time.monotonic())) for wait in self.on_flush]:
            self._secure_again_at = time.monotonic() + _ASK_AGAIN_S

    def close(self) -> None:
        """Finish the runs that are still open, ship what is left, and release the store.

        It waits at most ``exit_timeout_s`` seconds; at the end of a program all clients share that time.
        """
        deadline = time.monotonic() + exits.time_left(self.settings.exit_timeout_s)
        try:
            for wait in self.on_flush:
                wait(max(0.0, deadline - time.monotonic()))
            endings.finish_runs(self)
        except KeyboardInterrupt:
            deadline = 0.0  # anyone who interrupts this does not want to wait for the rest either
            raise
        finally:
            self.writer.close(max(0.0, deadline - time.monotonic()))
            if self.writer.stream is None:  # else this interrupted a log call, and all is closed at the end
                self._let_go()

    def _let_go(self) -> None:
        self._rescue.stop(0.0)
        self._rescue = self._new_rescue()
        self._askers.release()
        with self._lock:
            stores = [store for store in (self._store, self._artifacts) if store is not None]
            self._store = self._artifacts = None
        for store in stores:
            store.close()
        endings.forget(self)
        for closed in self.on_close:
            closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        endings.finish_runs(self, endings.ending_for(error))
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.writer.store_url!r})"

    # -- runs ---------------------------------------------------------------------------------------------------------

    def url_of(self, run_id: str) -> str:
        """Return the address of a run's page: of the server that is the store, else where ``modeldb ui`` shows it."""
        settings = self.settings
        if settings.ui_url:
            base = settings.ui_url
        elif plugins.places_for(settings).is_server(settings.url):
            base = self.writer.store_url
        else:
            host = settings.server_host if settings.server_host not in ("0.0.0.0", "::", "") else "127.0.0.1"
            base = f"http://{f'[{host}]' if ':' in host else host}:{settings.server_port}"
        return f"{base.rstrip('/')}/runs/{run_id}"

    # -- containers ---------------------------------------------------------------------------------------------------

    def projects(self) -> tuple[Project, ...]:
        """Return the projects of the workspace by name, all of them."""
        self.settle()
        query = Query(kind="project", order_by="name", within=self._workspace_id())
        return tuple(found for found in pages(self.store, query) if isinstance(found, Project))

    def experiments(self, project: str | None = None) -> tuple[Experiment, ...]:
        """Return the experiments of a project by name, all of them; default: of the project that the settings name."""
        self.settle()
        query = Query(kind="experiment", order_by="name", within=self.container_id(project))
        return tuple(found for found in pages(self.store, query) if isinstance(found, Experiment))

    def container_names(self, wanted: Mapping[str, Iterable[str]]) -> dict[str, str]:
        """Return the names of containers by identifier; ``wanted`` are identifiers by kind."""
        names: dict[str, str] = {}
        for kind, all_ids in wanted.items():
            for some in portions(sorted({*all_ids} - {""})):
                these = condition("entity_id in ?", some)
                query = Query(kind=kind, filter=these, fields=("name",), include_deleted=True)
                names.update((found.entity_id, found.name) for found in pages(self.store, query))
        return names

    def container_name(self, kind: str, entity_id: str) -> str:
        """Return the name of a project or an experiment by its identifier."""
        if entity_id in self.known_names or not entity_id:
            return self.known_names.get(entity_id, "")
        self.settle()
        return self.store.get(kind, entity_id).name

    def container_name_soon(self, kind: str, entity_id: str) -> str | None:
        """Return the name of a project or an experiment; ``None`` where only the store knows it, and does not say soon."""
        return self.known_names.get(entity_id) or self._ask_soon(lambda store: store.get(kind, entity_id).name)

    def _workspace_id(self) -> str:
        return self.store.identify(("workspace", self.settings.workspace))[-1]

    def container_id(self, project: str | None, experiment: str | None = None) -> str:
        """Return the identifier of a project or an experiment by its name, whether it exists or not."""
        project = check_name(self.settings.project if project is None else project, "project")
        path = [("workspace", self.settings.workspace), ("project", project)]
        if experiment is not None:
            path.append(("experiment", check_name(experiment, "experiment")))
        return self.store.identify(*path)[-1]

    # -- logging ------------------------------------------------------------------------------------------------------

    def execute(self, operation: Operation) -> OpenStream | None:
        """Carry an operation out through the journal; the store has it about a second later.

        Returns:
            The stream that took its last change; ``None`` where there is nothing to change.
        """
        at, stream = now_us(), None  # one time for all: what is deleted together is restored together
        for action, kind, entity_id, data in operation.entries:
            assert isinstance(data, dict), "points go through rows of the journal"
            stream = self.log_change(action, kind, entity_id, data, recorded_at=at, ends_run=operation.ends_run)
        return stream

    def log_change(
        self,
        action: str,
        kind: str,
        entity_id: str,
        data: dict[str, Any],
        *,
        recorded_at: int | None = None,
        ends_run: bool = False,
    ) -> OpenStream:
        """Journal a change of an entity; the store has it about a second later. Returns the stream that took it."""
        payload = payload_of(data, f"{kind} {entity_id}")
        if action == DELETE:
            self.writer.ensure_stream().declared.pop(entity_id, None)
        return self.writer.append(Draft(action, kind, entity_id, recorded_at or now_us(), payload, ends_run))

    def resolve(self, value: Value) -> Value:
        """Return ``value`` with what was moved to the artifact store read back."""
        return self.blobs.resolve(value)

    def put_blob(self, stream: BinaryIO) -> BlobInfo:
        """Store bytes; where the artifact store is away or slow they wait beside the journal."""
        return self.blobs.put(stream)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _prepare_store(self) -> None:
        """Import what writing needs, where a store is open."""
        store = self._store
        if store is not None:
            with suppress(Exception):  # of a third party's store: writing tells
                store.prepare_to_write()

    def _new_rescue(self) -> BackgroundRecovery:
        return BackgroundRecovery(self.settings.journal_dir, self.writer.store_url, self._open_artifacts)

    def _find_store_url(self) -> str:
        """Return the store's own word for where it is; where it cannot be reached yet, the configured one."""
        try:
            return self._open_store().url
        except StoreUnavailableError as error:
            logger.warning("%s. Logging goes on into the journal and is shipped later.", error)
            return redact_url(self.settings.url)

    def _find_actor(self) -> tuple[str, bool]:
        """Return who acts, and whether that is certain: a store may take changes in one name only, and not say soon."""
        store, user = self._store, ""
        is_known = store is not None
        if store is not None and not store.is_local:
            try:
                user = self._askers.submit(lambda: store.user).result(_PATIENCE_S)
            except Exception as error:  # what is logged is kept in any case
                logger.debug("the store did not say in whose name it takes changes: %r", error)
                is_known = False
        if user and self.settings.user not in ("", user):
            logger.warning("What is logged is recorded in the name of %r, whose token this is.", user)
        return user or self.settings.user or login_name(), is_known

    def _open_store(self) -> MetadataStore:
        if (store := self._store) is not None:  # without the lock, which a forked child could find held for ever
            return store
        with self._lock:
            store = self._store
            if store is None:
                opened = plugins.open_store(self.settings.url, self.settings)
                store = self._store = self._store or opened
                if store is not opened:
                    opened.close()  # a signal handler has opened one meanwhile
            return store

    def _open_artifacts(self) -> ArtifactStore:
        if (artifacts := self._artifacts) is not None:
            return artifacts
        with self._lock:
            if self._artifacts is None:
                self._artifacts = plugins.open_artifacts(self.settings.artifact_url, self.settings)
            return self._artifacts

    def _containers(self, project: str | None, experiment: str | None) -> tuple[str, str, tuple[Operation, ...]]:
        """Return the identifiers of the project and the experiment of a run, and what is to be declared before it."""
        workspace = self.settings.workspace
        project = check_name(self.settings.project if project is None else project, "project")
        experiment = check_name(self.settings.experiment if experiment is None else experiment, "experiment")
        path = ("workspace", workspace), ("project", project), ("experiment", experiment)
        identifiers = workspace_id, project_id, experiment_id = self.identify(*path)
        declared = self._declared.get(path, ())
        if tuple(map(attrgetter("entity_id"), declared)) != identifiers:
            declared = self._declared[path] = (
                declare("workspace", workspace_id, workspace),
                declare("project", project_id, project, workspace_id=workspace_id),
                declare("experiment", experiment_id, experiment, project_id=project_id),
            )
        self.declarations |= zip(identifiers, declared, strict=True)
        self.known_names |= {project_id: project, experiment_id: experiment}
        return project_id, experiment_id, declared

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        """Return the identifiers of containers by their names; where the store says nothing soon, what follows from them.

        The store is asked because a container may have been renamed since, or created under another identifier.
        """
        known, store = self._identified.get(path), self._store
        if known is not None and store is not None:
            if store.is_local and known.mark is not None and store.write_mark() == known.mark:
                return known.identifiers  # told at once, so without another thread
            if not store.is_local and time.monotonic() - known.at < _IDENTIFIED_LIFE_S:
                return known.identifiers
        found = self._ask_soon(lambda store: ask_names(store, path, known))
        if found is None:
            return derive(path)
        self._identified[path] = found
        return found.identifiers

    def _ask_soon(self, question: Callable[[MetadataStore], Answer]) -> Answer | None:
        """Ask the store something without which logging can go on; ``None`` where it says nothing soon."""
        store = self._store
        if store is None or time.monotonic() < self._ask_again_at:
            return None
        try:
            return self._askers.submit(partial(question, store)).result(_PATIENCE_S)
        except Exception as error:
            logger.debug("the store was not asked: %r", error)
            self._ask_again_at = time.monotonic() + _ASK_AGAIN_S
            return None

    def _capture(self, run_id: str) -> None:
        """Record the circumstances of a run; runs in the background."""
        put = self._circumstances.sections()
        if put:
            self.execute(edits.update("run", run_id, {"put": put}))
