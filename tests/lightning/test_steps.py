"""Under which steps things stand: of training, of evaluation, of learning rates, and what a resume makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from modeldb_lightning import ModelDBCallback, ModelDBLogger, resuming
from tests.lightning.small import loader

KINDS = [ModelDBLogger, ModelDBCallback]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine answer."""
    monkeypatch.setattr(resuming, "WAIT_S", 60)


def given(ours: Any, *callbacks: Any) -> dict[str, Any]:
    if isinstance(ours, ModelDBLogger):
        return {"logger": ours, "callbacks": list(callbacks)}
    return {"callbacks": [ours, *callbacks]}


def evaluating(small: Any) -> Any:
    """Return a model that logs in each step of a validation."""

    class Evaluating(small):
        def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
            self.log("val", self.layer(batch[0]).pow(2).mean(), on_step=True, on_epoch=True)

    torch.manual_seed(0)
    return Evaluating()


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_resume_the_steps_of_validations_go_on_and_nothing_went_back(kind, client, only, steps, model, trainer):
    small = type(model())
    first = trainer(max_epochs=1, **given(kind(client)))
    first.fit(evaluating(small), loader(), loader(7))
    path = first.checkpoint_callback.best_model_path
    trainer(max_epochs=2, **given(kind(client))).fit(evaluating(small), loader(), loader(7), ckpt_path=path)
    run = only()
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert steps(run.run_id, "val_step") == list(range(14))
    assert steps(run.run_id, "val_epoch") == [2, 5]
    assert run.notes == ()
    assert not [key for key in run.series if "retrained" in key]


def test_validations_that_are_made_again_stand_apart_at_the_steps_that_they_have(
    client, only, steps, pl, model, trainer, tmp_path
):
    every = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", save_top_k=-1)
    small = type(model())
    trainer(max_epochs=3, **given(ModelDBLogger(client), every)).fit(evaluating(small), loader(), loader(2))
    path = str(tmp_path / "ckpt" / "epoch=0-step=3.ckpt")
    for _ in range(3):
        trainer(max_epochs=4, **given(ModelDBLogger(client))).fit(
            evaluating(small), loader(), loader(2), ckpt_path=path
        )
    run = only()
    assert steps(run.run_id, "val_step") == list(range(8))
    assert steps(run.run_id, "retrained/val_step") == [2, 3, 4, 5]
    assert steps(run.run_id, "retrained/loss") == [3, 4, 5, 6, 7, 8]
    assert steps(run.run_id, "retrained-2/val_step") == [2, 3, 4, 5, 6, 7]
    assert steps(run.run_id, "retrained-2/loss") == list(range(3, 12))
    assert steps(run.run_id, "retrained-3/val_step") == [2, 3, 4, 5, 6, 7]
    assert steps(run.run_id, "retrained-3/loss") == list(range(3, 12))
    assert len([note for note in run.notes if "The training went back to step" in note]) == 3
    assert not [key for key in run.series if key.startswith("retrained") and "/modeldb" in key]
    for key in run.series:
        assert len(steps(run.run_id, key)) == len(set(steps(run.run_id, key))), key


@pytest.mark.parametrize("kind", KINDS)
def test_the_validation_of_an_early_checkpoint_goes_on_behind_those_of_the_whole_training(
    kind, client, only, steps, pl, model, trainer, tmp_path
):
    every = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", save_top_k=-1)
    small = type(model())
    trainer(max_epochs=3, **given(kind(client), every)).fit(evaluating(small), loader(7), loader(2))
    path = str(tmp_path / "ckpt" / "epoch=0-step=7.ckpt")
    trainer(**given(kind(client))).validate(evaluating(small), loader(2), ckpt_path=path, verbose=False)
    assert steps(only().run_id, "val_step") == list(range(8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        ({"val_check_interval": 2}, 4),  # a validation is due at this step, and another one two steps later
        ({"check_val_every_n_epoch": 2}, 6),  # at the end of an epoch, with one
        ({"check_val_every_n_epoch": 2}, 12),
        ({"check_val_every_n_epoch": 2}, 18),  # without one
    ],
)
def test_a_checkpoint_of_the_end_of_a_batch_leaves_the_steps_of_validations_as_they_are(
    kind, settings, saved, client, runs, steps, pl, model, trainer, tmp_path
):
    """It is saved before the validation after that batch, which Lightning does not make again."""
    small = type(model())

    def train(last: int, path: Path | None = None) -> Any:
        every = pl.callbacks.ModelCheckpoint(tmp_path / str(last), every_n_train_steps=1, save_top_k=-1)
        one = trainer(max_epochs=5, max_steps=last, **settings, **given(kind(client), every))
        one.fit(evaluating(small), loader(6), [loader(2), loader(3)], ckpt_path=path)
        run = runs()[-1]
        return {key: steps(run.run_id, key) for key in run.series if not key.startswith("modeldb/")}

    expected = train(24)
    assert len(expected["val_step/dataloader_idx_1"]) >= 6
    train(saved)
    (path,) = (tmp_path / str(saved)).glob(f"*step={saved}.ckpt")
    assert train(24, path) == expected


def test_validations_go_on_where_lightning_counts_from_0_again(client, only, steps, model, trainer):
    one, net = trainer(max_epochs=2, logger=ModelDBLogger(client), reload_dataloaders_every_n_epochs=1), None
    net = evaluating(type(model()))
    one.validate(net, loader(2), verbose=False)
    one.fit(net, loader(), loader(2))
    assert steps(only().run_id, "val_step") == list(range(6))


def test_a_counter_of_the_program_has_a_past_of_its_own(client, only, steps, model, trainer):
    class Counts(type(model())):
        def training_step(self, batch: Any, index: int) -> Any:
            self.logger.log_metrics({"samples": 1.0}, step=1000 * (self.global_step + 1))
            return super().training_step(batch, index)

    torch.manual_seed(0)
    first = trainer(max_epochs=1, logger=ModelDBLogger(client))
    first.fit(Counts(), loader())
    path = first.checkpoint_callback.best_model_path
    trainer(max_epochs=2, logger=ModelDBLogger(client)).fit(Counts(), loader(), ckpt_path=path)
    run = only()
    assert run.notes == ()
    assert steps(run.run_id, "samples") == [1000, 2000, 3000, 4000, 5000, 6000]


@pytest.mark.parametrize("kind", KINDS)
def test_the_trainer_itself_may_go_back_to_a_checkpoint(kind, client, only, steps, pl, model, trainer, tmp_path):
    every = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", save_top_k=-1)
    one, net = trainer(max_epochs=2, **given(kind(client), every)), model()
    one.fit(net, loader())
    one.fit(net, loader(), ckpt_path=str(tmp_path / "ckpt" / "epoch=0-step=3.ckpt"))
    run = only()
    assert [note.partition(".")[0] for note in run.notes] == ["The training went back to step 3"]
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert steps(run.run_id, "retrained/loss") == [3, 4, 5]


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_block_a_trainer_that_goes_back_to_a_checkpoint_leaves_word(
    kind, client, only, steps, pl, model, trainer, tmp_path
):
    """The run of the block is open all the time: nothing opens it again."""
    every = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", save_top_k=-1)
    with client.start_run():
        one, net = trainer(max_epochs=2, **given(kind(client), every)), model()
        one.fit(net, loader())
        one.fit(net, loader(), ckpt_path=str(tmp_path / "ckpt" / "epoch=0-step=3.ckpt"))
    run = only()
    assert [note.partition(".")[0] for note in run.notes] == ["The training went back to step 3"]
    assert steps(run.run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert steps(run.run_id, "retrained/loss") == [3, 4, 5]


def test_a_run_that_was_named_and_whose_checkpoint_is_taken_up_repeats_no_step(client, only, steps, model, trainer):
    with client.start_run() as run:
        pass
    first = trainer(max_epochs=1, logger=ModelDBLogger(client, run_id=run.run_id))
    first.fit(model(), loader())
    path = first.checkpoint_callback.best_model_path
    trainer(max_epochs=2, logger=ModelDBLogger(client, run_id=run.run_id)).fit(model(), loader(), ckpt_path=path)
    assert steps(only().run_id, "loss") == [0, 1, 2, 3, 4, 5]
    assert not [key for key in only().series if "retrained" in key]


def test_in_a_block_the_run_of_the_block_is_used_and_left_open(client, runs, model, trainer):
    first = trainer(max_epochs=1, callbacks=[ModelDBCallback(client)])
    first.fit(model(), loader())
    with client.start_run(name="block") as block:
        trainer(max_epochs=2, callbacks=[ModelDBCallback(client)]).fit(
            model(), loader(), ckpt_path=first.checkpoint_callback.best_model_path
        )
        block.log_metric("after", 1)
    before, after = runs()
    assert after.attributes["resumed_from"]["run_id"] == before.run_id
    assert (after.name, after.series["loss"].count, after.metrics["after"]) == ("block", 3, 1)


def test_system_metrics_repeat_no_step_when_a_run_is_continued(client, only, steps, model, trainer):
    def begin(epochs: int) -> Any:
        return trainer(max_epochs=epochs, logger=ModelDBLogger(client, log_system_metrics=True))

    first = begin(1)
    first.fit(model(), loader())
    begin(2).fit(model(), loader(), ckpt_path=first.checkpoint_callback.best_model_path)
    run = only()
    found = steps(run.run_id, "modeldb/system/rank0/memory_bytes")
    assert len(found) >= 2
    assert found == sorted(set(found))
    assert not [key for key in run.series if "retrained" in key]


def scheduled(small: Any, *, manual: bool = False) -> Any:
    class Scheduled(small):
        def __init__(self) -> None:
            super().__init__()
            self.used: list[float] = []
            self.automatic_optimization = not manual

        def training_step(self, batch: Any, index: int) -> Any:
            loss = super().training_step(batch, index)
            if manual:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
                self.lr_schedulers().step()
            return loss

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.used.append(float(optimizer.param_groups[0]["lr"]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5), "interval": "step"}]

    torch.manual_seed(0)
    return Scheduled()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("manual", "accumulate"), [(False, 1), (True, 1), (False, 2)])
def test_learning_rates_are_those_that_each_step_was_taken_with(
    kind, manual, accumulate, client, only, steps, model, trainer
):
    net = scheduled(type(model()), manual=manual)
    trainer(max_epochs=1, accumulate_grad_batches=accumulate, **given(kind(client))).fit(net, loader(6))
    run = only()
    expected = [0.5**step for step in range(6 // accumulate)]
    assert net.used == expected
    assert steps(run.run_id, "modeldb/lr-SGD") == list(range(6 // accumulate))
    assert [float(rate) for rate in client.get_run(run.run_id).history("modeldb/lr-SGD").values] == expected
    for key in run.series:
        assert len(steps(run.run_id, key)) == len(set(steps(run.run_id, key))), key


def test_a_rate_that_the_program_sets_itself_before_a_step_is_the_one_recorded(client, only, model, trainer):
    class Warms(type(model())):
        def optimizer_step(self, epoch: int, index: int, optimizer: Any, closure: Any = None) -> None:
            for group in optimizer.param_groups:
                group["lr"] = 0.001 * (self.global_step + 1)
            optimizer.step(closure=closure)

    torch.manual_seed(0)
    trainer(max_epochs=1, logger=ModelDBLogger(client)).fit(Warms(), loader())
    rates = client.get_run(only().run_id).history("modeldb/lr-SGD").values
    assert [float(rate) for rate in rates] == pytest.approx([0.001, 0.002, 0.003])


def test_layers_that_are_unfrozen_later_have_their_rates_recorded(client, only, steps, pl, model, trainer):
    class Two(type(model())):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = torch.nn.Linear(4, 4)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.layer.parameters(), lr=0.1)

    class Unfreezes(pl.callbacks.BaseFinetuning):
        def freeze_before_training(self, pl_module: Any) -> None:
            self.freeze(pl_module.backbone)

        def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
            if epoch == 1:
                self.unfreeze_and_add_param_group(pl_module.backbone, optimizer, lr=0.01)

    torch.manual_seed(0)
    trainer(callbacks=[Unfreezes(), ModelDBCallback(client)]).fit(Two(), loader())
    run = only()
    assert steps(run.run_id, "modeldb/lr-SGD") == [0, 1, 2]
    assert steps(run.run_id, "modeldb/lr-SGD/pg2") == [3, 4, 5]
