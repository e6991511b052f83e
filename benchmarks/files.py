"""Artifacts on a local folder: one large file, and many small ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from typing import TYPE_CHECKING

from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

_CHUNK = 1 << 20


def artifacts(bench: Bench) -> Iterator[Result]:
    """Log a large file and a folder of small ones, against reading, hashing and writing them."""
    sizes = bench.sizes
    sets = {
        f"one file of {sizes.big_file_bytes >> 20:,} MiB": (1, sizes.big_file_bytes),
        f"{sizes.small_files:,} files of {sizes.small_file_bytes >> 10:,} KiB": (
            sizes.small_files,
            sizes.small_file_bytes,
        ),
    }
    for label, (count, size) in sets.items():
        with bench.folder("files") as folder:
            source = folder / "source"
            make_files(source, count, size)
            limits, ours = bench.take_turns(lambda s=source: _copied(bench, s), lambda s=source: _logged(bench, s))  # type: ignore[misc]
        yield Result(
            benchmark="artifacts",
            work=f"log_artifact, {label}",
            unit="MB/s",
            ours=ours,
            limit=limits,
            limit_is="read, SHA-256, write to another folder",
            budget=Budget(0.8, "ratio", at_least=True),
            peers="MLflow without hashing 2.4 x (one large file), 0.3 x (small ones); through its server 0.48 x, 0.05 x",
        )


def make_files(folder: Path, count: int, size: int) -> None:
    """Write ``count`` files of random bytes into a new folder."""
    folder.mkdir()
    for number in range(count):
        with (folder / f"{number:05}.bin").open("wb") as file:
            left = size
            while left:
                left -= file.write(os.urandom(min(left, 1 << 22)))


def _logged(bench: Bench, source: Path) -> float:
    files = list(source.iterdir())
    size = sum(path.stat().st_size for path in files)
    with bench.folder("logged") as folder, bench.client(folder) as client, client.start_run(capture=False) as run:
        client.flush()
        os.sync()  # what was written before is not to be waited for now
        start = time.perf_counter()
        run.log_artifact(source if len(files) > 1 else files[0])
        return size / 1e6 / (time.perf_counter() - start)


def _copied(bench: Bench, source: Path) -> float:
    size = sum(path.stat().st_size for path in source.iterdir())
    with bench.folder("copied") as folder:
        os.sync()
        start = time.perf_counter()
        for path in sorted(source.iterdir()):
            digest = hashlib.sha256()
            with path.open("rb") as reading, (folder / path.name).open("wb") as writing:
                while chunk := reading.read(_CHUNK):
                    digest.update(chunk)
                    writing.write(chunk)
        took = time.perf_counter() - start
        shutil.rmtree(folder)
    return size / 1e6 / took
