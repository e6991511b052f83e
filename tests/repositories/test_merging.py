"""Merging, held against tables of what is expected: base, ours and theirs as plain maps, and the outcome."""

from __future__ import annotations

import io
import math
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from modeldb_core.errors import IntegrityError, InvalidArgumentError, InvalidTypeError
from modeldb_core.repositories.blobs import Blob, Entry, blob_of, from_entry, to_entry
from modeldb_core.repositories.differences import compare
from modeldb_core.repositories.merging import BOTH, FOLDER, KINDS, REMOVED, Merger, Resolution, merge_parts
from modeldb_core.repositories.parts import Part
from modeldb_core.repositories.states import State, changes_between, same
from modeldb_core.stores import BlobInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Plain = dict[str, Any]
KEPT: dict[str, bytes] = {}


class MapTree:
    """Locations and entries as a plain map."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = dict(entries)

    def get(self, location: str) -> Entry | None:
        return self.entries.get(location)

    def differences(self, other: Any) -> Iterator[tuple[str, Entry | None, Entry | None]]:
        for location in sorted({*self.entries, *other.entries}):
            if not same(before := self.get(location), after := other.get(location)):
                yield location, before, after


def keep(stream: BinaryIO) -> BlobInfo:
    data = stream.read()
    KEPT[digest := sha256(data).hexdigest()] = data
    return BlobInfo(digest, len(data))


def opened(digest: str) -> BinaryIO:
    return io.BytesIO(KEPT[digest])


def tree_of(plain: Plain) -> State:
    """Return a state in which a map is a configuration, and a text the commit of a code snapshot."""
    return State(MapTree({location: to_entry(blob_from(value), keep) for location, value in plain.items()}))


def blob_from(value: object) -> Blob:
    if isinstance(value, str):
        return Blob("code", {"type": "git", "commit": value})
    if isinstance(value, tuple):  # an environment
        return Blob("environment", {"type": "python", "python": value[0], "packages": value[1]})
    return blob_of(value, "a location")


def plain_of(entry: Entry | None) -> object:
    if entry is None:
        return None
    blob = from_entry(entry, opened)
    if blob.kind == "code":
        return blob.content["commit"]
    if blob.kind == "environment":
        return blob.content["python"], blob.content["packages"]
    return blob.content.get("hyperparameters", {})


def merged(base: Plain, ours: Plain, theirs: Plain, resolution: Resolution | None = None) -> tuple[Plain, list[Any]]:
    state, mine, yours = tree_of(base), tree_of(ours), tree_of(theirs)
    merger = Merger(opened, lambda blob: to_entry(blob, keep), resolution or Resolution())
    found = merger.merge(changes_between(state, mine), changes_between(state, yours))
    result = dict(ours)
    for location, entry in found.edits.items():
        result[location] = plain_of(entry)
    conflicts = [(each.location, each.reason, [".".join(path) for path in each.parts]) for each in found.conflicts]
    return {location: value for location, value in result.items() if value is not None}, conflicts


LR, FAST, SLOW = {"lr": 0.1}, {"lr": 0.5}, {"lr": 0.01}
LONG = {f"setting {number}": number for number in range(200)}

# base, ours, theirs, what comes out, conflicts
TABLE: dict[str, tuple[Plain, Plain, Plain, Plain, list[Any]]] = {
    "nothing": ({}, {}, {}, {}, []),
    "only ours adds": ({}, {"a": "1"}, {}, {"a": "1"}, []),
    "only theirs adds": ({}, {}, {"a": "1"}, {"a": "1"}, []),
    "both add others": ({}, {"a": "1"}, {"b": "2"}, {"a": "1", "b": "2"}, []),
    "both add the same": ({}, {"a": "1"}, {"a": "1"}, {"a": "1"}, []),
    "both add code that differs": ({}, {"a": "1"}, {"a": "2"}, {"a": "1"}, [("a", BOTH, [])]),
    "only theirs changes": ({"a": "1"}, {"a": "1"}, {"a": "2"}, {"a": "2"}, []),
    "only ours changes": ({"a": "1"}, {"a": "2"}, {"a": "1"}, {"a": "2"}, []),
    "both change alike": ({"a": "1"}, {"a": "2"}, {"a": "2"}, {"a": "2"}, []),
    "both change code": ({"a": "1"}, {"a": "2"}, {"a": "3"}, {"a": "2"}, [("a", BOTH, [])]),
    "only theirs removes": ({"a": "1"}, {"a": "1"}, {}, {}, []),
    "only ours removes": ({"a": "1"}, {}, {"a": "1"}, {}, []),
    "both remove": ({"a": "1", "b": "1"}, {"b": "1"}, {"b": "1"}, {"b": "1"}, []),
    "ours removes, theirs changes": ({"a": "1"}, {}, {"a": "2"}, {}, [("a", REMOVED, [])]),
    "ours changes, theirs removes": ({"a": "1"}, {"a": "2"}, {}, {"a": "2"}, [("a", REMOVED, [])]),
    "of two kinds": ({}, {"a": "1"}, {"a": LR}, {"a": "1"}, [("a", KINDS, [])]),
    "settings apart": ({"c": LR}, {"c": {**LR, "x": 1}}, {"c": {**LR, "y": 2}}, {"c": {**LR, "x": 1, "y": 2}}, []),
    "a setting and its neighbour": ({"c": {**LR, "x": 1}}, {"c": {**FAST, "x": 1}}, {"c": {**LR, "x": 2}}, {"c": {**FAST, "x": 2}}, []),
    "one setting twice": ({"c": LR}, {"c": FAST}, {"c": SLOW}, {"c": FAST}, [("c", BOTH, ["lr"])]),
    "a setting removed": ({"c": {**LR, "x": 1}}, {"c": LR}, {"c": {**LR, "x": 1, "y": 1}}, {"c": {**LR, "y": 1}}, []),
    "a setting removed and changed": ({"c": {**LR, "x": 1}}, {"c": LR}, {"c": {**LR, "x": 2}}, {"c": LR}, [("c", BOTH, ["x"])]),
    "an integer is not a float": ({"c": {"n": 1}}, {"c": {"n": 1}}, {"c": {"n": 1.0}}, {"c": {"n": 1.0}}, []),
    "no number is itself": ({"c": {"n": math.nan}}, {"c": {"n": math.nan, "a": 1}}, {"c": {"n": 2}}, {"c": {"n": 2, "a": 1}}, []),
    "settings within settings": (
        {"c": {"o": {"lr": 1, "m": 1}}}, {"c": {"o": {"lr": 2, "m": 1}}}, {"c": {"o": {"lr": 1, "m": 2}}},
        {"c": {"o": {"lr": 2, "m": 2}}}, [],
    ),
    "a value and a map of values": ({"c": {"o": 1}}, {"c": {"o": 2}}, {"c": {"o": {"lr": 1}}}, {"c": {"o": 2}}, [("c", BOTH, ["o"])]),
    "packages apart": (
        {"e": ("3.12", {"numpy": "1"})}, {"e": ("3.12", {"numpy": "2"})}, {"e": ("3.13", {"numpy": "1", "scipy": "1"})},
        {"e": ("3.13", {"numpy": "2", "scipy": "1"})}, [],
    ),
    "one package twice": (
        {"e": ("3.12", {"numpy": "1"})}, {"e": ("3.12", {"numpy": "2"})}, {"e": ("3.12", {"numpy": "3"})},
        {"e": ("3.12", {"numpy": "2"})}, [("e", BOTH, ["packages.numpy"])],
    ),
    "contents stored apart": (
        {"c": LONG}, {"c": {**LONG, "x": 1}}, {"c": {**LONG, "y": 1}}, {"c": {**LONG, "x": 1, "y": 1}}, [],
    ),
    "a blob where a folder is": ({}, {"a": "1"}, {"a/b": "2"}, {"a": "1"}, [("a/b", FOLDER, [])]),
    "a folder where a blob is": ({}, {"a/b": "1", "a/c": "1"}, {"a": "2"}, {"a/b": "1", "a/c": "1"}, [("a", FOLDER, [])]),
    "a blob that becomes a folder": ({"a": "1"}, {"a": "1"}, {"a/b": "1"}, {"a/b": "1"}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_a_merge_is_what_the_table_says(case: str) -> None:
    base, ours, theirs, expected, conflicts = TABLE[case]
    result, found = merged(base, ours, theirs)
    assert (blobs(result), found) == (blobs(expected), conflicts)


@pytest.mark.parametrize("case", TABLE)
def test_the_sides_of_a_merge_can_be_exchanged(case: str) -> None:
    base, ours, theirs, expected, conflicts = TABLE[case]
    result, found = merged(base, theirs, ours)
    assert {(reason, *parts) for _, reason, parts in found} == {(reason, *parts) for _, reason, parts in conflicts}
    if not conflicts:
        assert blobs(result) == blobs(expected)


@pytest.mark.parametrize("case", TABLE)
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_side_that_is_favoured_leaves_no_conflict(case: str, side: str) -> None:
    base, ours, theirs, expected, conflicts = TABLE[case]
    result, found = merged(base, ours, theirs, Resolution(favour=side))
    assert found == []
    if not conflicts:
        assert blobs(result) == blobs(expected)
    elif len(conflicts) == 1 and not conflicts[0][2]:
        assert blobs(result) == blobs(ours if side == "ours" else theirs)


# choices, what comes out, conflicts; of a merge in which a, c (lr and x) and e are in conflict
CHOICES: list[tuple[dict[Any, Any], dict[str, Any], list[str]]] = [
    ({}, {}, ["a", "c", "e"]),
    ({"a": "theirs"}, {"a": "3"}, ["c", "e"]),
    ({"a": "ours", "c": "theirs", "e": "theirs"}, {"a": "2", "c": {"lr": 3, "x": 3}, "e": None}, []),
    ({"a": blob_from("9"), "c": "ours", "e": None}, {"a": "9", "e": None}, []),
    ({("c", "lr"): "theirs"}, {}, ["a", "c", "e"]),
    ({("c", "lr"): "theirs", ("c", "x"): 7}, {"c": {"lr": 3, "x": 7}}, ["a", "e"]),
    ({("c", "lr"): "theirs", "c": "ours"}, {"c": {"lr": 3, "x": 2}}, ["a", "e"]),
    ({("c", "lr"): None, ("c", "x"): "ours"}, {"c": {"x": 2}}, ["a", "e"]),
    ({"c": blob_of({"lr": 0}, "c")}, {"c": {"lr": 0}}, ["a", "e"]),
]


@pytest.mark.parametrize(("choices", "expected", "conflicts"), CHOICES)
def test_a_conflict_is_resolved_by_what_was_chosen(choices: Any, expected: Any, conflicts: list[str]) -> None:
    base = {"a": "1", "c": {"lr": 1, "x": 1}, "e": "1"}
    ours = {"a": "2", "c": {"lr": 2, "x": 2}, "e": "2"}
    theirs = {"a": "3", "c": {"lr": 3, "x": 3}}
    result, found = merged(base, ours, theirs, Resolution(choices))
    assert [location for location, _, _ in found] == conflicts
    assert blobs(result) == blobs({key: value for key, value in {**ours, **expected}.items() if value is not None})


def test_a_removed_setting_does_not_come_back_where_the_common_states_do_not_agree() -> None:
    state, ours, theirs = (tree_of({"c": value}) for value in ({"lr": 1, "x": 2}, {"lr": 3, "x": 2}, {"lr": 3}))
    undecided = State(state.tree, {}, frozenset({"c"}))
    for mine, yours in ((ours, theirs), (theirs, ours)):
        merger = Merger(opened, lambda blob: to_entry(blob, keep))
        found = merger.merge(changes_between(undecided, mine), changes_between(undecided, yours))
        assert [(each.location, each.parts) for each in found.conflicts] == [("c", (("x",),))]
    agreeing = Merger(opened, lambda blob: to_entry(blob, keep)).merge(
        changes_between(undecided, theirs), changes_between(undecided, theirs)
    )
    assert not agreeing.conflicts
    taken = Merger(opened, lambda blob: to_entry(blob, keep), Resolution({("c", "x"): "theirs"})).merge(
        changes_between(undecided, ours), changes_between(undecided, theirs)
    )
    assert (plain_of(taken.edits["c"]), taken.conflicts) == ({"lr": 3}, ())


def test_nothing_can_be_chosen_where_ours_has_nothing() -> None:
    base, ours, theirs = tree_of({"a": "1"}), tree_of({}), tree_of({"a": "2"})
    merger = Merger(opened, lambda blob: to_entry(blob, keep), Resolution({"a": None}))
    found = merger.merge(changes_between(base, ours), changes_between(base, theirs))
    assert (found.edits, found.conflicts) == ({}, ()), "there is nothing to remove"


def test_a_side_that_there_is_not_cannot_be_favoured() -> None:
    with pytest.raises(InvalidArgumentError, match="'ours' or 'theirs'"):
        Resolution(favour="mine")


def test_what_differs_is_told_part_by_part() -> None:
    before = Blob("config", {"hyperparameters": {"lr": 1, "o": {"a": 1, "b": 2}}, "sets": {"k": [1, 2]}})
    after = Blob("config", {"hyperparameters": {"lr": 1.0, "o": {"a": 1}, "k": 1, "n": None}})
    found = [(each.name, each.status, each.before, each.after) for each in compare(before, after)]
    assert found == [
        ("k", "changed", [1, 2], 1),
        ("lr", "changed", 1, 1.0),
        ("n", "added", None, None),
        ("o.b", "removed", 2, None),
    ]
    other_kind = compare(before, Blob("code", {"type": "git", "commit": "cafe"}))
    assert {each.status for each in other_kind} == {"added", "removed"}


def blobs(plain: Plain) -> dict[str, Any]:
    return {location: to_entry(blob_from(value), keep) for location, value in plain.items()}


class Lasting(io.BytesIO):
    """Stays open, to say how far it was read."""

    def close(self) -> None:
        pass


@pytest.mark.parametrize("size", [-1, 1])
def test_a_content_of_another_size_than_its_entry_says_is_refused_before_it_is_read(size: int) -> None:
    entry = to_entry(blob_of(LONG, "a location"), keep)
    stream = Lasting(KEPT[entry["digest"]] + b"\0" * 10_000)
    with pytest.raises(IntegrityError):
        from_entry({**entry, "size_bytes": entry["size_bytes"] + size}, lambda _: stream)
    assert stream.tell() <= entry["size_bytes"] + size + 1
    short = {**entry, "size_bytes": entry["size_bytes"] + 1}
    with pytest.raises(IntegrityError):
        from_entry(short, opened)


def test_a_kind_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="kind"):
        Blob(["a"], {})  # type: ignore[arg-type]
    with pytest.raises(IntegrityError):
        from_entry({"kind": ["a"], "content": {}}, opened)


def test_merging_settings_looks_at_each_a_few_times() -> None:
    def calls(count: int) -> int:
        counted = 0

        def count_call(_frame: object, event: str, _arg: object) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        parts = {(f"setting {number}",): Part("hyperparameters", number) for number in range(count)}
        before = sys.getprofile()
        sys.setprofile(count_call)
        try:
            merge_parts({}, parts, parts)
        finally:
            sys.setprofile(before)
        return counted

    assert calls(400) < 3 * calls(200)
