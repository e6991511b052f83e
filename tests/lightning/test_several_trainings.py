"""A logger or callback that serves several trainings makes a run of each, and what evaluates goes to the right one."""

from __future__ import annotations

from typing import Any

import pytest

from modeldb_lightning import ModelDBCallback, ModelDBLogger, autolog
from tests.lightning.small import loader


def given(ours: Any) -> dict[str, Any]:
    return {"logger": ours} if isinstance(ours, ModelDBLogger) else {"callbacks": [ours]}


@pytest.mark.parametrize("kind", [ModelDBLogger, ModelDBCallback])
def test_a_logger_or_callback_for_three_folds_makes_three_runs(kind, client, runs, steps, model, trainer):
    ours = kind(client, project="p", name="fold")
    fitted = [(trainer(max_epochs=1, **given(ours)), model(fold=fold)) for fold in range(3)]
    for fold, (one, net) in enumerate(fitted):
        one.fit(net, loader(), loader())
        assert ours.run.run_id == runs()[fold].run_id
    for one, net in fitted:  # when all folds are trained
        one.test(net, loader(), verbose=False)
    found = runs()
    assert [run.hyperparameters["fold"] for run in found] == [0, 1, 2]
    for run in found:
        assert (run.name, run.status, run.notes) == ("fold", "finished", ())
        assert steps(run.run_id, "loss") == [0, 1, 2]
        assert run.series["test_loss"].count == 1
        assert len([name for name in run.artifacts if name.endswith(".ckpt")]) == 1
    before = [run.attributes.get("previous_training") for run in found]
    assert before == [None, {"run_id": found[0].run_id}, {"run_id": found[1].run_id}]


def test_within_a_run_the_first_fold_logs_to_it_and_the_others_to_children(client, runs, model, trainer):
    logger = ModelDBLogger(client)
    with client.start_run(name="cross-validation") as around:
        for _ in range(3):
            trainer(max_epochs=1, logger=logger).fit(model(), loader())
    first, *others = runs()
    assert first.run_id == around.run_id
    assert [run.parent_id for run in others] == [around.run_id] * 2
    assert {run.series["loss"].count for run in (first, *others)} == {3}


def test_two_loggers_of_one_trainer_each_make_a_run_of_each_training(client, runs, model, trainer):
    loggers = [ModelDBLogger(client, name="a"), ModelDBLogger(client, name="b")]
    for _ in range(2):
        trainer(max_epochs=1, logger=loggers).fit(model(), loader())
    assert sorted((run.name, run.series["loss"].count) for run in runs()) == [("a", 3), ("a", 3), ("b", 3), ("b", 3)]


def test_another_model_of_the_same_trainer_is_another_training(client, runs, model, trainer):
    autolog(client)
    one = trainer(max_epochs=1)
    one.fit(model(fold=0), loader())
    one.fit_loop.epoch_progress.reset()
    one.fit(model(fold=1), loader())
    assert [run.hyperparameters["fold"] for run in runs()] == [0, 1]


def test_a_training_that_goes_on_with_trainer_and_model_goes_on_in_its_run(client, only, steps, model, trainer):
    one, net = trainer(max_epochs=1, logger=ModelDBLogger(client)), model()
    one.validate(net, loader(), verbose=False)  # how good it is untrained
    one.fit(net, loader())
    one.fit_loop.max_epochs = 2
    one.fit(net, loader())
    assert steps(only().run_id, "loss") == [0, 1, 2, 3, 4, 5]


def test_a_trainer_for_testing_adds_to_the_runs_of_the_models_that_it_tests(client, runs, model, trainer):
    logger = ModelDBLogger(client)
    nets = [model(fold=fold) for fold in range(2)]
    for net in nets:
        trainer(max_epochs=1, logger=logger).fit(net, loader())
    tester = trainer(logger=logger)
    for net in nets:
        tester.test(net, loader(), verbose=False)
    assert [(run.hyperparameters["fold"], run.series["test_loss"].count) for run in runs()] == [(0, 1), (1, 1)]


def test_a_model_that_was_loaded_is_tested_in_the_run_of_its_training(client, only, model, trainer):
    logger = ModelDBLogger(client)
    one = trainer(max_epochs=1, logger=logger)
    one.fit(model(), loader())
    best = type(model()).load_from_checkpoint(one.checkpoint_callback.best_model_path)
    trainer(logger=logger).test(best, loader(), verbose=False)
    assert only().series["test_loss"].count == 1


def test_tests_of_three_models_that_were_not_trained_here_are_three_runs(client, runs, model, trainer):
    logger = ModelDBLogger(client)
    for fold in range(3):
        trainer(logger=logger).test(model(fold=fold), loader(), verbose=False)
    assert [run.series["test_loss"].count for run in runs()] == [1, 1, 1]


def test_a_run_that_was_named_is_continued_once(client, runs, model, trainer):
    with client.start_run(name="named") as named:
        pass
    logger = ModelDBLogger(client, run_id=named.run_id)
    for _ in range(2):
        trainer(max_epochs=1, logger=logger).fit(model(), loader())
    assert [(run.name == "named", run.series["loss"].count) for run in runs()] == [(True, 3), (False, 3)]


def test_the_logger_goes_on_with_the_run_of_the_checkpoint_that_another_trainer_takes_up(
    client, only, steps, model, trainer
):
    logger = ModelDBLogger(client)
    first = trainer(max_epochs=1, logger=logger)
    first.fit(model(), loader())
    path = first.checkpoint_callback.best_model_path
    trainer(max_epochs=2, logger=logger).fit(model(), loader(), ckpt_path=path)
    run = only()
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert "previous_training" not in run.attributes
