"""What the caller of ``autolog`` asked for, and what all fits share."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.autolog import Background, Guard
from modeldb_core.errors import InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.tracking import Client

GUARD = Guard("scikit-learn")
BACKGROUND = Background("modeldb-sklearn")


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of :func:`~modeldb_sklearn.autologging.autolog`, which describes them."""

    client: Client | None = None
    project: str | None = None
    experiment: str | None = None
    log_models: bool = True
    log_datasets: bool = True
    log_training_metrics: bool = True
    log_candidates: bool = True
    tags: tuple[str, ...] = ()

    def resolved_client(self) -> Client:
        """Return the client to log with; its ``flush()`` waits for what is still worked out."""
        from modeldb_core.tracking.connections import default_client

        client = default_client() if self.client is None else self.client
        wait_in(client)
        return client


def checked_options(**given: object) -> Options:
    """Return options after checking their types.

    Raises:
        InvalidTypeError: an argument is of a wrong type; the message names it.
    """
    from modeldb_core.tracking import Client

    checks: dict[str, tuple[Callable[[object], bool], str]] = {
        "client": (lambda value: value is None or isinstance(value, Client), "a Client, as modeldb.connect() returns"),
        "project": (lambda value: value is None or isinstance(value, str), "the name of a project"),
        "experiment": (lambda value: value is None or isinstance(value, str), "the name of an experiment"),
        "tags": (lambda value: not isinstance(value, str) and _are_texts(value), "a list of texts"),
    }
    for name, value in given.items():
        check, expected = checks.get(name, (lambda flag: isinstance(flag, bool), "True or False"))
        if not check(value):
            msg = f"{name} = {value!r:.100} is of type {type(value).__name__}; expected {expected}"
            raise InvalidTypeError(msg)
    tags = given.pop("tags", ())
    return Options(**given, tags=tuple(tags))  # type: ignore[arg-type]


def _are_texts(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(item, str) for item in value)


_lock = threading.Lock()


def wait_in(client: Client) -> None:
    """Let ``client.flush()`` wait for what is still worked out."""
    with _lock:
        if _wait not in client.on_flush:
            client.on_flush.append(_wait)


def _wait(timeout_s: float | None) -> bool:
    return BACKGROUND.wait(timeout_s=timeout_s)
