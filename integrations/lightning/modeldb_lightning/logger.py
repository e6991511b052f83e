"""The logger: ``Trainer(logger=ModelDBLogger(...))``.

It has all that Lightning's ``Logger`` asks for and derives from none, since there are two of them; it is registered with
those that the program has imported, so that ``isinstance`` and ``LightningCLI`` take it.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from typing import TYPE_CHECKING, Any, Self

from modeldb_core.model.values import check_key
from modeldb_core.tracking import RunHandle
from modeldb_lightning.frameworks import loaded_packages
from modeldb_lightning.options import checked_options, refuse
from modeldb_lightning.recording import Recording
from modeldb_lightning.recordings import Recordings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modeldb_core.tracking import Client

_NO_PATH = re.compile(r"[^\w.=,+@ -]+")
_loggers: weakref.WeakSet[ModelDBLogger] = weakref.WeakSet()


class ModelDBLogger:
    """Logs what a ``Trainer`` logs to a run.

    Args:
        client: the client to log with; default: the one connected last, else one by the configuration. Or a function
            that returns one.
        project: of the run; default: the setting ``project``.
        experiment: of the run; default: the setting ``experiment``.
        name: of the run; default: a readable random one.
        tags: of the run.
        run_id: a run that is to be continued.
        resume: whether ``fit(ckpt_path=...)`` continues the run that wrote the checkpoint.
        prefix: put before the names of metrics, with a ``/``.
        save_dir: where Lightning puts checkpoints, below a folder for experiment and run; default: the trainer's
            ``default_root_dir``.
        log_checkpoints: store the checkpoints that Lightning keeps.
        log_datasets: describe the data sets.
        log_gradient_norms: record the norm of all gradients at each logged step.
        log_system_metrics: record processor time and memory of each process every few seconds.

    Raises:
        InvalidTypeError: an argument is of a wrong type.
        InvalidArgumentError: a name, a tag or ``run_id`` is empty, too long or holds what no store keeps. After that
            nothing raises: what cannot be recorded is noted.
    """

    def __init__(
        self,
        client: Client | Callable[[], Client] | None = None,
        project: str | None = None,
        experiment: str | None = None,
        *,
        name: str = "",
        tags: tuple[str, ...] | list[str] = (),
        run_id: str | None = None,
        resume: bool = True,
        prefix: str = "",
        save_dir: str | os.PathLike[str] | None = None,
        log_checkpoints: bool = True,
        log_datasets: bool = True,
        log_gradient_norms: bool = False,
        log_system_metrics: bool = False,
    ) -> None:
        options = checked_options(
            client=client,
            project=project,
            experiment=experiment,
            name=name,
            tags=tags,
            run_id=run_id,
            resume=resume,
            log_checkpoints=log_checkpoints,
            log_datasets=log_datasets,
            log_gradient_norms=log_gradient_norms,
            log_system_metrics=log_system_metrics,
        )
        self._prefix = f"{check_key(prefix, 'prefix')}/" if prefix != "" else ""
        if not isinstance(save_dir, (str, os.PathLike, type(None))):
            refuse("save_dir", save_dir, "a path")
        self._save_dir = None if save_dir is None else os.fspath(save_dir)
        self._follow(Recording(options))
        self.default_root_dir: str | None = None
        """The trainer's, once it is known: used where no ``save_dir`` was given."""
        self.for_lightning()

    @classmethod
    def of(cls, recording: Recording) -> ModelDBLogger:
        """Return a logger that logs to a recording: what a callback gives the trainer when there is no logger."""
        logger = cls.__new__(cls)
        logger._prefix, logger._save_dir, logger.default_root_dir = "", None, None
        logger.recordings = Recordings(recording)
        return logger

    def _follow(self, recording: Recording) -> None:
        self.recordings = Recordings(recording)
        _loggers.add(self)

    @property
    def recording(self) -> Recording:
        """Where this logger logs to at the moment: each training that it serves has a recording of its own."""
        return self.recordings.current

    @classmethod
    def for_lightning(cls) -> type[Self]:
        """Return this class, which those packages of Lightning that are imported now take for one of their loggers."""
        for package in loaded_packages():
            package.loggers.Logger.register(cls)
        return cls

    # -- what Lightning asks for --------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The experiment, as a folder may be called; Lightning puts checkpoints there."""
        given = self.recording.options.experiment or self.recording.options.project
        return _NO_PATH.sub("_", given)[:100] if given else "modeldb"

    @property
    def version(self) -> str | None:
        """The identifier of the run; ``None`` in other processes than the first."""
        return self.recording.reserved_id()

    @property
    def save_dir(self) -> str:
        """Where Lightning is to put checkpoints; ``LightningCLI`` refuses to work without an answer."""
        return self._save_dir or self.default_root_dir or os.getcwd()

    @property
    def root_dir(self) -> str:
        """The folder of the experiment below ``save_dir``."""
        return os.path.join(self.save_dir, self.name)

    @property
    def log_dir(self) -> str | None:
        """The folder of the run below ``root_dir``."""
        version = self.version
        return None if version is None else os.path.join(self.root_dir, version)

    @property
    def group_separator(self) -> str:
        """What stands between the parts of a metric's name."""
        return "/"

    @property
    def experiment(self) -> Any:  # noqa: ANN401 - a RunHandle, or what stands for it
        """The run, for logging anything else to it; in other processes than the first, something that does nothing."""
        run = self.recording.run
        if run is not None and not run.has_ended:
            return run
        return LateRun(self.recording)

    @property
    def run(self) -> RunHandle | None:
        """The run, which is started if it has not begun; ``None`` in other processes than the first.

        After a training it is a handle of a run that has ended, to read it; :attr:`experiment` opens it again to log.
        """
        return self.recording.run or self.recording.start()

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics at a step."""
        if self._prefix:  # not of the epoch, which Lightning adds
            metrics = {key if key == "epoch" else f"{self._prefix}{key}": value for key, value in metrics.items()}
        self.recording.log_metrics(metrics, step)

    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Record hyperparameters of any type; ``metrics=...`` as other loggers take it is recorded too."""
        if params is not None:
            self.recording.log_hyperparameters(params)
        metrics = args[0] if args else kwargs.get("metrics")
        if isinstance(metrics, dict) and metrics:
            self.log_metrics(metrics, kwargs.get("step"))

    def log_graph(self, model: Any, input_array: Any = None) -> None:  # noqa: ANN401
        """Record what the model consists of; Lightning calls it before each ``fit``, ``validate`` and ``test``."""
        del input_array
        self.recording.describe_model(model)

    def save(self) -> None:
        """Do nothing: Lightning calls it after every step, and what was logged is in the journal already."""

    def finalize(self, status: str) -> None:
        """Lightning is done, for now: ``success``, ``failed``, or ``finished`` before SLURM starts the job again."""
        if status == "finished":  # from a signal handler, and the checkpoint is still to be written
            return
        error = None if status == "success" else sys.exc_info()[1]
        if error is None and status == "failed":
            error = RuntimeError("an error that Lightning did not name")
        elif error is None and status != "success":  # Lightning's contract names "aborted" as another one
            error = KeyboardInterrupt(status)
        self.recording.finish(error)
        self.recordings.turn_back()

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:  # noqa: ANN401
        """A ``ModelCheckpoint`` has saved something."""
        self.recording.checkpoints.saved(checkpoint_callback)

    def __getstate__(self) -> dict[str, Any]:
        return {"recording": self.recording, "prefix": self._prefix, "save_dir": self._save_dir}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._follow(state["recording"])
        self._prefix, self._save_dir, self.default_root_dir = state["prefix"], state["save_dir"], None


class LateRun:
    """Stands for a run that has not begun, or has ended: it begins when something is logged to it, not when it is looked at.

    In other processes than the first, and where no run can be started, whatever is asked of it does nothing, however deep:
    ``logger.experiment.config.update(...)`` is not an error. What a run has answers ``None`` there when it is called, as that of
    Lightning's own stand-in does.
    """

    def __init__(self, recording: Recording | None = None, name: str = "") -> None:
        self._recording = recording
        self._name = name

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        recording = self._recording
        if recording is None or not recording.logs:
            return LateRun(name=name)
        run = recording.run
        if run is None and name == "run_id":
            return recording.reserved_id()
        if run is None or (run.has_ended and name in _OF_OPEN_RUNS):
            run = recording.start()
        return LateRun(name=name) if run is None else getattr(run, name)

    def __call__(self, *args: object, **kwargs: object) -> LateRun | None:
        """Do nothing."""
        return None if self._name in _ANSWERED_BY_NONE else self

    def __getitem__(self, key: object) -> LateRun:
        return self

    def __setitem__(self, key: object, value: object) -> None:
        """Do nothing."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> LateRun:
        return self

    def __exit__(self, *details: object) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return "<a run that is not open>" if self._recording is not None else "<nothing: another process logs>"


_OF_OPEN_RUNS = frozenset(name for name in dir(RunHandle) if name.startswith(("log_", "start_")))
_ANSWERED_BY_NONE = frozenset(name for name in dir(RunHandle) if not name.startswith(("_", "start_", "bind")))


def is_any_alive() -> bool:
    """Return whether there is a logger that a trainer may have."""
    return bool(_loggers)


def loggers_of(trainer: Any) -> list[ModelDBLogger]:  # noqa: ANN401
    """Return the loggers of this kind that a trainer has."""
    return [logger for logger in trainer.loggers if isinstance(logger, ModelDBLogger)]


def logger_of(trainer: Any) -> ModelDBLogger | None:  # noqa: ANN401
    """Return the first of them."""
    return next(iter(loggers_of(trainer)), None)
