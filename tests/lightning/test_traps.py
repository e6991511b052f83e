"""What other trackers do to users of Lightning, case by case; each case is one that somebody has reported."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from modeldb_lightning import ModelDBCallback, ModelDBLogger
from tests.lightning.small import loader, make_model, make_trainer

# Runs for each rank (reported as pytorch-lightning 11380, 12583, 10604, 13639, 1972): tests/lightning/test_ddp.py and
# test_ranks.py hold these; here is what one process can show.


def test_trap_a_script_that_touches_the_experiment_makes_one_run_under_mpi(tmp_path):
    """Reported as 11380 and 13639: ranks of LSF and MPI were not recognized, so each process made a run."""
    program = (
        "import pytorch_lightning\nfrom modeldb_lightning import ModelDBLogger\n"
        "logger = ModelDBLogger()\nlogger.log_hyperparams({'lr': 1})\nprint(logger.version or '')"
    )
    places = {"MODELDB_URL": f"sqlite:///{tmp_path}/m.db", "MODELDB_JOURNAL_DIR": str(tmp_path / "journals")}
    made = []
    for rank in ("0", "1"):
        variables = {**os.environ, **places, "JSM_NAMESPACE_RANK": rank, "MODELDB_CAPTURE_ENABLED": "false"}
        command = [sys.executable, "-W", "ignore", "-c", program]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=True)
        made.append(done.stdout.strip())
    assert made[0] != ""
    assert made[1] == ""


def test_trap_other_ranks_may_touch_any_part_of_the_experiment(client, runs, monkeypatch):
    """Reported as 13166: AttributeError: 'function' object has no attribute 'update'."""
    monkeypatch.setenv("RANK", "1")
    logger = ModelDBLogger(client)
    logger.experiment.config.update({"lr": 1}, allow_val_change=True)
    logger.experiment["metrics"].append(0.5)
    logger.experiment.define_metric("x").something.else_()
    assert runs() == []


def test_trap_resuming_does_not_reset_the_step(client, only, steps, model, trainer):
    """Reported as 12274 and 13163."""
    first = trainer(logger=ModelDBLogger(client))
    first.fit(model(), loader())
    trainer(logger=ModelDBLogger(client), max_epochs=3).fit(
        model(), loader(), ckpt_path=first.checkpoint_callback.best_model_path
    )
    assert steps(only().run_id, "loss") == list(range(9))


def test_trap_the_checkpoint_knows_its_run(client, only, model, trainer):
    """Asked for since 2020, as 4935."""
    first = trainer(logger=ModelDBLogger(client))
    first.fit(model(), loader())
    path = first.checkpoint_callback.best_model_path
    assert torch.load(path, weights_only=True)["modeldb_run"]["run_id"] == only().run_id


def test_trap_hyperparameters_of_odd_types_neither_crash_nor_vanish(client, only, tmp_path):
    """Reported as 4276, 1095, 2444, 19769, 7447: paths, ranges, modules, partial functions."""
    odd = {"path": tmp_path, "range": range(3), "module": torch.nn.ReLU(), "lambda": lambda: 1, "none": None}
    ModelDBLogger(client).log_hyperparams(odd)
    assert only().hyperparameters.keys() == odd.keys()


def test_trap_long_hyperparameters_are_not_cut(client, only):
    """MLFlowLogger of Lightning 2.6 cuts them after 250 characters, reported as 19972."""
    ModelDBLogger(client).log_hyperparams({"prompt": "x" * 100_000, "weights": list(range(3000))})
    found = client.get_run(only().run_id).hyperparameters
    assert len(found["prompt"]) == 100_000
    assert found["weights"] == list(range(3000))


def test_trap_text_metrics_are_not_dropped(client, only):
    """MLFlowLogger discards them with a warning."""
    ModelDBLogger(client).log_metrics({"phase": "warm-up", "loss": 0.5}, 0)
    assert only().attributes["phase"] == "warm-up"


def test_trap_metric_names_are_not_altered(client, only):
    """MLFlowLogger removes characters, so that two metrics may become one."""
    ModelDBLogger(client).log_metrics({"a=b": 1.0, "a:b": 2.0, "ab": 3.0}, 0)
    assert {key: summary.last for key, summary in only().series.items()} == {"a=b": 1, "a:b": 2, "ab": 3}


def test_trap_checkpoints_follow_save_top_k(client, only, pl, model, trainer):
    """Reported as 20584: log_model="all" stored every checkpoint and removed none."""
    best = pl.callbacks.ModelCheckpoint(monitor="val_loss", save_top_k=1)
    trainer(logger=ModelDBLogger(client), callbacks=[best], max_epochs=4).fit(model(), loader(), loader())
    assert sum(entry["type"] == "checkpoint" for entry in only().artifacts.values()) == 1


def test_trap_checkpoints_are_stored_during_the_training(client, runs, pl, model, trainer):
    """Reported as 17097: stored at the end only, so a crash lost them all."""

    class Looks(type(model())):
        def on_train_start(self) -> None:
            self.seen: list[int] = []

        def on_train_epoch_start(self) -> None:
            if self.trainer.current_epoch == 2:
                (run,) = runs()
                self.seen = [name for name in run.artifacts if name.endswith(".ckpt")]

    one = Looks()
    trainer(logger=ModelDBLogger(client), max_epochs=3).fit(one, loader())
    assert one.seen == ["checkpoints/epoch=1-step=6.ckpt"]


def test_trap_with_two_checkpoint_callbacks_both_are_stored(client, only, pl, model, trainer):
    """Reported as 20585 and 17904: the logger kept one callback and forgot the other."""
    low = pl.callbacks.ModelCheckpoint(monitor="val_loss", filename="low")
    last = pl.callbacks.ModelCheckpoint(filename="newest", every_n_train_steps=1)
    trainer(logger=ModelDBLogger(client), callbacks=[low, last]).fit(model(), loader(), loader())
    assert {"checkpoints/low.ckpt", "checkpoints/newest.ckpt"} <= only().artifacts.keys()


def test_trap_names_of_checkpoints_as_lightning_makes_them_are_no_error(client, only, pl, model, trainer):
    """Reported as geo-deep-learning 603: "epoch=00-val_loss=0.78.ckpt" failed the check of artifact paths."""
    best = pl.callbacks.ModelCheckpoint(monitor="val_loss", filename="{epoch:02d}-{val_loss:.2f}")
    trainer(logger=ModelDBLogger(client), callbacks=[best], max_epochs=1).fit(model(), loader(), loader())
    assert any(name.startswith("checkpoints/epoch=00-val_loss=") for name in only().artifacts)


def test_trap_looking_at_the_experiment_on_every_rank_starts_nothing(client, runs, monkeypatch):
    """Lightning does so in each process before a barrier: it must neither block nor make a run."""
    monkeypatch.setattr(type(client), "start_run", lambda *_, **__: pytest.fail("a run was started"))
    logger = ModelDBLogger(client)
    assert hasattr(logger, "experiment")
    _ = logger.experiment
    monkeypatch.undo()
    assert runs() == []


def test_trap_log_graph_is_always_called_and_is_cheap_the_second_time(client, only, model, trainer):
    one = trainer(logger=ModelDBLogger(client))
    fitted = model()
    one.fit(fitted, loader())
    one.test(fitted, loader(), verbose=False)
    assert sum(name == "model_summary.json" for name in only().artifacts) == 1


def test_trap_a_metric_named_step_is_the_step_as_lightning_wants_it(client, only, steps, model, trainer):
    class Counts(type(model())):
        def training_step(self, batch: Any, index: int) -> Any:
            self.log("step", float(100 + index))
            return super().training_step(batch, index)

    trainer(logger=ModelDBLogger(client), max_epochs=1).fit(Counts(), loader())
    assert steps(only().run_id, "loss") == [100, 101, 102]


def test_trap_finalize_in_the_slurm_handler_is_not_the_end(client, only):
    """ "finished" comes before the checkpoint is written, and the run goes on in another job."""
    logger = ModelDBLogger(client)
    logger.log_metrics({"x": 1.0}, 0)
    logger.finalize("finished")
    logger.log_metrics({"x": 1.0}, 1)
    assert only().status == "running"


def test_trap_saved_checkpoints_come_as_proxies_and_may_be_gone_at_the_end(client, only, pl, tmp_path):
    callback = pl.callbacks.ModelCheckpoint(tmp_path)
    (tmp_path / "a.ckpt").write_bytes(b"a")
    callback.best_model_path = callback._last_checkpoint_saved = str(tmp_path / "a.ckpt")
    logger = ModelDBLogger(client)
    logger.after_save_checkpoint(weakref.proxy(callback))
    del callback
    logger.finalize("success")
    run = only()
    assert (run.status, run.notes) == ("finished", ())
    assert "checkpoints/a.ckpt" in run.artifacts


def test_trap_each_rank_gets_the_same_folder_for_checkpoints(client, model, trainer, monkeypatch):
    """The folder is made of name and version, and sent by the first process to all: they may be None on the others."""
    monkeypatch.setenv("RANK", "1")
    logger = ModelDBLogger(client, experiment="e")
    assert (logger.name, logger.version, logger.log_dir) == ("e", None, None)


def test_trap_no_advertisement_of_ours_and_nothing_on_the_console(client, model, trainer, capsys):
    trainer(callbacks=[ModelDBCallback(client)]).fit(model(), loader())
    assert capsys.readouterr().out == ""


def test_trap_metrics_are_numbers_when_they_arrive_so_that_no_gpu_is_waited_for(client, pl, tmp_path, monkeypatch):
    """Nothing of ours asks a tensor for its value: on a GPU that would stop the training at every step."""
    asked: list[str] = []
    original = torch.Tensor.item

    def item(self: Any) -> Any:
        frame = sys._getframe(1)
        while frame is not None and not asked:
            # Through trainers.py Lightning itself passes, which makes numbers of what it logs.
            passing = Path(frame.f_code.co_filename).stem in ("callback", "trainers")
            if "modeldb_" in str(frame.f_globals.get("__name__")) and not passing:
                asked.append(frame.f_code.co_name)
            frame = frame.f_back  # type: ignore[assignment]
        return original(self)

    monkeypatch.setattr(torch.Tensor, "item", item)
    given = {"callbacks": [ModelDBCallback(client, log_checkpoints=False)], "enable_checkpointing": False}
    make_trainer(pl, tmp_path, **given).fit(make_model(pl), loader())
    assert client.flush(60)
    assert asked == []
