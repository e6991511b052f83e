"""Asking for entities by how they are linked to another one, directly or through others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.schema import KINDS, check_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Direction: TypeAlias = Literal["to", "from"]
T = TypeVar("T")

MAX_DEPTH = 100
MAX_REACHED = 100_000
"""Entities that are passed on the way from one to what is linked with it through others."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A link to another entity: what ``Query.linked`` asks for.

    Which fields link entities, the schema says (``docs/kinds.md``): run to data set version, comment to what it is about.
    Deleted entities are passed on the way as well.

    Attributes:
        kind: of the other entity.
        entity_id: its identifier.
        direction: ``"to"`` for entities that refer to it; ``"from"`` for those that it refers to.
        field: only by this field, such as ``"datasets"``; by any where it is empty.
        depth: through how many links at most, 1 to 100.

    Raises:
        InvalidArgumentError: the kind or the field is unknown, or the depth is out of range.
    """

    kind: str
    entity_id: str
    direction: Direction = "to"
    field: str = ""
    depth: int = 1

    def __post_init__(self) -> None:
        for name in ("kind", "entity_id", "direction", "field"):
            if not isinstance(getattr(self, name), str):
                msg = f"{name} of linked is of type {type(getattr(self, name)).__name__}; expected text"
                raise InvalidTypeError(msg)
        check_kind(self.kind)
        if self.direction not in ("to", "from"):
            msg = f"direction {self.direction!r} is unknown; expected 'to' or 'from'"
            raise InvalidArgumentError(msg)
        known = {each.name for declaration in KINDS.values() for each in declaration.references}
        if self.field and self.field not in known:
            msg = f"no kind has a field {self.field!r} that names other entities; there are {', '.join(sorted(known))}"
            raise InvalidArgumentError(msg)
        depth: object = self.depth
        if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= MAX_DEPTH:
            msg = f"depth {self.depth!r} is not a number from 1 to {MAX_DEPTH}"
            raise InvalidArgumentError(msg)


def reached(start: Iterable[T], step: Callable[[set[T]], Iterable[T]], depth: int) -> set[T]:
    """Return what is reached in at most ``depth`` steps; not what it starts from.

    Raises:
        InvalidArgumentError: that is more than :data:`MAX_REACHED`.
    """
    begun = set(start)
    seen, front = set(begun), set(begun)
    for _ in range(depth):
        front = set(step(front)) - seen
        seen |= front
        if not front:
            break
        if len(seen) > MAX_REACHED:
            msg = f"more than {MAX_REACHED:,} entities are linked so; ask for fewer links in a row, or by one field"
            raise InvalidArgumentError(msg)
    return seen - begun
