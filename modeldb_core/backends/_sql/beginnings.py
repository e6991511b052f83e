"""Where a statement of a search may begin, and what an index has to say about a part of a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.backends._sql.documents import place_of
from modeldb_core.backends._sql.filters import is_apart
from modeldb_core.backends._sql.layout import INDEXED_PLACES
from modeldb_core.backends._sql.ordering import MISSING
from modeldb_core.model.schema import METRICS
from modeldb_core.queries import COLUMN, DEFAULT_ORDER, TAGS, Compare, In, matches

if TYPE_CHECKING:
    from sqlalchemy import FromClause

    from modeldb_core.backends._sql.conditions import Predicate
    from modeldb_core.backends._sql.ordering import Criterion
    from modeldb_core.queries import Expression, Field

CREATED = DEFAULT_ORDER[0].field


class Beginning(NamedTuple):
    """What a statement begins with: a driver, or else numbers, or else the row of each entity that an index finds.

    Attributes:
        driver: the key whose rows are looked through.
        numbers: a column of numbers of entities, each once.
    """

    driver: Field | None = None
    numbers: FromClause | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether it is neither, and the database decides."""
        return self.driver is None and self.numbers is None


class Fewest(NamedTuple):
    """Where the fewest rows are.

    Attributes:
        beginning: what leaves the fewest rows, where that is known.
        rows: how many it leaves, at most ``find.COUNTED``.
        counts: of the rows that each part of the filter and the containers leave, as far as an index counts them; likewise.
    """

    beginning: Beginning
    rows: int
    counts: tuple[int, ...]


def along(first: Criterion, rank: int) -> Beginning | None:
    """Return what to begin with to walk along the first criterion of an order; ``None`` where no index is in it."""
    place = first.order.field
    if place == CREATED:
        return Beginning()  # the indexes of entities are in that order
    return Beginning(place) if first.source is not None and rank != MISSING else None


def is_listed(kind: str, predicate: Expression) -> bool:
    """Return whether an index of entities lists those that satisfy a predicate on a column."""
    if isinstance(predicate, In) and not predicate.negated:
        values = predicate.values
    elif isinstance(predicate, Compare) and predicate.operator == "=":
        values = (predicate.value,)
    else:
        return False
    place = predicate.field
    is_indexed = place.section == COLUMN and (place.key == "entity_id" or place_of(kind, place.key) in INDEXED_PLACES)
    return is_indexed and all(isinstance(value, str) for value in values)


def is_joinable(kind: str, predicate: Predicate) -> bool:
    """Return whether a predicate holds of nothing but a row that an entity has."""
    place = predicate.field
    if place.section == TAGS:
        return isinstance(predicate, Compare) and predicate.operator in ("contains", "=")
    return place.section != COLUMN or (is_apart(kind, place.key) and not matches(predicate, lambda _field: None))


def is_indexed(predicate: Predicate) -> bool:
    """Return whether an index finds the rows that satisfy a predicate."""
    if predicate.field.aggregate:
        return False
    if predicate.field.section == METRICS and _is_about_text(predicate):
        return False
    if isinstance(predicate, In):
        return not predicate.negated
    return isinstance(predicate, Compare) and (
        predicate.field.section == TAGS or predicate.operator in ("=", "<", "<=", ">", ">=")
    )


def may_be_nan(predicate: Compare) -> bool:
    """Return whether NaN satisfies a comparison with a number: NaN has no place in an order, so it comes last."""
    return predicate.operator == "!=" or (isinstance(predicate.value, float) and predicate.value != predicate.value)


def _is_about_text(predicate: Predicate) -> bool:
    if isinstance(predicate, In):
        return any(isinstance(value, str) for value in predicate.values)
    return isinstance(predicate, Compare) and isinstance(predicate.value, str)
