"""What an operation does, and how it is carried out directly."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.errors import AlreadyExistsError, ConditionsUnsupportedError, NotFoundError, PreconditionError
from modeldb_core.log.conditions import Absent, Unique
from modeldb_core.queries import Query
from modeldb_core.queries import condition as literal
from modeldb_core.stores import numbering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.stream import Entry
    from modeldb_core.stores import MetadataStore
    from modeldb_core.stores.direct import DirectWriter


@dataclass(frozen=True, slots=True)
class Operation:
    """Changes that belong together, and what must hold for them.

    Attributes:
        entries: the changes, in order.
        expect: the conditions under which *direct* makes them. The journal knows none: what clashes is settled where
            streams come together.
        entity_id: of what was made, or altered.
        ends_run: whether points that were logged before are part of the run all the same.
        lost: what to tell anyone who loses a race for it: in words, what somebody else has done meanwhile.
    """

    entries: tuple[Entry, ...]
    expect: tuple[Condition, ...] = ()
    entity_id: str = ""
    ends_run: bool = False
    lost: str = ""


def together(operations: Iterable[Operation]) -> Operation:
    """Return operations as one: all are carried out, or none."""
    listed = list(operations)
    entries = tuple(entry for each in listed for entry in each.entries)
    return Operation(entries, tuple(condition for each in listed for condition in each.expect))


def execute(writer: DirectWriter, operation: Operation, *, stream_id: str | None = None) -> None:
    """Carry an operation out directly: it is durable when this returns, or nothing of it was done.

    Args:
        writer: applies the changes in the name of its actor.
        operation: what is to be done; one without changes does nothing.
        stream_id: makes the operation a stream of its own, so that it is done once however often it is sent.

    Raises:
        AlreadyExistsError: there is such an entity already, or another one has the name.
        PreconditionError: another condition does not hold.
        ConflictError: the stream is there already.
        StoreReadOnlyError, StoreUnavailableError: the store cannot be written.
    """
    try:
        _send(writer, operation, operation.expect, stream_id)
    except PreconditionError as error:
        if isinstance(error.condition, (Absent, Unique)):
            msg = str(error).removeprefix("nothing was applied: ")
            raise AlreadyExistsError(msg) from error
        if operation.lost:
            msg = f"{operation.lost} ({error})"
            raise PreconditionError(msg, error.condition, error.found) from error
        raise
    except ConditionsUnsupportedError:
        if not all(isinstance(each, Absent) or _is_of_a_name(each) for each in operation.expect):
            raise
        # Of names a look must do here: two that are taken at one instant are settled where streams come together.
        for condition in operation.expect:
            _look(writer.store, condition)
        _send(writer, operation, (), stream_id)


def decide(carry_out: Callable[[Operation], object], look: Callable[[], Operation]) -> Operation:
    """Carry out an operation that goes by what is stored; where somebody came between, look again and make another one.

    For what is right whoever comes first, such as the next number. What a person has decided on what they saw is not
    repeated for them: they are told.

    Args:
        carry_out: :func:`execute`, or what calls it.
        look: returns the operation, by what is stored now.

    Returns:
        The operation that was carried out.

    Raises:
        PreconditionError, AlreadyExistsError: others came between again and again.
        ModelDBError: as :func:`execute`.
    """
    for _ in range(numbering.ATTEMPTS - 1):
        operation = look()
        try:
            carry_out(operation)
        except (PreconditionError, AlreadyExistsError):
            numbering.pause()
        else:
            return operation
    carry_out(operation := look())
    return operation


def _is_of_a_name(condition: Condition) -> bool:
    return isinstance(condition, Unique) and condition.field == "name"


def _send(writer: DirectWriter, operation: Operation, expect: Sequence[Condition], stream_id: str | None) -> None:
    if stream_id is None:
        writer.apply(operation.entries, expect=expect)
    else:
        writer.apply_alone(stream_id, operation.entries, expect=expect)


def _look(store: MetadataStore, condition: Condition) -> None:
    """See whether a condition on something new holds now, in a store that cannot decide."""
    if isinstance(condition, Absent):
        with suppress(NotFoundError):
            store.get(condition.kind, condition.entity_id)
            msg = f"there is a {condition.kind} {condition.entity_id!r} already"
            raise AlreadyExistsError(msg)
    elif isinstance(condition, Unique):
        same = f"{condition.field} = ?"
        query = Query(condition.kind, literal(same, condition.value), within=condition.scope or None, limit=2)
        if any(entity.entity_id != condition.entity_id for entity in store.find(query).entities):
            msg = f"there is a {condition.kind} with {condition.field} {condition.value!r:.80} already"
            raise AlreadyExistsError(msg)
