"""Checkpoints of a run are those that Lightning keeps: stored beside the training, named, and pruned with them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modeldb_core.errors import NotFoundError
from modeldb_core.stores import ArtifactStore
from modeldb_lightning import ModelDBCallback, ModelDBLogger, download_checkpoint, find_checkpoint
from tests.lightning.small import loader


@pytest.fixture(params=["logger", "callback"])
def ours(request: pytest.FixtureRequest, client: Any) -> Any:
    """Return a function that gives a trainer our logger, or our callback, besides other callbacks."""

    def arguments(*callbacks: Any, **options: Any) -> dict[str, Any]:
        if request.param == "logger":
            return {"logger": ModelDBLogger(client, **options), "callbacks": list(callbacks)}
        return {"callbacks": [ModelDBCallback(client, **options), *callbacks]}

    return arguments


@pytest.fixture
def falling(model: Any) -> Any:
    """Return a model whose ``score`` is what the test says, epoch by epoch."""

    class Falling(type(model())):
        scores = (0.5, 0.1, 0.9, 0.3)

        def validation_step(self, batch: Any, index: int) -> None:
            super().validation_step(batch, index)
            self.log("score", self.scores[self.trainer.current_epoch])

    return Falling


def checkpoints(run: Any) -> dict[str, Any]:
    found = {name: entry for name, entry in run.artifacts.items() if entry["type"] == "checkpoint"}
    return {name.removeprefix("checkpoints/"): entry for name, entry in found.items()}


def test_checkpoints_are_in_the_run_when_its_block_ends(client, model, trainer, monkeypatch):
    put = client.put_blob

    def put_slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.3)
        return put(*args, **kwargs)

    monkeypatch.setattr(client, "put_blob", put_slowly)
    with client.start_run() as run:
        trainer(callbacks=[ModelDBCallback(client)]).fit(model(), loader())
    assert "checkpoints/epoch=1-step=6.ckpt" in run.artifacts


def test_the_best_ones_stay_and_the_others_are_taken_away(ours, only, pl, trainer, falling):
    best = pl.callbacks.ModelCheckpoint(monitor="score", mode="max", save_top_k=2, filename="{epoch}")
    trainer(**ours(best), max_epochs=4).fit(falling(), loader(), loader())
    found = checkpoints(only())
    assert {name: entry["score"] for name, entry in found.items()} == pytest.approx(
        {"epoch=0.ckpt": 0.5, "epoch=2.ckpt": 0.9}
    )
    assert found["epoch=2.ckpt"]["aliases"] == ["best", "best:score", "last"]
    assert found["epoch=2.ckpt"]["epoch"] == 2
    assert found["epoch=0.ckpt"]["aliases"] == []
    assert found["epoch=0.ckpt"]["monitor"] == "score"


def test_several_checkpoint_callbacks_are_all_followed(ours, client, only, pl, trainer, falling):
    high = pl.callbacks.ModelCheckpoint(monitor="score", mode="max", filename="high-{epoch}")
    low = pl.callbacks.ModelCheckpoint(monitor="score", mode="min", filename="low-{epoch}", save_last=True)
    trainer(**ours(high, low), max_epochs=4).fit(falling(), loader(), loader())
    run = only()
    assert checkpoints(run).keys() == {"high-epoch=2.ckpt", "low-epoch=1.ckpt", "last.ckpt"}
    handle = client.get_run(run.run_id)
    assert find_checkpoint(handle) == "checkpoints/high-epoch=2.ckpt"
    assert find_checkpoint(handle, "last") == "checkpoints/high-epoch=2.ckpt" or find_checkpoint(
        handle, "last"
    ).endswith("last.ckpt")
    with pytest.raises(NotFoundError, match="best:accuracy"):
        find_checkpoint(handle, "best:accuracy")


def test_two_callbacks_with_files_of_one_name_keep_both(ours, only, pl, trainer, falling, tmp_path):
    def one(folder: str, mode: str) -> Any:
        return pl.callbacks.ModelCheckpoint(tmp_path / folder, monitor="score", mode=mode, filename="model")

    trainer(**ours(one("a", "max"), one("b", "min")), max_epochs=3).fit(falling(), loader(), loader())
    assert checkpoints(only()).keys() == {"model.ckpt", "b/model.ckpt"}


def test_what_a_callback_keeps_stays_while_only_another_one_has_saved_after_a_resume(ours, only, pl, model, trainer):
    def callbacks() -> list[Any]:
        often = pl.callbacks.ModelCheckpoint(filename="often-{epoch}")
        return [often, pl.callbacks.ModelCheckpoint(filename="seldom-{epoch}", every_n_epochs=2)]

    often, seldom = callbacks()
    trainer(**ours(often, seldom)).fit(model(), loader())
    trainer(**ours(*callbacks()), max_epochs=3).fit(model(), loader(), ckpt_path=often.best_model_path)
    assert checkpoints(only()).keys() == {"often-epoch=2.ckpt", "seldom-epoch=1.ckpt"}


def test_all_are_kept_where_lightning_keeps_all(ours, only, pl, model, trainer):
    every = pl.callbacks.ModelCheckpoint(save_top_k=-1, filename="{epoch}")
    trainer(**ours(every), max_epochs=3).fit(model(), loader())
    assert checkpoints(only()).keys() == {"epoch=0.ckpt", "epoch=1.ckpt", "epoch=2.ckpt"}


def test_none_are_stored_where_lightning_saves_none_or_we_are_told_not_to(ours, only, runs, model, trainer):
    trainer(**ours(), enable_checkpointing=False).fit(model(), loader())
    trainer(**ours(log_checkpoints=False)).fit(model(), loader())
    assert [checkpoints(run) for run in runs()] == [{}, {}]


def test_a_link_to_the_last_one_is_no_second_file(ours, only, pl, trainer, falling):
    best = pl.callbacks.ModelCheckpoint(monitor="score", mode="max", save_top_k=3, filename="{epoch}", save_last="link")
    trainer(**ours(best), max_epochs=3).fit(falling(), loader(), loader())
    found = checkpoints(only())
    assert found.keys() == {"epoch=0.ckpt", "epoch=1.ckpt", "epoch=2.ckpt"}
    assert [name for name, entry in found.items() if "last" in entry["aliases"]] == ["epoch=2.ckpt"]


def test_a_stored_checkpoint_is_the_file_and_can_be_loaded(ours, client, only, pl, trainer, falling, tmp_path):
    best = pl.callbacks.ModelCheckpoint(monitor="score", mode="max")
    trained = falling()
    trainer(**ours(best), max_epochs=1).fit(trained, loader(), loader())
    path = download_checkpoint(client.get_run(only().run_id), tmp_path / "best.ckpt")
    assert path.read_bytes() == Path(best.best_model_path).read_bytes()
    assert type(trained).load_from_checkpoint(path).layer.bias.tolist() == trained.layer.bias.tolist()


def test_names_of_checkpoints_hold_any_character(ours, only, pl, trainer, falling):
    best = pl.callbacks.ModelCheckpoint(monitor="score", filename="{epoch}-{score:.2f} 損失:[x]%#?&")
    trainer(**ours(best), max_epochs=1).fit(falling(), loader(), loader())
    assert checkpoints(only()).keys() == {"epoch=0-score=0.50 損失:[x]%#?&.ckpt"}


def test_a_checkpoint_saved_because_of_an_exception_is_stored(ours, only, pl, model, trainer):
    class Breaks(type(model())):
        def on_train_batch_start(self, *_: Any) -> None:
            if self.trainer.global_step == 4:
                raise ValueError("late")

    rescue = pl.callbacks.ModelCheckpoint(save_on_exception=True, filename="{step}")
    one = trainer(**ours(rescue))
    before = list(one.loggers)
    with pytest.raises(ValueError, match="late"):
        one.fit(Breaks(), loader())
    assert one.loggers == before
    assert "step=4.ckpt" in checkpoints(only())


def test_storing_holds_up_no_training_and_a_file_replaced_meanwhile_is_stored_as_it_was(
    client, runs, pl, model, trainer, monkeypatch
):
    """The store takes the first checkpoint only when the training is over: by then Lightning has removed its file."""
    may_go_on, put = threading.Event(), type(client.artifacts).put
    kept: list[bytes] = []

    def slow_put(self: ArtifactStore, stream: Any, **given: Any) -> Any:
        if not kept:
            assert may_go_on.wait(60)
            kept.append(b"")
        return put(self, stream, **given)

    monkeypatch.setattr(type(client.artifacts), "put", slow_put)
    one = trainer(logger=ModelDBLogger(client, log_datasets=False), max_epochs=4)
    one.fit(model(), loader())
    assert not kept
    may_go_on.set()
    (run,) = runs()
    assert checkpoints(run).keys() == {Path(one.checkpoint_callback.best_model_path).name}
    stored = client.get_run(run.run_id).read_artifact(find_checkpoint(client.get_run(run.run_id)))
    assert stored == Path(one.checkpoint_callback.best_model_path).read_bytes()
    assert run.status == "finished"


def test_equal_content_is_stored_once(client, only, tmp_path):
    class Twice:
        state_key, monitor, save_top_k, best_model_path = "twice", "score", 2, str(tmp_path / "a.ckpt")
        best_k_models = {str(tmp_path / "a.ckpt"): 1.0, str(tmp_path / "b.ckpt"): 1.0}
        last_model_path = _last_checkpoint_saved = str(tmp_path / "b.ckpt")

    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / name).write_bytes(b"weights")
    ModelDBLogger(client).after_save_checkpoint(Twice())
    found = checkpoints(only())
    assert {name: entry["aliases"] for name, entry in found.items()} == {
        "a.ckpt": ["best", "best:score"],
        "b.ckpt": ["last"],
    }
    assert len(list(client.artifacts.list())) == 1


def test_a_checkpoint_that_is_a_folder_is_stored_file_by_file(client, only, tmp_path):
    """As strategies write that split a model."""

    class Sharded:
        state_key, monitor, save_top_k, best_k_models = "sharded", None, 1, {}
        best_model_path = last_model_path = _last_checkpoint_saved = str(tmp_path / "model.ckpt")

    for name in ("meta.pt", "shards/0.distcp"):
        path = tmp_path / "model.ckpt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    logger = ModelDBLogger(client)
    logger.after_save_checkpoint(Sharded())
    logger.finalize("success")
    run = only()
    assert checkpoints(run).keys() == {"model.ckpt/meta.pt", "model.ckpt/shards/0.distcp"}
    folder = download_checkpoint(client.get_run(run.run_id), tmp_path / "back")
    assert (folder / "shards" / "0.distcp").read_bytes() == b"shards/0.distcp"


def test_two_folders_of_one_name_are_two_checkpoints(client, only, tmp_path):
    logger = ModelDBLogger(client)
    for name in ("a", "b"):
        folder = tmp_path / name / "model.ckpt"
        folder.mkdir(parents=True)
        (folder / "meta.pt").write_bytes(name.encode())
        paths = dict.fromkeys(("best_model_path", "last_model_path", "_last_checkpoint_saved"), str(folder))
        logger.after_save_checkpoint(SimpleNamespace(state_key=name, monitor=name, best_k_models={}, **paths))
    logger.finalize("success")
    run = client.get_run(only().run_id)
    for name in ("a", "b"):
        folder = download_checkpoint(run, tmp_path / f"back-{name}", f"best:{name}")
        assert (folder / "meta.pt").read_bytes() == name.encode()


def test_checkpoints_that_wait_for_a_store_keep_few_files_open(client, only, tmp_path, monkeypatch):
    may_go_on, put = threading.Event(), type(client.artifacts).put

    def slow_put(self: ArtifactStore, stream: Any, **given: Any) -> Any:
        assert may_go_on.wait(60)
        return put(self, stream, **given)

    monkeypatch.setattr(type(client.artifacts), "put", slow_put)
    scores = {str(tmp_path / f"{number}.ckpt"): float(number) for number in range(100)}
    for path in scores:
        Path(path).write_text(path)
    every = SimpleNamespace(
        state_key="every", monitor="score", best_k_models=scores, best_model_path=next(iter(scores))
    )
    ModelDBLogger(client).after_save_checkpoint(every)
    opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert 0 < len([path for path in opened if path in scores]) <= 32
    may_go_on.set()
    assert len(checkpoints(only())) == 100


def test_weights_only_checkpoints_are_followed_too(ours, only, pl, model, trainer):
    weights = pl.callbacks.ModelCheckpoint(save_weights_only=True, filename="{epoch}")
    trainer(**ours(weights), max_epochs=3).fit(model(), loader())
    assert checkpoints(only()).keys() == {"epoch=2.ckpt"}
