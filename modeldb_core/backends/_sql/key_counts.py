"""Which keys entities carry, and how many of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from modeldb_core.backends._sql.documents import COLUMN_SECTION, VALUE_TYPES
from modeldb_core.backends._sql.tables import facts, keys, metrics
from modeldb_core.queries import TAGS
from modeldb_core.stores import KeyInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Select

    from modeldb_core.backends._sql.database import Database, Transaction

LISTED = ("metrics", "hyperparameters", "attributes", "tags", "datasets", "code")
"""The sections of which keys are told."""

_TYPE_NAMES = {number: name for name, number in VALUE_TYPES.items()}


def read_keys(
    transaction: Transaction, matching: Select[Any], parameters: Mapping[str, Any], limit: int
) -> tuple[KeyInfo, ...]:
    """Return the keys of the entities whose numbers ``matching`` gives; see ``MetadataStore.find_keys``."""
    connection = transaction.connection
    chosen = matching.cte("chosen").prefix_with("MATERIALIZED")
    counts: Counter[int] = Counter()
    types: dict[int, set[str]] = defaultdict(set)
    of_facts = (
        select(facts.c.key_pk, facts.c.value_type, func.count())
        .where(facts.c.entity_pk.in_(select(chosen.c.entity_pk)))
        .group_by(facts.c.key_pk, facts.c.value_type)
    )
    for key_pk, value_type, count in connection.execute(of_facts, parameters):
        counts[key_pk] += count
        types[key_pk].add(_TYPE_NAMES[value_type])
    has_series = metrics.c.count.is_not(None)
    of_metrics = (
        select(metrics.c.key_pk, metrics.c.once, metrics.c.value_type, has_series, func.count())
        .where(metrics.c.entity_pk.in_(select(chosen.c.entity_pk)))
        .group_by(metrics.c.key_pk, metrics.c.once, metrics.c.value_type, has_series)
    )
    for key_pk, once, value_type, with_series, count in connection.execute(of_metrics, parameters):
        counts[key_pk] += count
        types[key_pk].update([_TYPE_NAMES[value_type]] if once else [], ["series"] if with_series else [])
    return _infos(transaction, counts, types, limit)


def _infos(
    transaction: Transaction, counts: Counter[int], types: Mapping[int, set[str]], limit: int
) -> tuple[KeyInfo, ...]:
    found: dict[str, list[tuple[int, str, int]]] = {section: [] for section in LISTED}
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
