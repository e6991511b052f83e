"""What the caller of ``autolog`` asked for, and what all fits share."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging import Background, Guard
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_sklearn.hyperparameters import public_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.tracking import Client, RunHandle, Session

GUARD = Guard("scikit-learn")
BACKGROUND = Background("modeldb-sklearn")


PATIENCE_S = 0.5  # training waits no longer, for whatever it is


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of :func:`~modeldb_sklearn.autologging.autolog`, which describes them."""

    client: Client | Mapping[str, Any] | None = None  # in a worker process: what is needed to connect
    project: str | None = None
    experiment: str | None = None
    log_models: bool = True
    log_datasets: bool = True
    log_training_metrics: bool = True
    log_evaluations: bool = True
    log_candidates: bool = True
    log_pictures: bool = True
    log_sample: int = 0
    estimators: Mapping[type | str, bool | Mapping[str, Any]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def resolved_client(self) -> Client:
        """Return the client to log with; its ``flush()`` waits for what is still worked out."""
        from modeldb_core.autologging.runs import client_for, default_client

        client = self.client
        if client is None:
            client = default_client()
        elif isinstance(client, Mapping):
            client = client_for(**client)
        wait_in(client)
        return client

    def of(self, estimator: object) -> Options | None:
        """Return the options for fits of ``estimator``: of its class, or else of the nearest one that it is derived from.

        ``None``: they are not recorded.
        """
        for cls in type(estimator).__mro__ if self.estimators else ():
            for key in (cls, f"{cls.__module__}.{cls.__qualname__}", public_name(cls), cls.__qualname__):
                if key in self.estimators:
                    chosen = self.estimators[key]
                    if isinstance(chosen, Mapping):
                        return replace(self, **chosen)
                    return self if chosen else None
        return self

    def inner(self) -> Options:
        """Return the options for a search that is part of something else: its candidates, and nothing that is large."""
        return replace(
            self,
            log_models=False,
            log_datasets=False,
            log_training_metrics=False,
            log_evaluations=False,
            log_pictures=False,
            log_sample=0,
        )

    def portable(self) -> Options:
        """Return the options as they can be pickled for a worker process."""
        from modeldb_core.autologging.runs import describe_client

        if isinstance(self.client, Mapping):
            return self
        by_name: dict[type | str, bool | Mapping[str, Any]] = {
            f"{key.__module__}.{key.__qualname__}" if isinstance(key, type) else key: value
            for key, value in self.estimators.items()
        }
        return replace(self, client=describe_client(self.resolved_client()), estimators=by_name)


_PER_CLASS = {field.name for field in fields(Options) if field.name.startswith("log_")} | {"tags"}


def checked_options(**given: Any) -> Options:  # noqa: ANN401 - that is what is checked
    """Return options after checking their types.

    Raises:
        InvalidTypeError: an argument is of a wrong type; the message names it.
        InvalidArgumentError: a name or a tag is empty or too long, or there is no such option for a class of estimators.
    """
    from modeldb_core.autologging.runs import check_name, check_tags
    from modeldb_core.tracking import Client

    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "client": (lambda value: value is None or isinstance(value, Client), "a Client, as modeldb.connect() returns"),
        "project": (lambda value: value is None or isinstance(value, str), "the name of a project"),
        "experiment": (lambda value: value is None or isinstance(value, str), "the name of an experiment"),
        "tags": (lambda value: not isinstance(value, str) and _are_texts(value), "a list of texts"),
        "log_sample": (lambda value: type(value) is int and value >= 0, "a number of rows"),
        "estimators": (lambda value: isinstance(value, Mapping), "a map from classes to options"),
    }
    for name, value in given.items():
        check, expected = checks.get(name, (lambda flag: isinstance(flag, bool), "True or False"))
        if not check(value):
            msg = f"{name} = {value!r:.100} is of type {type(value).__name__}; expected {expected}"
            raise InvalidTypeError(msg)
    for key, chosen in given.get("estimators", {}).items():
        _check_class(key, chosen)
    for name in ("project", "experiment"):
        if given.get(name) is not None:
            check_name(given[name], name)
    if "tags" in given:
        given["tags"] = tuple(check_tags(given["tags"]))
    return Options(**given)


def _check_class(key: object, chosen: object) -> None:
    if not isinstance(key, (type, str)):
        msg = f"estimators has the key {key!r:.100}; expected classes, or their names"
        raise InvalidTypeError(msg)
    if isinstance(chosen, bool):
        return
    if not isinstance(chosen, Mapping):
        msg = (
            f"estimators[{key!r}] = {chosen!r:.100} is of type {type(chosen).__name__}; expected True, False or options"
        )
        raise InvalidTypeError(msg)
    unknown = sorted(set(chosen) - _PER_CLASS)
    if unknown:
        msg = f"estimators[{key!r}] has the option {unknown[0]!r}; expected some of {', '.join(sorted(_PER_CLASS))}"
        raise InvalidArgumentError(msg)
    checked_options(**chosen)


def _are_texts(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(item, str) for item in value)


def upload(what: str, run: RunHandle, work: Callable[[], None]) -> None:
    """Store something with a run, which may have ended by then; neither the fit nor the end of the run waits for it."""

    def guarded() -> None:
        with GUARD.step(f"store {what}", run.note):
            work()

    if not wait_in(run.client).submit(guarded, [run.run_id], patience_s=PATIENCE_S):
        run.note(f"Not recorded: {what}, since the store of files has not kept up.")


def secure(run: RunHandle) -> None:
    """A call that is recorded is done: in a worker, wait until what belongs to it is in the journal."""
    wait_in(run.client)
    run.client.secure()


_lock = threading.Lock()
_uploads: weakref.WeakKeyDictionary[Session, Background] = weakref.WeakKeyDictionary()


def wait_in(client: Session) -> Background:
    """Let ``client.flush()`` wait for what is still worked out; returns what puts files into its store.

    Each client has that for itself: a store that hangs holds up nobody else's.
    """
    with _lock:
        uploads = _uploads.get(client)
        if uploads is None:
            uploads = _uploads[client] = Background("modeldb-sklearn-uploads", exit_timeout_s=10.0)
            client.on_flush.append(functools.partial(_wait, uploads))
        return uploads


def _wait(uploads: Background, timeout_s: float | None) -> bool:
    return all(background.wait(timeout_s=timeout_s) for background in (BACKGROUND, uploads))
