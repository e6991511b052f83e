"""What can be asked of a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.schema import check_kind
from modeldb_core.queries.linked import Linked

MAX_LIMIT = 100_000
MAX_OFFSET = 1_000_000
MAX_CONTAINERS = 1000
"""In ``Query.within``."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question for entities.

    Attributes:
        kind: of the entities.
        filter: which of them, in the filter language (``docs/queries.md``); all where it is empty.
        order_by: criteria such as ``metrics.auc desc, name``; the newest first where it is empty.
        fields: what of them is needed, such as ``("status", "metrics.auc")``; everything where it is ``None``. The
            identifier, name, status and the times of creation, update and deletion always come.
        limit: at most this many in a page, 0 to 100,000.
        cursor: where the page begins: what the page before gave.
        offset: how many of them come before the page, 0 to 1,000,000: for those who turn to a page by its number. Pages
            by cursor neither miss nor repeat an entity while others are written, and the hundredth costs as much as the
            first. Either cursor or offset; the page's own cursor goes on from there, without the offset.
        count: whether to count how many match in all.
        within: containers, only whose entities are looked at: what names one of them as its container, and what lies in
            it as its workspace or project, at any depth; a workspace and a project lie in themselves. One identifier,
            or several, of which any will do; of none (``()``) there is nothing. Everything where it is ``None``.
        include_deleted: whether deleted entities match too.
        linked: only those that are linked to another entity so.

    Raises:
        InvalidArgumentError: the kind is unknown, the limit out of range, or something of a wrong type. Filter, order
            and fields are looked at when the query is run.
    """

    kind: str = "run"
    filter: str = ""
    order_by: str = ""
    fields: tuple[str, ...] | None = None
    limit: int = 100
    cursor: str | None = None
    count: bool = False
    within: str | tuple[str, ...] | None = None
    include_deleted: bool = False
    linked: Linked | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        check_kind(self.kind)
        for name in ("filter", "order_by", "cursor"):
            value: object = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name in ("filter", "order_by")):
                msg = f"{name} is of type {type(value).__name__}; expected text"
                raise InvalidTypeError(msg)
        for name, most in (("limit", MAX_LIMIT), ("offset", MAX_OFFSET)):
            number: object = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
                hint = "" if name == "limit" else "; further ones are reached by cursors, or by a filter"
                msg = f"{name} {number!r:.40} is not a number from 0 to {most:,}{hint}"
                raise InvalidArgumentError(msg)
        if self.offset and self.cursor is not None:
            msg = f"a page begins at a cursor or at an offset ({self.offset:,}), not at both; leave one of them out"
            raise InvalidArgumentError(msg)
        linked: object = self.linked
        if linked is not None and not isinstance(linked, Linked):
            msg = f"linked is of type {type(linked).__name__}; expected Linked, such as Linked('run', run_id)"
            raise InvalidTypeError(msg)
        fields: object = self.fields
        if isinstance(fields, str):
            msg = f'fields is the text {self.fields!r}; expected a list of names, such as ["status", "metrics.auc"]'
            raise InvalidTypeError(msg)
        if self.fields is not None:
            object.__setattr__(self, "fields", tuple(self.fields))
        if self.within is not None:
            object.__setattr__(self, "within", _checked(self.within))

    @property
    def linked_several(self) -> bool:
        """Whether ``linked`` names several entities, or one of any kind, of which some stores know nothing."""
        return self.linked is not None and self.linked.is_of_several

    @property
    def within_several(self) -> bool:
        """Whether ``within`` is a tuple, of which stores of version 1 of the contract know nothing."""
        return isinstance(self.within, tuple)

    @property
    def containers(self) -> tuple[str, ...] | None:
        """The identifiers in ``within``, each once and in one order, however they were given; ``None`` for everything."""
        if self.within is None:
            return None
        return (self.within,) if isinstance(self.within, str) else tuple(sorted(set(self.within)))


def _checked(given: object) -> str | tuple[str, ...]:
    """Return the identifier of a container, or those of several.

    Raises:
        InvalidArgumentError: they are too many, or not texts, or an empty text.
    """
    expected = "expected the identifier of a container, or a tuple of several"
    if isinstance(given, (bytes, Mapping)) or not isinstance(given, Iterable):
        msg = f"within is of type {type(given).__name__}; {expected}"
        raise InvalidTypeError(msg)
    containers: tuple[object, ...] = (given,) if isinstance(given, str) else tuple(given)
    if len(containers) > MAX_CONTAINERS:
        msg = f"within names {len(containers):,} containers; expected at most {MAX_CONTAINERS:,}"
        raise InvalidArgumentError(msg)
    for container in containers:
        if not isinstance(container, str):
            msg = f"within holds {container!r:.60} of type {type(container).__name__}; {expected}"
            raise InvalidTypeError(msg)
        if not container:
            msg = f"within holds an empty text; {expected}"
            raise InvalidArgumentError(msg)
    return given if isinstance(given, str) else containers  # type: ignore[return-value]  # looked at one by one
