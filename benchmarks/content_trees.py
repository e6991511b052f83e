"""A content tree of many entries in one folder, of which one changes: beside git's tree of the same."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from benchmarks.results import Budget, Result
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.trees import TreeStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from modeldb_core.stores import BlobInfo


class _Cost(NamedTuple):
    """What something cost."""

    ms: float
    blobs: int
    size: int


class _Counting(FsspecArtifactStore):
    """Counts what is put and opened."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"file://{folder}")
        self.forget()

    def forget(self) -> None:
        self.puts = self.put_bytes = self.opens = 0

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        info = super().put(stream, digest=digest)
        self.puts += 1
        self.put_bytes += info.size_bytes
        return info

    def open(self, digest: str) -> BinaryIO:
        self.opens += 1
        return super().open(digest)


def trees(bench: Bench) -> Iterator[Result]:
    """Change one entry among many, and compare the tree with the one before."""
    for count in bench.sizes.tree_entries:
        names = [f"part-{number:07d}.bin" for number in range(count)]
        with bench.folder("trees") as folder:
            store = _Counting(folder / "blobs")
            start = time.perf_counter()
            tree = TreeStore(store).build({name: _entry(name) for name in names})
            built = (
                f"built in {time.perf_counter() - start:.1f} s: {store.puts:,} nodes, {store.put_bytes / 1e6:.1f} MB"
            )
            git = _Git(folder / "git", names) if shutil.which("git") else None
            edits: list[_Cost] = []
            theirs: list[_Cost] = []
            for repeat in range(bench.sizes.repeats):
                location = names[(repeat + 1) * count // (bench.sizes.repeats + 2)]
                edits.append(_edit(store, tree.root, location, repeat))
                if git is not None:
                    theirs.append(git.edit(location, repeat))
            diffs = [_diff(store, tree.root, repeat, names) for repeat in range(bench.sizes.repeats)]
        work = f"one of {count:,} entries in one folder"
        yield Result(
            benchmark="trees",
            work=f"{work} changed",
            unit="ms",
            ours=[cost.ms for cost in edits],
            limit=[cost.ms for cost in theirs],
            limit_is="git update-index and write-tree",
            note=f"{edits[0].blobs} nodes written; {built}",
        )
        yield Result(
            benchmark="trees",
            work=f"{work} changed, bytes written",
            unit="kB",
            ours=[cost.size / 1e3 for cost in edits],
            limit=[cost.size / 1e3 for cost in theirs],
            limit_is="git's new tree, not packed",
            budget=Budget(0.5, "ratio") if count >= 10_000 else None,
        )
        yield Result(
            benchmark="trees",
            work=f"{work} found changed",
            unit="ms",
            ours=[cost.ms for cost in diffs],
            note=f"{diffs[0].blobs} nodes read",
        )


def _entry(text: str) -> dict[str, Any]:
    return {"digest": hashlib.sha256(text.encode()).hexdigest(), "size_bytes": len(text)}


def _edit(store: _Counting, root: str, location: str, number: int) -> _Cost:
    store.forget()
    start = time.perf_counter()
    TreeStore(store).open(root).edit({location: _entry(f"{location} {number}")})
    return _Cost((time.perf_counter() - start) * 1e3, store.puts, store.put_bytes)


def _diff(store: _Counting, root: str, number: int, names: list[str]) -> _Cost:
    other = TreeStore(store).open(root).edit({names[-1 - number]: _entry("other")}).root
    store.forget()
    fresh = TreeStore(store)
    start = time.perf_counter()
    found = list(fresh.open(root).diff(fresh.open(other)))
    took = (time.perf_counter() - start) * 1e3
    if [each.location for each in found] != [names[-1 - number]]:
        msg = f"a diff found {found!r:.200}"
        raise RuntimeError(msg)
    return _Cost(took, store.opens, 0)


class _Git:
    """A repository whose index names files that are not there: its trees alone are measured."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        folder.mkdir()
        self._call("init", "--quiet")
        lines = io.StringIO()
        for name in names:
            lines.write(f"100644 {hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()}\t{name}\n")
        self._call("update-index", "--index-info", given=lines.getvalue())
        self._call("write-tree", "--missing-ok")

    def edit(self, location: str, number: int) -> _Cost:
        digest = hashlib.sha1(f"{location} {number}".encode(), usedforsecurity=False).hexdigest()
        start = time.perf_counter()
        self._call("update-index", "--cacheinfo", f"100644,{digest},{location}")
        tree = self._call("write-tree", "--missing-ok").strip()
        took = (time.perf_counter() - start) * 1e3
        return _Cost(took, 1, (self._folder / ".git" / "objects" / tree[:2] / tree[2:]).stat().st_size)

    def _call(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self._folder, input=given, capture_output=True, text=True, check=True
        )
        return done.stdout
