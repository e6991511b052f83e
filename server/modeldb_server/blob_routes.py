"""The routes by which a server is an artifact store for others: blobs, and content that comes piece by piece."""

from __future__ import annotations

from modeldb_core.stores.blob_batches import MAX_BLOBS, MAX_BYTES
from modeldb_core.stores.protocol import BYTES_TYPE, PREFIX
from modeldb_server.handlers import store_blobs, uploads
from modeldb_server.routes import Parameter
from modeldb_server.store_routes import PART_BODY_BYTES, PARTS, REFUSED, reading, text, writing

_BLOB = f"{PREFIX}/blobs/<digest>"
_UPLOAD = f"{PREFIX}/uploads/<upload>"

BLOB_ROUTES = (
    reading(
        "GET",
        f"{PREFIX}/blobs",
        store_blobs.list_blobs,
        "List all blobs, a line of JSON for each, and an empty line at the end",
        answer="application/x-ndjson",
        errors=(503,),
    ),
    writing(
        "POST",
        f"{PREFIX}/blobs",
        store_blobs.put_blobs,
        "Put several small blobs at once",
        description="docs/format.md gives the bytes of a body of blobs.",
        body_type=BYTES_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="BlobDigests",
        errors=(*REFUSED, 422, 503),
    ),
    reading(
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
    reading(
        "GET",
        f"{PREFIX}/blob-owners",
        store_blobs.list_owners,
        "List the other stores of runs that keep files in the artifact store of this server",
        answer="BlobOwners",
        errors=(503,),
    ),
    writing(
        "POST",
        f"{PREFIX}/blob-owners",
        store_blobs.add_owner,
        "Note that another store of runs keeps files here, so that they are not collected as garbage",
        body=(text("owner", "its name"),),
        answer="Done",
        errors=(400, *REFUSED, 503),
    ),
    reading(
        "GET",
        _BLOB,
        store_blobs.read_blob,
        "Read a blob, or a range of it",
        description="What reaches the end was checked against the digest: where that fails the connection ends early.",
        errors=(206, 400, 404, 416, 503),
    ),
    reading(
        "GET",
        f"{_BLOB}/info",
        store_blobs.describe_blob,
        "Say what is known of a blob",
        answer="Blob",
        errors=(400, 404, 503),
    ),
    reading(
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
    writing(
        "PUT",
        _BLOB,
        store_blobs.put_blob,
        "Put a blob, or a part of one",
        body_type=BYTES_TYPE,
        max_body_bytes=PART_BODY_BYTES,
        answer="Blob",
        errors=(400, *REFUSED, 422, 503),
    ),
    writing(
        "POST",
        _BLOB,
        store_blobs.join_blob,
        "Make a blob of parts that were put; one that is there is put again, and so is young",
        body=(
            Parameter(name="size_bytes", type="integer", required=True, minimum=0, description="of the whole"),
            PARTS,
        ),
        answer="Blob",
        errors=(400, *REFUSED, 404, 422, 503),
    ),
    writing(
        "DELETE",
        _BLOB,
        store_blobs.delete_blob,
        "Remove a blob; one that is not there is no error",
        answer="Done",
        errors=(400, *REFUSED, 503),
    ),
    reading(
        "GET",
        _UPLOAD,
        uploads.describe_upload,
        "Say how many bytes of an upload have arrived",
        description="404 where the artifact store takes no uploads: put the parts as blobs then, and have them joined.",
        answer="Upload",
        errors=(400, 404, 503),
    ),
    writing(
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
        errors=(400, *REFUSED, 404, 503),
    ),
    writing(
        "POST",
        _UPLOAD,
        uploads.finish_upload,
        "Make a blob of an upload; what hashes to something else is removed",
        body=(
            text("digest", "of the content", max_length=64),
            Parameter(name="size_bytes", type="integer", required=True, minimum=0, description="of the content"),
        ),
        answer="Blob",
        errors=(400, *REFUSED, 404, 422, 503),
    ),
    writing(
        "DELETE",
        _UPLOAD,
        uploads.discard_upload,
        "Remove what has arrived of an upload",
        answer="Done",
        errors=(400, *REFUSED, 404, 503),
    ),
)
