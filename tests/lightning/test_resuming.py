"""``fit(ckpt_path=...)`` goes on with the run that wrote the checkpoint, and with its series, without gaps or repeats."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins.environments import SLURMEnvironment

import modeldb_core as modeldb
from modeldb_lightning import ModelDBCallback, ModelDBLogger, resuming
from modeldb_lightning.options import BACKGROUND
from tests.lightning.small import loader, make_model, make_trainer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine answer."""
    monkeypatch.setattr(resuming, "WAIT_S", 60)


@pytest.mark.parametrize("kind", [ModelDBLogger, ModelDBCallback])
@pytest.mark.parametrize("validates", [True, False])
def test_the_run_goes_on_in_the_same_series(kind, validates, client, only, steps, model, trainer):
    def begin(epochs: int) -> Any:
        ours = kind(client, project="p")
        return trainer(max_epochs=epochs, **({"logger": ours} if kind is ModelDBLogger else {"callbacks": [ours]}))

    data = [loader(), loader()] if validates else [loader()]
    first = begin(2)
    first.fit(model(), *data)
    path = first.checkpoint_callback.best_model_path
    second = begin(4)
    second.fit(model(), *data, ckpt_path=path)
    run = only()
    assert run.status == "finished"
    assert run.notes == ()
    assert steps(run.run_id, "loss") == list(range(12))
    assert steps(run.run_id, "epoch") == list(range(12))
    assert steps(run.run_id, "modeldb/epoch_seconds") == [2, 5, 8, 11]
    assert run.attributes["trainer"]["max_epochs"] == 4
    # Checkpoints go on in the folder of the run, and the one that Lightning has removed is gone from it.
    assert Path(second.checkpoint_callback.best_model_path).parent == Path(path).parent
    assert [name for name in run.artifacts if "ckpt" in name] == ["checkpoints/epoch=3-step=12.ckpt"]


def test_a_checkpoint_that_was_about_to_be_stored_when_the_run_was_continued_goes_when_lightning_removes_it(
    client, only, model, trainer
):
    is_continued = threading.Event()

    class Tells(Callback):
        def on_train_start(self, *_: Any) -> None:
            is_continued.set()

    first = trainer(max_epochs=2, callbacks=[ModelDBCallback(client, project="p")])
    assert BACKGROUND.submit(lambda: None if is_continued.wait(240) else pytest.fail("it was waited for"))
    first.fit(model(), loader())
    second = trainer(max_epochs=4, callbacks=[ModelDBCallback(client, project="p"), Tells()])
    second.fit(model(), loader(), ckpt_path=first.checkpoint_callback.best_model_path)
    client.flush()
    assert [name for name in only().artifacts if "ckpt" in name] == ["checkpoints/epoch=3-step=12.ckpt"]


def test_the_best_checkpoints_of_before_are_still_known(client, only, pl, model, trainer):
    def begin(epochs: int) -> Any:
        best = pl.callbacks.ModelCheckpoint(monitor="val_loss", save_top_k=2, save_last=True)
        return trainer(max_epochs=epochs, logger=ModelDBLogger(client), callbacks=[best])

    first = begin(3)
    first.fit(model(), loader(), loader())
    second = begin(4)
    second.fit(model(), loader(), loader(), ckpt_path=first.checkpoint_callback.last_model_path)
    names = sorted(name for name in only().artifacts if "ckpt" in name)
    assert names == ["checkpoints/epoch=2-step=9.ckpt", "checkpoints/epoch=3-step=12.ckpt", "checkpoints/last.ckpt"]


def test_a_folder_for_checkpoints_that_the_user_names_stays_the_one_after_a_resume(
    client, pl, model, trainer, tmp_path
):
    first = trainer(logger=ModelDBLogger(client))
    first.fit(model(), loader())
    named = pl.callbacks.ModelCheckpoint(tmp_path / "mine" / "checkpoints")
    second = trainer(max_epochs=3, logger=ModelDBLogger(client), callbacks=[named])
    second.fit(model(), loader(), ckpt_path=first.checkpoint_callback.best_model_path)
    assert [path.name for path in (tmp_path / "mine" / "checkpoints").iterdir()] == ["epoch=2-step=9.ckpt"]


def test_after_a_crash_what_is_trained_again_repeats_no_step_and_is_not_lost(
    client, only, steps, pl, model, trainer, tmp_path
):
    class Crashes(type(model())):
        def on_train_batch_start(self, *_: Any) -> None:
            if self.trainer.global_step == 5:
                raise ValueError("crash")

    every_second = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=2, save_top_k=-1)
    with pytest.raises(ValueError, match="crash"):
        trainer(logger=ModelDBLogger(client), callbacks=[every_second]).fit(Crashes(), loader())
    assert steps(only().run_id, "loss") == [0, 1, 2, 3, 4]
    path = str(tmp_path / "ckpt" / "epoch=0-step=2.ckpt")
    trainer(logger=ModelDBLogger(client)).fit(model(), loader(), ckpt_path=path)
    run = only()
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert steps(run.run_id, "retrained/loss") == [2, 3, 4]
    assert steps(run.run_id, "epoch") == [0, 1, 2, 3, 4, 5]
    assert run.status == "finished"
    assert any("went back to step 2" in note for note in run.notes)


def test_a_training_that_crashed_one_step_after_a_checkpoint_says_that_it_went_back(
    client, only, steps, pl, model, trainer, tmp_path
):
    class Crashes(type(model())):
        def on_train_batch_start(self, *_: Any) -> None:
            if self.trainer.global_step == 4:
                raise ValueError("crash")

    every = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", save_top_k=-1)
    with pytest.raises(ValueError, match="crash"):
        trainer(logger=ModelDBLogger(client), callbacks=[every]).fit(Crashes(), loader())
    path = str(tmp_path / "ckpt" / "epoch=0-step=3.ckpt")
    trainer(logger=ModelDBLogger(client)).fit(model(), loader(), ckpt_path=path)
    run = only()
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert steps(run.run_id, "retrained/loss") == [3]
    assert any("went back to step 3" in note for note in run.notes)


def test_a_run_that_had_ended_later_than_the_checkpoint_is_continued_as_well(
    client, only, steps, pl, model, trainer, tmp_path
):
    every = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", save_top_k=-1)
    trainer(logger=ModelDBLogger(client), callbacks=[every], max_epochs=3).fit(model(), loader(), loader())
    path = str(tmp_path / "ckpt" / "epoch=0-step=3.ckpt")
    trainer(logger=ModelDBLogger(client), max_epochs=4).fit(model(), loader(), loader(), ckpt_path=path)
    run = only()
    assert steps(run.run_id, "loss") == list(range(12))
    assert steps(run.run_id, "val_loss") == [2, 5, 8, 11]
    assert steps(run.run_id, "retrained/loss") == [3, 4, 5, 6, 7, 8]
    assert steps(run.run_id, "retrained/val_loss") == [5, 8]


def test_a_new_run_can_be_asked_for(client, runs, model, trainer):
    first = trainer(logger=ModelDBLogger(client))
    first.fit(model(), loader())
    path = first.checkpoint_callback.best_model_path
    trainer(logger=ModelDBLogger(client, resume=False), max_epochs=3).fit(model(), loader(), ckpt_path=path)
    before, after = runs()
    assert after.attributes["resumed_from"]["run_id"] == before.run_id


def test_a_checkpoint_from_another_store_begins_a_run_that_names_it(client, runs, model, trainer, tmp_path):
    with modeldb.connect(
        f"sqlite:///{tmp_path}/other.db", journal_dir=str(tmp_path / "other"), capture_enabled=False
    ) as other:
        first = trainer(logger=ModelDBLogger(other))
        first.fit(model(), loader())
    trainer(logger=ModelDBLogger(client), max_epochs=3).fit(
        model(), loader(), ckpt_path=first.checkpoint_callback.best_model_path
    )
    (run,) = runs()
    assert run.attributes["resumed_from"]["run_id"] == first.logger.version
    assert run.status == "finished"


def test_testing_a_checkpoint_adds_to_the_run_that_wrote_it(client, only, model, trainer):
    first = trainer(logger=ModelDBLogger(client))
    first.fit(model(), loader())
    again = trainer(logger=ModelDBLogger(client))
    again.test(model(), loader(), ckpt_path=first.checkpoint_callback.best_model_path, verbose=False)
    run = only()
    assert {"loss", "test_loss"} <= run.series.keys()
    assert not any(key.startswith("retrained/") for key in run.series)
    assert run.series["epoch"].count == 6
    assert run.status == "finished"


def test_a_checkpoint_says_its_run_in_plain_texts_that_torch_loads_without_trust(client, only, model, trainer):
    first = trainer(logger=ModelDBLogger(client))
    first.fit(model(), loader())
    loaded = torch.load(first.checkpoint_callback.best_model_path, weights_only=True)
    assert loaded["modeldb_run"] == {
        "run_id": only().run_id,
        "store_url": client.writer.store_url,
        "is_validation_due": False,
    }


def test_a_checkpoint_is_read_without_us_and_without_a_warning(pl, client, model, trainer):
    first = trainer(callbacks=[ModelDBCallback(client)])
    first.fit(model(), loader())
    trainer(max_epochs=3).fit(model(), loader(), ckpt_path=first.checkpoint_callback.best_model_path)


def test_slurm_starts_the_job_anew_and_the_run_goes_on(client, only, steps, pl, model, trainer, tmp_path, monkeypatch):
    """The signal comes in the middle of a batch; Lightning ends its loggers, saves, and asks SLURM for a new start."""
    environment = {
        "SLURM_JOB_ID": "7",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_JOB_NAME": "x",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "scontrol").write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\n")
    (tools / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")

    class Signalled(type(model())):
        def on_train_batch_end(self, *_: Any) -> None:
            if self.trainer.global_step == 4:
                os.kill(os.getpid(), signal.SIGUSR1)

        def on_train_batch_start(self, *_: Any) -> None:
            if self.trainer.global_step == 5:
                raise RuntimeError("SLURM ends the process")

    def begin() -> Any:
        plugin = SLURMEnvironment(auto_requeue=True, requeue_signal=signal.SIGUSR1)
        return trainer(logger=ModelDBLogger(client), plugins=[plugin], enable_checkpointing=False)

    with pytest.raises(RuntimeError, match="SLURM"):
        begin().fit(Signalled(), loader())
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    begin().fit(model(), loader())  # Lightning finds the checkpoint by itself
    run = only()
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert run.status == "finished"


def test_after_a_kill_another_process_goes_on_with_run_and_series(tmp_path, client, only, steps, pl, model, trainer):
    """The journal of the killed process has not been shipped when the new one begins."""
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import pytorch_lightning as pl, modeldb_core as modeldb
from modeldb_lightning import ModelDBLogger
from modeldb_lightning.options import BACKGROUND
from tests.lightning.small import loader, make_model, make_trainer
client = modeldb.connect({client.settings.url!r}, artifact_url={client.settings.artifact_url!r},
    journal_dir={str(client.settings.journal_dir)!r}, capture_enabled=False, flush_interval_s=1000)
Small = type(make_model(pl))
class Killed(Small):
    def on_train_batch_start(self, *_):
        if self.trainer.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
checkpoint = pl.callbacks.ModelCheckpoint({str(tmp_path / "ckpt")!r}, every_n_train_steps=3, save_top_k=-1)
make_trainer(pl, {str(tmp_path)!r}, logger=ModelDBLogger(client), callbacks=[checkpoint]).fit(Killed(), loader())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], timeout=200, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    trainer(logger=ModelDBLogger(client)).fit(
        model(), loader(), ckpt_path=str(tmp_path / "ckpt" / "epoch=0-step=3.ckpt")
    )
    run = only()
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert run.status == "finished"


def test_the_other_package_of_lightning_goes_on_as_well(client, only, steps, tmp_path):
    import lightning.pytorch as other
    import pytorch_lightning as one

    first = make_trainer(one, tmp_path, logger=ModelDBLogger(client))
    first.fit(make_model(one), loader())
    path = first.checkpoint_callback.best_model_path
    make_trainer(other, tmp_path, logger=ModelDBLogger(client), max_epochs=3).fit(
        make_model(other), loader(), ckpt_path=path
    )
    assert steps(only().run_id, "loss") == list(range(9))
