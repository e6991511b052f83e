"""What logging every step adds to a training with Lightning, beside the loggers that Lightning brings."""

from __future__ import annotations

import gc
import logging
import time
import warnings
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from modeldb_core.tracking import Client

BUDGET_US = 50
_DOCUMENTED = "CSVLogger 685 µs, TensorBoardLogger 2,015 µs, MLFlowLogger 8,952 µs"


def lightning(bench: Bench) -> Iterator[Result]:
    """Train a small network for many steps with each logger in turns, logging three numbers at every step."""
    # Two threads wait for each other on a busy machine, for longer than what is measured.
    import_module("torch").set_num_threads(1)
    with bench.folder("lightning") as folder, bench.client(folder) as client:
        kinds = _kinds(folder, client)
        medians: dict[str, list[float]] = {name: [] for name in kinds}
        processor: dict[str, list[float]] = {name: [] for name in kinds}
        own: dict[str, list[float]] = {name: [] for name in kinds}
        for repeat in range(bench.sizes.repeats + 1):
            for name, make in kinds.items():
                bench.say(f"steps with {name}")
                gc.collect()
                steps, spent, inside = _train(folder, make(), bench.sizes.lightning_steps)
                if repeat:  # the first time imports and warms up
                    medians[name].append(median(steps) * 1e6)
                    processor[name].append(spent / bench.sizes.lightning_steps * 1e6)
                    own[name].append(inside / bench.sizes.lightning_steps * 1e6)
        recorded = client.search_runs("status = 'finished'", limit=0, count=True).total or 0
        if recorded < 2 * bench.sizes.repeats:
            msg = f"fewer runs were recorded than trainings: {recorded}"
            raise RuntimeError(msg)
    bare = medians.pop("no logger")
    bare_processor = processor.pop("no logger")
    for name, samples in medians.items():
        ours = name.startswith("ModelDB")
        if ours:
            yield Result(
                benchmark="steps",
                work=f"Lightning, a logged step: processor time in {name} itself",
                unit="µs",
                ours=own[name],
                budget=Budget(BUDGET_US),
                peers=_DOCUMENTED,
            )
        yield Result(
            benchmark="steps",
            work=f"Lightning, a logged step with {name}",
            unit="µs",
            ours=samples,
            limit=bare,
            limit_is="the same step without a logger",
            processor=list(zip(processor[name], bare_processor, strict=True)),
            note=f"adds {median(a - b for a, b in zip(samples, bare, strict=True)):.0f} µs to a step, of processor time "
            f"{median(a - b for a, b in zip(processor[name], bare_processor, strict=True)):.0f} µs",
        )


def _kinds(folder: Path, client: Client) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return what the trainer is given, by the name of what logs."""
    loggers: Any = import_module("pytorch_lightning.loggers")
    ours: Any = import_module("modeldb_lightning")
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "no logger": lambda: {"logger": False},
        "ModelDBLogger": lambda: {"logger": ours.ModelDBLogger(client)},
        "ModelDBCallback": lambda: {"logger": False, "callbacks": [ours.ModelDBCallback(client)]},
        "CSVLogger": lambda: {"logger": loggers.CSVLogger(folder / "csv")},
    }
    if find_spec("tensorboard") is not None:
        kinds["TensorBoardLogger"] = lambda: {"logger": loggers.TensorBoardLogger(folder / "tensorboard")}
    if find_spec("mlflow") is not None:
        url = f"sqlite:///{folder / 'mlflow.db'}"
        kinds["MLFlowLogger"] = lambda: {"logger": loggers.MLFlowLogger(tracking_uri=url)}
    return kinds


def _train(folder: Path, given: dict[str, Any], count: int) -> tuple[list[float], float, float]:
    """Return the seconds of each step, and the processor time of all and of our own methods."""
    pl: Any = import_module("pytorch_lightning")
    torch: Any = import_module("torch")
    data: Any = import_module("torch.utils.data")
    times: list[float] = []
    inside = [0.0]

    class Times(pl.Callback):  # type: ignore[misc]
        def on_train_batch_start(self, *_: object) -> None:
            times.append(time.perf_counter())

    class Network(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))

        def training_step(self, batch: Any, index: int) -> Any:  # noqa: ANN401 - a tensor
            output = self.layers(batch[0])
            loss = output.pow(2).mean()
            self.log_dict({"loss": loss, "mean": output.mean(), "largest": output.max()})
            return loss

        def configure_optimizers(self) -> Any:  # noqa: ANN401 - an optimizer
            return torch.optim.SGD(self.parameters(), lr=0.01)

    loader = data.DataLoader(data.TensorDataset(torch.randn(16 * count, 32)), batch_size=16)
    for name in ("pytorch_lightning", "lightning_fabric", "mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            **{**given, "callbacks": [*given.get("callbacks", []), Times()]},
        )
        for each in (*trainer.callbacks, *trainer.loggers):
            if type(each).__module__.startswith("modeldb_lightning"):
                _time_methods(each, inside)
        start = time.process_time()
        trainer.fit(Network(), loader)
        spent = time.process_time() - start
    steps = [after - before for before, after in pairwise(times)]
    return steps[len(steps) // 10 :], spent, inside[0]


def _time_methods(owner: Any, inside: list[float]) -> None:  # noqa: ANN401 - a logger or a callback
    """Let the methods that are called at each step add to ``inside`` how long they take."""
    for name in ("log_metrics", "save", "on_train_batch_start", "on_train_batch_end", "on_before_optimizer_step"):
        original = getattr(owner, name, None)
        if original is not None:
            setattr(owner, name, _timed(original, inside))


def _timed(original: Callable[..., Any], inside: list[float]) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the original
        start = time.thread_time()  # of this thread alone: what else runs on the machine does not count
        try:
            return original(*args, **kwargs)
        finally:
            inside[0] += time.thread_time() - start

    return method
