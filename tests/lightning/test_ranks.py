"""Which process logs, as far as it can be told without a trainer."""

from __future__ import annotations

import pytest

from modeldb_lightning import ModelDBLogger, frameworks


@pytest.fixture(autouse=True)
def _no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in frameworks._RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", frameworks._RANK_VARIABLES)
def test_the_rank_is_what_the_launcher_says(name, monkeypatch):
    assert frameworks.rank() == 0
    monkeypatch.setenv(name, "3")
    assert frameworks.rank() == 3


def test_other_processes_log_nothing_and_take_anything(client, runs, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    logger = ModelDBLogger(client)
    logger.experiment.config.update({"a": 1})
    logger.log_metrics({"x": 1.0}, 0)
    logger.log_hyperparams({"lr": 1})
    logger.finalize("success")
    assert logger.run is None
    assert logger.version is None
    assert runs() == []


def test_in_other_processes_the_experiment_answers_as_lightnings_own_stand_in_does(client, runs, monkeypatch):
    from pytorch_lightning.loggers.logger import DummyExperiment

    monkeypatch.setenv("RANK", "1")
    experiment, dummy = ModelDBLogger(client).experiment, DummyExperiment()
    assert experiment.log_metrics({"x": 1}, 0) is dummy.log_metrics({"x": 1}, 0) is None
    assert experiment.log_artifact("x.txt") is dummy.log_artifact("x.txt") is None
    assert experiment[0].add_tags("x") is dummy[0].add_tags("x") is None
    experiment["a"] = dummy["a"] = 1
    assert bool(experiment) is bool(dummy) is True
    assert list(experiment) == []
    with experiment.start_child("x") as child:
        child.log_metric("x", 1)
    assert runs() == []


def test_once_there_is_a_trainer_it_decides(client, only, model, trainer, monkeypatch):
    """Two trainings that have nothing to do with each other may be started by one mpirun."""
    from tests.lightning.small import loader

    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    trainer(logger=ModelDBLogger(client), enable_checkpointing=False).fit(model(), loader())
    assert only().status == "finished"
