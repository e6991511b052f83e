"""Keys that are recorded once: a second time is a conflict, and nothing of the call is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import edits
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, PreconditionError
from modeldb_core.log.conditions import MAX_CONDITIONS, Unset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext


def put_new(entity: Entity, section: str, pairs: Sequence[tuple[str, Any]], words: str) -> Operation:
    """Return the operation that records values under keys that the entity does not have yet.

    Args:
        entity: as it is stored.
        section: the map.
        pairs: keys and values, as :func:`~modeldb_core.commands.values.recorded` returns them.
        words: what one of them is called.

    Raises:
        InvalidArgumentError: a key is empty, or there are none or too many.
        AlreadyExistsError: the entity has one of the keys, or one is given twice.
    """
    check_keys([key for key, _ in pairs], words)
    known = entity.document.get(section, {})
    for key, _ in pairs:
        if key in known:
            raise _clash(key, words)
    operation = edits.put_values(entity.KIND, entity.entity_id, section, dict(pairs))
    expect = tuple(Unset(entity.KIND, entity.entity_id, section, key) for key, _ in pairs)
    return replace(operation, expect=expect)


def check_keys(keys: Iterable[str], words: str) -> None:
    """See that keys can be recorded together.

    Raises:
        InvalidArgumentError: one is empty, or there are none or too many.
        AlreadyExistsError: one is given twice.
    """
    counts = Counter(keys)
    if not counts or "" in counts:
        msg = f"{words} key not found in request; give at least one with its key"
        raise InvalidArgumentError(msg)
    if len(counts) > MAX_CONDITIONS:
        msg = f"the request has {len(counts):,} keys; at most {MAX_CONDITIONS:,} are recorded together: send several"
        raise InvalidArgumentError(msg)
    key, count = counts.most_common(1)[0]
    if count > 1:
        raise _clash(key, words)


def record(context: ServerContext, operation: Operation) -> None:
    """Carry an operation out; a key that somebody else has recorded meanwhile is a conflict.

    Raises:
        AlreadyExistsError: that.
    """
    try:
        context.execute(operation)
    except PreconditionError as error:
        if isinstance(error.condition, Unset):
            raise _clash(str(error.condition.key or error.condition.field), error.condition.field) from error
        raise


def _clash(key: str, words: str) -> AlreadyExistsError:
    return AlreadyExistsError(f"{words} already exists with the key {key[:80]!r}; delete it first, or take another key")
