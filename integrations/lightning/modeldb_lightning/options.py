"""What a callback, a logger or ``autolog`` was asked for, and what all of them share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn

from modeldb_core.autologging import Background, Guard
from modeldb_core.errors import InvalidTypeError
from modeldb_core.model.values import check_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.tracking import Client, Session

GUARD = Guard("Lightning")
EXIT_TIMEOUT_S = 60.0  # so long the end of the program waits for checkpoints; what is left then is not stored
PATIENCE_S = 0.5
BACKGROUND = Background("modeldb-lightning", exit_timeout_s=EXIT_TIMEOUT_S)


def submit(work: Callable[[], None], run_id: str) -> bool:
    """Do ``work`` for a run beside the training; False where a store hangs and too much waits for it already."""
    return BACKGROUND.submit(work, [run_id], patience_s=PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Options:
    """Where runs go, and what is recorded.

    Attributes:
        client: the client to log with; default: the one connected last, else one by the configuration. Or a function
            that returns one, called in each process that logs.
        project: of runs that are started; default: the setting ``project``.
        experiment: likewise.
        name: of the run; default: a readable random one.
        tags: of the run.
        run_id: a run that is to be continued.
        resume: whether ``fit(ckpt_path=...)`` continues the run that wrote the checkpoint.
        log_checkpoints: whether the checkpoints that Lightning keeps are stored with the run.
        log_datasets: whether the data sets of the data loaders are described.
        log_gradient_norms: whether the norm of all gradients is recorded at each logged step.
        log_system_metrics: whether every process records its processor time and memory each few seconds.
    """

    client: Client | Callable[[], Client] | None = None
    project: str | None = None
    experiment: str | None = None
    name: str = ""
    tags: tuple[str, ...] = ()
    run_id: str | None = None
    resume: bool = True
    log_checkpoints: bool = True
    log_datasets: bool = True
    log_gradient_norms: bool = False
    log_system_metrics: bool = False

    def resolved_client(self) -> Client:
        """Return the client to log with; its ``flush()`` waits for checkpoints that are on their way."""
        from modeldb_core.autologging.runs import default_client
        from modeldb_core.tracking import Client

        client = self.client if isinstance(self.client, Client) else (self.client or default_client)()
        wait_in(client)
        return client

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process a client becomes one of the same store."""
        from modeldb_core.tracking import Client

        given = {item.name: getattr(self, item.name) for item in fields(self)}
        if isinstance(self.client, Client):
            given["client"] = OtherClient(self.client)
        return _rebuilt, (given,)


class OtherClient:
    """Gives a client of the same store as one in the process that this was pickled in."""

    def __init__(self, client: Client) -> None:
        settings = client.settings
        self._settings = {
            "url": settings.url,
            "artifact_url": settings.artifact_url,
            "journal_dir": str(settings.journal_dir),
        }

    def __call__(self) -> Client:
        """Return the client."""
        from modeldb_core.autologging.runs import client_for

        return client_for(**self._settings)


def _rebuilt(given: dict[str, Any]) -> Options:
    return Options(**given)


def checked_options(**given: Any) -> Options:  # noqa: ANN401 - what the user gave
    """Return options after checking them.

    Raises:
        InvalidTypeError: an argument is of a wrong type; the message names it.
        InvalidArgumentError: a name, a tag or ``run_id`` is empty, too long or holds what no store keeps.
    """
    from modeldb_core.autologging.runs import check_name, check_tags
    from modeldb_core.tracking import Client

    client = given.get("client")
    if client is not None and not isinstance(client, Client) and (not callable(client) or isinstance(client, type)):
        refuse("client", client, "a Client, as modeldb.connect() returns")
    for what in ("project", "experiment"):
        if given.get(what) is not None:
            check_name(given[what], what)
    if given.get("run_id") is not None:
        check_key(given["run_id"], "run_id")
    if given.get("name", "") != "":
        check_name(given["name"], "run")
    tags = check_tags(given.get("tags", ()))
    for item in fields(Options):
        if isinstance(item.default, bool) and not isinstance(given.get(item.name, True), bool):
            refuse(item.name, given[item.name], "True or False")
    return Options(**{**given, "tags": tuple(tags)})


def refuse(name: str, value: object, expected: str) -> NoReturn:
    """Raise InvalidTypeError: the argument ``name`` is not what was ``expected``."""
    msg = f"{name} = {value!r:.100} is of type {type(value).__name__}; expected {expected}"
    raise InvalidTypeError(msg)


_lock = threading.Lock()


def wait_in(client: Session) -> None:
    """Let ``client.flush()`` wait for checkpoints that are on their way."""
    with _lock:
        if _wait not in client.on_flush:
            client.on_flush.append(_wait)


def _wait(timeout_s: float | None) -> bool:
    return BACKGROUND.wait(timeout_s=timeout_s)
