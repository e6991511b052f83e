"""The functions of ``modeldb_core``: they work with the client that was connected last."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from modeldb_core.config import load_settings
from modeldb_core.tracking import inheritance
from modeldb_core.tracking.client import Client

if TYPE_CHECKING:
    from modeldb_core.tracking.run import RunHandle
    from modeldb_core.tracking.runs import Runs


def connect(url: str | None = None, *, artifact_url: str | None = None, **settings: Any) -> Client:  # noqa: ANN401
    """Open a store and return the client for it, which :func:`start_run` and its like then use until it is closed.

    Args:
        url: where runs are kept, for example ``"sqlite:///modeldb.db"``; default: the configuration's.
        artifact_url: where files and models are kept; default: the configuration's, else a folder beside the store.
        settings: any other setting by name (``docs/configuration.md``).

    Raises:
        ConfigurationError: the scheme is unknown, something is not installed, or a setting has a bad value.
        StoreReadOnlyError: the store does not exist and its folder cannot be written.
        StoreVersionError: the store was written by a newer version.
    """
    return _listed(Client(load_settings(url=url, artifact_url=artifact_url, **settings)), last=True)


_connected: list[Client] = []
_connect_lock = threading.RLock()


def _listed(client: Client, *, last: bool) -> Client:
    with _connect_lock:
        _connected.insert(len(_connected) if last else 0, client)
    client.on_close.append(lambda: _disconnect(client))
    return client


def _disconnect(client: Client) -> None:
    with _connect_lock:
        if client in _connected:
            _connected.remove(client)


def default_client() -> Client:
    """Return the client that the functions of this module use: the one connected last, else one by the configuration."""
    with _connect_lock:
        return _connected[-1] if _connected else connect()


def client_for(url: str, *, artifact_url: str, **settings: Any) -> Client:  # noqa: ANN401
    """Return a connected client of this store; one that has to be connected comes after those the program connected."""
    with _connect_lock:
        for client in _connected:
            if (client.settings.url, client.settings.artifact_url) == (url, artifact_url):
                return client
        return _listed(Client(load_settings(url=url, artifact_url=artifact_url, **settings)), last=False)


def start_run(*args: Any, client: Client | None = None, **kwargs: Any) -> RunHandle:  # noqa: ANN401
    """Start a run with the default client, or with ``client``; see :meth:`Client.start_run`."""
    return (client or default_client()).start_run(*args, **kwargs)


def search_runs(*args: Any, client: Client | None = None, **kwargs: Any) -> Runs:  # noqa: ANN401
    """Find runs with the default client, or with ``client``; see :meth:`Client.search_runs`."""
    return (client or default_client()).search_runs(*args, **kwargs)


def get_run(run_id: str, *, client: Client | None = None) -> RunHandle:
    """Return a run of the default client's store, or of ``client``'s, by its identifier."""
    return (client or default_client()).get_run(run_id)


def current_run() -> RunHandle | None:
    """Return the run of the innermost ``with`` block around the caller, if there is one.

    That is the block of this thread or task; in a thread or a process that was started inside of a block, that block.
    """
    return inheritance.current()


def flush(timeout_s: float | None = None) -> bool:
    """Wait until the default client's store has everything that was logged."""
    return default_client().flush(timeout_s)
