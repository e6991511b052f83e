"""How runs end: by their training, whatever is evaluated afterwards; and what finders find is recorded."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from modeldb_core.tracking.run import RunHandle
from modeldb_lightning import ModelDBCallback, ModelDBLogger, resuming
from modeldb_lightning.options import BACKGROUND
from tests.lightning.small import loader
from tests.lightning.test_steps import KINDS, given
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "WAIT_S", 60)


def breaking(small: Any, error: BaseException) -> Any:
    class Breaks(small):
        is_broken = True

        def on_train_batch_end(self, *_: Any) -> None:
            if self.is_broken and self.trainer.global_step == 2:
                raise error

    torch.manual_seed(0)
    return Breaks()


@pytest.mark.parametrize("kind", KINDS)
def test_a_test_that_breaks_after_a_good_training_is_not_passed_over(kind, client, only, model, trainer):
    class Untestable(type(model())):
        def test_step(self, *_: Any) -> None:
            raise ValueError("no such class")

    one, net = trainer(**given(kind(client))), Untestable()
    one.fit(net, loader())
    with pytest.raises(ValueError, match="no such class"):
        one.test(net, loader(), verbose=False)
    assert (only().status, only().failure["message"]) == ("failed", "no such class")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("error", "status"), [(ValueError("too hot"), "failed"), (KeyboardInterrupt(), "killed")])
def test_a_training_that_broke_reads_so_although_it_was_tested_afterwards(
    kind, error, status, client, only, model, trainer
):
    one, net = trainer(**given(kind(client))), breaking(type(model()), error)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((ValueError, SystemExit)):
            one.fit(net, loader())
    finally:
        signal.signal(signal.SIGINT, handler)
    one.validate(net, loader(), verbose=False)
    one.test(net, loader(), verbose=False)
    run = only()
    assert (run.status, run.failure.get("message", "")) == (status, "too hot" if status == "failed" else "")
    assert any("The training was ended by" in note for note in run.notes)
    assert run.series["test_loss"].count == 1
    net.is_broken = False
    one.fit(net, loader())  # and now it ends well
    assert only().status == "finished"


def test_another_trainer_that_tests_the_checkpoint_of_a_broken_training_leaves_it_failed(
    client, only, pl, model, trainer, tmp_path
):
    every = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(ValueError, match="too hot"):
        trainer(logger=ModelDBLogger(client), callbacks=[every]).fit(
            breaking(type(model()), ValueError("too hot")), loader()
        )
    gc.collect()  # nothing of the training is left in this process: the store alone knows how it ended
    path = str(tmp_path / "ckpt" / "epoch=0-step=1.ckpt")
    trainer(logger=ModelDBLogger(client)).test(model(), loader(), ckpt_path=path, verbose=False)
    run = only()
    assert (run.status, run.series["test_loss"].count) == ("failed", 1)
    assert run.failure["message"] == "too hot"
    trainer(logger=ModelDBLogger(client, run_id=run.run_id)).test(model(), loader(), verbose=False)
    assert (only().status, only().series["test_loss"].count) == ("failed", 2)
    assert only().failure["message"] == "too hot"


def test_a_test_of_a_checkpoint_leaves_a_training_running_that_goes_on_elsewhere(
    client, only, pl, model, trainer, tmp_path
):
    seen: list[str] = []

    class Tests(pl.Callback):
        def on_train_epoch_start(self, outer: Any, pl_module: Any) -> None:
            if outer.current_epoch == 1:
                path = outer.checkpoint_callback.best_model_path
                trainer(logger=ModelDBLogger(client)).test(model(), loader(), ckpt_path=path, verbose=False)
                seen.append(only().status)

    trainer(logger=ModelDBLogger(client), callbacks=[Tests()]).fit(model(), loader())
    assert seen == ["running"]
    assert (only().status, only().series["test_loss"].count) == ("finished", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_optuna_trial_that_is_pruned_reads_pruned(kind, client, runs, model, trainer):
    def objective(trial: Any) -> float:
        net = breaking(type(model()), optuna.TrialPruned("no hope"))
        net.is_broken = trial.number == 1
        trainer(max_epochs=1, **given(kind(client))).fit(net, loader())
        return 0.0

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert [(run.status, run.notes) for run in runs()] == [("finished", ()), ("pruned", ())]


@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_that_a_finder_found_is_the_one_recorded(kind, client, only, pl, model, trainer):
    finder = pl.callbacks.LearningRateFinder(min_lr=1e-4, max_lr=0.1, num_training_steps=30, early_stop_threshold=None)
    net = model(lr=0.5)
    trainer(max_epochs=1, **given(kind(client), finder)).fit(net, loader(40))
    run = only()
    assert net.hparams.lr != 0.5
    assert run.hyperparameters["lr"] == pytest.approx(net.hparams.lr)
    rates = client.get_run(run.run_id).history("modeldb/lr-SGD").values
    assert [float(rate) for rate in rates] == pytest.approx([net.hparams.lr] * 40)


def test_the_batch_size_that_a_finder_found_is_the_one_recorded(client, only, pl, model, trainer):
    class Data(pl.LightningDataModule):
        def __init__(self, batch_size: int = 2) -> None:
            super().__init__()
            self.save_hyperparameters()

        def val_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(loader(16).dataset, batch_size=self.hparams.batch_size)

    data = Data()
    finder = pl.callbacks.BatchSizeFinder(max_trials=2, steps_per_trial=1)
    trainer(callbacks=[ModelDBCallback(client), finder]).validate(model(), data, verbose=False)
    run = only()
    assert data.hparams.batch_size > 2
    assert run.hyperparameters["batch_size"] == data.hparams.batch_size
    version = client.store.get("dataset_version", run.datasets["validation"]["dataset_version_id"])
    assert version.document["info"]["loader"]["batch_size"] == data.hparams.batch_size


@pytest.mark.parametrize("where", ["before", "after"])
def test_what_is_logged_while_the_run_of_the_training_before_is_being_ended_is_kept(
    where, client, only, model, trainer, monkeypatch
):
    record = RunHandle._record
    finishing = threading.Event()

    def slow(run, operation, **details):
        if operation.ends_run:
            finishing.set()
            time.sleep(0.5 if where == "before" else 0)
        record(run, operation, **details)
        if operation.ends_run:
            time.sleep(0.5 if where == "after" else 0)

    monkeypatch.setattr(RunHandle, "_record", slow)
    one = trainer(logger=ModelDBLogger(client), max_epochs=1)
    one.fit(model(), loader())
    assert finishing.wait(60)
    one.test(model(), loader(), verbose=False)  # another model: its summary is stored beside the test
    client.flush(60)
    run = only()
    assert run.status == "finished"
    assert list(run.notes) == []
    assert "test_loss" in run.series


def test_the_late_end_of_a_training_does_not_end_the_one_that_goes_on_with_its_run(
    client, only, pl, model, trainer, tmp_path
):
    last, held = str(tmp_path / "last.ckpt"), threading.Event()
    one = trainer(logger=ModelDBLogger(client), max_epochs=1)
    BACKGROUND.submit(held.wait, ["something slow"])
    one.fit(model(), loader())
    one.save_checkpoint(last)

    class Asks(pl.Callback):
        def on_train_end(self, trainer, module):
            held.set()
            BACKGROUND.wait(timeout_s=60)
            client.flush(60)
            statuses.append(only().status)

    statuses = []
    trainer(logger=ModelDBLogger(client), max_epochs=2, callbacks=[Asks()]).fit(model(), loader(), ckpt_path=last)
    client.flush(60)
    assert statuses == ["running"]
    assert only().status == "finished"


A_WORKER_THAT_IS_ENDED_ONCE_IT_HAS_TRAINED = """
import multiprocessing, os, signal, sys, time
import pytorch_lightning as pl
import modeldb_core as modeldb
from modeldb_core.tracking.blobs import BlobUploader
from modeldb_lightning import ModelDBCallback
from tests.lightning.small import loader, make_model, make_trainer

put = BlobUploader.put

def slow(*args):
    time.sleep(0.3)
    return put(*args)

def work(folder):
    BlobUploader.put = slow  # as on a busy machine or a slow disk
    trainer = make_trainer(pl, folder, callbacks=[ModelDBCallback()], enable_checkpointing=True)
    trainer.fit(make_model(pl), loader())
    os.kill(os.getpid(), signal.SIGKILL)  # sooner than any pool can do it

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work, args=sys.argv[1:])
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
"""


def test_all_of_a_training_is_kept_although_its_worker_is_ended_as_soon_as_fit_has_returned(client, runs, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(A_WORKER_THAT_IS_ENDED_ONCE_IT_HAS_TRAINED)
    settings = client.settings
    places = {"URL": settings.url, "ARTIFACT_URL": settings.artifact_url, "JOURNAL_DIR": str(settings.journal_dir)}
    variables = {f"MODELDB_{name}": value for name, value in places.items()} | {"PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, program, str(tmp_path)]
    subprocess.run(command, check=True, timeout=280, env=os.environ | variables)
    (run,) = wait_until(runs)
    assert run.status == "finished"
    (path,) = [name for name in run.artifacts if name.startswith("checkpoints/")]
    assert path == "checkpoints/epoch=1-step=6.ckpt"
