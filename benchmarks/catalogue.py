"""The benchmarks by name, in the order in which they run."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks import (
    bucket,
    content_trees,
    crash,
    dataset_versions,
    disk,
    files,
    finished_run,
    fits,
    hot_path,
    load,
    long_series,
    mlflow_server,
    opened_bucket,
    peers,
    postgres,
    programs,
    questions,
    serving,
    starting,
    steps,
    writing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench
    from benchmarks.results import Result

    Benchmark = Callable[[Bench], Iterator[Result]]

BENCHMARKS: dict[str, Benchmark] = {
    "producer": hot_path.producer,
    "durable": hot_path.durable,
    "bytes": disk.bytes_a_point,
    "week": disk.week,
    "kill": crash.kill,
    "finished": finished_run.finished,
    "top": questions.top,
    "many": questions.many,
    "pandas": questions.pandas,
    "one": questions.one,
    "history": questions.history,
    "plot": serving.plot,
    "series": long_series.long_series,
    "server": serving.cold_start,
    "writes": writing.batches,
    "load": load.load,
    "import": starting.importing,
    "autolog": fits.autolog,
    "programs": programs.programs,
    "search": fits.search,
    "writers": postgres.writers,
    "artifacts": files.artifacts,
    "bucket": bucket.bucket,
    "objects": opened_bucket.opened_bucket,
    "trees": content_trees.trees,
    "datasets": dataset_versions.datasets,
    "installed": starting.installed,
}

if find_spec("pytorch_lightning") is not None:
    BENCHMARKS["steps"] = steps.lightning

PEERS: dict[str, Benchmark] = {
    "trackers": peers.trackers,
    "mlflow": peers.mlflow,
    "mlflow autolog": peers.mlflow_autolog,
    "mlflow server": mlflow_server.mlflow_on_postgres,
}
