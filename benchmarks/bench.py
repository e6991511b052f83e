"""What all benchmarks share: sizes, folders, clients, and repetitions that take turns."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from modeldb_core.stores import MetadataStore
    from modeldb_core.tracking import Client

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much work each benchmark does; the defaults are those that the budgets speak of."""

    repeats: int = 5
    hot_calls: int = 100_000
    size_steps: int = 100_000
    week_s: int = 7 * 86_400
    kill_s: float = 1.5
    finished_runs: int = 1_000
    stored_runs: int = 10_000
    many_runs: int = 100_000
    table_runs: int = 1_000
    top_runs: int = 100
    history_points: int = 100_000
    plot_points: int = 1_000_000
    plot_pixels: int = 2_000
    series_points: tuple[int, ...] = (100_000, 1_000_000, 10_000_000, 100_000_000)
    client_batches: int = 500
    client_seconds: int = 5
    second_points: int = 50_000
    fit_rows: int = 1_797
    fit_repeats: int = 15
    program_fits: int = 50
    candidates: int = 9_999
    search_repeats: int = 3
    writers: int = 8
    writer_batches: int = 400
    big_file_bytes: int = 1 << 30
    small_files: int = 1_000
    small_file_bytes: int = 100 << 10
    lightning_steps: int = 1_000
    tree_entries: tuple[int, ...] = (10_000, 100_000)
    dataset_files: int = 100_000
    load_s: float = 60.0


FULL = Sizes()
QUICK = Sizes(
    repeats=3,
    hot_calls=20_000,
    size_steps=20_000,
    week_s=86_400,
    kill_s=0.8,
    finished_runs=200,
    stored_runs=2_000,
    many_runs=10_000,
    plot_points=200_000,
    series_points=(100_000, 1_000_000),
    client_batches=100,
    client_seconds=3,
    fit_repeats=5,
    candidates=999,
    writer_batches=100,
    big_file_bytes=64 << 20,
    small_files=200,
    lightning_steps=400,
    tree_entries=(10_000,),
    dataset_files=2_000,
    load_s=3.0,
)
TINY = Sizes(
    repeats=1,
    hot_calls=300,
    size_steps=200,
    week_s=2_000,
    kill_s=0.05,
    finished_runs=3,
    stored_runs=30,
    many_runs=40,
    table_runs=20,
    top_runs=5,
    history_points=500,
    plot_points=3_000,
    plot_pixels=20,
    series_points=(2_000, 6_000),
    client_batches=5,
    client_seconds=2,
    second_points=1_000,
    fit_rows=60,
    fit_repeats=1,
    program_fits=2,
    candidates=30,
    search_repeats=1,
    writers=2,
    writer_batches=4,
    big_file_bytes=3 << 20,
    small_files=4,
    small_file_bytes=5_000,
    lightning_steps=20,
    tree_entries=(300,),
    dataset_files=120,
    load_s=0.2,
)


class Bench:
    """One run of benchmarks. It has the process to itself: its environment is altered.

    Args:
        workdir: where everything lies. It should be on the kind of disk that is to be measured.
        sizes: how much work is done.
        say: told what is going on.
        peers_python: an interpreter that has other trackers; default: this one.
    """

    def __init__(
        self,
        workdir: Path,
        sizes: Sizes,
        say: Callable[[str], None] = lambda text: None,
        *,
        peers_python: str = sys.executable,
    ) -> None:
        self.peers_python = peers_python
        self.workdir = workdir
        self.sizes = sizes
        self.say = say
        (workdir / "modeldb.toml").touch()
        # The user's own settings stay out of it, here and in the programs that are started.
        for variable in [name for name in os.environ if name.startswith("MODELDB_")]:
            del os.environ[variable]
        os.environ["MODELDB_CONFIG"] = str(workdir / "modeldb.toml")
        # They find compiled Python, as after any ordinary installation.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(workdir / "compiled")

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """Yield a new folder, and remove it at the end."""
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.workdir))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def client(self, folder: Path, name: str = "modeldb.db") -> Iterator[Client]:
        """Yield a client whose store, files and journals lie in ``folder``."""
        import modeldb_core as modeldb

        with modeldb.connect(
            f"sqlite:///{folder / name}",
            artifact_url=f"file://{folder / 'artifacts'}",
            journal_dir=str(folder / "journals"),
        ) as client:
            yield client

    @contextmanager
    def store(self, path: Path) -> Iterator[MetadataStore]:
        """Yield the store in a file."""
        from modeldb_core.plugins import open_store

        with open_store(f"sqlite:///{path}") as store:
            yield store

    def built(self, name: str, build: Callable[[Path], None]) -> Path:
        """Return the folder in which ``build`` put what several benchmarks use; it is built once in a run."""
        folder = self.workdir / name
        if not folder.is_dir():
            self.say(f"building {name}")
            unfinished = self.workdir / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            build(unfinished)
            unfinished.rename(folder)
        return folder

    def take_turns(
        self, limit: Callable[[], T], ours: Callable[[], T], repeats: int | None = None
    ) -> tuple[list[T], list[T]]:
        """Call limit, ours, limit, ours, ... and return what each gave: (limits, ours)."""
        limits, others = [], []
        for _ in range(repeats or self.sizes.repeats):
            gc.collect()
            limits.append(limit())
            gc.collect()
            others.append(ours())
        return limits, others

    def time_in_turns(
        self, limit: Callable[[], object], ours: Callable[[], object], repeats: int | None = None
    ) -> Measured:
        """Time limit, ours, limit, ours, ... in milliseconds; returns what a result takes."""
        limits, others = self.take_turns(lambda: timed(limit), lambda: timed(ours), repeats)
        return in_turns(limits, others)


class Taken(NamedTuple):
    """How long something took, and how much processor time of this process."""

    wall: float
    processor: float


class Measured(TypedDict):
    """The samples of a result."""

    ours: list[float]
    limit: list[float]
    processor: list[tuple[float, float]]


def in_turns(limits: Sequence[Taken], ours: Sequence[Taken]) -> Measured:
    """Return what was taken in turns as the samples of a result."""
    processor = [(mine.processor, least.processor) for mine, least in zip(ours, limits, strict=True)]
    return {"ours": [taken.wall for taken in ours], "limit": [taken.wall for taken in limits], "processor": processor}


def timed(work: Callable[[], object]) -> Taken:
    """Call ``work`` and return how long it took, in milliseconds."""
    start, start_processor = time.perf_counter(), time.process_time()
    work()
    return Taken((time.perf_counter() - start) * 1e3, (time.process_time() - start_processor) * 1e3)
