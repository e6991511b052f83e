"""States of a repository that are compared: a tree, or what several trees have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from modeldb_core.model.values import to_json
from modeldb_core.repositories.blobs import OBSERVED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.repositories.blobs import Entry


@dataclass(frozen=True, slots=True)
class Change:
    """What a location held before and after; ``is_undecided``: nobody can say what it held before."""

    before: Entry | None
    after: Entry | None
    is_undecided: bool = False


Changes: TypeAlias = "Mapping[str, Change]"
"""What was changed, by location."""


class Tree(Protocol):
    """The locations of one commit and their entries."""

    def get(self, location: str) -> Entry | None:
        """Return the entry of a location, ``None`` where there is none."""

    def differences(self, other: Tree) -> Iterator[tuple[str, Entry | None, Entry | None]]:
        """Iterate over the locations that differ, with the entries here and there; at a cost in proportion to them."""


def same(one: Entry | None, other: Entry | None) -> bool:
    """Return whether two entries are equal in every bit: 1 is not 1.0."""
    if one is None or other is None:
        return one is other
    return _identity(one) == _identity(other)


def _identity(entry: Entry) -> str:
    """Return what decides which entry it is, as in trees: neither what was observed, nor the order of its keys."""
    return json.dumps(to_json({key: value for key, value in entry.items() if key != OBSERVED}), sort_keys=True)


@dataclass(frozen=True, slots=True)
class State:
    """A tree, altered at some locations.

    Attributes:
        tree: what stands at all other locations.
        altered: entries by location, ``None`` for nothing.
        undecided: locations about which the commits that the state stands for do not agree.
    """

    tree: Tree
    altered: Mapping[str, Entry | None] = field(default_factory=dict)
    undecided: frozenset[str] = frozenset()

    def at(self, location: str) -> Entry | None:
        """Return the entry of a location."""
        return self.altered[location] if location in self.altered else self.tree.get(location)


def changes_between(base: State, state: State) -> dict[str, Change]:
    """Return what was changed from one state to another, at a cost in proportion to it."""
    found = {location: Change(before, after) for location, before, after in base.tree.differences(state.tree)}
    for location in {*base.altered, *state.altered, *base.undecided, *state.undecided}:
        is_undecided = location in base.undecided
        change = Change(base.at(location), state.at(location), is_undecided)
        if is_undecided or not same(change.before, change.after):
            found[location] = change
        else:
            found.pop(location, None)
    return found
