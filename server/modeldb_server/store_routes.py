"""The routes by which a server is a metadata store for others: what ``modeldb_core.backends.remote`` asks."""

from __future__ import annotations

from functools import partial

from modeldb_core.log.batches import MEDIA_TYPE
from modeldb_core.queries import MAX_CONTAINERS, MAX_MEASURES, MAX_NAMED
from modeldb_core.stores.protocol import (
    MAX_HEADS,
    MAX_PAGE,
    MAX_PARTS,
    PART_BYTES,
    PART_HEAD_BYTES,
    PREFIX,
    SERIES_TYPE,
)
from modeldb_server.handlers import store
from modeldb_server.routes import MAX_MESSAGE, Parameter, Policy, Route

PART_BODY_BYTES = PART_BYTES + PART_HEAD_BYTES
MAX_STREAMS = 100_000
REFUSED = (403, 413, 415)

_KIND = Parameter(name="kind", type="text", required=True, description="of the entities")
_FILTER = Parameter(
    name="filter", type="text", default="", max_length=MAX_MESSAGE, is_raw=True, description="in the filter language"
)
_WITHIN = Parameter(
    name="within", type="texts", max_items=MAX_CONTAINERS, is_raw=True, description="identifiers of containers"
)
_LIMIT = Parameter(
    name="limit", type="integer", required=True, minimum=0, maximum=MAX_PAGE, description="at most this many"
)
_LINKED = Parameter(
    name="linked",
    type="objects",
    max_items=1,
    description="only what is linked to another entity so",
    items=(
        Parameter(name="kind", type="text", required=True, description="of the other entity"),
        Parameter(
            name="entity_id",
            type="texts",
            required=True,
            max_items=MAX_NAMED,
            is_raw=True,
            description="its identifier, or those of several",
        ),
        Parameter(name="direction", type="text", default="to", choices=("to", "from"), description="of the link"),
        Parameter(name="field", type="text", default="", is_raw=True, description="by this field only"),
        Parameter(name="depth", type="integer", default=1, description="through so many links at most"),
    ),
)
PARTS = Parameter(
    name="parts", type="texts", default=(), max_length=64, max_items=MAX_PARTS, description="digests of parts, in order"
)
_DELETED = Parameter(name="include_deleted", type="flag", default=False, description="whether deleted ones match")


reading, writing = (partial(Route, policy=policy, whole=True, tag="store") for policy in (Policy.READ, Policy.WRITE))


def text(name: str, description: str, *, required: bool = True, max_length: int = 1024) -> Parameter:
    """Return a text that is taken as it is."""
    return Parameter(
        name=name, type="text", required=required, max_length=max_length, is_raw=True, description=description
    )


STORE_ROUTES = (
    reading(
        "GET",
        PREFIX,
        store.describe_store,
        "Say which versions of the protocol of stores the server speaks",
        answer="Store",
    ),
    writing(
        "POST",
        f"{PREFIX}/changes",
        store.apply_changes,
        "Record a batch of changes: all or nothing, each once",
        description="docs/format.md gives the bytes of a batch, and of conditions before it. It may be sent again after any"
        " failure.",
        body_type=MEDIA_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="Acknowledgement",
        errors=(*REFUSED, 409, 412, 422, 429, 501, 503),
    ),
    writing(
        "POST",
        f"{PREFIX}/changes/staged",
        store.apply_staged_changes,
        "Record a batch of changes that was put in parts",
        body=(PARTS,),
        answer="Acknowledgement",
        errors=(400, *REFUSED, 404, 409, 412, 422, 429, 501, 503),
    ),
    reading(
        "GET",
        f"{PREFIX}/changes",
        store.read_stored_changes,
        "Read changes in the order of their arrival, whole",
        description="The headers ModelDB-Cursor and ModelDB-More say where to go on, and whether there is more.",
        parameters=(
            Parameter(name="after", type="integer", default=0, description="cursor; 0 for the beginning"),
            Parameter(
                name="limit", type="integer", required=True, maximum=MAX_PAGE, description="at most this many changes"
            ),
            text("entity_id", "only changes of this entity", required=False),
            text("stream_id", "only changes of this stream", required=False),
        ),
        answer=MEDIA_TYPE,
        errors=(400, 503),
    ),
    reading(
        "GET",
        f"{PREFIX}/carried",
        store.tell_carried,
        "Say whether there are changes of kinds, or with actions, that the server does not know",
        answer="Carried",
        errors=(503,),
    ),
    reading(
        "GET",
        f"{PREFIX}/heads",
        store.read_heads,
        "Read how much of the next streams has arrived, or of one",
        parameters=(
            text("stream_id", "only of this stream", required=False),
            Parameter(
                name="after", type="text", default="", max_length=1024, is_raw=True, description="of streams after this"
            ),
            Parameter(
                name="limit",
                type="integer",
                default=MAX_HEADS,
                minimum=0,
                maximum=MAX_HEADS,
                description="at most this many, in the order of identifiers",
            ),
        ),
        answer="Heads",
        errors=(503,),
    ),
    reading(
        "POST",
        f"{PREFIX}/order",
        store.digest_order,
        "Digest the order in which changes of different streams count, for an audit",
        body=(
            Parameter(
                name="streams",
                type="objects",
                required=True,
                max_items=MAX_STREAMS,
                description="the streams to look at",
                items=(
                    text("stream_id", "of the stream"),
                    Parameter(name="seq", type="integer", required=True, minimum=0, description="up to which number"),
                ),
            ),
        ),
        max_body_bytes=PART_BODY_BYTES,
        answer="Order",
        errors=(400, *REFUSED, 503),
    ),
    reading(
        "GET",
        f"{PREFIX}/entity",
        store.get_stored_entity,
        "Get an entity as it is stored",
        parameters=(text("kind", "of the entity"), text("entity_id", "identifier", max_length=MAX_MESSAGE)),
        answer="StoredEntity",
        errors=(400, 404, 503),
    ),
    reading(
        "POST",
        f"{PREFIX}/find",
        store.find_stored_entities,
        "Find entities as they are stored",
        body=(
            _KIND,
            _FILTER,
            Parameter(
                name="order_by", type="text", default="", max_length=MAX_MESSAGE, is_raw=True, description="criteria"
            ),
            Parameter(
                name="fields", type="texts", max_length=MAX_MESSAGE, max_items=20_000, is_raw=True, description="needed"
            ),
            _LIMIT,
            Parameter(
                name="cursor", type="text", max_length=MAX_MESSAGE, is_raw=True, description="of the page before"
            ),
            Parameter(name="offset", type="integer", default=0, description="how many come before the page"),
            Parameter(name="count", type="flag", default=False, description="whether to count all that match"),
            _WITHIN,
            _DELETED,
            _LINKED,
        ),
        answer="StoredPage",
        errors=(400, *REFUSED, 503),
    ),
    reading(
        "POST",
        f"{PREFIX}/keys",
        store.find_stored_keys,
        "Find the keys that entities carry",
        body=(
            _KIND,
            _FILTER,
            Parameter(
                name="limit", type="integer", required=True, minimum=0, maximum=100_000, description="of each section"
            ),
            _WITHIN,
            _DELETED,
            _LINKED,
        ),
        answer="StoredKeys",
        errors=(400, *REFUSED, 503),
    ),
    reading(
        "POST",
        f"{PREFIX}/groups",
        store.find_stored_groups,
        "Group entities by a field",
        body=(
            _KIND,
            Parameter(
                name="by", type="text", required=True, max_length=MAX_MESSAGE, is_raw=True, description="the field"
            ),
            Parameter(
                name="measures",
                type="texts",
                required=True,
                max_length=MAX_MESSAGE,
                max_items=MAX_MEASURES,
                is_raw=True,
                description="fields whose numbers are summed up",
            ),
            _FILTER,
            _LIMIT,
            Parameter(name="offset", type="integer", default=0, description="how many groups come before the page"),
            _WITHIN,
            _DELETED,
            _LINKED,
        ),
        answer="Groups",
        errors=(400, *REFUSED, 503),
    ),
    reading(
        "GET",
        f"{PREFIX}/series",
        store.read_stored_series,
        "Read points as packed columns",
        parameters=(
            text("run_id", "of the run", max_length=MAX_MESSAGE),
            text("key", "of the metric", max_length=MAX_MESSAGE),
            Parameter(name="first_step", type="integer", description="only points from this step on"),
            Parameter(name="last_step", type="integer", description="only points up to this step"),
            Parameter(name="max_points", type="integer", description="thinned out to at most this many"),
        ),
        answer=SERIES_TYPE,
        errors=(400, 404, 503),
    ),
)
