"""The routes by which a server is a store for others: what ``modeldb_core.backends.remote`` asks."""

from __future__ import annotations

from functools import partial

from modeldb_core.log.batches import MEDIA_TYPE
from modeldb_core.queries import MAX_CONTAINERS, MAX_NAMED
from modeldb_core.stores.blob_batches import MAX_BLOBS, MAX_BYTES
from modeldb_core.stores.protocol import (
    BYTES_TYPE,
    MAX_PAGE,
    MAX_PARTS,
    PART_BYTES,
    PART_HEAD_BYTES,
    PREFIX,
    SERIES_TYPE,
)
from modeldb_server.handlers import store, store_blobs, uploads
from modeldb_server.routes import MAX_MESSAGE, Parameter, Policy, Route

PART_BODY_BYTES = PART_BYTES + PART_HEAD_BYTES
MAX_STREAMS = 100_000
_REFUSED = (403, 413, 415)

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
_DELETED = Parameter(name="include_deleted", type="flag", default=False, description="whether deleted ones match")
_PARTS = Parameter(
    name="parts", type="texts", default=(), max_length=64, max_items=MAX_PARTS, description="digests of parts, in order"
)


_read, _write = (partial(Route, policy=policy, whole=True, tag="store") for policy in (Policy.READ, Policy.WRITE))


def _text(name: str, description: str, *, required: bool = True, max_length: int = 1024) -> Parameter:
    return Parameter(
        name=name, type="text", required=required, max_length=max_length, is_raw=True, description=description
    )


_METADATA = (
    _read(
        "GET",
        PREFIX,
        store.describe_store,
        "Say which versions of the protocol of stores the server speaks",
        answer="Store",
    ),
    _write(
        "POST",
        f"{PREFIX}/changes",
        store.apply_changes,
        "Record a batch of changes: all or nothing, each once",
        description="docs/format.md gives the bytes of a batch, and of conditions before it. It may be sent again after any"
        " failure.",
        body_type=MEDIA_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="Acknowledgement",
        errors=(*_REFUSED, 409, 412, 422, 429, 501, 503),
    ),
    _write(
        "POST",
        f"{PREFIX}/changes/staged",
        store.apply_staged_changes,
        "Record a batch of changes that was put in parts",
        body=(_PARTS,),
        answer="Acknowledgement",
        errors=(400, *_REFUSED, 404, 409, 412, 422, 429, 501, 503),
    ),
    _read(
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
            _text("entity_id", "only changes of this entity", required=False),
            _text("stream_id", "only changes of this stream", required=False),
        ),
        answer=MEDIA_TYPE,
        errors=(400, 503),
    ),
    _read(
        "GET",
        f"{PREFIX}/carried",
        store.tell_carried,
        "Say whether there are changes of kinds, or with actions, that the server does not know",
        answer="Carried",
        errors=(503,),
    ),
    _read(
        "GET",
        f"{PREFIX}/heads",
        store.read_heads,
        "Read how much of every stream has arrived, or of one",
        parameters=(_text("stream_id", "only of this stream", required=False),),
        answer="Heads",
        errors=(503,),
    ),
    _read(
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
                    _text("stream_id", "of the stream"),
                    Parameter(name="seq", type="integer", required=True, minimum=0, description="up to which number"),
                ),
            ),
        ),
        max_body_bytes=PART_BODY_BYTES,
        answer="Order",
        errors=(400, *_REFUSED, 503),
    ),
    _read(
        "GET",
        f"{PREFIX}/entity",
        store.get_stored_entity,
        "Get an entity as it is stored",
        parameters=(_text("kind", "of the entity"), _text("entity_id", "identifier", max_length=MAX_MESSAGE)),
        answer="StoredEntity",
        errors=(400, 404, 503),
    ),
    _read(
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
        errors=(400, *_REFUSED, 503),
    ),
    _read(
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
        errors=(400, *_REFUSED, 503),
    ),
    _read(
        "GET",
        f"{PREFIX}/series",
        store.read_stored_series,
        "Read points as packed columns",
        parameters=(
            _text("run_id", "of the run", max_length=MAX_MESSAGE),
            _text("key", "of the metric", max_length=MAX_MESSAGE),
            Parameter(name="first_step", type="integer", description="only points from this step on"),
            Parameter(name="last_step", type="integer", description="only points up to this step"),
            Parameter(name="max_points", type="integer", description="thinned out to at most this many"),
        ),
        answer=SERIES_TYPE,
        errors=(400, 404, 503),
    ),
)

_BLOB = f"{PREFIX}/blobs/<digest>"

_BLOBS = (
    _read(
        "GET",
        f"{PREFIX}/blobs",
        store_blobs.list_blobs,
        "List all blobs, a line of JSON for each, and an empty line at the end",
        answer="application/x-ndjson",
        errors=(503,),
    ),
    _write(
        "POST",
        f"{PREFIX}/blobs",
        store_blobs.put_blobs,
        "Put several small blobs at once",
        description="docs/format.md gives the bytes of a body of blobs.",
        body_type=BYTES_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="BlobDigests",
        errors=(*_REFUSED, 422, 503),
    ),
    _read(
        "POST",
        f"{PREFIX}/blob-contents",
        store_blobs.read_blobs,
        "Read several small blobs at once",
        description="The answer may hold fewer than were asked for, from the first on: ask for the others again.",
        body=(
            Parameter(
                name="digests",
                type="texts",
                required=True,
                max_length=64,
                max_items=MAX_BLOBS,
                description="of the blobs",
            ),
            Parameter(
                name="max_bytes",
                type="integer",
                required=True,
                minimum=0,
                maximum=MAX_BYTES,
                description="a longer one is an error",
            ),
        ),
        answer=BYTES_TYPE,
        errors=(400, 404, 422, 503),
    ),
    _read(
        "GET",
        f"{PREFIX}/blob-owners",
        store_blobs.list_owners,
        "List the other stores of runs that keep files in the artifact store of this server",
        answer="BlobOwners",
        errors=(503,),
    ),
    _write(
        "POST",
        f"{PREFIX}/blob-owners",
        store_blobs.add_owner,
        "Note that another store of runs keeps files here, so that they are not collected as garbage",
        body=(_text("owner", "its name"),),
        answer="Done",
        errors=(400, *_REFUSED, 503),
    ),
    _read(
        "GET",
        _BLOB,
        store_blobs.read_blob,
        "Read a blob, or a range of it",
        description="What reaches the end was checked against the digest: where that fails the connection ends early.",
        errors=(206, 400, 404, 416, 503),
    ),
    _read(
        "GET",
        f"{_BLOB}/info",
        store_blobs.describe_blob,
        "Say what is known of a blob",
        answer="Blob",
        errors=(400, 404, 503),
    ),
    _read(
        "GET",
        f"{_BLOB}/url",
        store_blobs.get_blob_url,
        "Get a URL from which anyone can download the blob for a while, where the artifact store has one",
        parameters=(
            Parameter(
                name="expires_s", type="integer", default=3600, minimum=1, maximum=604_800, description="for how long"
            ),
        ),
        answer="BlobURL",
        errors=(400, 404, 503),
    ),
    _write(
        "PUT",
        _BLOB,
        store_blobs.put_blob,
        "Put a blob, or a part of one",
        body_type=BYTES_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="Blob",
        errors=(400, *_REFUSED, 422, 503),
    ),
    _write(
        "POST",
        _BLOB,
        store_blobs.join_blob,
        "Make a blob of parts that were put; one that is there is put again, and so is young",
        body=(
            Parameter(name="size_bytes", type="integer", required=True, minimum=0, description="of the whole"),
            _PARTS,
        ),
        answer="Blob",
        errors=(400, *_REFUSED, 404, 422, 503),
    ),
    _write(
        "DELETE",
        _BLOB,
        store_blobs.delete_blob,
        "Remove a blob; one that is not there is no error",
        answer="Done",
        errors=(400, *_REFUSED, 503),
    ),
)

_UPLOAD = f"{PREFIX}/uploads/<upload>"
_UPLOADS = (
    _read(
        "GET",
        _UPLOAD,
        uploads.describe_upload,
        "Say how many bytes of an upload have arrived",
        description="404 where the artifact store takes no uploads: put the parts as blobs then, and have them joined.",
        answer="Upload",
        errors=(400, 404, 503),
    ),
    _write(
        "PUT",
        _UPLOAD,
        uploads.append_upload,
        "Add to an upload, where just so many bytes have arrived, else nothing; say how many have arrived now",
        parameters=(
            Parameter(
                name="offset", type="integer", required=True, minimum=0, description="of the body in the content"
            ),
        ),
        body_type=BYTES_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="Upload",
        errors=(400, *_REFUSED, 404, 503),
    ),
    _write(
        "POST",
        _UPLOAD,
        uploads.finish_upload,
        "Make a blob of an upload; what hashes to something else is removed",
        body=(
            _text("digest", "of the content", max_length=64),
            Parameter(name="size_bytes", type="integer", required=True, minimum=0, description="of the content"),
        ),
        answer="Blob",
        errors=(400, *_REFUSED, 404, 422, 503),
    ),
    _write(
        "DELETE",
        _UPLOAD,
        uploads.discard_upload,
        "Remove what has arrived of an upload",
        answer="Done",
        errors=(400, *_REFUSED, 404, 503),
    ),
)

STORE_ROUTES = (*_METADATA, *_BLOBS, *_UPLOADS)
