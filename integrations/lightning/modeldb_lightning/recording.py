"""The run that a trainer logs to: it starts late, ends often, and goes on where a checkpoint left it.

Lightning ends its loggers after each ``fit``, ``validate`` and ``test``, and asks for their name and version before it
has read the checkpoint that says which run is to be continued. So an identifier is reserved when it is first asked for,
and nothing is recorded until there is something to record.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging.runs import Ending, interruption_of, leave_sigterm, summary_of
from modeldb_core.model.entities import FAILED, FINISHED, KILLED, LOST, RUNNING, new_id
from modeldb_core.tracking import current_run
from modeldb_lightning import frameworks
from modeldb_lightning.checkpoints import Checkpoints
from modeldb_lightning.claims import holders, take
from modeldb_lightning.facts import model_facts
from modeldb_lightning.hyperparameters import Parameters, note_on_names, typed, typed_map
from modeldb_lightning.metrics import sorted_metrics
from modeldb_lightning.options import GUARD, Options, submit
from modeldb_lightning.resuming import Past, Position, past_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modeldb_core.tracking import RunHandle, RunSession


class Recording:
    """One run, and what is known of it. No public method raises; in processes other than the first all do nothing.

    Args:
        options: where the run goes, and what is recorded.
        previous: the training before, of the same logger or callback.
    """

    def __init__(self, options: Options, *, previous: Recording | None = None) -> None:
        self.options = options
        self.run: RunHandle | None = None
        self.is_first_process: bool | None = None  # as the trainer says, once there is one
        self.is_training = True
        """Whether the trainer fits: the epoch of a test, and steps that were logged before, mean nothing."""
        self.has_worked = self.has_trained = False
        """Whether a trainer has worked with it, and whether it has fitted a model."""
        self.is_older = self.is_beside = False
        """Whether its run is that of a checkpoint which is evaluated; whether another recording is at work with the run."""
        self.around: Recording | None = None
        """That of the trainer which is at work around the one of this, in the same thread."""
        self._worker: weakref.ref[Any] | None = None
        self.checkpoints = Checkpoints(self)
        self._parameters = Parameters()
        self._lock = threading.RLock()
        self.run_id = options.run_id  # once it is decided
        self._is_begun = options.run_id is not None  # whether there is a run of that identifier already
        self._previous_id = None if previous is None or not previous._is_begun else previous.run_id
        self._parent: RunHandle | None = None
        self._is_ours = True
        self._waiting: list[Callable[[RunHandle], None]] | None = None
        self._generation = 0
        self._past: Past | None = None
        self.evaluated: Counter[str] = Counter()
        """How many batches were evaluated so far, by stage and loader."""
        self.has_skipped = False  # whether a validation counts that is not made again
        self.evaluates: str | None = None
        """Stage and loader of the batch that what is logged now belongs to, while one is evaluated."""
        self._ending = Ending()  # that of the training itself: a test afterwards does not make it better
        self._epoch_step: int | None = None
        self._error: BaseException | None = None
        self._is_broken = False
        self._seen: dict[str, int] = {}
        self._told: set[str] = set()

    # -- which run ----------------------------------------------------------------------------------------------------

    @property
    def logs(self) -> bool:
        """Whether this process is the one that logs."""
        if self.is_first_process is None:
            return frameworks.rank() == 0
        return self.is_first_process

    @property
    def may_continue(self) -> bool:
        """Whether a checkpoint decides which run this is, or the user did."""
        return not self._is_begun or self.options.run_id is not None

    def is_taken(self, trainer: Any = None) -> bool:  # noqa: ANN401
        """Return whether a trainer, other than this one, is at work with it."""
        return self._worker is not None and self._worker() not in (None, trainer)

    def reserved_id(self) -> str | None:
        """Return the identifier that the run has or will have; ``None`` in other processes than the first."""
        if self.run_id is None and self.logs:
            with self._lock, GUARD.step("reserve an identifier for the run"):
                self._place()
        return self.run_id

    def _place(self) -> None:
        """Decide which run this is: the one around us unless another recording has it, a child of that, or a new one."""
        if self.run_id is not None:
            return
        around = current_run()
        if around is not None and around.is_silent:  # it is the trainer that knows which process records
            around = None
        if around is not None and take(around.run_id):
            self.run, self._is_ours, self._is_begun = around, False, True
            self.run_id = around.run_id
            return
        self._parent = around
        self.run_id = new_id()

    def continue_run(self, run_id: str, store_url: str, checkpoint: Position) -> None:
        """Go on with the run that wrote the checkpoint which the trainer has loaded.

        Not where the user said which run to use, or has begun to log to another one already, and not with a run of
        another store: then this is a new run that names it.
        """
        if not self.logs:
            return
        with self._lock, GUARD.step("continue the run of the checkpoint"):
            if self.run_id is None and current_run() is not None:
                self._place()
            is_known = run_id == self.run_id
            if is_known and not (self._is_begun and self.is_training):
                return
            past = Past(is_elsewhere=True)
            if is_known or (self.options.resume and not self._is_begun):
                past = past_of(self.options.resolved_client(), run_id, store_url)
            if past.is_elsewhere and not is_known:
                self.set_attributes({"resumed_from": {"run_id": run_id, "global_step": checkpoint.global_step}})
                return
            self._past = past.before(checkpoint) if self.is_training else past
            self.evaluated = Counter(checkpoint.evaluated)
            self.has_skipped = checkpoint.is_validation_due and self.is_training
            if not is_known:
                take(run_id)
                self._parent = None
                self.run_id, self._is_begun, self.is_older = run_id, True, not self.is_training
            elif self.run is not None and not self.run.has_ended:  # nobody will open it
                self._opened(self.run)

    def start(self) -> RunHandle | None:
        """Return the open run; it is started, or opened again, where it is not."""
        run = self.run
        if run is not None and not run.has_ended:
            return run
        if self._is_broken or not self.logs:
            return None
        with self._lock:
            if self.run is None or self.run.has_ended:
                self._is_broken = True  # what failed once may be slow to fail again: not before the next fit or test
                with GUARD.step("start a run"):
                    self._open()
                    self._is_broken = False
            return None if self._is_broken else self.run

    def _open(self) -> None:
        self._place()
        if self.run is not None and not self.run.has_ended:  # the run around us
            self._opened(self.run)
            return
        options = self.options
        client = self._client()
        if self._is_begun and self.run_id is not None:
            self.run = self._continue(client, self.run_id)
        elif self._parent is not None:
            self.run = client.start_child_of(
                self._parent,
                options.name,
                tags=options.tags,
                capture=False,
                reserved_id=self.run_id,
                every_rank=True,
            )
        else:
            self.run = client.start_run(
                options.project,
                options.experiment,
                options.name,
                tags=options.tags,
                reserved_id=self.run_id,
                every_rank=True,
                make_current=False,
            )
            take(self.run.run_id)
        if self._previous_id is not None and not self._is_begun:
            self.run.set_attributes({"previous_training": {"run_id": self._previous_id}})
        self._is_begun = True
        self._opened(self.run)

    def _continue(self, client: RunSession[RunHandle], run_id: str) -> RunHandle:
        """Open a run again that has begun before; what only evaluates takes no part in how it ends."""
        if not self.is_training and self._past is None and self.run is None:
            self._past = past_of(client, run_id, client.writer.store_url)
        past = Past() if self._past is None or self.is_training else self._past
        before: Recording | None = holders.get(run_id)
        before = None if before is self or (before is not None and before.is_taken()) else before
        self._is_ours = before is not None or past.status != RUNNING
        if not self._is_ours:  # another trainer or process trains
            return client.get_run(run_id)
        if before is not None:
            with before._lock:  # its end may be under way
                self._ending, holders[run_id] = before._ending, self
        elif past.status not in ("", FINISHED):
            self._ending = Ending(KILLED if past.status == LOST else past.status, past.failure)
        return client.start_run(run_id=run_id, every_rank=True, make_current=False)

    def _opened(self, run: RunHandle) -> None:
        if self._is_ours:
            holders[run.run_id] = self
        if self.is_first_process:  # a trainer is at work, and ends its batch when SIGTERM comes
            leave_sigterm()
        past = self._past
        if past is not None:
            if past.note:
                run.note(past.note)
            self.checkpoints.know(past)
            self._parameters.trained = {**past.hyperparameters, **self._parameters.trained}
            self._past = past if past.last_steps else None

    def _client(self) -> RunSession[RunHandle]:
        if self._parent is not None and self.options.client is None:
            return self._parent.client
        return self.options.resolved_client()

    # -- logging ------------------------------------------------------------------------------------------------------

    def hold(self, trainer: Any, *, is_training: bool) -> None:  # noqa: ANN401
        """A trainer begins: keep what is logged back until :meth:`begin`, for a checkpoint may say to which run it belongs."""
        with self._lock:  # the end of the training before may be under way: what is logged to it then would be lost
            self._generation += 1
        self._worker, self.is_training = weakref.ref(trainer), is_training
        self.is_first_process = bool(trainer.is_global_zero)
        self._is_broken = False
        if self._waiting is None:
            self._waiting = []

    def hand_over(self, other: Recording, trainer: Any) -> None:  # noqa: ANN401
        """What the trainer evaluates belongs to ``other``: give it what was kept back, and end as before."""
        waiting, self._waiting = self._waiting, None
        self.finish()
        other.hold(trainer, is_training=False)
        other._waiting = waiting

    def beside(self) -> Recording:
        """Return another recording of this run, for what evaluates while a trainer is at work: it does not end the run."""
        other = Recording(self.options)
        other.run, other.run_id = self.run, self.run_id
        other._is_begun, other._is_ours, other.is_beside = True, False, True
        other.evaluated, other._parameters = self.evaluated, self._parameters
        return other

    def begin(self) -> None:
        """The trainer begins its work: record what was kept back."""
        self.has_worked = True
        self.has_trained = self.has_trained or self.is_training
        waiting, self._waiting = self._waiting, None
        for job in waiting or ():
            self.do("record what was known before the training", job)

    def do(self, what: str, job: Callable[[RunHandle], None]) -> None:
        """Call ``job`` with the run, as a step of the guard; later where the run is not yet known for certain."""
        if not self.logs:
            return
        if self._waiting is not None:
            self._waiting.append(job)
            return
        run = self.start()
        if run is not None:
            with GUARD.step(what, run.note):
                job(run)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers at a step; anything else that is not a number is recorded as what it is, or noted."""
        if self.evaluates is not None:
            step = self.evaluated[self.evaluates] - 1
            if self._past is not None and not self.is_training:
                step = self._past.free_step(metrics, step)
                self.evaluated[self.evaluates] = step + 1
        try:
            metrics = self._adjusted(metrics, step)
            self.run.log_metrics(metrics, step)  # type: ignore[union-attr] # as there is no run, or it has ended
        except Exception:
            self._log_anything(metrics, step)

    def _adjusted(self, metrics: Mapping[str, Any], step: int | None) -> Mapping[str, Any]:
        """Leave out what a step has already, and give what is trained again another name."""
        # Lightning adds the epoch to everything that it logs, so a step may have it three times over.
        if "epoch" in metrics:
            if not self.is_training or (self._epoch_step == step and step is not None):
                metrics = {key: value for key, value in metrics.items() if key != "epoch"}
            self._epoch_step = step
        past = self._past
        return metrics if past is None or step is None or not self.is_training else past.renamed(metrics, step)

    def _log_anything(self, metrics: Mapping[str, Any], step: Any) -> None:  # noqa: ANN401
        """Log what the quick way did not take: before the run has begun, and what is not a number."""
        if self._waiting is not None:
            self.begin()
        run = self.start()
        if run is None:
            return
        with GUARD.step("log metrics", run.note):
            found = sorted_metrics(metrics)
            self._tell_of_names("metrics", found.misfits)
            if found.others:
                run.set_attributes(found.others)
            if found.numbers:
                run.log_metrics(found.numbers, None if step is None else int(step))

    def log_hyperparameters(self, parameters: Any) -> None:  # noqa: ANN401 - a map, a Namespace, a configuration
        """Record hyperparameters of any type."""
        values: dict[str, Any] = {}
        misfits: list[str] = []
        with GUARD.step("read the hyperparameters"):
            values, misfits = typed_map(parameters)
        if values:
            self._tell_of_names("hyperparameters", misfits)
            log = partial(self._parameters.log, values=values, replace=self.is_training or not self.is_taken())
            self.do("record the hyperparameters", log)

    def _tell_of_names(self, what: str, misfits: Sequence[str]) -> None:
        """Leave word, once, that names were changed which no store takes."""
        if misfits and what not in self._told:
            self._told.add(what)
            text = note_on_names(what, misfits[0])
            self.do("note that names were changed", lambda run: run.note(text))

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Record facts."""
        values = {key: typed(value) for key, value in attributes.items()}
        self.do("record facts about the training", lambda run: run.set_attributes(values))

    def describe_model(self, model: Any) -> None:  # noqa: ANN401 - a LightningModule
        """Record what a model consists of, once."""
        if self.logs and self.is_new("model", model):
            with GUARD.step("describe the model"):
                self.do("record what the model consists of", model_facts(model).log)

    def is_new(self, what: str, item: object) -> bool:
        """Return whether another item was asked about the last time."""
        is_new = self._seen.get(what) != id(item)
        self._seen[what] = id(item)
        return is_new

    def mark(self) -> dict[str, Any] | None:
        """Return what a checkpoint says about the run: plain values, which torch loads without trusting anybody."""
        run_id = self.reserved_id()
        if run_id is None:
            return None
        mark = {"run_id": run_id, "store_url": self.run.client.writer.store_url if self.run is not None else ""}
        return {**mark, "evaluated": dict(self.evaluated)} if self.evaluated else mark

    # -- the end ------------------------------------------------------------------------------------------------------

    def finish(self, error: BaseException | None = None) -> None:
        """The trainer has come to an end, for now: with ``error``, or well. What is under way is finished beside it."""
        self._worker = None
        if error is not None and self._error is error:  # heard of by the callback, and again by the logger
            return
        self._error = error
        ending = Ending() if error is None else interruption_of(error)
        if error is not None and self.logs:
            self.begin()  # so that a training that broke before it began leaves word
            if ending.status in (FAILED, KILLED):
                text = summary_of(error)
                self.do("record how it failed", lambda run: run.note(f"The training was ended by {text}"))
        if self.is_training:
            self._ending = ending
        self._waiting = None
        run = self.run
        if run is None or run.has_ended:
            return
        self.checkpoints.settle()
        if self._is_ours:
            generation, last = self._generation, self._ending if ending.status == FINISHED else ending
            submit(lambda: self._finish(generation, last), run.run_id)
        run.client.secure()

    def _finish(self, generation: int, ending: Ending) -> None:
        with self._lock:
            run = self.run  # it may have been taken up again meanwhile, by this recording or by another one
            if generation == self._generation and run is not None and holders.get(run.run_id, self) is self:
                with GUARD.step("end the run"):
                    run.finish(ending)

    def __getstate__(self) -> dict[str, Any]:
        """In another process, as Lightning starts for ``ddp_spawn``, a run that is open goes on."""
        return {"options": self.options, "run_id": self.run_id if self._is_begun else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["options"])  # type: ignore[misc]
        if state["run_id"] is not None:
            self.run_id, self._is_begun = state["run_id"], True
