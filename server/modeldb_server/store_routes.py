"""The routes by which a server is a store for others: what ``modeldb_core.backends.remote`` asks."""

from __future__ import annotations

from modeldb_core.log.batches import MEDIA_TYPE
from modeldb_core.stores.protocol import (
    BYTES_TYPE,
    MAX_PAGE,
    MAX_PARTS,
    PART_BYTES,
    PART_HEAD_BYTES,
    PREFIX,
    SERIES_TYPE,
)
from modeldb_server.handlers import store, store_blobs
from modeldb_server.routes import MAX_MESSAGE, Parameter, Policy, Route

PART_BODY_BYTES = PART_BYTES + PART_HEAD_BYTES
MAX_STREAMS = 100_000
_REFUSED = (403, 413, 415)

_KIND = Parameter(name="kind", type="text", required=True, description="of the entities")
_FILTER = Parameter(
    name="filter", type="text", default="", max_length=MAX_MESSAGE, is_raw=True, description="in the filter language"
)
_WITHIN = Parameter(name="within", type="text", is_raw=True, description="identifier of a container")
_LIMIT = Parameter(
    name="limit", type="integer", required=True, minimum=0, maximum=MAX_PAGE, description="at most so many"
)
_LINKED = Parameter(
    name="linked",
    type="objects",
    max_items=1,
    description="only what is linked to another entity so",
    items=(
        Parameter(name="kind", type="text", required=True, description="of the other entity"),
        Parameter(name="entity_id", type="text", required=True, is_raw=True, description="its identifier"),
        Parameter(name="direction", type="text", default="to", choices=("to", "from"), description="of the link"),
        Parameter(name="field", type="text", default="", is_raw=True, description="by this field only"),
        Parameter(name="depth", type="integer", default=1, description="through so many links at most"),
    ),
)
_DELETED = Parameter(name="include_deleted", type="flag", default=False, description="whether deleted ones match")
_PARTS = Parameter(
    name="parts", type="texts", default=(), max_length=64, max_items=MAX_PARTS, description="digests of parts, in order"
)


def _text(name: str, description: str, *, required: bool = True, max_length: int = 1024) -> Parameter:
    return Parameter(
        name=name, type="text", required=required, max_length=max_length, is_raw=True, description=description
    )


_METADATA = (
    Route(
        method="GET",
        path=PREFIX,
        name="describe_store",
        handler=store.describe_store,
        policy=Policy.READ,
        summary="Say which versions of the protocol of stores the server speaks",
        answer="Store",
        tag="store",
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/changes",
        name="apply_changes",
        handler=store.apply_changes,
        policy=Policy.WRITE,
        summary="Record a batch of changes: all or nothing, each once",
        description="docs/format.md gives the bytes of a batch, and of conditions before it. It may be sent again after any"
        " failure.",
        body_type=MEDIA_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="Acknowledgement",
        errors=(*_REFUSED, 409, 412, 422, 429, 501, 503),
        tag="store",
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/changes/staged",
        name="apply_staged_changes",
        handler=store.apply_staged_changes,
        policy=Policy.WRITE,
        summary="Record a batch of changes that was put in parts",
        body=(_PARTS,),
        answer="Acknowledgement",
        errors=(400, *_REFUSED, 404, 409, 412, 422, 429, 501, 503),
        tag="store",
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/changes",
        name="read_stored_changes",
        handler=store.read_stored_changes,
        policy=Policy.READ,
        summary="Read changes in the order of their arrival, whole",
        description="The headers ModelDB-Cursor and ModelDB-More say where to go on, and whether there is more.",
        parameters=(
            Parameter(name="after", type="integer", default=0, description="cursor; 0 for the beginning"),
            Parameter(
                name="limit", type="integer", required=True, maximum=MAX_PAGE, description="at most so many changes"
            ),
            _text("entity_id", "only changes of this entity", required=False),
            _text("stream_id", "only changes of this stream", required=False),
        ),
        answer=MEDIA_TYPE,
        errors=(400, 503),
        tag="store",
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/carried",
        name="tell_carried",
        handler=store.tell_carried,
        policy=Policy.READ,
        summary="Say whether there are changes of kinds, or with actions, that the server does not know",
        answer="Carried",
        errors=(503,),
        tag="store",
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/heads",
        name="read_heads",
        handler=store.read_heads,
        policy=Policy.READ,
        summary="Read how much of every stream has arrived",
        answer="Heads",
        errors=(503,),
        tag="store",
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/order",
        name="digest_order",
        handler=store.digest_order,
        policy=Policy.READ,
        summary="Digest the order in which changes of different streams count, for an audit",
        body=(
            Parameter(
                name="streams",
                type="objects",
                required=True,
                max_items=MAX_STREAMS,
                description="the streams to look at",
                items=(
                    _text("stream_id", "of the stream"),
                    Parameter(name="seq", type="integer", required=True, minimum=0, description="up to which number"),
                ),
            ),
        ),
        max_body_bytes=PART_BODY_BYTES,
        answer="Order",
        errors=(400, *_REFUSED, 503),
        tag="store",
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/entity",
        name="get_stored_entity",
        handler=store.get_stored_entity,
        policy=Policy.READ,
        summary="Get an entity as it is stored",
        parameters=(_text("kind", "of the entity"), _text("entity_id", "identifier", max_length=MAX_MESSAGE)),
        answer="StoredEntity",
        errors=(400, 404, 503),
        tag="store",
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/find",
        name="find_stored_entities",
        handler=store.find_stored_entities,
        policy=Policy.READ,
        summary="Find entities as they are stored",
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
            Parameter(name="count", type="flag", default=False, description="whether to count all that match"),
            _WITHIN,
            _DELETED,
            _LINKED,
        ),
        answer="StoredPage",
        errors=(400, *_REFUSED, 503),
        tag="store",
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/keys",
        name="find_stored_keys",
        handler=store.find_stored_keys,
        policy=Policy.READ,
        summary="Find the keys that entities carry",
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
        errors=(400, *_REFUSED, 503),
        tag="store",
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/series",
        name="read_stored_series",
        handler=store.read_stored_series,
        policy=Policy.READ,
        summary="Read points as packed columns",
        parameters=(
            _text("run_id", "of the run", max_length=MAX_MESSAGE),
            _text("key", "of the metric", max_length=MAX_MESSAGE),
            Parameter(name="first_step", type="integer", description="only points from this step on"),
            Parameter(name="last_step", type="integer", description="only points up to this step"),
            Parameter(name="max_points", type="integer", description="thinned out to at most so many"),
        ),
        answer=SERIES_TYPE,
        errors=(400, 404, 503),
        tag="store",
    ),
)

_BLOB = f"{PREFIX}/blobs/<digest>"

_BLOBS = (
    Route(
        method="GET",
        path=f"{PREFIX}/blobs",
        name="list_blobs",
        handler=store_blobs.list_blobs,
        policy=Policy.READ,
        summary="List all blobs, a line of JSON for each, and an empty line at the end",
        answer="application/x-ndjson",
        errors=(503,),
        tag="store",
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/blob-owners",
        name="list_owners",
        handler=store_blobs.list_owners,
        policy=Policy.READ,
        summary="List the other stores of runs that keep files in the artifact store of this server",
        answer="BlobOwners",
        errors=(503,),
        tag="store",
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/blob-owners",
        name="add_owner",
        handler=store_blobs.add_owner,
        policy=Policy.WRITE,
        summary="Note that another store of runs keeps files here, so that they are not collected as garbage",
        body=(_text("owner", "its name"),),
        answer="Done",
        errors=(400, *_REFUSED, 503),
        tag="store",
    ),
    Route(
        method="GET",
        path=_BLOB,
        name="read_blob",
        handler=store_blobs.read_blob,
        policy=Policy.READ,
        summary="Read a blob, or a range of it",
        description="What reaches the end was checked against the digest: where that fails the connection ends early.",
        errors=(206, 400, 404, 416, 503),
        tag="store",
    ),
    Route(
        method="GET",
        path=f"{_BLOB}/info",
        name="describe_blob",
        handler=store_blobs.describe_blob,
        policy=Policy.READ,
        summary="Say what is known of a blob",
        answer="Blob",
        errors=(400, 404, 503),
        tag="store",
    ),
    Route(
        method="GET",
        path=f"{_BLOB}/url",
        name="get_blob_url",
        handler=store_blobs.get_blob_url,
        policy=Policy.READ,
        summary="Get a URL from which anyone can download the blob for a while, where the artifact store has one",
        parameters=(
            Parameter(
                name="expires_s", type="integer", default=3600, minimum=1, maximum=604_800, description="for how long"
            ),
        ),
        answer="BlobURL",
        errors=(400, 404, 503),
        tag="store",
    ),
    Route(
        method="PUT",
        path=_BLOB,
        name="put_blob",
        handler=store_blobs.put_blob,
        policy=Policy.WRITE,
        summary="Put a blob, or a part of one",
        body_type=BYTES_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="Blob",
        errors=(400, *_REFUSED, 422, 503),
        tag="store",
    ),
    Route(
        method="POST",
        path=_BLOB,
        name="join_blob",
        handler=store_blobs.join_blob,
        policy=Policy.WRITE,
        summary="Make a blob of parts that were put; one that is there is put again, and so is young",
        body=(
            Parameter(name="size_bytes", type="integer", required=True, minimum=0, description="of the whole"),
            _PARTS,
        ),
        answer="Blob",
        errors=(400, *_REFUSED, 404, 422, 503),
        tag="store",
    ),
    Route(
        method="DELETE",
        path=_BLOB,
        name="delete_blob",
        handler=store_blobs.delete_blob,
        policy=Policy.WRITE,
        summary="Remove a blob; one that is not there is no error",
        answer="Done",
        errors=(400, *_REFUSED, 503),
        tag="store",
    ),
)

STORE_ROUTES = (*_METADATA, *_BLOBS)
