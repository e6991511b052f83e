"""Which keys entities carry, and how many of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from modeldb_core.backends._sql.database import MANY
from modeldb_core.backends._sql.documents import COLUMN_SECTION, VALUE_TYPES
from modeldb_core.backends._sql.tables import facts, keys, metrics
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import TAGS
from modeldb_core.stores import KeyInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Select

    from modeldb_core.backends._sql.database import Database, Transaction

_FEW = 5000
_HAS_SERIES = metrics.c.count.is_not(None)
_TYPE_NAMES = {number: name for name, number in VALUE_TYPES.items()}


def read_keys(transaction: Transaction, kind: str, entity_pks: Sequence[int], limit: int) -> tuple[KeyInfo, ...]:
    """Return the keys of entities of a kind by their numbers; see ``MetadataStore.find_keys``."""
    counts: Counter[int] = Counter()
    types: dict[int, set[str]] = defaultdict(set)
    parameters = {MANY: transaction.database.many(entity_pks)}
    is_few = len(entity_pks) <= _FEW
    for table, columns in (
        (facts, (facts.c.value_type,)),
        (metrics, (metrics.c.once, metrics.c.value_type, _HAS_SERIES)),
    ):
        # A number that is worked out is not looked up in an index: of many entities, all rows are looked at in the
        # order of their keys, so that the groups need not be gathered.
        number = table.c.entity_pk if is_few else table.c.entity_pk + 0
        query = select(table.c.key_pk, *columns, func.count()).where(transaction.database.among(number))
        rows = transaction.connection.execute(query.group_by(table.c.key_pk, *columns), parameters)
        for key_pk, *found, count in rows:
            counts[key_pk] += count
            types[key_pk].update(_types(*found))
    return _infos(transaction, KINDS[kind].offered, counts, types, limit)


def _types(*found: int) -> Iterator[str]:
    """Iterate over the types of values that a row of facts (its type) or metrics (once, type, series) stands for."""
    if len(found) == 1:
        yield _TYPE_NAMES[found[0]]
        return
    once, value_type, has_series = found
    if once:
        yield _TYPE_NAMES[value_type]
    if has_series:
        yield "series"


def _infos(
    transaction: Transaction, sections: Sequence[str], counts: Counter[int], types: Mapping[int, set[str]], limit: int
) -> tuple[KeyInfo, ...]:
    found: dict[str, list[tuple[int, str, int]]] = {section: [] for section in sections}
    for key_pk, section, key in transaction.rows(_keys):
        if key_pk in counts and section in found and section != COLUMN_SECTION:
            found[section].append((-counts[key_pk], key, key_pk))
    infos = []
    for section, items in found.items():
        for negated, key, key_pk in sorted(items)[:limit]:
            value_types = () if section == TAGS else tuple(sorted(types[key_pk] - {"null"}))
            infos.append(KeyInfo(section, key, -negated, value_types))
    return tuple(sorted(infos, key=lambda info: (-info.count, info.section, info.key)))


def _keys(_database: Database) -> Select[Any]:
    return select(keys.c.key_pk, keys.c.section, keys.c.key)
