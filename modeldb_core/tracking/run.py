"""The handle of a run: what training code logs with, and what a finished run is read with."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack
from zlib import adler32

from modeldb_core import plugins
from modeldb_core.commands import edits, runs
from modeldb_core.commands.times import to_us
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, NotFoundError, StoreUnavailableError
from modeldb_core.journal.records import CHECK_BYTES, ROW, ROW_AT
from modeldb_core.model.entities import EMPTY, FAILED
from modeldb_core.model.numbers import to_float, to_number
from modeldb_core.model.schema import METRICS
from modeldb_core.model.values import check_key, check_keys, check_text, normalize
from modeldb_core.queries import condition, parse_filter
from modeldb_core.tracking import artifacts as artifact_kinds
from modeldb_core.tracking import blocks, endings
from modeldb_core.tracking.editing import RunEditor
from modeldb_core.tracking.failures import Ending, describe_failure, ending_of
from modeldb_core.tracking.steps import checked_step, checked_time_ns

if TYPE_CHECKING:
    from contextvars import Token
    from datetime import datetime
    from types import TracebackType

    from modeldb_core.commands.operation import Operation
    from modeldb_core.journal.journal import RowPlan
    from modeldb_core.model.entities import Entity
    from modeldb_core.tracking.reader import RunReader
    from modeldb_core.tracking.run_session import ChildOptions, RunSession
    from modeldb_core.tracking.runs import Runs

P = ParamSpec("P")
R = TypeVar("R")

_MAX_STEP = 2**63 - 1
_MAX_PLANS = 10_000  # of a handle: where each call has other keys, plans are not worth keeping
_UNFIT = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError, struct.error)
"""What packing a row raises for what must be looked at; not what a signal handler raises, such as TimeoutError."""
_time_ns = time.time_ns


class _LoggedNames(set[tuple[str, str]]):
    """Sections and names; those of one run are one object for all of its handles, as long as there is one."""


_logged_names: weakref.WeakValueDictionary[str, _LoggedNames] = weakref.WeakValueDictionary()


class RunHandle(RunEditor):
    """A run, for logging to it and for reading it.

    Everything that is logged is in the journal when the call returns, so a crash loses nothing; the store has it about
    a second later. As a context manager the run ends with the block: finished, failed by an exception (which is
    kept in :attr:`failure`), or killed by Ctrl-C or SIGTERM. Usable from any thread, from a forked child, and, pickled, from another process.
    """

    client: RunSession[RunHandle]

    def __init__(
        self,
        client: RunSession[RunHandle],
        run_id: str,
        fields: Mapping[str, Any] | None = None,
        *,
        entity: Entity | None = None,
    ) -> None:
        super().__init__(client, run_id, fields, entity=entity)
        self._writer = client.writer
        self._made_s = time.monotonic()
        self._token: Token[RunReader | None] | None = None
        self._block: blocks.Block | None = None
        self._plans: dict[tuple[str, ...], RowPlan] = {}
        self._names = _logged_names.setdefault(run_id, _LoggedNames())

    # -- logging ------------------------------------------------------------------------------------------------------

    def log_metrics(
        self, metrics: Mapping[str, float], step: int | None = None, *, timestamp: datetime | float | None = None
    ) -> None:
        """Log several metrics at once.

        Args:
            metrics: numbers by name, of Python, NumPy or a 0-dimensional tensor. With a step each is a point of the
                name's series, a 64-bit float; a Decimal or a Fraction counts as the nearest one.
            step: a label of the points; steps may come late, and repeat. Without one, each number is the metric's one
                value, kept as it is.
            timestamp: when it was measured, a datetime with a time zone or seconds since 1970-01-01 UTC; default: now.

        Raises:
            InvalidTypeError: something is not a number (times are none), or a name is not a string.
            InvalidArgumentError: a name is empty or longer than 1,024 characters, or a point is an integer or a long
                double that no 64-bit float equals.
            RunFinishedError: the run has ended.
        """
        try:
            pack, number, size, memory, _ = self._plans[tuple(metrics)]
            values: Any = metrics.values()
            # Packing would take other types too, and round integers, times and long doubles. (A loop costs half as much as
            # any call that looks at all types.)
            for value in values:
                if type(value) is not float:
                    values = [to_float(each, "a metric") for each in values]
                    break
            record = pack(size, ROW, number, step, _time_ns(), *values)
            record += adler32(record).to_bytes(4, "little")
            stream: Any = self._writer.stream
            journal = stream.journal
            start = journal.position
            end = start + size
            place = slice(start, end)
        except _UNFIT:
            self._log_rows(metrics, step, timestamp)
            return
        with journal.lock:
            # Nothing is called, and nothing made that the garbage collector looks after, from the first line of this
            # block to the last: so neither a signal handler comes between, nor a destructor.
            if (
                journal.position == start
                and memory is journal.memory
                and end <= journal.fast_limit
                and timestamp is None
                and not journal.busy
            ):
                memory[place] = record
                journal.position = end
                return
        self._log_rows(metrics, step, timestamp)

    def log_metric(
        self, key: str, value: float, step: int | None = None, *, timestamp: datetime | float | None = None
    ) -> None:
        """Log one metric; see :meth:`log_metrics`."""
        self.log_metrics({key: value}, step, timestamp=timestamp)

    def has_metric(self, key: str) -> bool:
        """Return whether this process has logged a metric of that name to the run: what logs by itself replaces none."""
        return (METRICS, key) in self._names

    def log_hyperparameters(self, hyperparameters: object) -> None:
        """Record settings of the training: numbers, texts, lists and maps of any size, kept exactly.

        Logging a name again replaces its value; the record of changes keeps both.

        Args:
            hyperparameters: a map, or what has values by name: ``argparse.Namespace``, a dataclass, a model of pydantic
                or attrs, a configuration of OmegaConf. Paths, devices, dtypes, enumerations, dates, sets, functions,
                arrays and the like within it are kept as values; where their type is lost, a note says so.

        Raises:
            InvalidTypeError: a value cannot be stored, or a name is not a string; the message names it.
            InvalidArgumentError: a key is empty or longer than 1,024 characters.
            RunFinishedError: the run has ended.
        """
        self._check_open()
        self._put("hyperparameters", hyperparameters)

    log_params = log_hyperparameters

    def log_artifact(self, artifact: object, name: str | None = None, *, type: str | None = None) -> None:  # noqa: A002
        """Store a file with the run.

        Args:
            artifact: the path of a file or folder, a Matplotlib figure, a pandas or polars table, an image of Pillow,
                bytes, or a map or list (stored as JSON). What of a folder cannot be stored, a note on the run names.
            name: its path within the run, any text; default: the name of the file or folder. Its extension says how an
                object is written; without one a figure or image becomes PNG, a table Parquet, a map or list JSON.
                :meth:`read_artifact` takes it with and without the extension that is added.
            type: what it is, shown beside it; default: derived from the object.

        Raises:
            NotFoundError: there is no file at the path.
            InvalidArgumentError: there is no name for it, or it cannot be written as the extension says.
            InvalidTypeError: it is of a type that cannot be stored.
            MissingDependencyError: the format needs a package that is not installed.
            FolderChangedError: something in the folder went away meanwhile; nothing of it is recorded.
        """
        self._check_open()
        is_own = artifact_kinds.own_places(self.client.settings)
        stored = artifact_kinds.store(artifact, name, type, self.client.put_blob, is_own)
        self._record(runs.link_artifacts(self.run_id, stored.entries))
        for note in stored.notes:
            self.note(note)

    def log_text(self, text: str, name: str) -> None:
        """Store a text with the run, as a file in UTF-8.

        Args:
            text: any text, for example a report or a prompt.
            name: its path within the run, such as ``"report.md"``.

        Raises:
            InvalidTypeError: it is not a text.
        """
        self.log_artifact(check_text(text, "text").encode(), name, type="text")

    def log_dataset(self, data: object, role: str = "train", *, name: str | None = None) -> str:
        """Record what the run was trained or tested on: digest, shape, schema, size and origin, not the content.

        Args:
            data: an array, a sparse matrix, a table, a list, or a path.
            role: what the run does with it, such as ``"train"`` or ``"test"``; the key among the run's data sets.
            name: of the data set, of which this content is a version; the workspace knows it. Default: the project's
                name, and after a slash where the data comes from: the path of its file, its address, or the variable
                that holds it, such as ``"churn/X_train"``.

        Returns:
            The identifier of the dataset version, the same wherever the same content is logged under this name.
        """
        from modeldb_core.tracking import datasets

        self._check_open()
        return datasets.log(self, data, role, name)

    def log_model(
        self, model: object, name: str = "model", *, model_format: str = "", signature: Mapping[str, Any] | None = None
    ) -> None:
        """Store a model with the run, in a format that loads without running code where there is one.

        Args:
            model: for example a scikit-learn estimator, stored with skops; never pickled unless asked for.
            name: the folder of its files among the artifacts.
            model_format: that it must have, such as ``"pickle"``; default: the first that a plugin offers.
            signature: what goes in and comes out, where the program knows it better than the format.

        Raises:
            InvalidTypeError: no installed plugin knows how to store such a model.
        """
        from modeldb_core.tracking.description.model_formats import dump_model

        self._check_open()
        with artifact_kinds.scratch_folder() as folder:
            description = dump_model(
                model, folder, settings=self.client.settings, model_format=model_format, signature=signature
            )
            entries = artifact_kinds.store(folder, check_key(name, "name"), "model", self.client.put_blob).entries
        for entry in entries.values():
            entry["model"] = normalize(description, "model")
        self._record(runs.link_artifacts(self.run_id, entries))
        for problem in description.get("problems", ()):
            self.note(f"Model {name!r} cannot be loaded everywhere: {problem}")

    def start_child(self, name: str = "", **options: Unpack[ChildOptions]) -> RunHandle:
        """Start a run that is part of this one, in the same experiment; takes what :meth:`Client.start_run` takes."""
        options.setdefault("capture", False)
        return self.client.start_child_of(self, name, **options)

    @property
    def parent(self) -> RunHandle | None:
        """The run that this one is part of, if there is one."""
        parent_id = self._fields.get("parent_id") or self.entity.parent_id
        return None if parent_id is None else self.client.get_run(parent_id)

    def children(self, filter: str = "", *, order_by: str = "created_at") -> Runs[RunHandle]:  # noqa: A002 - as of search_runs
        """Return the runs that are part of this one, the oldest first."""
        its = condition("parent_id = ?", self.run_id)
        is_all = parse_filter(filter) is None  # parsed: it does not end the parenthesis
        return self.client.search_runs(its if is_all else f"{its} and ({filter})", order_by=order_by)

    def late(self) -> RunHandle:
        """Return a handle that logs to the run also when this one has ended: what is learned later belongs to its record."""
        return RunHandle(self.client, self.run_id, self._fields)

    def finish(
        self,
        status: str | Ending | None = None,
        *,
        error: BaseException | None = None,
        finished_at: datetime | None = None,
    ) -> None:
        """End the run. Ending it again changes nothing.

        Args:
            status: finished, failed, killed or pruned; default: as ``error`` says, else finished.
            error: the exception that ended it, which a failed run keeps; default of one: what is being handled.
            finished_at: when it ended, with a time zone, for a run that is imported or comes with times of its own; the record
                says that it is reported, and keeps when it was recorded. Default: now, as measured.

        Raises:
            InvalidArgumentError: ``status`` is no end, or ``finished_at`` has no zone, is in the future or before the start.
            InvalidTypeError: ``finished_at`` is not a datetime.
        """
        ending = status if isinstance(status, Ending) else ending_of(error)
        if isinstance(status, str) and runs.check_end(status) != ending.status:
            reason = (error or sys.exception()) if status == FAILED else None
            ending = Ending(status, EMPTY if reason is None else describe_failure(reason))
        if self._ended:
            return
        reported = None if finished_at is None else self._reported_end(ending, finished_at)
        plugins.plugin_manager(self.client.settings).call("modeldb_run_finished", run=self, status=ending.status)
        least = self._fields.get("started_at")  # not known of a run that is continued
        if least is not None:  # the clock may have been set back meanwhile
            least += int(1e6 * (time.monotonic() - self._made_s))
        self._record(reported or runs.finish(self.run_id, ending.status, not_before=least, failure=ending.failure))
        self._ended = True
        self._entity = None
        self._fields["status"] = ending.status
        self._plans = {}
        self._leave_block()
        self._writer.end_run(self.run_id)
        endings.unwatch(self)

    def make_current(self) -> None:
        """Make this the current run of this thread, and of threads and processes started from now on, until it ends."""
        if self._block is None and not self._ended:
            self._outer = blocks.current()
            self._block = blocks.enter(self, of_thread=False)
            blocks.CURRENT.set(self)

    def __enter__(self) -> Self:
        if self._block is None:
            self._outer = blocks.current()
            self._block = blocks.enter(self)
        else:  # it is the current run already
            self._block.older_threads.add(threading.current_thread())
        self._token = blocks.CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            with suppress(ValueError):  # left in another context than entered, as generators may do
                blocks.CURRENT.reset(self._token)
            self._token = None
        self._leave_block()
        if self._process_id == os.getpid():  # a forked child leaves the end to its parent
            self.finish(endings.ending_for(error))

    def _leave_block(self) -> None:
        if self._block is not None:
            blocks.leave(self._block)
            self._block = None

    def bind(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return ``function`` such that it runs as in this run's block, wherever it is called.

        For pools whose workers were there before the block: ``pool.map(run.bind(train), folds)``. It can be pickled
        where the function can.
        """
        return blocks.Bound(function, self)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _reported_end(self, ending: Ending, finished_at: datetime) -> Operation:
        started_at = None
        with suppress(StoreUnavailableError, NotFoundError):  # of a run that is continued only the store knows
            started_at = None if self.started_at is None else to_us(self.started_at, "started_at")
        ended_at = to_us(finished_at, "finished_at")
        return runs.finish(
            self.run_id, ending.status, finished_at=ended_at, not_before=started_at, failure=ending.failure
        )

    def _log_rows(self, metrics: object, step: object, timestamp: object) -> None:
        """Log metrics the long way: check everything, say what is wrong, define the plan."""
        self._check_open()
        if not isinstance(metrics, Mapping):
            msg = f"metrics is of type {type(metrics).__name__}; expected a map from names to numbers"
            raise InvalidTypeError(msg)
        check_keys(metrics, "metric name")
        if step is None:
            if timestamp is not None:
                msg = "timestamp is given without a step; only a point of a series has a time: pass step=... too"
                raise InvalidArgumentError(msg)
            values = {
                key: value if type(value) is float else to_number(value, f"metric {key!r}")
                for key, value in metrics.items()
            }
            if values:
                self._names.update((METRICS, key) for key in values)
                self._record(edits.put_values("run", self.run_id, METRICS, values))
            return
        label = checked_step(step)
        numbers = [to_float(value, f"metric {key!r}") for key, value in metrics.items()]
        if not numbers:
            return
        keys = tuple(metrics)
        self._names.update((METRICS, key) for key in keys)
        plan = self._plan(keys)
        record_type, time_ns = (ROW, _time_ns()) if timestamp is None else (ROW_AT, checked_time_ns(timestamp))
        record = plan.pack(plan.size, record_type, plan.number, label, time_ns, *numbers)
        self._writer.journal_record(record + adler32(record).to_bytes(CHECK_BYTES, "little"), plan)

    def _plan(self, keys: tuple[str, ...]) -> RowPlan:
        """Return the plan of these keys, defined in the current segment of the journal if there is room."""
        plan, stream = self._plans.get(keys), self._writer.stream
        if plan is None or stream is None or plan.memory is not stream.journal.memory:
            plan = self._writer.plan_rows(self.run_id, keys, plan)
            if len(self._plans) >= _MAX_PLANS:
                self._plans = {}
            self._plans[keys] = plan
        return plan
