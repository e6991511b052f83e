"""The logger keeps Lightning's whole contract, as the trainer really uses it."""

from __future__ import annotations

import copy
import importlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import modeldb_core as modeldb
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_lightning import ModelDBCallback, ModelDBLogger, autolog
from modeldb_lightning.logger import LateRun
from tests.lightning.small import loader, make_model, make_trainer, model_class


def test_a_fit_is_one_run_with_its_series_hyperparameters_and_model(either, client, only, steps, tmp_path):
    logger = ModelDBLogger(client, project="p", experiment="e", name="first", tags=["a"])
    make_trainer(either, tmp_path, logger=logger).fit(make_model(either, width=4), loader(), loader())
    run = only()
    assert (run.status, run.name, run.tags, run.notes) == ("finished", "first", ("a",), ())
    assert dict(run.hyperparameters) == {"width": 4, "lr": 0.01}
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert steps(run.run_id, "val_loss") == [2, 5]
    assert run.attributes["model"]["parameters"] == 5
    assert run.attributes["trainer"]["max_epochs"] == 2
    assert isinstance(logger, either.loggers.logger.Logger)


def test_each_step_has_its_epoch_once(client, only, steps, model, trainer):
    trainer(logger=ModelDBLogger(client)).fit(model(), loader(), loader())
    assert steps(only().run_id, "epoch") == [0, 1, 2, 3, 4, 5]


def test_lightning_may_look_at_everything_before_the_run_has_begun(client, runs):
    logger = ModelDBLogger(client, experiment="a/b: c")
    assert isinstance(logger.experiment, LateRun)
    assert logger.name == "a_b_ c"
    assert len(logger.version) == 36
    assert logger.log_dir == os.path.join(os.getcwd(), "a_b_ c", logger.version)
    assert logger.group_separator == "/"
    logger.save()
    logger.finalize("success")
    assert runs() == []
    logger.log_metrics({"x": 1.0}, 0)
    assert [run.run_id for run in runs()] == [logger.version]


def test_checkpoints_go_to_the_root_folder_of_the_trainer(client, only, model, trainer, tmp_path):
    done = trainer(logger=ModelDBLogger(client, experiment="e"))
    done.fit(model(), loader())
    folder = Path(done.checkpoint_callback.best_model_path).parent
    assert folder == tmp_path / "root" / "e" / only().run_id / "checkpoints"


def test_a_folder_for_checkpoints_can_be_given(client, only, model, trainer, tmp_path):
    logger = ModelDBLogger(client, experiment="e", save_dir=tmp_path / "mine")
    done = trainer(logger=logger)
    done.fit(model(), loader())
    folder = tmp_path / "mine" / "e" / only().run_id
    assert logger.log_dir == str(folder)
    assert Path(done.checkpoint_callback.best_model_path).parent == folder / "checkpoints"


def test_saving_does_nothing_so_it_may_be_called_after_every_step(client, monkeypatch):
    logger = ModelDBLogger(client)
    logger.log_metrics({"x": 1.0}, 0)
    with monkeypatch.context() as patched:
        patched.setattr(client.writer, "flush", lambda *_: pytest.fail("save() waited for the store"))
        logger.save()


def test_a_run_that_was_finalized_goes_on_when_something_is_logged(client, only, runs):
    logger = ModelDBLogger(client)
    logger.log_metrics({"x": 1.0}, 0)
    for _ in range(3):
        logger.finalize("success")
    assert only().status == "finished"
    logger.log_metrics({"x": 2.0}, 1)
    assert only().status == "running"
    assert only().series["x"].count == 2
    logger.finalize("failed")
    assert only().status == "failed"


def test_slurm_finalizes_before_it_writes_the_checkpoint_and_the_run_goes_on(client, only):
    logger = ModelDBLogger(client)
    logger.log_metrics({"x": 1.0}, 0)
    logger.finalize("finished")
    assert only().status == "running"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_training_is_killed_and_not_failed(error, client, only):
    logger = ModelDBLogger(client)
    logger.log_metrics({"x": 1.0}, 0)
    try:
        raise error
    except BaseException:
        logger.finalize("failed")
    assert only().status == "killed"


def test_fit_then_test_then_predict_are_one_run(client, only, model, trainer):
    one, fitted = trainer(logger=ModelDBLogger(client)), model()
    one.fit(fitted, loader(), loader())
    one.validate(fitted, loader(), verbose=False)
    one.test(fitted, loader(), verbose=False)
    one.predict(fitted, loader())
    run = only()
    assert run.status == "finished"
    assert {"loss", "val_loss", "test_loss", "modeldb/predict_seconds"} <= run.series.keys()
    assert run.datasets.keys() == {"train", "validation", "test", "predict"}


def test_sanity_checks_leave_nothing(client, only, steps, model, trainer):
    trainer(logger=ModelDBLogger(client), num_sanity_val_steps=2, max_epochs=1).fit(model(), loader(), loader())
    assert steps(only().run_id, "val_loss") == [2]


@pytest.mark.parametrize(("every", "expected"), [(1, [0, 1, 2, 3, 4, 5]), (2, [1, 3, 5]), (0, [])])
def test_as_often_is_logged_as_the_trainer_says(every, expected, client, only, steps, model, trainer):
    trainer(logger=ModelDBLogger(client), log_every_n_steps=every).fit(model(), loader())
    run = only()
    assert (steps(run.run_id, "loss") if "loss" in run.series else []) == expected


@pytest.mark.parametrize(
    "name", ["val/loss", "ein Verlust", "損失", "a:b=c{d}[e]%f'g\"h;--", ".", "\n", "x" * 1024, "epoch/step", "$ref"]
)
def test_metric_names_hold_any_character(name, client, only):
    ModelDBLogger(client).log_metrics({name: 0.5}, 3)
    assert only().series[name].last == 0.5


def test_names_that_no_store_takes_are_mended_and_not_lost(client, only):
    ModelDBLogger(client).log_metrics({"": 1.0, "a\0b": 2.0, "y" * 2000: 3.0, 7: 4.0, "\ud800": 5.0}, 0)
    series = only().series
    assert {"(no name)", "a␀b", "7"} <= series.keys()
    assert sorted(summary.last for summary in series.values()) == [1, 2, 3, 4, 5]
    (note,) = only().notes
    assert note.startswith("Names of metrics that cannot be stored were changed")


def test_a_generated_name_that_is_too_long_is_shortened_with_a_note(client, only, pl, model, trainer):
    class Long(type(model())):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([{"params": list(self.parameters()), "name": "w" * 2000}], lr=0.1)

    trainer(logger=ModelDBLogger(client)).fit(Long(**{"k" * 1500: 1}), loader())
    run = only()
    assert (run.status, run.series["loss"].count) == ("finished", 6)
    (rates,) = (key for key in run.series if "lr-SGD/www" in key)
    assert run.series[rates].count == 6
    assert len([key for key in run.hyperparameters if key.startswith("kkk")]) == 1
    about = sorted(note.partition(" that cannot")[0] for note in run.notes)
    assert about == ["Names of hyperparameters", "Names of metrics"]


def test_values_that_are_no_numbers_are_recorded_as_what_they_are(client, only):
    logger = ModelDBLogger(client)
    logger.log_metrics(
        {
            "scalar": torch.tensor(0.5, requires_grad=True),
            "one": torch.tensor([2]),
            "vector": torch.tensor([1.0, 2.0]),
            "matrix": torch.zeros(100, 100),
            "text": "best so far",
            "nothing": None,
            "nested": {"a": 1, "b": {"c": 2.5}},
            "huge": 10**400,
            "yes": True,
            "nan": float("nan"),
        },
        1,
    )
    run = only()
    lasts = {key: summary.last for key, summary in run.series.items()}
    assert lasts.pop("nan") != 0
    assert lasts == {
        "scalar": 0.5,
        "one": 2,
        "vector/0": 1,
        "vector/1": 2,
        "nested/a": 1,
        "nested/b/c": 2.5,
        "yes": 1,
    }
    assert run.attributes["text"] == "best so far"
    assert run.attributes["huge"] == 10**400
    assert run.attributes["matrix"]["shape"] == [100, 100]


def test_metrics_without_a_step_are_single_values(client, only):
    ModelDBLogger(client).log_metrics({"auc": 0.9})
    run = only()
    assert dict(run.metrics) == {"auc": 0.9}
    assert not run.series


def test_a_prefix_goes_before_every_metric(client, only):
    ModelDBLogger(client, prefix="student").log_metrics({"loss": 0.5}, 0)
    assert only().series.keys() == {"student/loss"}


def test_a_prefix_leaves_each_step_its_epoch_once(client, only, steps, model, trainer):
    trainer(logger=ModelDBLogger(client, prefix="student")).fit(model(), loader(), loader())
    assert steps(only().run_id, "epoch") == [0, 1, 2, 3, 4, 5]


def test_hyperparameters_may_be_left_out(client, runs):
    logger = ModelDBLogger(client)
    logger.log_hyperparams()
    assert runs() == []
    logger.log_hyperparams(metrics={"hp_metric": -1})
    assert [(dict(run.hyperparameters), dict(run.metrics)) for run in runs()] == [({}, {"hp_metric": -1})]


def test_looking_at_the_run_before_and_after_a_training_neither_begins_nor_reopens_it(
    client, only, runs, model, trainer
):
    class Breaks(type(model())):
        def on_train_epoch_end(self) -> None:
            raise ValueError("broken")

    logger = ModelDBLogger(client)
    run_id = logger.experiment.run_id
    assert runs() == []
    with pytest.raises(ValueError, match="broken"):
        trainer(logger=logger).fit(Breaks(), loader())
    assert only().status == "failed"
    assert (logger.experiment.run_id, logger.version, logger.run.run_id) == (run_id, run_id, run_id)
    assert logger.experiment.hyperparameters["lr"] == 0.01
    assert logger.experiment.series["loss"].count == 3
    logger.experiment.add_tags("looked at")
    assert (only().status, only().tags) == ("failed", ("looked at",))


@pytest.mark.parametrize(("status", "expected"), [("success", "finished"), ("failed", "failed"), ("aborted", "killed")])
def test_each_status_that_the_contract_names_is_an_end(status, expected, client, only):
    logger = ModelDBLogger(client)
    logger.log_metrics({"x": 1.0}, 0)
    logger.finalize(status)
    assert only().status == expected


def test_metrics_given_with_hyperparameters_are_recorded(client, only):
    ModelDBLogger(client).log_hyperparams({"lr": 1}, {"hp_metric": -1})
    run = only()
    assert (dict(run.hyperparameters), dict(run.metrics)) == ({"lr": 1}, {"hp_metric": -1})


def test_the_graph_is_recorded_as_a_summary_of_layers_once(client, only, model):
    logger, module = ModelDBLogger(client), model()
    logger.log_graph(module)
    logger.log_graph(module, torch.zeros(1, 4))
    run = only()
    assert run.attributes["model"]["trainable_parameters"] == 5
    layers = client.get_run(run.run_id).read_artifact("model_summary.json")
    assert b'"name": "layer"' in layers


def test_the_experiment_is_the_run(client, only, tmp_path):
    logger = ModelDBLogger(client)
    logger.experiment.set_attributes({"by": "hand"})
    assert logger.experiment is logger.run
    (tmp_path / "notes.txt").write_text("x")
    logger.experiment.log_artifact(tmp_path / "notes.txt")
    assert only().attributes["by"] == "hand"
    assert "notes.txt" in only().artifacts


def test_in_the_block_of_a_run_the_first_training_logs_to_it_and_the_next_to_a_child(client, runs, model, trainer):
    with client.start_run(name="mine") as mine:
        trainer(logger=ModelDBLogger(client, name="a")).fit(model(), loader())
        trainer(logger=ModelDBLogger(client, name="b")).fit(model(), loader())
    first, second = runs()
    assert first.run_id == mine.run_id
    assert (second.name, second.parent_id) == ("b", mine.run_id)
    assert {"loss", "modeldb/lr-SGD"} <= first.series.keys() & second.series.keys()
    assert "checkpoints/epoch=1-step=6.ckpt" in first.artifacts
    assert (first.status, second.status) == ("finished", "finished")


def test_a_run_that_is_opened_again_is_that_of_the_first_training_in_its_new_block(client, only, model, trainer):
    with client.start_run(name="mine") as mine:
        trainer(logger=ModelDBLogger(client)).fit(model(), loader())
    with client.start_run(run_id=mine.run_id):
        trainer(logger=ModelDBLogger(client)).test(model(), loader())
    assert {"loss", "test_loss"} <= only().series.keys()


def test_a_run_can_be_continued_by_its_identifier(client, only, model, trainer):
    with client.start_run(name="before") as before:
        pass
    trainer(logger=ModelDBLogger(client, run_id=before.run_id)).fit(model(), loader())
    run = only()
    assert (run.run_id, run.name, run.status) == (before.run_id, "before", "finished")


def test_wrong_arguments_raise_at_the_call_and_name_themselves(client):
    for wrong in ({"project": 3}, {"tags": "a"}, {"name": None}, {"log_checkpoints": "all"}, {"client": 5}):
        with pytest.raises(InvalidTypeError, match=next(iter(wrong))):
            ModelDBLogger(**wrong)
    with pytest.raises(InvalidTypeError, match="save_dir"):
        ModelDBLogger(save_dir=3)


@pytest.mark.parametrize("kind", [ModelDBLogger, ModelDBCallback, autolog])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "n" * 257}, "run name 'nnn.*257 characters"),
        ({"tags": ["good", ""]}, "tag is empty"),
        ({"tags": ["t" * 1025]}, "tag 'ttt"),
        ({"tags": ["a\0b"]}, "NUL"),
        ({"experiment": ""}, "experiment name is empty"),
        ({"experiment": "e" * 300}, "experiment name 'eee"),
        ({"project": "p" * 257}, "project name 'ppp"),
        ({"project": "\ud800"}, "project name"),
    ],
)
def test_a_training_is_not_lost_to_a_name_that_cannot_be_used_since_it_raises_at_construction(
    kind, wrong, said, client
):
    with pytest.raises(InvalidArgumentError, match=said):
        kind(client, **wrong)


@pytest.mark.parametrize(("wrong", "said"), [({"run_id": ""}, "run_id is empty"), ({"prefix": "\0"}, "prefix")])
def test_a_run_or_a_prefix_that_cannot_be_used_raises_at_construction(wrong, said, client):
    with pytest.raises(InvalidArgumentError, match=said):
        ModelDBLogger(client, **wrong)


def test_a_logger_can_be_pickled_and_goes_on_with_its_run(client, only):
    logger = ModelDBLogger(client, project="p", prefix="x")
    logger.log_metrics({"a": 1.0}, 0)
    other: Any = pickle.loads(pickle.dumps(logger))
    other.log_metrics({"a": 2.0}, 1)
    assert only().series["x/a"].count == 2
    assert copy.deepcopy(logger).version == logger.version


def test_however_many_names_are_mended_one_note_says_so(client, only):
    logger = ModelDBLogger(client)
    for number in range(3):
        logger.log_metrics({f"{number}" * 5000: 1.0}, step=number)
    logger.finalize("success")
    assert len(only().notes) == 1
    assert len(only().series) == 3


def test_without_a_client_the_one_connected_last_is_used(client, only):
    ModelDBLogger().log_metrics({"x": 1.0}, 0)
    assert only().series["x"].last == 1
    assert modeldb.flush(10)


def test_the_command_line_of_lightning_takes_both_by_name(either, client, only, tmp_path, monkeypatch):
    cli = importlib.import_module(f"{either.__name__}.cli")
    monkeypatch.chdir(tmp_path)
    arguments = ["fit", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    arguments += ["--trainer.logger=modeldb_lightning.ModelDBLogger", "--trainer.logger.name=from the command line"]
    arguments += ["--trainer.callbacks+=modeldb_lightning.ModelDBCallback"]
    Small = model_class(either)
    Small.train_dataloader = lambda self: loader()
    cli.LightningCLI(Small, args=arguments)
    run = only()
    assert run.name == "from the command line"
    assert run.hyperparameters["lr"] == 0.01
    assert run.status == "finished"
    assert (tmp_path / "config.yaml").is_file()
