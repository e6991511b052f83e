"""Lists of entities: by predicates, in an order, a page at a time, with the number of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from modeldb_core.queries import MAX_OFFSET, Query, condition
from modeldb_v1.kinds import required
from modeldb_v1.messages import fill
from modeldb_v1.pages import MOST
from modeldb_v1.predicates import all_of, conditions_of, order_of, plain_filter
from modeldb_v1.workspaces import workspace_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modeldb_core.queries import Linked
    from modeldb_core.stores import Page
    from modeldb_server.context import ServerContext
    from modeldb_v1.kinds import V1Kind
    from modeldb_v1.schema import Fields
    from modeldb_v1.sections import Show

MOST_IDS = 1000
"""Identifiers in a request."""
_IDS_ONLY = ("name",)


def search(
    context: ServerContext,
    kind: str,
    request: Fields,
    *,
    within: str | tuple[str, ...] | None = None,
    ids: Iterable[str] = (),
    linked: Linked | None = None,
    filters: Iterable[str] = (),
    default_order: str = "updated_at",
    limit: int = 0,
) -> Page:
    """Return a page of entities, by what a request has of ``predicates``, ``sort_key``, ``ascending`` and pages.

    Args:
        context: of the server.
        kind: of the entities.
        request: a message with some of those fields.
        within: containers, only whose entities are looked at.
        ids: only these; all must be there.
        linked: only those that are linked so.
        filters: further conditions, in the filter language.
        default_order: the column by which they are ordered where the request does not say.
        limit: at most this many, of a request that knows no pages.

    Raises:
        InvalidArgumentError: a page, a predicate or an order that cannot be.
        PermissionDeniedError: one of ``ids`` is not there, or not for who asks.
    """
    fields = request.DESCRIPTOR.fields_by_name
    asked, link = plain_filter(conditions_of(kind, request.predicates if "predicates" in fields else ()))
    if link is not None and linked is not None:
        msg = "the request names a data set version twice; name it once"
        raise InvalidArgumentError(msg)
    these = _among(context, kind, ids)
    limit, offset = (limit, 0) if limit else page_of(request)
    sort_key = request.sort_key if "sort_key" in fields else ""
    ascending = "ascending" in fields and request.ascending
    ids_only = "ids_only" in fields and request.ids_only
    query = Query(
        kind,
        all_of((asked, these, *filters)),
        order_by=order_of(kind, sort_key, ascending=ascending, default=default_order),
        fields=_IDS_ONLY if ids_only else None,
        limit=limit or MOST,
        offset=offset,
        count=True,
        within=within,
        linked=linked or link,
    )
    page = context.store.find(query)
    if not limit and (page.total or 0) > MOST:
        msg = f"{page.total:,} entities match, and an answer has room for {MOST:,}; give page_number and page_limit"
        raise InvalidArgumentError(msg)
    return page


def page_of(request: Fields) -> tuple[int, int]:
    """Return how many entities a page has, and how many come before it; 0 and 0 where a request asks for no page.

    Raises:
        InvalidArgumentError: there is no such page.
    """
    fields = request.DESCRIPTOR.fields_by_name
    number, limit = (getattr(request, name) if name in fields else 0 for name in ("page_number", "page_limit"))
    if number < 0 or limit < 0 or limit > MOST:
        msg = f"page_number {number} and page_limit {limit} cannot be; expected at least 1, and at most {MOST:,} in a page"
        raise InvalidArgumentError(msg)
    if not number or not limit:
        return 0, 0
    offset = limit * (number - 1)
    if offset > MAX_OFFSET:
        msg = f"page {number:,} of {limit:,} begins after more than {MAX_OFFSET:,} entities; narrow what you ask for"
        raise InvalidArgumentError(msg)
    return limit, offset


def show_all(context: ServerContext, kind: V1Kind, request: Fields, response: Fields, page: Page, show: Show) -> None:
    """Write a page into a response: its entities, or their identifiers alone, and the number of all."""
    messages = getattr(response, kind.many)
    ids_only = "ids_only" in request.DESCRIPTOR.fields_by_name and request.ids_only
    for entity in page.entities:
        if ids_only:
            messages.add(id=entity.entity_id)
        else:
            show(context, messages.add(), entity)
    if "total_records" in response.DESCRIPTOR.fields_by_name:
        response.total_records = page.total or 0


def show_named(context: ServerContext, kind: V1Kind, request: Fields, response: Fields, show: Show) -> None:
    """Write into a response what has a name in a workspace, and without a workspace what has it in others.

    Raises:
        InvalidArgumentError: no name is given; NotFoundError: nothing has it.
    """
    name = required(request, "name")
    workspace_id = workspace_id_of(context, request.workspace_name)
    within = workspace_id if request.workspace_name else None
    named = Query(kind.kind, condition("name = ?", name), order_by="created_at", limit=MOST, within=within)
    page = context.store.find(named)
    own, shared = f"{kind.field}_by_user", getattr(response, f"shared_{kind.many}")
    for entity in page.entities:
        if entity.workspace_id == workspace_id:
            show(context, getattr(response, own), entity)
        else:
            show(context, shared.add(), entity)
    if not response.HasField(own) and not shared:
        msg = f"{kind.message} not found: {name[:80]}"
        raise NotFoundError(msg)


def brief(context: ServerContext, message: Fields, entity: Fields) -> None:
    """Write an entity of a list into its message: a run without its observations."""
    fill(context, message, entity, whole=False)


def _among(context: ServerContext, kind: str, ids: Iterable[str]) -> str:
    listed = list(dict.fromkeys(ids))
    if not listed:
        return ""
    if len(listed) > MOST_IDS or "" in listed:
        msg = f"the request names {len(listed):,} ids; expected at most {MOST_IDS:,}, none of them empty"
        raise InvalidArgumentError(msg)
    these = condition("entity_id in ?", listed)
    there = context.store.find(Query(kind, these, fields=_IDS_ONLY, limit=0, count=True)).total
    if there != len(listed):
        msg = "Permission denied: some of these ids are not there, or not for you"
        raise PermissionDeniedError(msg)
    return these
