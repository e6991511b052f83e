"""One piece of work, done with one tracker: a program for an interpreter that has the tracker, and need not have ModelDB.

``python peer_programs.py TOOL WORK FOLDER COUNT`` prints what it took as JSON: ``microseconds`` for each call, run or file,
the end of the run included, and ``processor``, the same in processor time of all threads and of the processes it waited for.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = ("loss", "accuracy", "precision", "recall", "rate")
SETTINGS = {f"setting_{index}": index / 7 for index in range(20)}
RESULTS = {f"result_{index}": index / 3 for index in range(10)}
TAGS = ("a", "b", "c", "d", "e")
FILE_BYTES = 1 << 20


class ModelDB:
    """ModelDB, with SQLite and a folder."""

    def __init__(self, folder: Path) -> None:
        modeldb: Any = import_module("modeldb_core")
        url = f"sqlite:///{folder / 'modeldb.db'}"
        self.client = modeldb.connect(
            url, artifact_url=f"file://{folder / 'files'}", journal_dir=str(folder / "journal")
        )

    def start(self, settings: dict[str, float], tags: tuple[str, ...]) -> None:
        self.run = self.client.start_run(hyperparameters=settings, tags=tags, capture=False)

    def log(self, values: dict[str, float], step: int) -> None:
        self.run.log_metrics(values, step)

    def file(self, path: Path) -> None:
        self.run.log_artifact(path)

    def finish(self) -> None:
        self.run.finish()

    def close(self) -> None:
        self.client.close()


class MLflow:
    """MLflow, with SQLite and a folder."""

    def __init__(self, folder: Path) -> None:
        self.mlflow: Any = import_module("mlflow")
        self.mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        self.mlflow.create_experiment("benchmark", artifact_location=f"file://{folder / 'files'}")
        self.mlflow.set_experiment("benchmark")

    def start(self, settings: dict[str, float], tags: tuple[str, ...]) -> None:
        self.mlflow.start_run(tags=dict.fromkeys(tags, ""))
        if settings:
            self.mlflow.log_params(settings)

    def log(self, values: dict[str, float], step: int) -> None:
        self.mlflow.log_metrics(values, step=step)

    def file(self, path: Path) -> None:
        self.mlflow.log_artifact(str(path))

    def finish(self) -> None:
        self.mlflow.end_run()

    def close(self) -> None:
        """MLflow has written it."""


class Wandb:
    """W&B, offline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(folder), WANDB_CACHE_DIR=str(folder))
        os.environ.update(WANDB_CONFIG_DIR=str(folder), WANDB_DATA_DIR=str(folder), WANDB_CONSOLE="off")
        self.wandb: Any = import_module("wandb")

    def start(self, settings: dict[str, float], tags: tuple[str, ...]) -> None:
        self.run = self.wandb.init(
            project="benchmark", dir=str(self.folder), config=settings, tags=tags, mode="offline"
        )

    def log(self, values: dict[str, float], step: int) -> None:
        self.run.log(values, step=step)

    def file(self, path: Path) -> None:
        artifact = self.wandb.Artifact(path.stem, type="file")
        artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def finish(self) -> None:
        self.run.finish()

    def close(self) -> None:
        self.wandb.teardown()


class Trackio:
    """trackio, with its SQLite."""

    def __init__(self, folder: Path) -> None:
        os.environ.update(TRACKIO_DIR=str(folder), HF_HUB_OFFLINE="1", HF_HOME=str(folder))
        self.trackio: Any = import_module("trackio")
        self.number = 0

    def start(self, settings: dict[str, float], tags: tuple[str, ...]) -> None:
        self.number += 1
        config = {**settings, "tags": ",".join(tags)}
        self.trackio.init(project="benchmark", name=f"run-{self.number}", config=config, embed=False)

    def log(self, values: dict[str, float], step: int) -> None:
        self.trackio.log(values, step=step)

    file: Callable[[Path], None] | None = None

    def finish(self) -> None:
        self.trackio.finish()

    def close(self) -> None:
        """Each run ends by itself."""


class TensorBoard:
    """TensorBoard's writer of event files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary: Any = import_module("tensorboard.summary")
        self.number = 0

    def start(self, settings: dict[str, float], tags: tuple[str, ...]) -> None:
        del tags  # it has none
        self.number += 1
        self.writer = self.summary.Writer(str(self.folder / str(self.number)))
        for name, value in settings.items():
            self.writer.add_scalar(f"settings/{name}", value, 0)

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    file: Callable[[Path], None] | None = None

    def finish(self) -> None:
        self.writer.close()

    def close(self) -> None:
        """Each writer is closed."""


class DVCLive:
    """DVCLive, without an experiment of DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        os.environ["DVC_NO_ANALYTICS"] = "1"
        self.dvclive: Any = import_module("dvclive")
        self.number = 0

    def start(self, settings: dict[str, float], tags: tuple[str, ...]) -> None:
        self.number += 1
        folder = str(self.folder / str(self.number))
        self.live = self.dvclive.Live(dir=folder, save_dvc_exp=False, dvcyaml=None, monitor_system=False)
        if settings or tags:
            self.live.log_params({**settings, "tags": list(tags)})

    def log(self, values: dict[str, float], step: int) -> None:
        self.live.step = step
        for name, value in values.items():
            self.live.log_metric(name, value)
        self.live.make_summary()

    file: Callable[[Path], None] | None = None  # it names files and keeps none, but in a repository of DVC

    def finish(self) -> None:
        self.live.end()

    def close(self) -> None:
        """Each run ends by itself."""


TOOLS: dict[str, Any] = {
    "modeldb_core": ModelDB,
    "mlflow": MLflow,
    "wandb": Wandb,
    "trackio": Trackio,
    "tensorboard": TensorBoard,
    "dvclive": DVCLive,
}
"""What is measured, by the module that is imported."""


def loop(tool: Any, folder: Path, count: int) -> None:  # noqa: ANN401 - one of the above
    """Log five values a call, then end the run."""
    del folder
    tool.start({}, ())
    for step in range(count):
        tool.log(dict.fromkeys(KEYS, step + 0.5), step)
    tool.finish()


def runs(tool: Any, folder: Path, count: int) -> None:  # noqa: ANN401 - likewise
    """Finish runs with 20 settings, 10 results and 5 tags."""
    del folder
    for _ in range(count):
        tool.start(SETTINGS, TAGS)
        tool.log(RESULTS, 0)
        tool.finish()


def files(tool: Any, folder: Path, count: int) -> None:  # noqa: ANN401 - likewise
    """Store files of a MiB with one run."""
    paths = [folder / f"file-{number}.bin" for number in range(count)]
    for path in paths:
        path.write_bytes(os.urandom(FILE_BYTES))
    tool.start({}, ())
    for path in paths:
        tool.file(path)
    tool.finish()


WORKS: dict[str, Callable[[Any, Path, int], None]] = {"loop": loop, "runs": runs, "files": files}


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main(name: str, work: str, folder: str, count: str) -> None:
    """Do the work once with a run of its own first, which imports and connects, then measured."""
    tool = TOOLS[name](Path(folder))
    tool.start(SETTINGS, TAGS)
    tool.log(RESULTS, 0)
    tool.finish()
    if work == "files" and tool.file is None:
        print(json.dumps(None))
        return
    start, start_processor = time.perf_counter(), _processor()
    WORKS[work](tool, Path(folder), int(count))
    tool.close()
    taken, processor = time.perf_counter() - start, _processor() - start_processor
    print(json.dumps({"microseconds": taken / int(count) * 1e6, "processor": processor / int(count) * 1e6}))


if __name__ == "__main__":
    main(*sys.argv[1:])
