"""Pages by number, as repositories and commits are listed: everything where no page is named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from modeldb_core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modeldb_core.model.entities import Entity
    from modeldb_core.queries import Query
    from modeldb_core.stores import MetadataStore
    from modeldb_v1.schema import Fields

Item = TypeVar("Item")
MAX_PAGE = 100
MOST = 10_000
"""Entities in an answer; who wants more asks for pages."""


def span_of(request: Fields) -> tuple[int, int] | None:
    """Return how many come before the page that a request names, and how many it has; ``None``: it names none.

    Raises:
        InvalidArgumentError: no page has so many, or that number.
    """
    if not request.HasField("pagination"):
        return None
    number, limit = request.pagination.page_number, request.pagination.page_limit
    if not 1 <= limit <= MAX_PAGE:
        msg = f"page_limit is {limit}; expected 1 to {MAX_PAGE}"
        raise InvalidArgumentError(msg)
    if not 0 <= number <= 1_000_000 // limit:
        msg = f"page_number is {number}; expected a number from 1 on, up to 1,000,000 entries"
        raise InvalidArgumentError(msg)
    return limit * max(0, number - 1), limit


def page_of(store: MetadataStore, query: Query, request: Fields) -> tuple[Iterable[Entity], int]:
    """Return the entities of the page that a request names, and how many there are in all.

    Raises:
        InvalidArgumentError: it names none, and there are more than an answer has room for.
    """
    offset, limit = span_of(request) or (0, MOST)
    page = store.find(replace(query, offset=offset, limit=limit, count=True))
    total = page.total or 0
    if limit == MOST and total > MOST:
        msg = f"{total:,} match, and an answer has room for {MOST:,}; ask for pages"
        raise InvalidArgumentError(msg)
    return page.entities, total


def slice_of(found: Sequence[Item], request: Fields) -> Sequence[Item]:
    """Return what is on the page that a request names."""
    span = span_of(request)
    return found if span is None else found[span[0] : span[0] + span[1]]
