"""The callback records a training without changing anything about it, alone and beside the logger."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from typing import Any

import pytest
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

import modeldb_core as modeldb
from modeldb_core.errors import InvalidTypeError
from modeldb_core.tracking import endings
from modeldb_lightning import ModelDBCallback, ModelDBLogger
from tests.lightning.small import loader, make_model, make_trainer


def test_alone_it_records_what_a_logger_would(either, client, only, steps, tmp_path):
    callback = ModelDBCallback(client, project="p", tags=["a"])
    make_trainer(either, tmp_path, callbacks=[callback]).fit(make_model(either, width=4), loader(), loader())
    run = only()
    assert (run.status, run.tags, run.notes) == ("finished", ("a",), ())
    assert dict(run.hyperparameters) == {"width": 4, "lr": 0.01}
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert steps(run.run_id, "val_loss") == [2, 5]
    assert run.attributes["model"]["parameters"] == 5
    assert "checkpoints/epoch=1-step=6.ckpt" in run.artifacts
    assert callback.run.run_id == run.run_id
    assert isinstance(callback, either.Callback)


ORDERS = """
import pickle, sys
import {first}
from modeldb_lightning import ModelDBCallback

assert "{second}" not in sys.modules
class Mine(ModelDBCallback): pass

assert type(ModelDBCallback()) is ModelDBCallback
import {second}
import modeldb_lightning

for made in (ModelDBCallback(tags=["a"]), Mine(tags=["a"]), modeldb_lightning.ModelDBCallback(tags=["a"])):
    again = pickle.loads(pickle.dumps(made))
    for one in (made, again):
        assert isinstance(one, (sys.modules["{first}"].Callback)) and isinstance(one, sys.modules["{second}"].Callback)
        assert isinstance(one, ModelDBCallback) and one.state_key == made.state_key == type(made).__qualname__
    assert type(again) is type(made) and again._own_options.tags == made._own_options.tags == ("a",)
assert isinstance(Mine(), Mine) and type(Mine()).__name__ == "Mine"
assert issubclass(modeldb_lightning.ModelDBCallback, sys.modules["{second}"].Callback)
assert issubclass(modeldb_lightning.ModelDBCallback, ModelDBCallback)
"""


@pytest.mark.parametrize(
    "order", [("pytorch_lightning", "lightning.pytorch"), ("lightning.pytorch", "pytorch_lightning")]
)
def test_it_is_a_callback_of_both_packages_in_whatever_order_they_are_imported(order):
    program = ORDERS.format(first=order[0], second=order[1])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr


def test_a_single_callback_need_not_be_in_a_list(either, client, only, tmp_path):
    make_trainer(either, tmp_path, callbacks=ModelDBCallback(client)).fit(make_model(either), loader())
    assert only().status == "finished"


def test_with_the_logger_everything_is_logged_once(client, only, steps, model, trainer):
    trainer(callbacks=[ModelDBCallback(client)], logger=ModelDBLogger(client)).fit(model(), loader(), loader())
    run = only()
    for key in ("loss", "val_loss", "modeldb/lr-SGD", "epoch", "modeldb/epoch_seconds"):
        assert len(steps(run.run_id, key)) == len(set(steps(run.run_id, key)))
    assert len([name for name in run.artifacts if name.startswith("checkpoints/")]) == 1


def test_two_callbacks_record_once(client, only, steps, model, trainer):
    trainer(callbacks=[ModelDBCallback(client), ModelDBCallback(client)]).fit(model(), loader())
    assert steps(only().run_id, "loss") == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("others", [False, True])
def test_the_trainer_keeps_its_loggers_and_the_folder_of_its_checkpoints(others, client, pl, model, trainer, tmp_path):
    def folder_and_loggers(**given: Any) -> tuple[str, int, bool]:
        logger = pl.loggers.CSVLogger(tmp_path / "csv", version="one") if others else False
        seen: list[int] = []

        class Looks(pl.Callback):
            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                seen.append(len(trainer.loggers))

        callbacks = [Looks(), *given.get("callbacks", [])]
        done = trainer(logger=logger, callbacks=callbacks)
        done.fit(model(), loader())
        assert set(seen) == {len(done.loggers)}
        assert "log_metrics" not in vars(done._logger_connector)
        return os.path.dirname(done.checkpoint_callback.best_model_path), len(done.loggers), done.logger is None

    assert folder_and_loggers() == folder_and_loggers(callbacks=[ModelDBCallback(client)])


def test_results_random_states_and_warnings_are_the_same_with_and_without(client, only, pl, trainer):
    def train(**given: Any) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one = make_model(pl)
            trainer(**given).fit(one, loader(), loader())
        words = {
            (str(each.message), each.category.__name__)
            for each in caught
            if "exists and is not" not in str(each.message)
        }
        return [tensor.tolist() for tensor in one.state_dict().values()], torch.random.get_rng_state().tolist(), words

    without = train()
    assert train(callbacks=[ModelDBCallback(client, log_gradient_norms=True)]) == without
    assert only().series["modeldb/gradient_norm"].count == 6
    assert train(logger=ModelDBLogger(client))[:2] == without[:2]


def test_facts_about_trainer_optimizers_seeds_and_devices_are_recorded(client, only, pl, model, trainer):
    pl.seed_everything(7, workers=True, verbose=False)

    class Scheduled(type(model())):
        def configure_optimizers(self) -> Any:
            parts = [{"params": [self.layer.weight], "name": "w"}, {"params": [self.layer.bias], "lr": 0.5}]
            optimizer = torch.optim.AdamW(parts, lr=0.1)
            return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5), "interval": "step"}]

    trainer(callbacks=[ModelDBCallback(client)], accumulate_grad_batches=1, gradient_clip_val=1.0).fit(
        Scheduled(), loader()
    )
    run = only()
    attributes = run.attributes
    assert attributes["trainer"]["gradient_clip_val"] == 1.0
    assert attributes["trainer"]["precision"] == "32-true"
    assert attributes["trainer"]["strategy"].endswith("SingleDeviceStrategy")
    assert attributes["reproducibility"]["seed"] == 7
    assert attributes["reproducibility"]["seed_workers"] is True
    assert attributes["device"]["type"] == "cpu"
    assert attributes["versions"]["torch"] == torch.__version__
    (optimizer,), (scheduler,) = attributes["optimizers"], attributes["lr_schedulers"]
    assert (optimizer["class"], [group["lr"] for group in optimizer["groups"]]) == (
        "torch.optim.adamw.AdamW",
        [0.1, 0.5],
    )
    assert (scheduler["interval"], scheduler["state"]["gamma"]) == ("step", 0.5)
    rates = client.get_run(run.run_id).history("modeldb/lr-AdamW/w").values
    assert [float(rate) for rate in rates[:4]] == pytest.approx([0.1, 0.1, 0.05, 0.05])
    assert {
        "modeldb/lr-AdamW/pg2",
        "modeldb/batches_per_second",
        "modeldb/samples_per_second",
        "modeldb/epoch_seconds",
        "modeldb/peak_memory_bytes",
    } <= run.series.keys()


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_an_evaluation_alone_is_a_run_that_says_of_which_model(stage, client, only, model, trainer):
    given = {} if stage == "predict" else {"verbose": False}
    getattr(trainer(callbacks=[ModelDBCallback(client)]), stage)(model(), loader(), **given)
    run = only()
    assert run.status == "finished"
    assert run.hyperparameters["lr"] == 0.01
    assert run.attributes["model"]["parameters"] == 5


def test_hyperparameters_that_are_not_to_be_logged_are_not(client, only, model, trainer):
    class Silent(type(model())):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"secret": 1}, logger=False)

    trainer(callbacks=[ModelDBCallback(client)]).fit(Silent(), loader())
    assert "secret" not in only().hyperparameters


def test_learning_rates_are_not_logged_twice_beside_lightnings_own_monitor(client, only, steps, pl, model, trainer):
    monitor = pl.callbacks.LearningRateMonitor("step")
    trainer(callbacks=[monitor], logger=ModelDBLogger(client)).fit(model(), loader())
    assert steps(only().run_id, "lr-SGD") == [0, 1, 2, 3, 4, 5]


def test_data_sets_of_a_data_module_are_described_once(client, only, pl, model, trainer):
    class Data(pl.LightningDataModule):
        def __init__(self, fold: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> Any:
            return loader(3)

        def val_dataloader(self) -> Any:
            return [loader(1), loader(2)]

    class Two(type(model())):
        def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch, index)

    trainer(callbacks=[ModelDBCallback(client)]).fit(Two(), Data())
    run = only()
    assert run.datasets.keys() == {"train", "validation/0", "validation/1"}
    assert run.datasets["train"]["shape"] == [12]
    assert len(run.datasets["train"]["digest"]) == 64
    assert dict(run.hyperparameters) == {"width": 4, "lr": 0.01, "fold": 3}
    assert run.attributes["datamodule"].endswith("Data")


def test_an_exception_makes_a_failed_run_that_says_which(client, only, model, trainer):
    class Breaks(type(model())):
        def on_train_batch_end(self, *_: Any) -> None:
            if self.trainer.global_step == 2:
                raise ValueError("too hot")

    with pytest.raises(ValueError, match="too hot"):
        trainer(callbacks=[ModelDBCallback(client)]).fit(Breaks(), loader())
    run = only()
    assert run.status == "failed"
    assert "The training was ended by ValueError: too hot" in run.notes


def test_a_training_that_breaks_before_its_first_batch_leaves_word(client, only, model, trainer):
    class Breaks(type(model())):
        def configure_optimizers(self) -> Any:
            raise ValueError("no optimizer")

    with pytest.raises(ValueError, match="no optimizer"):
        trainer(callbacks=[ModelDBCallback(client)]).fit(Breaks(), loader())
    assert only().status == "failed"


def test_ctrl_c_makes_a_killed_run(client, only, model, trainer):
    class Interrupted(type(model())):
        def on_train_batch_end(self, *_: Any) -> None:
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            trainer(callbacks=[ModelDBCallback(client)]).fit(Interrupted(), loader())
    finally:
        signal.signal(signal.SIGINT, handler)
    assert only().status == "killed"


def test_sigterm_ends_the_training_at_the_end_of_a_batch_as_without_us(client, runs, model, trainer):
    done: list[str] = []

    class Terminated(type(model())):
        def on_train_batch_start(self, *_: Any) -> None:
            if self.trainer.global_step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0)
                done.append("the batch went on")

    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        client.start_run(name="takes SIGTERM").finish()
        assert signal.getsignal(signal.SIGTERM) is endings._on_sigterm
        with pytest.raises(SIGTERMException):
            trainer(callbacks=[ModelDBCallback(client)]).fit(Terminated(), loader())
    finally:
        signal.signal(signal.SIGTERM, before)
    *_, run = runs()
    assert run.status == "killed"
    assert done == ["the batch went on"]


def test_a_rehearsal_is_no_run(client, runs, model, trainer):
    trainer(callbacks=[ModelDBCallback(client)], fast_dev_run=True).fit(model(), loader(), loader())
    assert runs() == []


@pytest.mark.parametrize("with_logger", [False, True])
def test_the_tuner_leaves_no_run_and_no_points(with_logger, client, runs, steps, pl, model, trainer):
    logger = ModelDBLogger(client) if with_logger else False
    one = trainer(callbacks=[ModelDBCallback(client)], logger=logger, max_epochs=2)
    fitted = model()
    fitted.lr = 0.1
    fitted.batch_size = 2
    tuner = importlib_tuner(pl)(one)
    tuner.lr_find(fitted, loader(40), num_training=20)
    assert runs() == []
    one.fit(fitted, loader())
    (run,) = runs()
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert run.status == "finished"


def test_a_learning_rate_finder_as_a_callback_leaves_no_points(client, only, steps, pl, model, trainer):
    fitted = model()
    fitted.lr = 0.1
    finder = pl.callbacks.LearningRateFinder(num_training_steps=20)
    trainer(callbacks=[finder, ModelDBCallback(client)]).fit(fitted, loader(40))
    assert steps(only().run_id, "loss")[:3] == [0, 1, 2]
    assert only().series["loss"].count == 80


def importlib_tuner(pl: Any) -> Any:
    from importlib import import_module

    return import_module(f"{pl.__name__}.tuner").Tuner


def test_system_metrics_are_recorded_where_they_were_asked_for(client, only, model, trainer):
    trainer(callbacks=[ModelDBCallback(client, log_system_metrics=True)]).fit(model(), loader())
    series = only().series
    assert series["modeldb/system/rank0/memory_bytes"].last > 10_000_000
    assert series["modeldb/system/rank0/cpu_percent"].last >= 0


def test_a_trainer_with_it_can_be_copied_and_pickled(client, only, model, trainer):
    callback = ModelDBCallback(client, project="p")
    other = pickle.loads(pickle.dumps(callback))
    copied = copy.deepcopy(callback)
    trainer(callbacks=[other]).fit(model(), loader())
    assert only().status == "finished"
    assert type(copied) is type(callback)


def test_wrong_arguments_raise_at_the_call():
    with pytest.raises(InvalidTypeError, match="log_datasets"):
        ModelDBCallback(log_datasets=1)


def test_the_run_of_a_training_is_not_the_current_run_of_what_comes_after(client, model, trainer):
    trainer(callbacks=[ModelDBCallback(client)]).fit(model(), loader())
    assert modeldb.current_run() is None
