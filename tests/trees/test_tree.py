"""Trees: the same entries are the same nodes, and what is done costs what it changes."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from modeldb_core.errors import IntegrityError, InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.trees import Difference, Tree, TreeStore, describe, order_of
from modeldb_core.trees.entries import Record
from modeldb_core.trees.nodes import make_node
from tests.trees.conftest import CountingBlobs, entry

MANY = 10_000


def flat(count: int = MANY) -> dict[str, Any]:
    """Entries in one folder."""
    return {f"data/part-{number:07d}.bin": entry(number) for number in range(count)}


def nested(count: int = MANY) -> dict[str, Any]:
    """Entries in many folders."""
    return {f"{number % 7}/{number % 97}/{number}": entry(number) for number in range(count)}


@pytest.fixture(scope="module")
def stored() -> tuple[dict[str, bytes], str]:
    """Return the nodes of a tree of many entries in one folder, and its root."""
    blobs = CountingBlobs()
    return blobs.contents, TreeStore(blobs).build(flat()).root


@pytest.fixture
def tree(stored: tuple[dict[str, bytes], str], trees: TreeStore, blobs: CountingBlobs) -> Tree:
    """Return that tree, of which nothing is in memory."""
    blobs.contents.update(stored[0])
    return trees.open(stored[1])


@pytest.mark.parametrize("make", [flat, nested])
def test_an_edit_among_many_entries_writes_a_few_small_nodes(make: Any, trees: TreeStore, blobs: CountingBlobs) -> None:
    entries = make()
    root = trees.build(entries).root
    first, second = random.Random(1).sample(sorted(entries), 2)
    for put, remove in (({first: entry(7)}, []), ({}, [second]), ({first + "x": entry(1)}, [])):
        blobs.forget()
        root = TreeStore(blobs).open(root).edit(put, remove=remove).root
        assert len(blobs.put_digests) <= 6
        assert len(set(blobs.opened)) <= 9
        assert sum(len(blobs.contents[digest]) for digest in blobs.put_digests) < 200_000
        entries = {name: value for name, value in {**entries, **put}.items() if name not in remove}
    assert root == describe(entries).root


def test_a_diff_reads_in_proportion_to_what_differs(tree: Tree, blobs: CountingBlobs) -> None:
    before = tree
    middle = "data/part-0005000.bin"
    after = before.edit({middle: entry(1), "data/new": entry(2)}, remove=["data/part-0009000.bin"])
    blobs.forget()
    fresh = TreeStore(blobs)
    assert list(fresh.open(before.root).diff(fresh.open(after.root))) == [
        Difference("data/new", None, entry(2)),
        Difference(middle, entry(5000), entry(1)),
        Difference("data/part-0009000.bin", entry(9000), None),
    ]
    assert len(blobs.opened) <= 12
    assert list(after.diff(after)) == []


def test_a_page_reads_a_few_nodes(tree: Tree, blobs: CountingBlobs) -> None:
    blobs.forget()
    opened = TreeStore(blobs).open(tree.root)
    page = list(opened.items("data/", after="data/part-0004999.bin", limit=10))
    assert [location for location, _ in page] == [f"data/part-{number:07d}.bin" for number in range(5000, 5010)]
    assert len(blobs.opened) <= 5
    assert next(opened.items("data/part-00099", limit=3))[0] == "data/part-0009900.bin"
    assert list(opened.items("nowhere")) == []


def test_count_and_size_are_in_the_root(tree: Tree, blobs: CountingBlobs) -> None:
    blobs.forget()
    opened = TreeStore(blobs).open(tree.root)
    assert (opened.count, opened.size_bytes) == (MANY, sum(range(MANY)))
    assert blobs.opened == [tree.root]


def test_children_of_a_folder_do_not_cost_what_lies_below(trees: TreeStore, blobs: CountingBlobs) -> None:
    entries = {f"big/{number // 100}/{number}": entry(number) for number in range(5000)}
    tree = trees.build({**entries, "README": entry(1), "big-not": entry(2), "z/a": entry(3)})
    blobs.forget()
    opened = TreeStore(blobs).open(tree.root)
    assert [(item.name, item.entry is None) for item in opened.children()] == [
        *[("README", False), ("big", True), ("big-not", False), ("z", True)]
    ]
    assert len(blobs.opened) <= 8
    assert [item.name for item in opened.children("big", limit=3)] == ["0", "1", "10"]
    assert [item.location for item in opened.children("big/", after="8")] == ["big/9"]
    assert [(item.name, item.entry) for item in opened.children("z")] == [("a", entry(3))]
    assert list(opened.children("nowhere")) == []


def test_what_lies_in_a_folder_is_measured_from_a_few_nodes(trees: TreeStore, blobs: CountingBlobs) -> None:
    entries = {f"{folder}/{number:05d}": entry(number) for folder in "abc" for number in range(2000)}
    tree = trees.build(entries)
    blobs.forget()
    opened = TreeStore(blobs).open(tree.root)
    assert opened.measure("b/") == (2000, sum(range(2000)))
    assert len(blobs.opened) <= 6
    assert opened.measure("b/000") == (100, sum(range(100)))
    assert opened.measure() == (6000, 3 * sum(range(2000)))
    assert opened.measure("d") == (0, 0)


def test_a_tree_is_built_from_a_stream_in_bounded_memory(trees: TreeStore, blobs: CountingBlobs) -> None:
    class Dropping(CountingBlobs):
        def put(self, stream: Any) -> Any:
            info = super().put(stream)
            self.contents.clear()
            return info

    def stream(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((f"data/part-{number:07d}", {"checksum": f"{number:064x}"}) for number in range(count))

    def peak(count: int) -> int:
        store = TreeStore(Dropping(), cache_bytes=0)
        tracemalloc.start()
        store.build(stream(count))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(20_000) < 4 << 20


def test_what_was_observed_is_no_part_of_the_content(trees: TreeStore) -> None:
    def seen(at: int) -> dict[str, Any]:
        return {f"a/{number}": entry(number, observed={"modified_at": at + number}) for number in range(1000)}

    bare = trees.build({f"a/{number}": entry(number) for number in range(1000)})
    one, other = trees.build(seen(10)), trees.build(seen(10**15))
    assert one.root != other.root != bare.root
    assert one.content == other.content == bare.content == bare.root
    assert list(one.diff(other)) == []
    assert len(list(one.diff(other, observed=True))) == 1000
    assert one.get("a/7") == entry(7, observed={"modified_at": 17})
    edited = one.edit({"a/7": entry(8, observed={})})
    assert edited.content == bare.edit({"a/7": entry(8)}).root
    assert list(other.diff(edited)) == [
        Difference("a/7", entry(7, observed={"modified_at": 10**15 + 7}), entry(8)),
    ]


def test_describing_stores_nothing_and_says_the_same(trees: TreeStore) -> None:
    assert describe(flat(500)) == trees.build(flat(500)).info


def test_an_empty_tree_is_one(trees: TreeStore) -> None:
    empty = trees.build({})
    assert (empty.count, empty.size_bytes, list(empty.items()), list(empty.children())) == (0, 0, [], [])
    tree = empty.edit({"a": {}})
    assert tree.get("a") == {}
    assert tree.edit(remove=["a"]).root == empty.root
    assert list(empty.diff(tree)) == [Difference("a", None, {})]
    assert list(tree.diff(empty)) == [Difference("a", {}, None)]


def test_values_come_back_as_they_were_given(trees: TreeStore) -> None:
    given = {"lr": 0.1, "nan": float("inf"), "big": 2**70, "$x": [1, {"b": None, "a": True}], "text": "é\u2028"}
    assert trees.build({"config": given}).get("config") == given


def test_locations_are_kept_as_they_are_given(trees: TreeStore) -> None:
    names = ["é", "e\u0301", "a b", "a\nb", "\U0001f600/x", "..a", "a.", "~", "x" * 300]
    tree = trees.build({name: {} for name in names})
    assert sorted(location for location, _ in tree.items()) == sorted(names)
    assert all(name in tree for name in names)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("", "is empty"),
        ("/a", "begins or ends"),
        ("a/", "begins or ends"),
        ("a//b", "holds '//'"),
        (".", "part '.'"),
        ("a/../b", "part '..'"),
        ("a\0b", "NUL"),
        ("x/" * 3000 + "y", "at most 4,096"),
        ("é" * 2049, "at most 4,096"),
        ("\ud800", "surrogate"),
        (7, "of type int"),
    ],
)
def test_a_location_that_cannot_be_is_refused(location: Any, said: str, trees: TreeStore) -> None:
    tree = trees.build({"there": {}})
    for attempt in (
        lambda: trees.build({location: {}}),
        lambda: trees.build([(location, {})]),
        lambda: tree.edit({location: {}}),
        lambda: tree.edit(remove=[location]),
        lambda: tree.get(location),
    ):
        with pytest.raises(InvalidArgumentError, match="location|is empty") as caught:
            attempt()
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (5, "expected a map"),
        ({1: 2}, "texts as keys"),
        ({"size_bytes": -1}, "integer of at least 0"),
        ({"size_bytes": True}, "integer of at least 0"),
        ({"size_bytes": 2**63}, "integer of at least 0"),
        ({"digest": "abc"}, "64 hexadecimal"),
        ({"tree": None}, "64 hexadecimal"),
        ({"observed": {"digest": "A" * 64}}, "64 hexadecimal"),
        ({"observed": 3}, "expected a map"),
        ({"x": b"bytes"}, "cannot be stored"),
        ({"x": "y" * 20_000}, "at most 16,384"),
        ({"observed": {"x": "y" * 3_000}}, "at most 2,048"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(wrong: Any, said: str, trees: TreeStore) -> None:
    for attempt in (lambda: trees.build({"a": wrong}), lambda: trees.build({}).edit({"a": wrong})):
        with pytest.raises((InvalidArgumentError, InvalidTypeError)) as caught:
            attempt()
        assert said in str(caught.value)
        assert "'a'" in str(caught.value)


def test_entries_that_are_not_in_order_are_refused(trees: TreeStore) -> None:
    with pytest.raises(InvalidArgumentError, match="'a' comes after 'b'.*order_of"):
        trees.build([("b", {}), ("a", {})])
    with pytest.raises(InvalidArgumentError, match="'a' is there twice"):
        trees.build([("a", {}), ("a", {})])
    trees.build(sorted({"a-b": {}, "a/c": {}}.items(), key=lambda pair: order_of(pair[0])))


@pytest.mark.usefixtures("small_nodes")
def test_a_location_is_an_entry_or_a_folder(trees: TreeStore) -> None:
    with pytest.raises(InvalidArgumentError, match="'a/b' is both an entry and the folder of 'a/b/c'"):
        trees.build({"a/b": {}, "a/b/c": {}, "a/b-d": {}})
    for count in range(40):  # in some of them a leaf ends between the two
        tree = trees.build({f"{number:03d}": {} for number in range(count)} | {"x/y/z": {}})
        with pytest.raises(InvalidArgumentError, match="'x/y' is both an entry and the folder of 'x/y/z'"):
            tree.edit({"x/y": {}})
        with pytest.raises(InvalidArgumentError, match="'x/y/z' is both an entry and the folder of 'x/y/z/1'"):
            tree.edit({"x/y/z/1": {}})
        moved = tree.edit({"x/y": {}}, remove=["x/y/z"])
        assert "x/y" in moved
        assert moved.edit({"x/y/z": {}}, remove=["x/y"]).root == tree.root


def test_an_edit_that_cannot_be_is_refused(trees: TreeStore) -> None:
    tree = trees.build({"a": {}, "c": {}})
    for location in ("b", "d", "c/x"):
        with pytest.raises(NotFoundError, match=f"no '{location}' in the tree"):
            tree.edit(remove=[location])
    with pytest.raises(InvalidArgumentError, match="put and to be removed"):
        tree.edit({"a": {}}, remove=["a"])
    with pytest.raises(NotFoundError, match="no 'b' in the tree"):
        tree.get("b")
    assert tree.edit() is tree


def test_a_root_that_is_none_is_refused(trees: TreeStore, blobs: CountingBlobs) -> None:
    with pytest.raises(InvalidArgumentError, match="64 hexadecimal"):
        trees.open("main")
    with pytest.raises(NotFoundError):
        _ = trees.open("0" * 64).count
    plain = blobs.put(io.BytesIO(b"a file"))
    with pytest.raises(IntegrityError, match="not a node of a tree"):
        _ = trees.open(plain.digest).count


def test_a_node_that_is_missing_or_damaged_is_said(tree: Tree, blobs: CountingBlobs) -> None:
    leaf = next(digest for digest in blobs.contents if b"part-0004" in blobs.contents[digest][:200])
    content = blobs.contents.pop(leaf)
    with pytest.raises(NotFoundError, match=leaf):
        list(TreeStore(blobs).open(tree.root).items())
    blobs.contents[leaf] = content[:-3] + b"x" + content[-2:]
    with pytest.raises(IntegrityError, match=leaf):
        list(TreeStore(blobs).open(tree.root).items())


def test_a_node_whose_keys_repeat_is_refused_before_it_fills_the_memory(trees: TreeStore, blobs: CountingBlobs) -> None:
    key = b"x" * 800
    records = [Record(key + b"%06d" % number, 0, b"", b"") for number in range(20_000)]  # 16 MB of keys
    content = make_node(0, records)[1]
    assert len(content) < 300_000
    root = blobs.put(io.BytesIO(content)).digest
    with pytest.raises(IntegrityError, match="has to end by its length"):
        list(trees.open(root).items())
