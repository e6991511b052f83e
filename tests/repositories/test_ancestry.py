"""What two lines of work have in common, held against the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.model.entities import Commit
from modeldb_core.repositories.ancestry import History

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def history_of(parents: Sequence[Sequence[int]]) -> History:
    """Return a history in which commit ``n`` has the parents ``parents[n]``, all of smaller numbers."""
    history = History(MemoryStore("memory://"), "r")
    for number, before in enumerate(parents):
        generation = 1 + max((history.commit(str(each)).generation for each in before), default=0)
        history._commits[str(number)] = Commit(
            entity_id=str(number), repository_id="r", parent_ids=tuple(map(str, before)), generation=generation
        )
    return history


def all_before(parents: Sequence[Sequence[int]], number: int) -> set[int]:
    return {number, *(each for parent in parents[number] for each in all_before(parents, parent))}


def expected_bases(parents: Sequence[Sequence[int]], one: int, other: int) -> set[int]:
    common = all_before(parents, one) & all_before(parents, other)
    return {each for each in common if not any(each in all_before(parents, two) for two in common - {each})}


@st.composite
def histories(draw: st.DrawFn) -> list[list[int]]:
    count = draw(st.integers(1, 12))
    return [sorted(draw(st.sets(st.integers(0, number - 1), max_size=2))) if number else [] for number in range(count)]


@settings(max_examples=120, deadline=None)
@given(histories(), st.data())
def test_merge_bases_are_the_best_common_ancestors(parents: list[list[int]], data: st.DataObject) -> None:
    numbers = st.integers(0, len(parents) - 1)
    one, other = data.draw(numbers), data.draw(numbers)
    history = history_of(parents)
    found = history.merge_bases([str(one)], [str(other)])
    assert {int(each) for each in found} == expected_bases(parents, one, other)
    assert len(set(found)) == len(found)
    assert history.is_before(str(one), str(other)) == (one in all_before(parents, other))


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_walk_meets_each_commit_once_and_none_before_one_that_builds_on_it(parents: list[list[int]]) -> None:
    last = len(parents) - 1
    met = [int(each.entity_id) for each in history_of(parents).walk([str(last)])]
    assert sorted(met) == sorted(all_before(parents, last))
    places: Mapping[int, int] = {number: place for place, number in enumerate(met)}
    assert all(places[number] < places[each] for number in met for each in parents[number])
