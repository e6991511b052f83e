"""What ``import modeldb_core`` costs a training script, and what an installation takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

_PROGRAM = """
import sys, time
before, start = len(sys.modules), time.perf_counter()
{statement}
seconds = time.perf_counter() - start
# getrusage would tell the peak of the process that started this one
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
import json
print(json.dumps([seconds * 1e3, peak / 1e3, len(sys.modules)]))
"""
_FIRST_RUN = """
import modeldb_core
with modeldb_core.connect("sqlite:///{folder}/modeldb.db", artifact_url="file://{folder}/files", journal_dir="{folder}/j"):
    with modeldb_core.start_run(capture=False) as run:
        run.log_metrics({{"loss": 0.5}}, step=0)
"""


def importing(bench: Bench) -> Iterator[Result]:
    """Import in fresh interpreters, in turns with one that imports nothing."""
    repeats = 2 * bench.sizes.repeats
    _measured("import modeldb_core")  # compiles it
    nothing, ours = bench.take_turns(lambda: _measured("pass"), lambda: _measured("import modeldb_core"), repeats)
    bare = "an interpreter that imports nothing"
    peers = "dvclive 200 ms, MLflow 1,290 ms and 163 MB"
    yield Result(
        benchmark="import",
        work="import modeldb_core",
        unit="ms",
        ours=[values[0] for values in ours],
        budget=Budget(100),
        note=f"{ours[-1][2] - nothing[-1][2]:.0f} modules",
        peers=peers,
    )
    yield Result(
        benchmark="import",
        work="import modeldb_core, memory",
        unit="MB",
        ours=[values[1] for values in ours],
        limit=[values[1] for values in nothing],
        limit_is=bare,
        budget=Budget(40),
        peers=peers,
    )
    runs = []
    for _ in range(1 + bench.sizes.repeats):
        with bench.folder("first") as folder:
            runs.append(_measured(_FIRST_RUN.format(folder=folder)))
    for index, (what, unit) in enumerate((("", "ms"), (", memory", "MB"))):
        yield Result(
            benchmark="import",
            work=f"import, a new store, one run, close{what}",
            unit=unit,
            ours=[values[index] for values in runs[1:]],
            note=f"{runs[-1][2] - nothing[-1][2]:.0f} modules; no budget" if not index else "no budget",
            peers="MLflow 3,220 ms, 222 MB" if not index else "",
        )


def installed(bench: Bench) -> Iterator[Result]:
    """Add up what the distributions that the core needs have put on the disk."""
    del bench
    found = core_distributions()
    sizes = {name: _size(each) for name, each in found.items()}
    numpy = sum(sizes.pop("numpy")) / 1e6  # which every user has
    total, compiled = (sum(size[index] for size in sizes.values()) / 1e6 for index in range(2))
    largest = sorted(sizes, key=lambda name: -sum(sizes[name]))[:5]
    shares = ", ".join(f"{name} {sum(sizes[name]) / 1e6:.1f}" for name in largest)
    yield Result(
        benchmark="installed",
        work="installed size of the core beside NumPy, with compiled Python",
        unit="MB",
        ours=[total + compiled],
        budget=Budget(40),
        note=f"{total:.1f} MB as unpacked, {compiled:.1f} MB of .pyc; the largest: {shares}; NumPy has {numpy:.1f} MB",
        peers="wandb 94 MB, MLflow 807 MB",
    )
    yield Result(
        benchmark="installed",
        work="distributions of the core",
        unit="",
        ours=[len(found)],
        budget=Budget(20),
        note=", ".join(sorted(found)),
        peers="wandb 33, MLflow 87",
    )


def core_distributions(root: str = "modeldb-core") -> dict[str, Distribution]:
    """Return the distributions that installing ``root`` without extras brings to this machine, by name."""
    from packaging.requirements import Requirement

    found: dict[str, Distribution] = {}
    waiting = [root]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            msg = f"{name!r}, which modeldb-core needs, is not installed; install the package before measuring it"
            raise RuntimeError(msg) from None
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def _size(installed: Distribution) -> tuple[int, int]:
    """Return the bytes of a distribution's files, and those of its compiled Python, estimated where it is not there."""
    total = compiled = 0
    for path in _files(installed):
        if path.suffix == ".pyc" or not path.is_file():
            continue
        size = path.stat().st_size
        total += size
        if path.suffix == ".py":
            caches = list((path.parent / "__pycache__").glob(f"{path.stem}.{sys.implementation.cache_tag}.pyc"))
            compiled += caches[0].stat().st_size if caches else size
    return total, compiled


def _files(installed: Distribution) -> list[Path]:
    """Return the files of a distribution; those of an editable one lie where its sources do."""
    listed = [Path(str(installed.locate_file(file))) for file in installed.files or []]
    direct = json.loads(installed.read_text("direct_url.json") or "{}")
    if not direct.get("dir_info", {}).get("editable"):
        return listed
    import modeldb_core

    root = Path(modeldb_core.__file__).parents[1]
    folders = [root / "modeldb_core", *root.glob("integrations/*/modeldb_*"), *root.glob("*/modeldb_*")]
    return [*listed, *(path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts)]


def _measured(statement: str) -> tuple[float, float, float]:
    """Run statements in a fresh interpreter; returns milliseconds, the peak of memory in MB, and loaded modules."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(statement=statement)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        msg = f"a measured program failed:\n{done.stderr}"
        raise RuntimeError(msg)
    milliseconds, megabytes, modules = json.loads(done.stdout)
    return milliseconds, megabytes, modules
