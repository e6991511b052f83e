"""What answers 200 without being the store, such as a sign-in page, confirms no file."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.blobs.s3 import S3ArtifactStore
from modeldb_core.backends.objects import ObjectMetadataStore
from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.journal.sending import ship
from modeldb_core.movement.blobs import BlobCopier
from modeldb_core.queries import Query
from modeldb_core.stores import BlobInfo, protocol
from modeldb_core.testing import StreamWriter
from modeldb_core.trees.nodestore import NodeStore

PAGE = b"<html><body>Please sign in to this network</body></html>"
OTHER = hashlib.sha256(b"other").hexdigest()
HELLO = json.dumps({"name": "ModelDB", "version": "0", "protocols": [protocol.VERSION]}).encode()


@contextmanager
def answering(body, headers=()):
    """Answer every request with 200 and ``body``, but say first that a server of ModelDB is here."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = HELLO if self.path == protocol.PREFIX else body
            self.send_response(200)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FALSE_BLOBS = {
    "a page": PAGE,
    "another blob": json.dumps({"digest": OTHER, "size_bytes": 7, "modified_at": None}).encode(),
    "too short": b'{"digest": "%s", "size_bytes": 3, "modified_at": null}',
    "nothing": b"",
    "null": b"null",
    "a list": b"[1, 2]",
    "wrong types": b'{"digest": 7, "size_bytes": "many", "modified_at": []}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("answer", FALSE_BLOBS)
@pytest.mark.parametrize("size", [7, protocol.PART_BYTES + 1])
def test_a_server_must_confirm_the_file_that_was_sent(answer, size):
    content = bytes(size)
    body = FALSE_BLOBS[answer]
    if b"%s" in body:
        body = body.replace(b"%s", hashlib.sha256(content).hexdigest().encode())
    with answering(body) as url:
        store = RemoteArtifactStore(url, retry_s=0)
        with pytest.raises(StoreUnavailableError, match="127.0.0.1"):
            store.put(io.BytesIO(content))
        store.close()


@pytest.mark.parametrize("size", [0, 7, (5 << 20) + 1])
@pytest.mark.parametrize("etag", [(), (("ETag", '"7"'),)], ids=["no ETag", "an ETag"])
def test_a_bucket_must_confirm_the_file_that_was_sent(size, etag):
    headers = [("Content-Type", "text/html"), *etag, ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")]
    with answering(PAGE, headers) as url:
        options = {"endpoint_url": url, "key": "k", "secret": "s", "region": "r", "max_attempts": 1, "part_mib": 5}
        store = S3ArtifactStore("s3://bucket/prefix", **options)
        with pytest.raises(StoreUnavailableError, match="s3://bucket/prefix"):
            store.put(io.BytesIO(bytes(size)))
        store.close()


LISTING = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Name>bucket</Name><Prefix></Prefix><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)


@pytest.mark.parametrize("body", [PAGE, b"", LISTING], ids=["a page", "nothing", "a listing"])
@pytest.mark.parametrize("etag", [(), (("ETag", '"7"'),)], ids=["no ETag", "an ETag"])
def test_a_bucket_must_confirm_the_changes_that_were_sent(tmp_path, body, etag):
    options = {"key": "k", "secret": "s", "region": "r", "max_attempts": 1, "max_staleness_s": 0}
    writer = StreamWriter()
    writer.open()
    writer.create_run(name="kept")
    with answering(body, etag) as url:
        store = ObjectMetadataStore("s3://bucket/prefix", endpoint_url=url, cache_dir=tmp_path, **options)
        for changes in (writer.changes[:1], writer.changes):
            with pytest.raises(StoreUnavailableError, match="s3://bucket/prefix|not a bucket of S3"):
                store.apply(changes)
        if body is not LISTING:
            with pytest.raises(StoreUnavailableError, match="not a bucket of S3"):
                store.find(Query())
        store.close()


class Liar(FsspecArtifactStore):
    """A store of somebody else that confirms whatever it likes."""

    def put(self, stream, *, digest=None):
        stream.read()
        return BlobInfo(OTHER, 5)


def test_a_file_stays_beside_the_journal_until_a_store_confirms_it(tmp_path):
    digest = hashlib.sha256(b"content").hexdigest()
    (tmp_path / digest).write_bytes(b"content")
    with pytest.raises(StoreUnavailableError, match=digest):
        ship([tmp_path / digest], Liar("memory://liar"))
    assert (tmp_path / digest).exists()


def test_a_copy_that_is_not_confirmed_is_no_copy(tmp_path):
    source = FsspecArtifactStore(f"file://{tmp_path}")
    info = source.put(io.BytesIO(b"content"))
    copier = BlobCopier(source, Liar("memory://liar"))
    with pytest.raises(StoreUnavailableError, match=info.digest):
        copier.copy([info.digest])


class Vague(FsspecArtifactStore):
    """A store of somebody else that keeps what it is given, and answers with what nobody expects."""

    answer: object = None

    def put(self, stream, *, digest=None):
        super().put(stream, digest=digest)
        return self.answer

    def put_many(self, contents):
        FsspecArtifactStore(self.url).put_many(contents)
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [None, True, "digest", {}, [], [None, None], iter(())],
    ids=["nothing", "yes", "a text", "a map", "no answers", "empty answers", "an iterator"],
)
@pytest.mark.parametrize("count", [1, 2])
def test_what_a_store_answers_that_is_no_confirmation_is_told_and_the_files_stay(tmp_path, answer, count):
    contents = [b"content %d" % number for number in range(count)]
    paths = [tmp_path / hashlib.sha256(content).hexdigest() for content in contents]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    store = type("Plugin", (Vague,), {"answer": answer})("memory://vague")
    with pytest.raises(StoreUnavailableError, match="did not confirm"):
        ship(paths, store)
    assert all(path.exists() for path in paths)
    with pytest.raises(StoreUnavailableError, match="did not confirm"):
        NodeStore(store).put_all(contents)
