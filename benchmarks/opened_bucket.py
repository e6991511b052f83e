"""A store that is nothing but a bucket: what a run costs in objects and requests, and opening many of them.

Once on a real S3 server on this machine, once on a folder. Every run is a stream of its own, in three batches, as a
process writes that starts a run, logs, and ends it.
"""

from __future__ import annotations

import collections
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks import content
from benchmarks.bench import timed
from benchmarks.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from modeldb_core.backends.objects import ObjectMetadataStore

_WRITERS = 8
_STEPS = 20


def opened_bucket(bench: Bench) -> Iterator[Result]:
    """Fill a bucket and a folder with runs, and open them with an empty cache and with a full one."""
    from tests.services.s3 import SeaweedFS  # the server that the tests start

    with bench.folder("replicas") as cache, bench.folder("bucket") as folder:
        yield from _measured(bench, f"file://{folder}", {}, cache, "a folder")
    server = SeaweedFS()
    try:
        with bench.folder("replicas") as cache:
            yield from _measured(bench, f"s3://{server.new_bucket()}/runs", server.options, cache, "S3")
    finally:
        server.stop()


def _measured(bench: Bench, url: str, options: dict[str, Any], cache: Path, where: str) -> Iterator[Result]:
    from modeldb_core.backends.objects import ObjectMetadataStore

    count = bench.sizes.stored_runs
    caches = iter(range(100))

    def opened(name: str = "", **more: Any) -> ObjectMetadataStore:  # noqa: ANN401 - options
        folder = cache / (name or f"cold {next(caches)}")
        return ObjectMetadataStore(url, cache_dir=folder, compact=False, **options, **more)

    with _counted() as requests:
        bench.say(f"writing {count:,} runs to {where}")
        with opened("writer") as store:
            started = time.perf_counter()
            with ThreadPoolExecutor(_WRITERS) as pool:
                list(pool.map(lambda run: _write(store, run), content.runs(count)))
            per_run_ms = (time.perf_counter() - started) * 1e3 / count
        each = sum(requests.values()) / count
        note = f"3 objects; {each:.2f} requests: {_words(requests, count)}" if requests else "3 objects"
        yield _line(f"write a run of three batches to {where}, {_WRITERS} at once", "ms", [per_run_ms], note)
        yield _timed(
            bench, f"open {where} with {count:,} runs, empty cache, not compacted", opened, requests, repeats=1
        )
        with opened("warm", max_staleness_s=0) as store:
            store.heads()
            requests.clear()
            taken = timed(lambda: store.compact())
        yield _line(f"compact {count:,} runs on {where}", "s", [taken.wall / 1e3], _words(requests), taken.processor)
        yield _timed(bench, f"open {where} with {count:,} runs, empty cache, compacted", opened, requests)
        yield _timed(bench, f"open {where} with {count:,} runs, warm", lambda: opened("warm"), requests)


def _timed(
    bench: Bench,
    work: str,
    opened: Callable[[], ObjectMetadataStore],
    requests: collections.Counter[str],
    repeats: int | None = None,
) -> Result:
    from modeldb_core.queries import Query

    def ask() -> None:
        requests.clear()
        with opened() as store:
            total = store.find(Query(limit=10, order_by="metrics.auc desc", count=True)).total
        if total != bench.sizes.stored_runs:
            msg = f"{total} runs were found of {bench.sizes.stored_runs}"
            raise RuntimeError(msg)

    taken = [timed(ask) for _ in range(repeats or bench.sizes.repeats)]
    return _line(work, "s", [each.wall / 1e3 for each in taken], _words(requests), taken[-1].processor)


def _line(work: str, unit: str, samples: list[float], requests: str, processor_ms: float = 0) -> Result:
    spent = f"{processor_ms / 1e3:.2g} s of processor time" if processor_ms else ""
    note = "; ".join(filter(None, [requests, spent, "no budget"]))
    return Result(benchmark="objects", work=work, unit=unit, ours=samples, note=note)


def _write(store: ObjectMetadataStore, run: content.RunContent) -> None:
    from modeldb_core.testing import StreamWriter

    writer = StreamWriter()
    writer.open()
    containers = writer.create_containers("benchmark", "runs")
    made = writer.create_run(name=run.name, hyperparameters=run.hyperparameters, tags=run.tags, **containers)
    sent = 0

    def ship() -> None:
        nonlocal sent
        store.apply(writer.take(sent))
        sent = len(writer.changes)

    ship()
    losses = content.noisy_losses(_STEPS)
    writer.append(made.entity_id, dict(zip(content.SERIES_KEYS, losses.tolist(), strict=True)))
    ship()
    writer.update("run", made.entity_id, set={"status": "finished"}, put={"metrics": run.metrics})
    writer.close()
    ship()


def _words(requests: collections.Counter[str], runs: int = 1) -> str:
    names = {"put_object": "PUT", "get_object": "GET", "list_objects_v2": "LIST", "delete_objects": "DELETE"}
    return ", ".join(f"{number / runs:.4g} {names.get(name, name)}" for name, number in sorted(requests.items()))


@contextmanager
def _counted() -> Iterator[collections.Counter[str]]:
    """Yield the numbers of requests to S3, by their names."""
    import s3fs

    counts: collections.Counter[str] = collections.Counter()
    call = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - of another library
        counts[method] += 1
        return await call(self, method, *arguments, **named)

    s3fs.S3FileSystem._call_s3 = counted
    try:
        yield counts
    finally:
        s3fs.S3FileSystem._call_s3 = call
