"""Grouping: how many entities have each value of a field, and the spread of other values among them.

What the answer is, :func:`find_groups` says in plain Python; stores that answer faster are held against it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, QuerySyntaxError
from modeldb_core.model.integers import big_int
from modeldb_core.model.plain_data import SAFE_INTEGER
from modeldb_core.model.schema import KINDS, METRICS
from modeldb_core.model.values import decode
from modeldb_core.queries.ast import COLUMN, TAGS, Field
from modeldb_core.queries.evaluate import MISSING
from modeldb_core.queries.fields import EMPTY_WHERE_UNSET, column_type
from modeldb_core.queries.leaves import LeafValue, ValueType, leaf_value, searchable
from modeldb_core.queries.parse import parse_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modeldb_core.model.entities import Entity
    from modeldb_core.model.values import Value
    from modeldb_core.queries.query import Query

MAX_MEASURES = 20
"""Of one question."""
MOST_MEASURED = 1e150
"""Numbers beyond it, infinite ones and NaN are left out of a :class:`Spread`: the square of a larger one is no float."""
_SUMMARY_NAMES = {"min": "minimum", "max": "maximum"}  # other aggregates are called as in a summary


class Finds(Protocol):
    """A store that finds entities."""

    def find(self, query: Query, /) -> Any:  # noqa: ANN401 - a page: ``stores.Page``
        """Return a page of entities."""


GroupType: TypeAlias = ValueType | Literal[""]
Place: TypeAlias = LeafValue | tuple[Literal[""], None, None]
"""What entities of one group have in common: the searchable form of their value, or that they have none."""
NOWHERE: Place = ("", None, None)
TYPES: tuple[GroupType, ...] = ("number", "text", "bool", "null", "json", "")
"""Of groups that are equally large, in the order in which they come."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What is known of the numbers of one field among the entities of a group.

    Attributes:
        count: how many numbers there are, without infinite ones, NaN and those beyond :data:`MOST_MEASURED`.
        mean: of them.
        deviation: their standard deviation, by ``count - 1``; 0 of a single one.
        minimum: the least.
        maximum: the greatest.
    """

    count: int
    mean: float
    deviation: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Group:
    """The entities that have one value.

    Attributes:
        value: the value; ``None`` where there is none, and for what stands for many (``json``). A whole number up to
            2^53 comes as an integer, whether it was written with a fraction or not; of a larger one the integer and the
            float are two groups.
        value_type: number, text, bool or null; ``json`` for a list of at most :data:`~modeldb_core.queries.leaves.MAX_LIST`
            characters of JSON, and, all in one group without a value, for longer lists, maps and texts that are not
            searched; empty for the entities that have no value.
        count: how many entities there are.
        spreads: of each measure that was asked for; ``None`` where no entity has a number.
    """

    value: Value
    value_type: GroupType
    count: int
    spreads: tuple[Spread | None, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Some of the groups: the largest first, of equally large ones those of numbers in their order, then texts.

    ``total`` is how many groups there are in all.
    """

    groups: tuple[Group, ...]
    total: int


def parse_grouping(kind: str, by: str, measures: Sequence[str]) -> tuple[Field, tuple[Field, ...]]:
    """Return the field to group by, and those whose numbers are measured.

    Raises:
        QuerySyntaxError: a name does not parse, or entities cannot be grouped or measured by the field.
        InvalidArgumentError: there are too many measures.
    """
    if isinstance(measures, str):
        msg = f'measures is the text {measures!r}; expected a list of names, such as ["metrics.auc"]'
        raise InvalidTypeError(msg)
    if len(measures) > MAX_MEASURES:
        msg = f"{len(measures):,} fields are to be measured; ask for at most {MAX_MEASURES} at once"
        raise InvalidArgumentError(msg)
    field = parse_field(by, kind)
    named = KINDS[kind].container_names
    if field.section == TAGS:
        msg = "an entity has any number of tags, so tags make no groups; group by a key or a column"
        raise QuerySyntaxError(msg, by, 1)
    if field.section == COLUMN and field.key in named:
        msg = f"{by!r} is the name of a container; group by {named[field.key].name}"
        raise QuerySyntaxError(msg, by, 1)
    fields = tuple(parse_field(name, kind) for name in measures)
    elapsed = {each.name for each in KINDS[kind].elapsed}
    for name, measured in zip(measures, fields, strict=True):
        if measured.section == TAGS or (measured.section == COLUMN and measured.key not in elapsed):
            msg = f"{name!r} cannot be measured; expected keys such as metrics.auc{', or ' * bool(elapsed)}{', '.join(elapsed)}"
            raise QuerySyntaxError(msg, name, 1)
    return field, fields


def find_groups(store: Finds, query: Query, by: str, measures: Sequence[str]) -> GroupPage:
    """Return what ``MetadataStore.find_groups`` does, by all entities that a store finds.

    Raises:
        QuerySyntaxError: as there.
    """
    field, measured = parse_grouping(query.kind, by, measures)

    def entities() -> Iterator[Entity]:
        asked = replace(query, order_by="", fields=(by, *measures), limit=1000, cursor=None, offset=0, count=False)
        page = store.find(asked)
        yield from page.entities
        while page.cursor is not None:
            page = store.find(replace(asked, cursor=page.cursor))
            yield from page.entities

    return gather(entities(), field, measured, limit=query.limit, offset=query.offset)


def gather(entities: Iterable[Entity], by: Field, measures: Sequence[Field], *, limit: int, offset: int) -> GroupPage:
    """Return the groups of some entities."""
    counts: dict[Place, int] = defaultdict(int)
    numbers: dict[Place, list[list[float]]] = {}
    for entity in entities:
        place = place_of_value(value_of(entity, by))
        counts[place] += 1
        for found, field in zip(numbers.setdefault(place, [[] for _ in measures]), measures, strict=True):
            value_type, number, _ = place_of_value(value_of(entity, field))
            if value_type == "number" and number is not None and abs(number) <= MOST_MEASURED:
                found.append(number)
    ordered = sorted(counts, key=lambda place: (-counts[place], *_standing(place)))
    groups = (
        Group(value_at(place), place[0], counts[place], tuple(map(spread, numbers[place])))
        for place in ordered[offset : offset + limit]
    )
    return GroupPage(tuple(groups), len(ordered))


def place_of_value(value: object) -> Place:
    """Return to which group a value belongs."""
    if value is MISSING:
        return NOWHERE
    found = leaf_value(value)
    return ("number", 0.0, None) if found[:2] == ("number", 0.0) else found  # not -0.0


def value_at(place: Place) -> Value:
    """Return the value of a group."""
    value_type, number, text = place
    if value_type == "text":
        return text
    if value_type == "json":
        return None if text is None else decode(text)
    if value_type == "bool":
        return number == 1.0
    if value_type != "number":
        return None
    if text is not None:
        return big_int(text)
    if number is None:
        return math.nan
    return int(number) if abs(number) <= SAFE_INTEGER and number == int(number) else number


def spread(numbers: Sequence[float]) -> Spread | None:
    """Return what is known of numbers."""
    count = len(numbers)
    if not count:
        return None
    mean = math.fsum(numbers) / count
    squares = math.fsum((number - mean) ** 2 for number in numbers)
    return Spread(count, mean, math.sqrt(squares / (count - 1)) if count > 1 else 0.0, min(numbers), max(numbers))


def value_of(entity: Entity, field: Field) -> Any:  # noqa: ANN401 - of any type
    """Return the value of a field that entities can be grouped by; ``MISSING`` where an entity has none."""
    if field.section == COLUMN:
        value = _column(entity, field.key)
        return MISSING if value is None else value
    if field.aggregate:
        summary = entity.series.get(field.key)  # type: ignore[attr-defined]
        return MISSING if summary is None else getattr(summary, _SUMMARY_NAMES.get(field.aggregate, field.aggregate))
    values = dict(getattr(entity, METRICS)) if field.section == METRICS else entity.document.get(field.section)
    return searchable(entity.KIND, {field.section: values}).get((field.section, field.key), MISSING)


def _column(entity: Entity, column: str) -> Any:  # noqa: ANN401 - of any type
    declaration = KINDS[entity.KIND]
    if column == "status" and declaration.has_points:
        return entity.status  # type: ignore[attr-defined] # an empty one is a status, too
    if column in ("entity_id", "workspace_id", "project_id"):
        return getattr(entity, column) or None
    for elapsed in declaration.elapsed:
        if elapsed.name == column:
            return elapsed.of(entity.document)
    is_text = column_type(entity.KIND, column) == "text"
    value = entity.document.get(column, "" if column in EMPTY_WHERE_UNSET and is_text else None)
    return value if declaration.fields[column].fits(value) else None


def _standing(place: Place) -> tuple[object, ...]:
    value_type, number, text = place
    return TYPES.index(value_type), number is None, number or 0.0, text is None, text or ""
