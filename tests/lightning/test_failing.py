"""With a store that fails or hangs, and with broken plugins, a training ends as without us, after one warning."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core import hookimpl, plugins
from modeldb_core.errors import ModelDBWarning, StoreUnavailableError
from modeldb_core.stores import ArtifactStore, MetadataStore
from modeldb_lightning import ModelDBCallback, ModelDBLogger, autolog, describing
from modeldb_lightning.checkpoints import Checkpoints
from modeldb_lightning.options import BACKGROUND, GUARD
from modeldb_lightning.recording import Recording
from modeldb_lightning.recordings import Recordings
from tests.lightning.small import loader, make_model, make_trainer

METHODS = ("apply", "get", "find", "find_keys", "read_series", "read_changes", "heads")
BLOB_METHODS = ("put", "open", "stat", "list", "delete")


def result_of(pl: Any, folder: Any, **given: Any) -> Any:
    """Return what a fit makes, and its warnings of ModelDB."""
    model = make_model(pl)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make_trainer(pl, folder, **given)
        trainer.fit(model, loader(), loader())
        trainer.test(model, loader(), verbose=False)
    ours = [str(item.message) for item in caught if issubclass(item.category, ModelDBWarning)]
    weights = [tensor.tolist() for tensor in model.state_dict().values()]
    return (weights, sorted(os.listdir(trainer.checkpoint_callback.dirpath))), ours


def broken(kind: type[Any], names: tuple[str, ...], behave: Callable[[], Any]) -> Any:
    """Return a store of ``kind`` whose methods all do ``behave``."""
    methods = {name: lambda self, *_, **__: behave() for name in names}
    made = type("Broken", (kind,), {"url": "memory://broken", "is_local": True, "close": lambda self: None, **methods})
    return made.__new__(made)


@pytest.fixture
def client_of(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that connects to a store whose methods all do one thing."""
    clients = []

    def connect(behave: Callable[[], Any]) -> Any:
        store = broken(MetadataStore, METHODS, behave)
        artifacts = broken(ArtifactStore, BLOB_METHODS, behave)
        monkeypatch.setattr(plugins, "open_store", lambda *_: store)
        monkeypatch.setattr(plugins, "open_artifacts", lambda *_: artifacts)
        settings = {"flush_interval_s": 0.02, "exit_timeout_s": 0.01, "capture_enabled": False}
        clients.append(modeldb.connect("memory://", journal_dir=str(tmp_path / "journals"), **settings))
        return clients[-1]

    yield connect
    assert BACKGROUND.wait(timeout_s=240)  # a job that came after the end would open the client again
    for each in clients:
        each.close()


def fail(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), RuntimeError("a fault"), OSError(28, "No space")])
@pytest.mark.parametrize("kind", [ModelDBLogger, ModelDBCallback])
def test_a_store_that_fails_in_every_method_changes_nothing(error, kind, client_of, pl, tmp_path):
    client = client_of(lambda: fail(error))
    ours = {"logger": kind(client)} if kind is ModelDBLogger else {"callbacks": [kind(client)]}
    plain = {"logger": False} if kind is ModelDBCallback else {"logger": pl.loggers.CSVLogger(tmp_path, version="v")}
    without, _ = result_of(pl, tmp_path / "a", **plain)
    with_it, said = result_of(pl, tmp_path / "b", **ours)
    assert with_it == without
    assert len(said) <= 1


@pytest.mark.parametrize("kind", [ModelDBLogger, ModelDBCallback])
def test_a_store_that_hangs_in_every_method_is_not_waited_for(kind, client_of, pl, tmp_path):
    answer = threading.Event()
    try:
        client = client_of(lambda: answer.wait(200))
        ours = {"logger": kind(client)} if kind is ModelDBLogger else {"callbacks": [kind(client)]}
        with_it, said = result_of(pl, tmp_path / "b", **ours)
        assert not answer.is_set()  # nobody has waited for it
    finally:
        answer.set()
    assert BACKGROUND.wait(timeout_s=60)
    without, _ = result_of(pl, tmp_path / "a", logger=pl.loggers.CSVLogger(tmp_path, version="v"))
    assert with_it[0] == without[0]
    assert len(said) <= 1


def test_a_store_that_hangs_does_not_keep_a_checkpoint_from_being_continued(client_of, client, pl, tmp_path):
    first = make_trainer(pl, tmp_path, logger=ModelDBLogger(client))
    first.fit(make_model(pl), loader())
    answer = threading.Event()
    try:
        hanging = client_of(lambda: answer.wait(200))
        make_trainer(pl, tmp_path, logger=ModelDBLogger(hanging), max_epochs=3).fit(
            make_model(pl), loader(), ckpt_path=first.checkpoint_callback.best_model_path
        )
        assert not answer.is_set()
    finally:
        answer.set()
    assert BACKGROUND.wait(timeout_s=60)


def test_a_store_that_cannot_be_opened_costs_one_warning(pl, tmp_path):
    def refuse() -> Any:
        raise PermissionError("no access to the store")

    without, _ = result_of(pl, tmp_path / "a")
    with_it, said = result_of(pl, tmp_path / "b", callbacks=[ModelDBCallback(refuse)])
    assert with_it == without
    assert len(said) == 1
    assert "no access to the store" in said[0]


def test_hooks_of_a_broken_plugin_change_nothing(client, only, pl, tmp_path):
    class Plugin:
        @hookimpl
        def modeldb_run_started(self, run: Any) -> None:
            raise RuntimeError("started")

        @hookimpl
        def modeldb_run_finished(self, run: Any, status: str) -> None:
            raise RuntimeError("finished")

        @hookimpl(tryfirst=True)
        def modeldb_describe_object(self, obj: Any) -> None:
            raise RuntimeError("described")

    plugin, manager = Plugin(), plugins.plugin_manager(client.settings)
    manager.register(plugin, "broken")
    try:
        without, _ = result_of(pl, tmp_path / "a")
        with_it, _ = result_of(pl, tmp_path / "b", callbacks=[ModelDBCallback(client)])
        assert with_it == without
        assert only().status == "finished"
    finally:
        manager.unregister(plugin)


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        *((Recording, name) for name in ("_open", "_place", "continue_run", "mark", "hold")),
        *((Recordings, name) for name in ("turn_to", "continue_run", "remember")),
        (describing, "loaders_of"),
        *((Checkpoints, name) for name in ("_see", "_open_new", "_link", "_store")),
    ],
)
def test_a_fault_of_our_own_changes_nothing_and_is_said_once(owner, method, client, pl, tmp_path, monkeypatch):
    GUARD.forget()
    without, _ = result_of(pl, tmp_path / "a")
    monkeypatch.setattr(owner, method, lambda *_, **__: fail(AssertionError("a fault")))
    with_it, said = result_of(pl, tmp_path / "b", callbacks=[ModelDBCallback(client)])
    assert with_it == without
    assert client.flush(60)
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_within_our_own_work_is_passed_on(error, client, pl, tmp_path, monkeypatch):
    monkeypatch.setattr(describing, "loaders_of", lambda *_, **__: fail(error))
    with pytest.raises(SystemExit):
        result_of(pl, tmp_path, callbacks=[ModelDBCallback(client)])


def test_autologging_with_a_broken_store_changes_nothing(client_of, pl, tmp_path):
    without, _ = result_of(pl, tmp_path / "a")
    autolog(client_of(lambda: fail(RuntimeError("away"))))
    with_it, said = result_of(pl, tmp_path / "b")
    assert with_it == without
    assert len(said) <= 1
