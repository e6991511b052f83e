"""Asking for entities by how they are linked to another one, directly or through others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.schema import ANY, KINDS, check_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Direction: TypeAlias = Literal["to", "from"]
T = TypeVar("T")

MAX_DEPTH = 100
MAX_NAMED = 500
"""Entities that one link may name."""
MAX_REACHED = 100_000
"""Entities that are passed on the way from one to what is linked with it through others."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A link to another entity, or to any of several: what ``Query.linked`` asks for.

    Which fields link entities, the schema says (``docs/kinds.md``): run to data set version, comment to what it is about.
    Deleted entities are passed on the way as well.

    Attributes:
        kind: of the other entity; ``*``: of any kind.
        entity_id: its identifier, or a tuple of up to 500, of which any will do.
        direction: ``"to"`` for entities that refer to it; ``"from"`` for those that it refers to.
        field: only by this field, such as ``"datasets"``; by any where it is empty.
        depth: through how many links at most, 1 to 100.

    Raises:
        InvalidArgumentError: the kind or the field is unknown, the depth is out of range, or no entity is named, or
            too many.
    """

    kind: str
    entity_id: str | tuple[str, ...]
    direction: Direction = "to"
    field: str = ""
    depth: int = 1

    def __post_init__(self) -> None:
        for name in ("kind", "direction", "field"):
            if not isinstance(getattr(self, name), str):
                msg = f"{name} of linked is of type {type(getattr(self, name)).__name__}; expected text"
                raise InvalidTypeError(msg)
        self._check_named()
        if self.kind != ANY:
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

    def _check_named(self) -> None:
        for each in self.entity_ids:
            given: object = each
            if not isinstance(given, str):
                msg = f"entity_id of linked is of type {type(given).__name__}; expected text, or a tuple of texts"
                raise InvalidTypeError(msg)
        if not 1 <= len(self.entity_ids) <= MAX_NAMED:
            msg = f"linked names {len(self.entity_ids):,} entities; expected 1 to {MAX_NAMED:,}"
            raise InvalidArgumentError(msg)

    @property
    def is_of_several(self) -> bool:
        """Whether it names several entities, or one of any kind, of which older stores know nothing."""
        return self.kind == ANY or isinstance(self.entity_id, tuple)

    @property
    def entity_ids(self) -> tuple[str, ...]:
        """The identifiers that it names."""
        return self.entity_id if isinstance(self.entity_id, tuple) else (self.entity_id,)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that what it names may be of."""
        return tuple(KINDS) if self.kind == ANY else (self.kind,)


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
