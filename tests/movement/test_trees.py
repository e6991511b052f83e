"""What follows blobs follows content trees: nothing that an entity needs goes or stays behind, and what is broken is named."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modeldb_core.audit import Report, verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.errors import IntegrityError
from modeldb_core.model import schema
from modeldb_core.model.entities import Entity, now_us
from modeldb_core.model.schema import KindDeclaration, content_tree, reference, text
from modeldb_core.movement import copying
from modeldb_core.movement.bundle_audit import verify_bundle
from modeldb_core.movement.bundle_writer import BundleWriter
from modeldb_core.movement.bundles import Bundle
from modeldb_core.movement.collection import Collected, remove_blobs
from modeldb_core.movement.copying import Copied, copy
from modeldb_core.stores import BlobInfo
from modeldb_core.testing import StreamWriter
from modeldb_core.trees import Tree, TreeStore

MONTH = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf(Entity):
    """What holds a tree."""

    KIND: ClassVar[str] = "shelf"

    name: str = text("what people call it")
    before_id: str = reference("shelf", "the one before")
    tree: str = content_tree("what stands on it")


@pytest.fixture(autouse=True)
def shelves() -> Iterator[None]:
    schema.declare(KindDeclaration(Shelf, plural="shelves"))
    yield
    schema.forget("shelf")


class Blobs(FsspecArtifactStore):
    """An artifact store on this machine that counts, and whose bytes and times can be reached."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"file://{folder}")
        self.folder = folder
        self.forget()

    def forget(self) -> None:
        self.puts: list[str] = []
        self.opens: list[str] = []
        self.stats: list[str] = []

    def put(self, stream: Any, *, digest: str | None = None) -> BlobInfo:
        info = super().put(stream, digest=digest)
        self.puts.append(info.digest)
        return info

    def open(self, digest: str) -> Any:
        self.opens.append(digest)
        return super().open(digest)

    def stat(self, digest: str) -> BlobInfo:
        self.stats.append(digest)
        return super().stat(digest)

    def path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def damage(self, digest: str) -> None:
        content = bytearray(self.path(digest).read_bytes())
        content[len(content) // 2] ^= 1
        self.path(digest).chmod(0o644)
        self.path(digest).write_bytes(content)

    def age(self, days: float = 100) -> None:
        for info in list(self.list()):
            os.utime(self.path(info.digest), (time.time() - days * 86400,) * 2)

    @property
    def digests(self) -> set[str]:
        return {info.digest for info in self.list()}


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def other(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "other")


def file(blobs: Blobs, content: str) -> dict[str, Any]:
    info = blobs.put(io.BytesIO(content.encode()))
    return {"digest": info.digest, "size_bytes": info.size_bytes}


def many(count: int = 1000) -> dict[str, dict[str, Any]]:
    return {f"data/{number:05d}": {"checksum": f"{number:08x}", "size_bytes": number} for number in range(count)}


def leaf_of(blobs: Blobs, number: int) -> str:
    """Return the digest of the leaf with one of :func:`many`."""
    wanted = f'"{number:08x}"'.encode()
    return next(digest for digest in blobs.digests if wanted in blobs.path(digest).read_bytes())


def planted(blobs: Blobs) -> Tree:
    """Return a tree of several levels whose entries name files, also below what was observed, and a further tree."""
    trees = TreeStore(blobs)
    inner = trees.build({"deep/file": file(blobs, "within a tree within a tree")})
    return trees.build(
        {
            **many(),
            "file": file(blobs, "a file"),
            "seen": {"observed": file(blobs, "kept beside")},
            "sub": {"tree": inner.root},
        }
    )


class Log:
    """A store with shelves."""

    def __init__(self, at: int | None = None) -> None:
        self.store = MemoryStore()
        self.writer = StreamWriter(at=at or now_us() - 200 * 86400 * 1_000_000)
        self.writer.open()
        self._ship()

    def shelf(self, tree: Tree | str, before: str = "", name: str = "s") -> str:
        root = tree if isinstance(tree, str) else tree.root
        self.writer.create("shelf", name=name, tree=root, before_id=before)
        self._ship()
        return self.writer.changes[-1].entity_id

    def change(self, entity_id: str, **data: Any) -> None:
        self.writer.update("shelf", entity_id, **data)
        self._ship()

    def _ship(self) -> None:
        self.store.apply(self.writer.changes)


def collect(log: Log, blobs: Blobs, **options: Any) -> Collected:
    done = Collected()
    remove_blobs(log.store, blobs, MONTH, done, **options)
    return done


# -- garbage collection -----------------------------------------------------------------------------------------------


def test_a_collection_keeps_all_that_a_tree_needs_and_nothing_else(blobs: Blobs) -> None:
    log = Log()
    log.shelf(planted(blobs))
    needed = blobs.digests
    garbage = [
        TreeStore(blobs).build({**many(600), "x": file(blobs, "of no tree that is named")}),
        file(blobs, "none's"),
    ]
    blobs.age()
    done = collect(log, blobs)
    assert blobs.digests == needed
    assert garbage
    assert (done.kept, done.unreadable) == (len(needed), [])
    assert done.blobs > 3
    assert verify(log.store, blobs).ok


def test_a_collection_follows_the_trees_of_a_kind_that_nobody_here_knows(blobs: Blobs) -> None:
    log = Log()
    log.shelf(planted(blobs))
    needed = blobs.digests
    blobs.age()
    schema.forget("shelf")
    store = MemoryStore()  # opened by a program without the plugin
    store.apply(log.writer.changes)
    done = Collected()
    remove_blobs(store, blobs, MONTH, done)
    assert blobs.digests == needed


def test_a_collection_follows_a_tree_in_a_field_that_a_newer_version_brought(blobs: Blobs) -> None:
    log = Log()
    shelf = log.shelf("")
    log.change(shelf, set={"newer": planted(blobs).root})
    needed = blobs.digests
    blobs.age()
    collect(log, blobs)
    assert blobs.digests == needed


def test_a_collection_spares_a_tree_that_is_being_written(blobs: Blobs) -> None:
    log = Log()
    log.shelf(TreeStore(blobs).build({"a": {}}))
    before = planted(blobs)
    blobs.age()
    tree = planted(blobs)  # the same one, by another process: all of it counts as put now
    assert tree.root == before.root
    done = collect(log, blobs)
    assert (done.blobs, done.young) == (0, len(blobs.digests) - 1)
    log.shelf(tree)
    blobs.age()
    collect(log, blobs)
    assert verify(log.store, blobs).ok


def test_a_collection_removes_nothing_where_a_tree_is_not_whole(blobs: Blobs) -> None:
    log = Log()
    tree = planted(blobs)
    shelf = log.shelf(tree)
    leaf = leaf_of(blobs, 500)
    stray = file(blobs, "none's")["digest"]
    blobs.age()
    blobs.delete(leaf)
    with pytest.raises(
        IntegrityError, match=rf"tree {tree.root} \(tree of shelf {shelf}\) is missing: what comes"
    ) as caught:
        collect(log, blobs)
    assert "data/00" in str(caught.value)
    assert stray in blobs.digests
    assert len(collect(log, blobs, dry_run=True).unreadable) == 1
    assert stray in blobs.digests
    collect(log, blobs, force=True)
    assert stray not in blobs.digests


def test_a_tree_that_is_still_on_its_way_holds_nothing_up(blobs: Blobs) -> None:
    log = Log()
    log.shelf(TreeStore(blobs).build({"a": {}}))
    stray = file(blobs, "none's")["digest"]
    blobs.age()
    log.writer.at = now_us()
    log.shelf("0" * 64)
    collect(log, blobs)
    assert stray not in blobs.digests


def test_a_collection_reads_what_trees_share_once(blobs: Blobs) -> None:
    log = Log()
    tree = TreeStore(blobs).build(many(3000))
    shelf = log.shelf(tree)
    for number in range(20):
        tree = tree.edit({"data/00007": {"n": number}})
        shelf = log.shelf(tree, shelf)
    blobs.forget()
    collect(log, blobs)
    assert len(blobs.opens) == len(set(blobs.opens)) < 120


# -- audits -----------------------------------------------------------------------------------------------------------


def findings(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings]


def test_an_audit_names_every_node_and_file_that_is_damaged_or_missing(blobs: Blobs) -> None:
    log = Log()
    tree = planted(blobs)
    shelf = log.shelf(tree)
    assert verify(log.store, blobs).ok
    everything = blobs.digests
    assert verify(log.store, blobs).blobs == len(everything)
    for digest in sorted(everything):
        content = blobs.path(digest).read_bytes()
        blobs.damage(digest)
        found = findings(verify(log.store, blobs))
        assert len(found) == 1, digest
        assert f"{digest} (of shelf {shelf}" in found[0]
        blobs.path(digest).unlink()
        found = findings(verify(log.store, blobs))
        assert len(found) == 1, digest
        assert f"{digest} (of shelf {shelf}" in found[0]
        assert "it is missing" in found[0]
        blobs.path(digest).write_bytes(content)
    assert verify(log.store, blobs).ok


def test_an_audit_says_where_in_a_tree_something_is_missing(blobs: Blobs) -> None:
    log = Log()
    shelf = log.shelf(planted(blobs))
    named = file(blobs, "within a tree within a tree")["digest"]
    leaf = leaf_of(blobs, 500)
    for digest in (named, leaf):
        blobs.delete(digest)
    first, second = sorted(findings(verify(log.store, blobs)), key=lambda line: named in line)
    assert f"node {leaf} (of shelf {shelf}, tree: what comes after 'data/00" in first
    assert f"blob {named} (of shelf {shelf}, tree: 'sub': 'deep/file')" in second


def test_an_audit_names_an_entry_that_says_another_size(blobs: Blobs) -> None:
    log = Log()
    lying = {**file(blobs, "nine char"), "size_bytes": 8}
    log.shelf(TreeStore(blobs).build({"a/b": lying}))
    (found,) = findings(verify(log.store, blobs))
    assert "'a/b'" in found
    assert "it has 9 bytes; the entry says 8" in found


def test_an_audit_names_a_tree_that_is_not_cut_by_the_rule(blobs: Blobs) -> None:
    from modeldb_core.trees.entries import record_of
    from modeldb_core.trees.nodes import make_node

    log = Log()
    records = [record_of(name.replace("/", "\0").encode(), name, entry) for name, entry in sorted(many().items())]
    content = make_node(0, records)[1]  # all in one leaf
    digest = blobs.put(io.BytesIO(content)).digest
    shelf = log.shelf(digest)
    (found,) = findings(verify(log.store, blobs))
    assert f"node {digest} (of shelf {shelf}, tree: all of it): it goes on after" in found


def test_an_audit_reads_what_trees_share_once(blobs: Blobs) -> None:
    log = Log()
    tree = TreeStore(blobs).build(many(3000))
    shelf = log.shelf(tree)
    for number in range(20):
        tree = tree.edit({"data/00007": {"n": number}})
        shelf = log.shelf(tree, shelf)
    blobs.forget()
    assert verify(log.store, blobs).ok
    assert len(blobs.opens) == len(set(blobs.opens)) < 120


# -- copies and bundles -----------------------------------------------------------------------------------------------


def copied(log: Log, source: Any, target: Any, blobs: Any, **options: Any) -> Copied:
    return copy(log.store, target, artifacts=(source, blobs), **options)


def test_a_copy_takes_all_that_trees_need_along(blobs: Blobs, other: Blobs) -> None:
    log, target = Log(), MemoryStore()
    log.shelf(planted(blobs))
    needed = blobs.digests
    TreeStore(blobs).build({**many(600), "x": file(blobs, "of no tree that is named")})
    done = copied(log, blobs, target, other)
    assert done.ok
    assert other.digests == needed
    assert (done.blobs, done.blob_bytes) == (len(needed), sum(info.size_bytes for info in other.list()))
    assert verify(target, other).ok
    order = {digest: number for number, digest in enumerate(other.puts)}
    tree = TreeStore(blobs).open(log.store.get("shelf", log.writer.changes[-1].entity_id).document["tree"])
    assert (
        max(order, key=lambda digest: order[digest]) == tree.root
    )  # whole before it is named, whenever it is broken off


@pytest.mark.parametrize("days", [0, 100])
def test_a_copy_passes_over_what_the_target_has(days: int, blobs: Blobs, other: Blobs) -> None:
    log, target = Log(), MemoryStore()
    tree = TreeStore(blobs).build(many(4000))
    first = log.shelf(tree)
    copied(log, blobs, target, other)
    other.age(days)
    later = tree.edit({"data/02000": {"x": 1}, "data/new": file(blobs, "a new one")}, remove=["data/03500"])
    log.shelf(later, first)
    for each in (blobs, other):
        each.forget()
    done = copied(log, blobs, target, other)
    assert done.ok
    assert len(blobs.opens) <= 14
    assert len(other.puts) <= 8
    assert len(other.stats) <= (300 if days == 0 else 30)
    assert verify(target, other).ok


def test_a_copy_into_a_store_with_old_garbage_makes_it_young(blobs: Blobs, other: Blobs) -> None:
    log, target = Log(), MemoryStore()
    log.shelf(planted(blobs))
    planted(other)
    lost = leaf_of(other, 500)
    other.delete(lost)  # what a collection that was killed left
    other.age()
    assert copied(log, blobs, target, other).ok
    assert verify(target, other).ok
    kept = other.digests
    unnamed = Log()
    unnamed.shelf(TreeStore(other).build({"a": {}}))
    collect(unnamed, other)  # of a moment before the changes arrived
    assert kept <= other.digests


@pytest.mark.parametrize("is_bundle", [False, True])
def test_a_root_that_was_mentioned_before_does_not_come_alone(
    is_bundle: bool, blobs: Blobs, other: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_CHANGES", 1)
    log, target = Log(), MemoryStore()
    tree = planted(blobs)
    needed = blobs.digests
    log.shelf("", name=f"see {tree.root}")
    if is_bundle:
        log.shelf(tree)
        with BundleWriter(tmp_path / "a.bundle") as writer:
            done = copied(log, blobs, writer, writer)
            writer.finish(absent_blobs=sorted(done.absent))
        with Bundle(tmp_path / "a.bundle") as bundle:
            assert {info.digest for info in bundle.list()} == needed
        return
    copied(log, blobs, target, other)
    log.shelf(tree)
    assert copied(log, blobs, target, other).ok  # a second call, minutes later
    assert other.digests == needed


def test_a_tree_that_lacked_something_is_looked_at_again(blobs: Blobs, other: Blobs) -> None:
    log, target = Log(), MemoryStore()
    log.shelf(planted(blobs))
    leaf = leaf_of(blobs, 500)
    content = blobs.path(leaf).read_bytes()
    blobs.delete(leaf)
    assert set(copied(log, blobs, target, other).missing) == {leaf}
    blobs.put(io.BytesIO(content))
    log.shelf(planted(blobs))
    assert copied(log, blobs, target, other).ok
    assert verify(target, other).ok


def test_a_copy_says_what_of_a_tree_is_missing_or_damaged(blobs: Blobs, other: Blobs) -> None:
    log, target = Log(), MemoryStore()
    shelf = log.shelf(planted(blobs))
    leaf = leaf_of(blobs, 500)
    named, seen = (file(blobs, content)["digest"] for content in ("a file", "kept beside"))
    blobs.delete(leaf)
    blobs.delete(named)
    blobs.damage(seen)
    done = copied(log, blobs, target, other)
    assert not done.ok
    assert set(done.missing) == {leaf, named}
    assert all(where.startswith(f"shelf {shelf}") for where in done.missing.values())
    assert done.missing[named] == f"shelf {shelf}, tree: 'file'"
    assert set(done.damaged) == {seen}


def test_a_copy_takes_the_trees_of_a_kind_along_that_nobody_here_knows(blobs: Blobs, other: Blobs) -> None:
    log, target = Log(), MemoryStore()
    log.shelf(planted(blobs))
    needed = blobs.digests
    schema.forget("shelf")
    assert copied(log, blobs, target, other).ok
    assert other.digests == needed


def test_a_bundle_holds_what_trees_need_and_verifies(blobs: Blobs, other: Blobs, tmp_path: Path) -> None:
    log, target = Log(), MemoryStore()
    log.shelf(planted(blobs))
    needed = blobs.digests
    with BundleWriter(tmp_path / "a.bundle") as writer:
        done = copied(log, blobs, writer, writer)
        assert done.ok
        writer.finish(absent_blobs=sorted(done.absent))
    with Bundle(tmp_path / "a.bundle") as bundle:
        assert {info.digest for info in bundle.list()} == needed
        assert verify_bundle(bundle).ok
        assert copy(bundle, target, artifacts=(bundle, other)).ok  # type: ignore[arg-type]  # what a copy reads
    assert other.digests == needed
    assert verify(target, other).ok


def test_a_bundle_that_lacks_what_a_tree_needs_is_found_out(blobs: Blobs, tmp_path: Path) -> None:
    log = Log()
    shelf = log.shelf(planted(blobs))
    leaf = leaf_of(blobs, 500)
    deep = file(blobs, "within a tree within a tree")["digest"]
    blobs.delete(leaf)
    blobs.delete(deep)
    for absent in ((leaf, deep), (leaf,), (deep,), ()):
        with BundleWriter(tmp_path / "a.bundle", replace=True) as writer:
            done = copied(log, blobs, writer, writer)
            assert done.absent == {leaf, deep}
            writer.finish(absent_blobs=absent)
        with Bundle(tmp_path / "a.bundle") as bundle:
            found = findings(verify_bundle(bundle))
            assert len(found) == 2 - len(absent)
            assert all(f"(of shelf {shelf}" in line for line in found)
