"""What can be asked of a store."""

from __future__ import annotations

from dataclasses import dataclass

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.schema import check_kind
from modeldb_core.queries.linked import Linked

MAX_LIMIT = 100_000


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
        count: whether to count how many match in all.
        within: the identifier of a container, only whose entities are looked at.
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
    within: str | None = None
    include_deleted: bool = False
    linked: Linked | None = None

    def __post_init__(self) -> None:
        check_kind(self.kind)
        for name in ("filter", "order_by", "cursor", "within"):
            value: object = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name in ("filter", "order_by")):
                msg = f"{name} is of type {type(value).__name__}; expected text"
                raise InvalidTypeError(msg)
        limit: object = self.limit
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT:
            msg = f"limit {self.limit!r} is not a number from 0 to {MAX_LIMIT:,}"
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
