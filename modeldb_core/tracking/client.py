"""The client: one program's way into one store."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from modeldb_core import plugins
from modeldb_core.commands import containers, edits, runs
from modeldb_core.commands.names import check_name
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.journal.records import Draft
from modeldb_core.journal.rescue import BackgroundRecovery
from modeldb_core.journal.shipping import Target
from modeldb_core.journal.writer import Writer
from modeldb_core.log.changes import CREATE, DELETE, RESTORE, payload_of
from modeldb_core.model.entities import new_id, now_us
from modeldb_core.model.values import Value, check_key
from modeldb_core.runtime import exits
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.runtime.users import login_name
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores.naming import derive
from modeldb_core.tracking import announcement, endings
from modeldb_core.tracking.blobs import BlobUploader
from modeldb_core.tracking.deletion import Trash
from modeldb_core.tracking.ranks import is_first
from modeldb_core.tracking.run import RunHandle
from modeldb_core.tracking.searching import ClientReader
from modeldb_core.tracking.silent import silent_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from modeldb_core.commands.operation import Operation
    from modeldb_core.config import Settings
    from modeldb_core.journal.shipping import OpenStream
    from modeldb_core.stores import ArtifactStore, BlobInfo, MetadataStore

logger = logging.getLogger("modeldb")

_DECLARED_LIFE_S = 10.0
_IDENTIFIED_LIFE_S = 10.0  # of names, where asking is a trip over the network
_PATIENCE_S = 1.0  # with a store that is asked for names
_ASK_AGAIN_S = 30.0  # after it did not answer
_CONTEXT_LIFE_S = 5.0  # runs that start within this time share one look at git and the host


class Client(ClientReader):
    """Logs to one store and reads from it. Get one from :func:`connect`.

    Safe for any number of threads. A forked child may go on using it: what it logs goes into a stream of its own.
    As a context manager it closes at the end of the block.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.actor = settings.user or login_name()
        self._lock = threading.RLock()
        self._store: MetadataStore | None = None
        self._artifacts: ArtifactStore | None = None
        self._deleted: set[str] = set()
        self._names: dict[str, str] = {}
        self._identified: dict[tuple[tuple[str, str], ...], tuple[tuple[str, ...], float]] = {}
        self._ask_again_at = 0.0
        self._askers = Workers(1, "modeldb-names")
        self._context: tuple[float, dict[str, Any]] | None = None
        self.on_close: list[Callable[[], object]] = []
        self.on_flush: list[Callable[[float | None], object]] = []
        """Called with the timeout before what was logged is shipped, ``False``: the time did not do. Autologging waits."""
        plugins.plugin_manager(settings).call("modeldb_configure", settings=settings)
        target = Target(
            open_store=self._open_store,
            open_artifacts=self._open_artifacts,
            store_url=self._find_store_url(),
            journal_dir=settings.journal_dir,
            actor=self.actor,
            flush_interval_s=settings.flush_interval_s,
            lease_s=settings.lease_s,
            fsync=settings.durability == "fsync",
        )
        self.writer = Writer(target, exit_timeout_s=settings.exit_timeout_s)
        self._rescue = self._new_rescue()
        self.writer.on_stream += [partial(endings.close_at_exit, self), self._prepare_store]
        self.blobs = BlobUploader(self._open_artifacts, self.writer)
        self.trash = Trash(self)

    # -- stores -------------------------------------------------------------------------------------------------------

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
                "%s has not yet all that this process logged: what is read may lack it.", self.writer.store_url
            )
        self._rescue.before_reading(self.store)

    def close(self) -> None:
        """Finish the runs that are still open, ship what is left, and let go of the store.

        It waits at most ``exit_timeout_s`` seconds; at the end of a program all clients share that time.
        """
        deadline = time.monotonic() + exits.time_left(self.settings.exit_timeout_s)
        try:
            for wait in self.on_flush:
                wait(max(0.0, deadline - time.monotonic()))
            endings.finish_runs(self)
        except KeyboardInterrupt:
            deadline = 0.0  # whoever interrupts this does not want to wait for the rest either
            raise
        finally:
            self.writer.close(max(0.0, deadline - time.monotonic()))
            if self.writer.stream is None:  # else this interrupted a log call, and all is closed at the end
                self._let_go()

    def _let_go(self) -> None:
        self._rescue.stop(0.0)
        self._rescue = self._new_rescue()
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
        return f"Client({self.writer.store_url!r})"

    # -- logging ------------------------------------------------------------------------------------------------------

    def start_run(
        self,
        project: str | None = None,
        experiment: str | None = None,
        name: str = "",
        *,
        tags: Iterable[str] = (),
        description: str = "",
        parent: RunHandle | str | None = None,
        hyperparameters: object = None,
        attributes: object = None,
        capture: bool = True,
        run_id: str | None = None,
        reserved_id: str | None = None,
        every_rank: bool = False,
        make_current: bool = True,
    ) -> RunHandle:
        """Start a run and return its handle, also to be used with ``with``.

        The run is in the journal when this returns, whether the store can be reached or not. It is asked who has the
        names of project and experiment, and given a second to answer (:meth:`identify`). Without ``with`` it is the current run
        of this thread, and of what is started from now on, until it ends.

        Args:
            project: its project, made if there is none of that name; default: the setting ``project``.
            experiment: its experiment within the project; default: the setting ``experiment``.
            name: its name, which need not be unique; default: a readable random one.
            tags: labels.
            description: what it is, in words.
            parent: the run that this one is part of.
            hyperparameters: logged at once, which is cheaper than in a call of its own.
            attributes: likewise.
            capture: whether to record code version, environment and host.
            run_id: a run that is to be continued; project, experiment and name then stay as they are.
            reserved_id: the identifier of the new run where it was needed before the run: one of ``entities.new_id()``.
            every_rank: whether each process of a distributed training (``torchrun``, DDP) records a run of its own;
                default: the first one records, and in the others the handle takes everything and does nothing.
            make_current: whether it becomes the current run without a block; integrations say no.

        Raises:
            InvalidArgumentError: a name is too long or empty, or a value cannot be stored.
        """
        if not (every_rank or is_first()):
            silent = silent_run(self, name, hyperparameters=hyperparameters, attributes=attributes)
            return self._started(silent, make_current=make_current)
        self.writer.ensure_stream()
        if run_id is not None:
            return self._started(self._resume(run_id), make_current=make_current)
        project_id, experiment_id = self._declare(project, experiment)
        containers = {"project_id": project_id, "experiment_id": experiment_id}
        if parent is not None:
            containers["parent_id"] = parent.run_id if isinstance(parent, RunHandle) else check_key(parent, "parent")
        sections = {"hyperparameters": hyperparameters, "attributes": attributes}
        run = self._create_run(containers, name, tags, description, sections, capture=capture, reserved_id=reserved_id)
        return self._started(run, make_current=make_current)

    def _started(self, run: RunHandle, *, make_current: bool) -> RunHandle:
        announcement.announce(run)
        if make_current:
            run.make_current()
        return run

    def start_child_of(
        self,
        parent: RunHandle,
        name: str = "",
        *,
        tags: Iterable[str] = (),
        description: str = "",
        hyperparameters: object = None,
        attributes: object = None,
        capture: bool = False,
        reserved_id: str | None = None,
        every_rank: bool = False,
    ) -> RunHandle:
        """Start a run that is part of ``parent``, in its experiment; arguments as of :meth:`start_run`."""
        if not (every_rank or is_first()):
            return silent_run(self, name, hyperparameters=hyperparameters, attributes=attributes)
        self.writer.ensure_stream()
        project_id, experiment_id = parent.container_ids
        self._revive(project=project_id, experiment=experiment_id)
        containers = {"project_id": project_id, "experiment_id": experiment_id, "parent_id": parent.run_id}
        sections = {"hyperparameters": hyperparameters, "attributes": attributes}
        return self._create_run(containers, name, tags, description, sections, capture=capture, reserved_id=reserved_id)

    def _create_run(
        self,
        containers: Mapping[str, str],
        name: str,
        tags: Iterable[str],
        description: str,
        sections: Mapping[str, object],
        *,
        capture: bool,
        reserved_id: str | None,
    ) -> RunHandle:
        run_id = new_id() if reserved_id is None else check_key(reserved_id, "reserved_id")
        notes: list[str] = []
        checked = {
            section: self.blobs.checked_map(values, section, notes=notes)
            for section, values in sections.items()
            if values is not None
        }
        stream = self.writer.ensure_stream()
        operation = runs.start(
            run_id,
            containers,
            started_at=now_us(),
            name=name,
            tags=tags,
            description=description,
            sections=checked,
            notes=notes,
            stream_id=stream.stream_id,
        )
        stream.open_runs.add(run_id)  # before the run is there: another thread may be closing the stream
        taken_by = self.execute(operation)
        fields = dict(operation.entries[0].values)
        if taken_by is not None and taken_by is not stream:
            fields["stream_id"] = taken_by.stream_id
            self.execute(runs.move_to_stream(run_id, taken_by.stream_id))
        run = RunHandle(self, run_id, fields)
        self._begin(run, capture=capture and self.settings.capture_enabled)
        return run

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
            self._deleted.add(entity_id)
            self.writer.ensure_stream().declared.pop(entity_id, None)
        elif action in (CREATE, RESTORE):
            self._deleted.discard(entity_id)
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

    def _declare(self, project: str | None, experiment: str | None) -> tuple[str, str]:
        """Create the containers of a run, once in each stream; returns the project's and the experiment's identifier."""
        workspace = self.settings.workspace
        project = check_name(self.settings.project if project is None else project, "project")
        experiment = check_name(self.settings.experiment if experiment is None else experiment, "experiment")
        path = ("workspace", workspace), ("project", project), ("experiment", experiment)
        workspace_id, project_id, experiment_id = self.identify(*path)
        self._names |= {project_id: project, experiment_id: experiment}
        self.declare(containers.declare("workspace", workspace_id, workspace))
        self.declare(containers.declare("project", project_id, project, workspace_id=workspace_id))
        self.declare(containers.declare("experiment", experiment_id, experiment, project_id=project_id))
        return project_id, experiment_id

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]:
        """Return the identifiers of containers by their names; where the store says nothing soon, what follows from them.

        The store is asked because a container may have been renamed since, or created under another identifier.
        """
        now, store = time.monotonic(), self._store
        if store is None or now < self._ask_again_at:
            return derive(path)
        found, at = self._identified.get(path, ((), 0.0))
        if found and not store.is_local and now - at < _IDENTIFIED_LIFE_S:
            return found
        try:
            found = self._askers.submit(partial(store.identify, *path)).result(_PATIENCE_S)
        except Exception as error:
            logger.debug("the store was not asked for names: %r", error)
            self._ask_again_at = time.monotonic() + _ASK_AGAIN_S
            return derive(path)
        self._identified[path] = found, now
        return found

    def declare(self, operation: Operation) -> None:
        """Create a container with a derived identifier unless this stream did a moment ago.

        Creating it again brings it back where somebody has deleted it meanwhile.
        """
        declared = self.writer.ensure_stream().declared
        now = time.monotonic()
        if now - declared.get(operation.entity_id, -_DECLARED_LIFE_S) >= _DECLARED_LIFE_S:
            self.execute(operation)
            # Only now: what interrupts this must not believe that it is in the journal.
            declared[operation.entity_id] = now

    def _revive(self, **names: str) -> None:
        """Bring back what this client deleted and logs to again."""
        for kind, entity_id in names.items():
            if entity_id in self._deleted:
                self.execute(containers.revive(kind, entity_id))

    def _resume(self, run_id: str) -> RunHandle:
        operation = runs.resume(run_id, self.writer.stream_id)
        self._revive(run=run_id)
        self.execute(operation)
        run = RunHandle(self, run_id, dict(operation.entries[0].values["set"]))
        self._begin(run, capture=False)
        return run

    def _begin(self, run: RunHandle, *, capture: bool) -> None:
        self.writer.ensure_stream().open_runs.add(run.run_id)
        endings.watch(self, run)
        if capture:
            self.writer.submit(lambda: self._capture(run.run_id))
        plugins.plugin_manager(self.settings).call("modeldb_run_started", run=run)

    def _capture(self, run_id: str) -> None:
        """Record the circumstances of a run; runs in the background."""
        if self._context is None or time.monotonic() - self._context[0] > _CONTEXT_LIFE_S:
            found = plugins.plugin_manager(self.settings).call("modeldb_run_context", settings=self.settings)
            merged: dict[str, Any] = {}
            for sections in found:
                for section, values in (sections or {}).items():
                    merged.setdefault(section, {}).update(values)
            self._context = (time.monotonic(), merged)
        put = {
            section: self.blobs.checked_map(values, section, limit=2048)
            for section, values in self._context[1].items()
            if values
        }
        if put:
            self.execute(edits.update("run", run_id, {"put": put}))
