"""The client: one program's way into one store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core import plugins
from modeldb_core.commands import runs
from modeldb_core.commands.declaring import declare_again
from modeldb_core.commands.times import check_reported, to_us
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.entities import new_id
from modeldb_core.model.values import check_key
from modeldb_core.runtime import exits
from modeldb_core.tracking import announcement, endings
from modeldb_core.tracking.containers import container_ids, declare_all_again, execute_within
from modeldb_core.tracking.ranks import is_first
from modeldb_core.tracking.run import RunHandle
from modeldb_core.tracking.searching import ClientReader
from modeldb_core.tracking.silent import silent_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from modeldb_core.commands.operation import Operation
    from modeldb_core.tracking.deletion import Trash
    from modeldb_core.tracking.repositories.commits import CommitHandle
    from modeldb_core.tracking.repositories.repository import RepositoryHandle


class Client(ClientReader):
    """Logs to one store and reads from it. Get one from :func:`connect`.

    Safe for any number of threads. A forked child may go on using it: what it logs goes into a stream of its own.
    As a context manager it closes at the end of the block.
    """

    @property
    def trash(self) -> Trash:
        """What is deleted and can still be restored."""
        from modeldb_core.tracking.deletion import Trash

        return Trash(self)

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
        started_at: datetime | None = None,
        commit: CommitHandle | str | None = None,
    ) -> RunHandle:
        """Start a run and return its handle, also to be used with ``with``.

        The run is in the journal when this returns, whether the store can be reached or not. It is asked who has the
        names of project and experiment, and given a second to answer (:meth:`identify`). Without ``with`` it is the current run
        of this thread, and of what is started from now on, until it ends.

        Args:
            project, experiment: where it belongs, made if there is none of that name; default: the settings of these names.
            name: its name, which need not be unique; default: a readable random one.
            tags: labels.
            description: what it is, in words.
            parent: the run that this one is part of.
            hyperparameters, attributes: logged at once, which is cheaper than in calls of their own.
            capture: whether to record code version, environment and host.
            run_id: a run that is to be continued; project, experiment and name then stay as they are.
            reserved_id: the identifier of the new run where it was needed before the run: one of ``entities.new_id()``.
            every_rank: whether each process of a distributed training (``torchrun``, DDP) records a run of its own;
                default: the first one records, and in the others the handle takes everything and does nothing.
            make_current: whether it becomes the current run without a block; integrations say no.
            started_at: when it began, with a time zone, for a run that is imported; the record says that this is reported.
                Default: now, as measured. :meth:`RunHandle.finish` takes the end.
            commit: the commit of a repository that the run is given: one, or what names one, such as ``"churn@main"``;
                :meth:`RunHandle.log_commit` says which locations were used.

        Raises:
            InvalidArgumentError: a name is too long or empty, a value cannot be stored, or ``started_at`` has no time zone,
                lies in the future, or is given for a run that is continued.
            InvalidTypeError: ``started_at`` is not a datetime.
        """
        began_at = _reported_start(started_at, continues=run_id is not None)
        sections = {"hyperparameters": hyperparameters, "attributes": attributes}
        if not (every_rank or is_first()):
            return self._started(silent_run(self, name, began_at, **sections), make_current=make_current)
        given = None if commit is None else self._find_commit(commit)
        self.writer.ensure_stream()
        if run_id is not None:
            return self._started(self._resume(run_id), make_current=make_current, commit=given)
        project_id, experiment_id, declarations = self._containers(project, experiment)
        containers = {"project_id": project_id, "experiment_id": experiment_id}
        if parent is not None:
            containers["parent_id"] = parent.run_id if isinstance(parent, RunHandle) else check_key(parent, "parent")
        run = self._create_run(
            containers,
            name,
            tags,
            description,
            sections,
            capture=capture,
            reserved_id=reserved_id,
            started_at=began_at,
            declarations=declarations,
        )
        return self._started(run, make_current=make_current, commit=given)

    def _started(self, run: RunHandle, *, make_current: bool, commit: CommitHandle | None = None) -> RunHandle:
        if commit is not None:
            run.log_commit(commit)
        announcement.announce(run)
        if make_current:
            run.make_current()
        return run

    def repository(self, name: str, *, create: bool = True) -> RepositoryHandle:
        """Return a repository of the workspace by its name; see :func:`modeldb_core.repository`."""
        from modeldb_core.tracking.repositories.opening import open_repository

        return open_repository(self, name, create=create)

    def _find_commit(self, commit: CommitHandle | str) -> CommitHandle:
        from modeldb_core.tracking.repositories.opening import commit_of

        return commit_of(self, commit)

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
        started_at: datetime | None = None,
    ) -> RunHandle:
        """Start a run that is part of ``parent``, in its experiment; arguments as of :meth:`start_run`.

        Raises:
            StoreUnavailableError: the store alone knows where ``parent`` is, which is continued, and does not say so soon.
        """
        began_at = _reported_start(started_at)
        if not (every_rank or is_first()):
            return silent_run(self, name, began_at, hyperparameters=hyperparameters, attributes=attributes)
        self.writer.ensure_stream()
        parent.learn_containers()
        project_id, experiment_id = parent.container_ids
        containers = {"project_id": project_id, "experiment_id": experiment_id, "parent_id": parent.run_id}
        sections = {"hyperparameters": hyperparameters, "attributes": attributes}
        return self._create_run(
            containers,
            name,
            tags,
            description,
            sections,
            capture=capture,
            reserved_id=reserved_id,
            started_at=began_at,
            declarations=declare_all_again(self, project_id, experiment_id),
        )

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
        started_at: int | None,
        declarations: Iterable[Operation],
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
            started_at=started_at,
            name=name,
            tags=tags,
            description=description,
            sections=checked,
            notes=notes,
            stream_id=stream.stream_id,
        )
        stream.open_runs.add(run_id)  # before the run is there: another thread may be closing the stream
        taken_by = execute_within(
            self, declarations, operation
        )  # only now: a run that cannot be started leaves no project
        fields = dict(operation.entries[0].values)
        if taken_by is not None and taken_by is not stream:
            fields["stream_id"] = taken_by.stream_id
            self.execute(runs.move_to_stream(run_id, taken_by.stream_id))
        run = RunHandle(self, run_id, fields)
        self._begin(run, capture=capture and self.settings.capture_enabled)
        return run

    def _resume(self, run_id: str) -> RunHandle:
        operation = runs.resume(run_id, self.writer.stream_id)
        found = self._ask_soon(lambda store: container_ids(store, run_id)) or ("", "")
        execute_within(self, (*declare_all_again(self, *found), declare_again("run", run_id)), operation)
        known = {"project_id": found[0], "experiment_id": found[1]} if found[0] else {}
        run = RunHandle(self, run_id, {**operation.entries[0].values["set"], **known})
        self._begin(run, capture=False)
        return run

    def _begin(self, run: RunHandle, *, capture: bool) -> None:
        self.writer.ensure_stream().open_runs.add(run.run_id)
        endings.watch(self, run)
        if capture:
            if exits.may_end_unheard():
                self._capture(run.run_id)
            else:
                self.writer.submit(lambda: self._capture(run.run_id))
        plugins.plugin_manager(self.settings).call("modeldb_run_started", run=run)


def _reported_start(started_at: datetime | None, *, continues: bool = False) -> int | None:
    """Return the reported start of a run in microseconds; ``None`` where it starts now."""
    if started_at is not None and continues:
        msg = "started_at is given for a run that is continued, which keeps its start; leave out started_at or run_id"
        raise InvalidArgumentError(msg)
    return None if started_at is None else check_reported(to_us(started_at, "started_at"), "started_at")
