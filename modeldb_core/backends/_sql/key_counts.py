"""Which keys entities carry, and how many of them: from what is counted already, or else from some of the entities."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from modeldb_core.backends._sql.counting import SERIES, carried_metrics, forms_of_facts, forms_of_metrics
from modeldb_core.backends._sql.database import MANY
from modeldb_core.backends._sql.documents import COLUMN_SECTION, VALUE_TYPES
from modeldb_core.backends._sql.find import Finder
from modeldb_core.backends._sql.tables import key_counts, keys
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import TAGS
from modeldb_core.stores import KeyInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modeldb_core.backends._sql.conditions import Condition
    from modeldb_core.backends._sql.database import Database, Transaction
    from modeldb_core.queries import Query

SAMPLE = 1000
"""Of how many entities, the newest that match, the keys are looked at where they are not counted already."""
_FEWEST, _LOOKS = 100, 500_000
"""That many entities at least, and with many metrics no more than so many rows are looked for."""
_TYPE_NAMES = {number: name for name, number in VALUE_TYPES.items()}


def read_keys(transaction: Transaction, query: Query, now: int) -> tuple[KeyInfo, ...]:
    """Return the keys that entities carry; see ``MetadataStore.find_keys``."""
    finder = Finder(transaction, replace(query, order_by="", cursor=None, offset=0, count=False), now)
    counted = finder.counted
    if counted is not None:
        return _infos(query, _read_counted(transaction, counted), 0)
    metric_keys = transaction.rows(carried_metrics, {"kind": query.kind})[0][0]
    size = min(SAMPLE, max(_FEWEST, _LOOKS // max(metric_keys, 1)))
    found = finder.find(size)
    return _infos(query, _read_sample(transaction, found.entity_pks), size if found.cursor else 0)


def _read_counted(transaction: Transaction, condition: Condition) -> Iterator[tuple[str, str, int, int]]:
    """Iterate over sections and keys, forms of values, and how many entities have them."""
    joined = key_counts.join(keys, keys.c.key_pk == key_counts.c.key_pk)
    place = (keys.c.section, keys.c.key, key_counts.c.form)
    query = select(*place, func.sum(key_counts.c.count)).select_from(joined).where(condition).group_by(*place)
    for section, key, form, count in transaction.connection.execute(query):
        yield section, key, form, int(count)


def _read_sample(transaction: Transaction, entity_pks: Iterable[int]) -> Iterator[tuple[str, str, int, int]]:
    counts: Counter[tuple[int, int]] = Counter()
    parameters = {MANY: transaction.database.many(entity_pks)}
    for build in (forms_of_facts, forms_of_metrics):
        counts.update((key_pk, form) for _, key_pk, form in transaction.rows(build, parameters))
    names = {
        key_pk: name
        for key_pk, *name in transaction.rows(_names, {MANY: transaction.database.many({pk for pk, _ in counts})})
    }
    for (key_pk, form), count in counts.items():
        section, key = names[key_pk]
        yield section, key, form, count


def _infos(query: Query, found: Iterable[tuple[str, str, int, int]], sample: int) -> tuple[KeyInfo, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    types: dict[tuple[str, str], set[str]] = defaultdict(set)
    for section, key, form, count in found:
        if count > 0:
            counts[section, key] += count
            types[section, key].update(_types(form))
    infos = []
    for section in KINDS[query.kind].offered:
        if section == COLUMN_SECTION:
            continue
        own = sorted((-count, key) for (of, key), count in counts.items() if of == section)
        for negated, key in own[: query.limit]:
            value_types = () if section == TAGS else tuple(sorted(types[section, key] - {"null"}))
            infos.append(KeyInfo(section, key, -negated, value_types, sample))
    return tuple(sorted(infos, key=lambda info: (-info.count, info.section, info.key)))


def _types(form: int) -> Iterator[str]:
    """Iterate over the types of values that a form stands for."""
    if once := form % SERIES:
        yield _TYPE_NAMES[once]
    if form >= SERIES:
        yield "series"


def _names(database: Database) -> Any:  # noqa: ANN401 - a statement
    return select(keys.c.key_pk, keys.c.section, keys.c.key).where(database.among(keys.c.key_pk))
