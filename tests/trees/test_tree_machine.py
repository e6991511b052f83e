"""A tree against a plain dict: whatever was done to it, it is the tree of what is in it now."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from modeldb_core.trees import Difference, TreeStore, order_of
from tests.trees.conftest import CountingBlobs

_PARTS = st.sampled_from(["a", "a-b", "a.b", "b", "é", "zz", "0", "1"])
_LOCATIONS = st.lists(_PARTS, min_size=1, max_size=3).map("/".join) | st.integers(0, 60).map(lambda n: f"n/{n:02d}")
_ENTRIES = st.fixed_dictionaries(
    {"v": st.integers(0, 3)},
    optional={
        "size_bytes": st.integers(0, 9),
        "observed": st.fixed_dictionaries({"at": st.integers(0, 2)}),
        "text": st.integers(0, 300).map("x".__mul__),
    },
)
_Plain = dict[str, dict[str, Any]]


def _clashes(location: str, plain: _Plain) -> bool:
    return any(other.startswith(location + "/") or location.startswith(other + "/") for other in plain)


class _Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.blobs = CountingBlobs()
        self.trees = TreeStore(self.blobs)
        self.plain: _Plain = {}
        self.tree = self.trees.build({})
        self.before = [(self.plain, self.tree)]

    @initialize(entries=st.dictionaries(_LOCATIONS, _ENTRIES, max_size=40))
    def begin(self, entries: _Plain) -> None:
        self.plain = {}
        for location, value in entries.items():
            if not _clashes(location, self.plain):
                self.plain[location] = value
        self.tree = self.trees.build(self.plain)

    @rule(entries=st.dictionaries(_LOCATIONS, _ENTRIES, max_size=12), data=st.data())
    def edit(self, entries: _Plain, data: st.DataObject) -> None:
        there = sorted(self.plain)
        removed = data.draw(st.lists(st.sampled_from(there), unique=True, max_size=12)) if there else []
        plain = {location: value for location, value in self.plain.items() if location not in removed}
        put = {}
        for location, value in entries.items():
            if location not in removed and not _clashes(location, plain):
                plain[location] = put[location] = value
        self.before.append((self.plain, self.tree))
        self.plain, self.tree = plain, self.tree.edit(put, remove=removed)

    @rule(number=st.integers(0, 5), observed=st.booleans())
    def compare(self, number: int, observed: bool) -> None:
        plain, tree = self.before[-1 - number % len(self.before)]

        def content(value: dict[str, Any] | None) -> object:
            return {k: v for k, v in value.items() if observed or k != "observed"} if value is not None else None

        expected = [
            Difference(location, plain.get(location), self.plain.get(location))
            for location in sorted({*plain, *self.plain}, key=order_of)
            if content(plain.get(location)) != content(self.plain.get(location))
        ]
        assert list(tree.diff(self.tree, observed=observed)) == expected

    @rule(prefix=_LOCATIONS.map(lambda text: text[:2]) | st.just(""), after=_LOCATIONS | st.just(""))
    def list_some(self, prefix: str, after: str) -> None:
        expected = [
            location
            for location in sorted(self.plain, key=order_of)
            if location.startswith(prefix) and (not after or order_of(location) > order_of(after))
        ]
        assert [location for location, _ in self.tree.items(prefix, after=after)] == expected
        if not after:
            sizes = [self.plain[location].get("size_bytes", 0) for location in expected]
            assert self.tree.measure(prefix) == (len(expected), sum(sizes))

    @rule(folder=_LOCATIONS | st.just(""), after=_PARTS | st.just(""))
    def list_folder(self, folder: str, after: str) -> None:
        start = folder + "/" if folder else ""
        below = [location[len(start) :] for location in self.plain if location.startswith(start)]
        expected = {rest.split("/")[0]: "/" in rest for rest in below if rest.split("/")[0] > after}
        found = [(item.name, item.entry is None) for item in self.tree.children(folder, after=after)]
        assert found == sorted(expected.items())

    @invariant()
    def it_is_the_tree_of_what_is_in_it(self) -> None:
        assert self.tree.root == TreeStore(CountingBlobs()).build(self.plain).root
        fresh = TreeStore(self.blobs).open(self.tree.root)
        assert dict(fresh.items()) == self.plain
        assert fresh.count == len(self.plain)
        assert all(fresh.get(location) == value for location, value in list(self.plain.items())[:3])


@pytest.mark.usefixtures("small_nodes")
def test_a_tree_is_what_is_in_it_now() -> None:
    run_state_machine_as_test(
        _Machine,
        settings=settings(
            max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
