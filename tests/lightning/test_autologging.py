"""Switching it on needs no change in the script, and switching it off leaves no trace."""

from __future__ import annotations

import subprocess
import sys
import weakref
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.errors import InvalidTypeError
from modeldb_lightning import ModelDBCallback, autolog, logger
from tests.lightning.small import loader, make_model, make_trainer


def test_a_script_without_a_word_of_us_is_recorded(either, client, only, steps, tmp_path):
    autolog(client, project="p", tags=["auto"])
    make_trainer(either, tmp_path).fit(make_model(either), loader(), loader())
    run = only()
    assert (run.status, run.tags) == ("finished", ("auto",))
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]


def test_a_trainer_that_was_there_before_is_recorded_too(either, client, only, tmp_path):
    one = make_trainer(either, tmp_path)
    with autolog(client):
        one.fit(make_model(either), loader())
    assert only().status == "finished"


def test_off_it_leaves_no_callback_no_patch_and_no_run(pl, client, runs, trainer, model, monkeypatch):
    monkeypatch.setattr(logger, "_loggers", weakref.WeakSet())  # LightningCLI keeps that of an earlier test
    original = pl.Trainer.__dict__["fit"]
    autolog(client)
    assert pl.Trainer.__dict__["fit"] is not original
    autolog(disable=True)
    assert pl.Trainer.__dict__["fit"] is original
    one = trainer()
    assert not any(isinstance(each, ModelDBCallback) for each in one.callbacks)
    one.fit(model(), loader())
    assert runs() == []


def test_a_trainer_made_while_it_was_on_is_not_recorded_once_it_is_off(client, runs, trainer, model):
    with autolog(client):
        one = trainer()
    one.fit(model(), loader())
    assert runs() == []


def test_it_works_as_a_decorator(client, only, trainer, model):
    @autolog(client, name="decorated")
    def train() -> str:
        trainer().fit(model(), loader())
        return "done"

    assert train() == "done"
    trainer().fit(model(), loader())
    assert only().name == "decorated"


def test_with_a_callback_of_the_script_everything_is_logged_once(client, only, steps, trainer, model):
    autolog(client)
    trainer(callbacks=[ModelDBCallback(client, name="by hand")]).fit(model(), loader())
    run = only()
    assert run.name == "by hand"
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]


def test_it_is_offered_under_the_names_of_both_packages():
    from modeldb_core.plugins import plugin_manager

    offered: dict[str, Any] = {}
    for found in plugin_manager().call("modeldb_register_autologgers"):
        offered.update(found)
    assert offered["lightning"] is offered["pytorch_lightning"]


def test_wrong_arguments_raise_at_the_call():
    with pytest.raises(InvalidTypeError, match="experiment"):
        autolog(experiment=1)


def test_the_plugin_imports_neither_torch_nor_lightning_and_the_factory_is_silent():
    program = """
import sys, modeldb_core, modeldb_lightning
from modeldb_core.plugins import plugin_manager
plugin_manager()
assert modeldb_lightning.callbacks_factory() == []
modeldb_lightning.autolog()
modeldb_lightning.autolog(disable=True)
assert modeldb_lightning.callbacks_factory() == []
assert not {"torch", "lightning", "pytorch_lightning"} & set(sys.modules), "a framework was imported"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_run_of_the_block_is_used(client, only, trainer, model):
    autolog(client)
    with modeldb.start_run(client=client, name="mine"):
        trainer().fit(model(), loader())
    run = only()
    assert (run.name, run.status) == ("mine", "finished")
    assert run.series["loss"].count == 6
