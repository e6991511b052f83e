"""The functions of ``modeldb_core``: they work with the client that was connected last."""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Unpack

from modeldb_core.plugins import load_settings
from modeldb_core.tracking.client import Client

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from datetime import datetime

    from modeldb_core.config import Settings
    from modeldb_core.config.named import NamedSettings
    from modeldb_core.model.entities import Experiment, Project
    from modeldb_core.tracking.repositories.commits import CommitHandle
    from modeldb_core.tracking.repositories.repository import RepositoryHandle
    from modeldb_core.tracking.run import RunHandle
    from modeldb_core.tracking.runs import Runs


def connect(
    url: str | os.PathLike[str] | None = None,
    *,
    artifact_url: str | os.PathLike[str] | None = None,
    **settings: Unpack[NamedSettings],
) -> Client:
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


class _Connected:
    """A client that is not closed.

    Once another one is connected it lives as long as somebody has it, or logs with it: a program that connects again and
    again, and closes nothing, keeps one. Where it comes last again, it is connected again.
    """

    def __init__(self, client: Client) -> None:
        self.settings = client.settings
        self._hold(client)

    def _hold(self, client: Client) -> None:
        self._held: Client | None = client
        self._client = weakref.ref(client)
        client.on_close.append(self._forget)

    def _forget(self) -> None:
        with _connect_lock, suppress(ValueError):
            _connected.remove(self)

    @property
    def is_gone(self) -> bool:
        return self._client() is None

    def let_go(self) -> None:
        self._held = None

    def client(self) -> Client:
        client = self._client()
        if client is None:
            self._hold(client := Client(self.settings))
        self._held = client
        return client


_connected: list[_Connected] = []
_connect_lock = threading.RLock()


def _listed(client: Client, *, last: bool) -> Client:
    with _connect_lock:
        gone: list[Settings] = []
        for each in list(_connected):
            if last:
                each.let_go()
            if each.is_gone and each.settings in gone:
                _connected.remove(each)
            elif each.is_gone:
                gone.append(each.settings)
        _connected.insert(len(_connected) if last else 0, _Connected(client))
    return client


def default_client() -> Client:
    """Return the client that the functions of this module use: the one connected last, else one by the configuration."""
    with _connect_lock:
        return _connected[-1].client() if _connected else connect()


def client_for(url: str, *, artifact_url: str, **settings: Any) -> Client:  # noqa: ANN401
    """Return a connected client of this store; one that has to be connected comes after those the program connected."""
    with _connect_lock:
        for each in _connected:
            if (each.settings.url, each.settings.artifact_url) == (url, artifact_url):
                return each.client()
        return _listed(Client(load_settings(url=url, artifact_url=artifact_url, **settings)), last=False)


def start_run(
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
    client: Client | None = None,
) -> RunHandle:
    """Start a run with the default client, or with ``client``; otherwise as :meth:`Client.start_run`."""
    return (client or default_client()).start_run(
        project,
        experiment,
        name,
        tags=tags,
        description=description,
        parent=parent,
        hyperparameters=hyperparameters,
        attributes=attributes,
        capture=capture,
        run_id=run_id,
        reserved_id=reserved_id,
        every_rank=every_rank,
        make_current=make_current,
        started_at=started_at,
        commit=commit,
    )


def search_runs(
    filter: str = "",  # noqa: A002 - the word users know
    *,
    project: str | None = None,
    experiment: str | None = None,
    order_by: str = "",
    limit: int | None = None,
    fields: Iterable[str] | None = None,
    cursor: str | None = None,
    count: bool = False,
    include_deleted: bool = False,
    client: Client | None = None,
) -> Runs[RunHandle]:
    """Find runs with the default client, or with ``client``; otherwise as :meth:`Client.search_runs`."""
    return (client or default_client()).search_runs(
        filter,
        project=project,
        experiment=experiment,
        order_by=order_by,
        limit=limit,
        fields=fields,
        cursor=cursor,
        count=count,
        include_deleted=include_deleted,
    )


def get_run(run_id: str, *, client: Client | None = None) -> RunHandle:
    """Return a run of the default client's store, or of ``client``'s; otherwise as :meth:`Client.get_run`."""
    return (client or default_client()).get_run(run_id)


def projects(*, client: Client | None = None) -> tuple[Project, ...]:
    """Return the projects in the default client's store, or in ``client``'s, by name."""
    return (client or default_client()).projects()


def experiments(project: str | None = None, *, client: Client | None = None) -> tuple[Experiment, ...]:
    """Return the experiments of a project in the default client's store, or in ``client``'s, by name."""
    return (client or default_client()).experiments(project)


def repository(name: str, *, create: bool = True, client: Client | None = None) -> RepositoryHandle:
    """Return a repository of the workspace by its name: what versions code, data, configuration and environment together.

    Args:
        name: of the repository.
        create: whether it is made where there is none.
        client: whose store; default: that of the client that was connected last.

    Raises:
        NotFoundError: there is none, and it is not to be made.
        StoreUnavailableError: the store cannot be reached.
    """
    return (client or default_client()).repository(name, create=create)


def flush(timeout_s: float | None = None) -> bool:
    """Wait until the default client's store has everything that was logged."""
    return default_client().flush(timeout_s)


for _function, _method in ((start_run, Client.start_run), (search_runs, Client.search_runs), (get_run, Client.get_run)):
    _function.__doc__ = _method.__doc__  # for help() and notebooks; an argument ``client`` names another client
