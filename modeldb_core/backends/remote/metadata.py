"""The metadata store on a server."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from modeldb_core.backends.remote.answers import foreign_answer, understood
from modeldb_core.backends.remote.on_server import OnServer
from modeldb_core.backends.remote.parts import stage
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.batches import MAX_BATCH_BYTES, MAX_BATCH_CHANGES, MEDIA_TYPE, decode_changes, encode_changes
from modeldb_core.log.changes import EMPTY_HEAD, Change, verify_change
from modeldb_core.log.conditions import check_form
from modeldb_core.model.schema import check_kind
from modeldb_core.queries import GroupPage, parse_grouping
from modeldb_core.stores import PARTS_ADDED_TO_QUERY, ChangePage, MetadataStore, Page, protocol
from modeldb_core.stores.grouping import load_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modeldb_core.backends.remote.connection import Answer
    from modeldb_core.log.changes import Head
    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.points import Series
    from modeldb_core.model.entities import Entity
    from modeldb_core.queries import Group, Query
    from modeldb_core.stores import KeyInfo

_COMPRESS_BYTES = 1 << 14
"""Less than that is a few packets either way, and would cost both sides more time than the network saves."""
_MAX_SERIES_BYTES = 4 << 30
"""What 10^8 points and more take, packed."""
_BYTES_A_SECOND = 5_000_000
"""What a server takes in at least: a long batch may take longer than the usual timeout."""


class RemoteMetadataStore(OnServer, MetadataStore):
    """A metadata store on a server; arguments and errors are those of :class:`OnServer`."""

    understands = PARTS_ADDED_TO_QUERY

    @property
    def user(self) -> str:  # type: ignore[override]
        """Whose the token is, as the server says; asking may raise StoreUnavailableError."""
        said = self._connection.hello()
        return understood(self._connection.address, lambda: _load_user(said))

    @property
    def decides(self) -> bool:
        return self._connection.get_json("", load=_load_decides)

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        check_form(expect)
        if not changes:
            return
        batch = encode_changes(changes, compress=_length(changes) > _COMPRESS_BYTES)
        batch = protocol.dump_expect(expect) + batch if expect else batch
        if len(batch) <= protocol.PART_BYTES:
            answer = self._connection.request("POST", "/changes", batch, media_type=MEDIA_TYPE, extra_s=_extra_s(batch))
            said = understood(self._connection.address, lambda: protocol.load_acknowledgement(json.loads(answer.body)))
        else:
            with stage(self._connection, batch) as parts:
                said = self._connection.post_json(
                    "/changes/staged",
                    {"parts": parts},
                    extra_s=_extra_s(batch),
                    load=protocol.load_acknowledgement,
                )
        if said != protocol.acknowledgement(changes):
            raise foreign_answer(self._connection.address, "it does not name what was sent")

    def get(self, kind: str, entity_id: str) -> Entity:
        check_kind(kind)
        query = {"kind": kind, "entity_id": entity_id}
        return self._connection.get_json("/entity", query, load=partial(protocol.load_entity, kind))

    def find(self, query: Query) -> Page:
        entities: list[Entity] = []
        total: int | None = None
        cursor = query.cursor
        while True:
            limit = min(query.limit - len(entities), protocol.MAX_PAGE)
            offset = query.offset if cursor is None else 0
            part = replace(query, limit=limit, cursor=cursor, offset=offset, count=query.count and total is None)
            load = partial(protocol.load_page, query.kind)
            page = self._connection.post_json("/find", protocol.dump_query(part), load=load)
            if len(page.entities) > limit or (page.cursor is not None and limit and not page.entities):
                raise foreign_answer(self._connection.address, "a page has more or less than was asked for")
            entities += page.entities
            total = page.total if total is None else total
            cursor = page.cursor
            if cursor is None or len(entities) >= query.limit:
                return Page(tuple(entities), cursor, total)

    def find_keys(self, query: Query) -> tuple[KeyInfo, ...]:
        asked = protocol.dump_query(query)
        for name in ("order_by", "fields", "cursor", "offset", "count"):  # which are not looked at
            del asked[name]
        return self._connection.post_json("/keys", asked, load=protocol.load_keys)

    def find_groups(self, query: Query, by: str, measures: Sequence[str] = ()) -> GroupPage:
        parse_grouping(query.kind, by, measures)  # what nobody groups by needs no trip
        asked = protocol.dump_query(query) | {"by": by, "measures": list(measures)}
        for name in ("order_by", "fields", "cursor", "count"):  # which are not looked at
            del asked[name]
        load = partial(load_groups, measures=len(measures))
        groups: list[Group] = []
        while True:
            limit = min(query.limit - len(groups), protocol.MAX_PAGE)
            part = {**asked, "limit": limit, "offset": query.offset + len(groups)}
            page = self._connection.post_json("/groups", part, load=load)
            if len(page.groups) > limit:
                raise foreign_answer(self._connection.address, "a page has more than was asked for")
            groups += page.groups
            if len(page.groups) < limit or len(groups) >= query.limit:
                return GroupPage(tuple(groups), page.total)

    def read_series(
        self, run_id: str, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None
    ) -> Series:
        first, last = steps if steps is not None else (None, None)
        query = {"run_id": run_id, "key": key, "first_step": first, "last_step": last, "max_points": max_points}
        answer = self._connection.request("GET", "/series", query=query, limit_bytes=_MAX_SERIES_BYTES)
        return understood(self._connection.address, lambda: protocol.load_series(run_id, key, answer.body, max_points))

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        changes: list[Change] = []
        while True:
            part = min(limit - len(changes), protocol.MAX_PAGE)
            query = {"after": after, "limit": part, "entity_id": entity_id, "stream_id": stream_id}
            answer = self._connection.request("GET", "/changes", query=query)
            found, cursor, has_more = understood(self._connection.address, partial(_load_changes, answer))
            if len(found) > part or cursor < after or (has_more and not (found and cursor > after)):
                raise foreign_answer(self._connection.address, "a page of changes leads nowhere")
            changes += found
            after = cursor
            if not (has_more or len(found) >= part) or len(changes) >= limit:
                return ChangePage(tuple(changes), after)

    def carries(self) -> bool:
        return self._connection.get_json("/carried", load=lambda data: data["carries"] is not False)

    def heads(self) -> Mapping[str, Head]:
        return self.heads_after("", sys.maxsize)

    def heads_after(self, stream_id: str, limit: int = 1000) -> Mapping[str, Head]:
        found: dict[str, Head] = {}
        while len(found) < limit:
            part = min(limit - len(found), protocol.MAX_HEADS)
            query = {"after": stream_id, "limit": part}
            page = self._connection.get_json("/heads", query, load=protocol.load_heads)
            if len(page) > part or min(page, default="\U0010ffff") <= stream_id:
                raise foreign_answer(self._connection.address, "a page of heads leads nowhere")
            found |= page
            if len(page) < part:
                break
            stream_id = max(page)
        return found

    def head(self, stream_id: str) -> Head:
        heads = self._connection.get_json("/heads", {"stream_id": stream_id}, load=protocol.load_heads)
        return heads.get(stream_id, EMPTY_HEAD)

    is_read_in_order = False  # the server may stand on a bucket

    def digest_of_order(self, upto: Mapping[str, int]) -> bytes:
        """Return the digest of the order in which changes count, up to these numbers of streams, as the server sees it."""
        streams = [{"stream_id": stream_id, "seq": seq} for stream_id, seq in upto.items()]
        return self._connection.post_json("/order", {"streams": streams}, load=protocol.load_order)


def _load_changes(answer: Answer) -> tuple[tuple[Change, ...], int, bool]:
    """Return a page of changes, where to go on, and whether there is more."""
    cursor = int(answer.headers[protocol.CURSOR_HEADER])
    return decode_changes(answer.body), cursor, answer.headers[protocol.MORE_HEADER] == "1"


def _load_user(data: Mapping[str, Any]) -> str:
    return str(data["user"])


def _load_decides(data: Mapping[str, Any]) -> bool:
    return data["decides"] is True


def _length(changes: Sequence[Change]) -> int:
    """Return how long the payloads are; what a batch cannot carry is refused.

    Raises:
        IntegrityError: a payload stands beside a digest that is not its own: the batch leaves the digest out.
        InvalidArgumentError: all of it is too long.
    """
    length = 0
    for change in changes:
        if change.payload is not None:
            verify_change(change, change.previous_hash)
            length += len(change.payload)
    if length > MAX_BATCH_BYTES - (len(changes) << 10) or len(changes) > MAX_BATCH_CHANGES:
        msg = (
            f"a batch of {len(changes):,} changes has {length:,} bytes; apply it as several of less than 200 MiB and"
            f" of at most {MAX_BATCH_CHANGES:,} changes"
        )
        raise InvalidArgumentError(msg)
    return length


def _extra_s(batch: bytes) -> float:
    return len(batch) / _BYTES_A_SECOND
