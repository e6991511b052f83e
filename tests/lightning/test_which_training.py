"""One logger or callback for several trainings: each score goes to the run whose weights were tested, also from threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import modeldb_core as modeldb
from modeldb_lightning import ModelDBCallback, ModelDBLogger, resuming
from modeldb_lightning.options import BACKGROUND
from tests.lightning.small import loader

KINDS = [ModelDBLogger, ModelDBCallback]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "WAIT_S", 60)


def given(ours: Any, *others: Any) -> dict[str, Any]:
    return (
        {"logger": ours, "callbacks": [*others]} if isinstance(ours, ModelDBLogger) else {"callbacks": [ours, *others]}
    )


@pytest.fixture
def folds(model, trainer, tmp_path):
    """Return a function that fits three folds with one logger or callback and returns their checkpoints."""

    def fit(ours: Any, count: int = 3, name: str = "fold") -> list[str]:
        paths = []
        for fold in range(count):
            one, net = trainer(max_epochs=1, enable_checkpointing=False, **given(ours)), model(fold=fold)
            torch.nn.init.constant_(net.layer.weight, fold + 1)
            one.fit(net, loader(), loader())
            paths.append(str(tmp_path / f"{name}_{fold}.ckpt"))
            one.save_checkpoint(paths[-1])
        return paths

    return fit


def scored(runs: Any) -> list[tuple[int, int, str]]:
    """Return of each run fold, number of test scores, and status."""
    return [
        (run.hyperparameters["fold"], run.series["test_loss"].count if "test_loss" in run.series else 0, run.status)
        for run in runs
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_each_checkpoint_that_new_trainers_test_adds_to_the_run_that_wrote_it(
    kind, client, runs, folds, model, trainer
):
    ours = kind(client, project="p")
    paths = folds(ours)
    for fold in (1, 2, 0):
        trainer(**given(ours)).test(model(fold=fold), loader(), ckpt_path=paths[fold], verbose=False)
        assert ours.run.run_id == runs()[fold].run_id
    found = runs()
    assert scored(found) == [(0, 1, "finished"), (1, 1, "finished"), (2, 1, "finished")]
    assert not any("resumed_from" in run.attributes or run.notes for run in found)


@pytest.mark.parametrize("stage", ["validate", "predict"])
def test_validations_and_predictions_of_a_checkpoint_add_to_the_run_that_wrote_it(
    stage, client, runs, folds, model, trainer
):
    logger = ModelDBLogger(client)
    paths = folds(logger)
    quiet = {"verbose": False} if stage == "validate" else {}
    getattr(trainer(logger=logger), stage)(model(fold=0), loader(), ckpt_path=paths[0], **quiet)
    key = {"validate": "modeldb/validation_seconds", "predict": "modeldb/predict_seconds"}[stage]
    before = 1 if stage == "validate" else 0
    counts = [run.series[key].count if key in run.series else 0 for run in runs()]
    assert counts == [before + 1, before, before]


@pytest.mark.parametrize("kind", KINDS)
def test_one_trainer_and_one_model_that_test_all_checkpoints_add_to_the_run_of_each(
    kind, client, runs, folds, model, trainer
):
    ours = kind(client)
    paths = folds(ours)
    tester, net = trainer(**given(ours)), model(fold=-1)
    for path in paths:
        tester.test(net, loader(), ckpt_path=path, verbose=False)
    assert scored(runs()) == [(fold, 1, "finished") for fold in range(3)]


def test_a_trainer_that_tests_the_checkpoint_of_another_fold_adds_to_that_one(client, runs, model, trainer, tmp_path):
    logger, fitted = ModelDBLogger(client), []
    for fold in range(2):
        one, net = trainer(max_epochs=1, logger=logger), model(fold=fold)
        one.fit(net, loader())
        fitted.append((one, net))
    paths = [one.checkpoint_callback.best_model_path for one, _ in fitted]
    fitted[1][0].test(ckpt_path="best", dataloaders=loader(), verbose=False)
    for (one, net), path in zip(fitted, reversed(paths), strict=True):
        one.test(net, loader(), ckpt_path=path, verbose=False)
    assert scored(runs()) == [(0, 1, "finished"), (1, 2, "finished")]


@pytest.mark.parametrize("kind", KINDS)
def test_models_loaded_from_checkpoints_are_tested_in_the_runs_of_their_trainings(
    kind, client, runs, folds, model, trainer
):
    ours = kind(client)
    paths = folds(ours)
    tester = trainer(**given(ours))
    for fold in (2, 0, 1):
        tester.test(type(model()).load_from_checkpoint(paths[fold]), loader(), verbose=False)
    assert scored(runs()) == [(fold, 1, "finished") for fold in range(3)]


def test_a_model_whose_weights_no_training_saved_is_a_run_of_its_own_after_several(client, runs, folds, model, trainer):
    """An average of all folds is none of them."""
    logger = ModelDBLogger(client)
    paths = folds(logger)
    nets = [type(model()).load_from_checkpoint(path) for path in paths]
    mean = model(fold=99)
    states = [net.state_dict() for net in nets]
    mean.load_state_dict({key: torch.stack([state[key] for state in states]).mean(0) for key in states[0]})
    trainer(logger=logger).test(mean, loader(), verbose=False)
    found = runs()
    assert scored(found) == [(0, 0, "finished"), (1, 0, "finished"), (2, 0, "finished"), (99, 1, "finished")]
    assert "previous_training" not in found[-1].attributes


def test_a_checkpoint_that_several_trainings_could_have_written_is_given_to_none(
    client, runs, model, trainer, tmp_path
):
    logger = ModelDBLogger(client)
    for fold in range(2):  # the same weights
        one = trainer(max_epochs=1, logger=logger)
        one.fit(model(fold=fold), loader())
    trainer(logger=logger).test(
        type(model()).load_from_checkpoint(one.checkpoint_callback.best_model_path), loader(), verbose=False
    )
    assert [count for _, count, _ in scored(runs())] == [0, 0, 1]


def test_a_checkpoint_of_an_older_run_is_not_tested_in_a_later_training(client, runs, folds, model, trainer):
    (old,) = folds(ModelDBLogger(client), 1, "old")
    logger = ModelDBLogger(client)
    folds(logger, 2)
    trainer(logger=logger).test(model(fold=0), loader(), ckpt_path=old, verbose=False)
    found = runs()
    assert [count for _, count, _ in scored(found)] == [1, 0, 0]
    assert not any("resumed_from" in run.attributes for run in found)


def test_a_checkpoint_of_another_store_is_tested_in_a_run_of_its_own_that_names_it(
    client, runs, folds, model, trainer, tmp_path
):
    with modeldb.connect(
        f"sqlite:///{tmp_path}/other.db", journal_dir=str(tmp_path / "other"), capture_enabled=False
    ) as other:
        elsewhere = ModelDBLogger(other)
        (path,) = folds(elsewhere, 1, "other")
    logger = ModelDBLogger(client)
    folds(logger, 1)
    trainer(logger=logger).test(model(fold=5), loader(), ckpt_path=path, verbose=False)
    found = runs()
    assert scored(found) == [(0, 0, "finished"), (5, 1, "finished")]
    assert "resumed_from" not in found[0].attributes
    assert found[1].attributes["resumed_from"]["run_id"] == elsewhere.version


def test_what_the_program_logs_at_the_setup_goes_where_the_score_goes(client, runs, folds, model, trainer):
    class Logs(type(model())):
        def setup(self, stage: str) -> None:
            self.logger.log_hyperparams({"asked_at": stage})

    logger = ModelDBLogger(client)
    paths = folds(logger)
    trainer(logger=logger).test(Logs(fold=0), loader(), ckpt_path=paths[0], verbose=False)
    assert [run.hyperparameters.get("asked_at") for run in runs()] == ["test", None, None]


def test_two_loggers_of_one_trainer_each_test_the_checkpoint_in_their_own_run_of_it(
    client, runs, folds, model, trainer
):
    loggers = [ModelDBLogger(client, name="a"), ModelDBLogger(client, name="b")]
    paths = []
    for fold in range(2):
        one = trainer(max_epochs=1, logger=loggers)
        one.fit(model(fold=fold), loader())
        paths.append(one.checkpoint_callback.best_model_path)
    trainer(logger=loggers).test(model(fold=0), loader(), ckpt_path=paths[0], verbose=False)
    found = [(run.name, run.hyperparameters["fold"], "test_loss" in run.series) for run in runs()]
    assert sorted(found) == [("a", 0, True), ("a", 1, False), ("b", 0, True), ("b", 1, False)]
    again = [ModelDBLogger(client, name="a"), ModelDBLogger(client, name="b")]
    trainer(max_epochs=2, logger=again).fit(model(fold=0), loader(), ckpt_path=paths[0])
    assert sorted((run.name, run.series["loss"].count) for run in runs()) == [("a", 3), ("a", 6), ("b", 3), ("b", 6)]


def test_a_fit_after_a_validation_of_a_checkpoint_is_a_training_of_its_own(client, runs, folds, steps, model, trainer):
    """As in fine-tuning: how good was it before?"""
    (path,) = folds(ModelDBLogger(client), 1)
    one, net = trainer(max_epochs=1, logger=ModelDBLogger(client)), model(fold=1)
    one.validate(net, loader(), ckpt_path=path, verbose=False)
    one.fit(net, loader())
    before, after = runs()
    assert "retrained/loss" not in before.series
    assert steps(after.run_id, "loss") == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_trainings_in_three_threads_with_one_logger_each_have_a_run_of_their_own(
    kind, client, runs, model, trainer, pl
):
    everyone = threading.Barrier(3, timeout=240)

    class Together(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            everyone.wait()

        def on_train_end(self, *_: Any) -> None:
            everyone.wait()

    ours = kind(client)

    def train(fold: int) -> None:
        one, net = trainer(max_epochs=1, enable_checkpointing=False, **given(ours, Together())), model(fold=fold)
        one.fit(net, loader(), loader())
        one.test(net, loader(), verbose=False)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(train, range(3)))
    found = runs()
    assert sorted(run.hyperparameters["fold"] for run in found) == [0, 1, 2]
    for run in found:
        assert (run.status, run.notes, "previous_training" in run.attributes) == ("finished", (), False)
        assert [run.series[key].count for key in ("loss", "modeldb/lr-SGD", "val_loss", "test_loss")] == [3, 3, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trainer_at_work_within_another_has_a_run_of_its_own_and_then_the_outer_one_goes_on(
    kind, client, runs, steps, pl, model, trainer
):
    ours = kind(client)

    class Probes(pl.Callback):
        def on_train_epoch_end(self, outer: Any, module: Any) -> None:
            if outer.current_epoch == 0:
                probe = trainer(max_epochs=1, enable_checkpointing=False, **given(ours))
                probe.fit(model(name="probe"), loader())
                probe.test(probe.lightning_module, loader(), verbose=False)

    trainer(max_epochs=2, **given(ours, Probes())).fit(model(name="outer"), loader(), loader())
    found = {run.hyperparameters["name"]: run for run in runs()}
    assert steps(found["outer"].run_id, "loss") == list(range(6))
    assert found["outer"].series["val_loss"].count == 2
    assert "test_loss" not in found["outer"].series
    assert (found["probe"].series["loss"].count, found["probe"].series["test_loss"].count) == (3, 1)
    assert [run.status for run in found.values()] == ["finished", "finished"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_test_of_the_model_that_is_being_trained_adds_to_its_run_which_goes_on(
    kind, client, only, steps, pl, model, trainer
):
    ours, seen = kind(client), []

    class Tests(pl.Callback):
        def on_train_epoch_start(self, outer: Any, module: Any) -> None:
            if outer.current_epoch == 1:
                copy = type(module)()
                copy.load_state_dict(module.state_dict())
                trainer(**given(ours)).test(copy, loader(), verbose=False)
                seen.append(only().status)

    trainer(max_epochs=2, **given(ours, Tests())).fit(model(), loader())
    run = only()
    assert (seen, run.status, run.series["test_loss"].count) == (["running"], "finished", 1)
    assert steps(run.run_id, "loss") == list(range(6))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_hyperparameters_of_the_model_that_tests_a_checkpoint_replace_none_of_the_training(
    where, kind, client, only, folds, model, trainer
):
    ours = kind(client)
    (path,) = folds(ours, 1)
    tester = ours if where == "here" else kind(client)
    trainer(**given(tester)).test(model(fold=0, lr=7.0, dropout=0.0), loader(), ckpt_path=path, verbose=False)
    run = only()
    assert dict(run.hyperparameters) == {"width": 4, "lr": 0.01, "fold": 0, "dropout": 0.0}
    assert run.attributes["evaluated_with"] == {"lr": 7.0}


def test_nothing_of_a_test_is_lost_whose_training_ends_only_meanwhile(client, only, pl, model, trainer, tmp_path):
    """What is under way when a training ends is finished beside the program, so the end may come late."""
    path, held = str(tmp_path / "last.ckpt"), threading.Event()
    one = trainer(max_epochs=1, logger=ModelDBLogger(client), enable_checkpointing=False)
    BACKGROUND.submit(held.wait, ["something slow"])
    one.fit(model(), loader())
    one.save_checkpoint(path)

    class Asks(pl.Callback):
        def on_test_epoch_start(self, *_: Any) -> None:
            held.set()
            assert BACKGROUND.wait(timeout_s=240)

    tester = trainer(logger=ModelDBLogger(client), callbacks=[Asks()])
    tester.test(model(dropout=0.0), loader(), ckpt_path=path, verbose=False)
    run = only()
    assert (run.status, run.notes, run.hyperparameters["dropout"]) == ("finished", (), 0.0)
    assert run.series["test_loss"].count == 1
