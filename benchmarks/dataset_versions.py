"""Versions of a folder of many files: the first, one of which nothing changed, one of which one file did, beside git and DVC.

What is kept is the same for all: every content once. ModelDB's blobs are not compressed; git's are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

from benchmarks.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

_FOLDERS = 100
_STEPS = ("first version", "nothing changed", "one file changed")


def datasets(bench: Bench) -> Iterator[Result]:
    """Version a folder with ModelDB, git and, where ``DVC_PROGRAM`` or the path has it, DVC."""
    from modeldb_core.tracking.data.sources import path
    from modeldb_core.tracking.dataset_versions import dataset

    count = bench.sizes.dataset_files
    with bench.folder("dataset") as folder:
        data = folder / "data"
        _make(data, count)
        with bench.client(folder) as client:
            reads: list[Any] = []

            def version() -> None:
                reads.append(dataset("data", client=client).log_version(path(data, keep=True)).read)

            ours = _measure(data, version)
        shutil.rmtree(data)
        _make(data, count)
        git = _measure(data, _git(folder, data)) if shutil.which("git") else []
        dvc = _measure_dvc(folder, data, count)
    for at, step in enumerate(_STEPS):
        peers = f"DVC {dvc[at]:.1f} s, {dvc[at] / ours[at]:.1f} times ours" if dvc else ""
        yield Result(
            benchmark="datasets",
            work=f"{count:,} files, {step}",
            unit="s",
            ours=[ours[at]],
            limit=git[at : at + 1],
            limit_is="git add and commit",
            note=f"{reads[at].hashed:,} files hashed, {reads[at].sent:,} kept",
            peers=peers,
        )


def _make(data: Path, count: int) -> None:
    for folder in range(min(_FOLDERS, count)):
        (data / f"{folder:03d}").mkdir(parents=True)
    for number in range(count):
        content = f"{number}\n".encode() * (20 + number % 200)
        (data / f"{number % _FOLDERS:03d}" / f"{number:07d}.txt").write_bytes(content)
    time.sleep(0.5)  # a file that was written in this tick of the clock is not remembered


def _measure(data: Path, version: Callable[[], object]) -> list[float]:
    taken = []
    for step in _STEPS:
        if step == _STEPS[-1]:
            (data / "000" / "0000000.txt").write_text("changed")
        start = time.perf_counter()
        version()
        taken.append(time.perf_counter() - start)
    return taken


def _git(folder: Path, data: Path) -> Callable[[], object]:
    name = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org", "-c", "gc.auto=0"]
    place = [f"--git-dir={folder / 'git'}", f"--work-tree={data}"]
    subprocess.run(["git", "init", "-q", "--bare", str(folder / "git")], check=True)

    def version() -> None:
        subprocess.run(["git", *name, *place, "add", "-A", "."], cwd=data, check=True)
        commit = ["commit", "-q", "--allow-empty", "-m", "version"]
        subprocess.run(["git", *name, *place, *commit], cwd=data, check=True)

    return version


def _measure_dvc(folder: Path, data: Path, count: int) -> list[float]:
    """Return what DVC takes; nothing where it is not installed."""
    program = os.environ.get("DVC_PROGRAM") or shutil.which("dvc")
    if program is None:
        return []
    shutil.rmtree(data)
    _make(data, count)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run([program, "init", "--no-scm", "-q"], cwd=folder, check=True, env=environment)

    def version() -> None:
        subprocess.run([program, "add", "-q", "data"], cwd=folder, check=True, env=environment)

    return _measure(data, version)
