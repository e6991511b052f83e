"""Long bodies: taken from the socket to where they are read, whole and no further than their end."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import tracemalloc

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.backends.remote.uploads import RemoteUploads
from modeldb_core.stores import BlobInfo, protocol
from modeldb_server.bodies import PIECE_BYTES, SMALLEST
from tests.services.server import serving_folder

CONTENT = os.urandom(protocol.PART_BYTES)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(tmp_path):
    with serving_folder(tmp_path) as url:
        yield url


@pytest.fixture
def raw(url):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as raw:
        yield raw


def put(content, upload=DIGEST, offset=0):
    path = f"{protocol.PREFIX}/uploads/{upload}?offset={offset}"
    lines = [
        f"PUT {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "X-ModelDB: 1",
        f"Content-Type: {protocol.BYTES_TYPE}",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


def answers(raw, count):
    received = b""
    while len(found := re.findall(rb"\r\n\r\n(\{[^}]*\})", received)) < count:
        piece = raw.recv(65536)
        assert piece, received
        received += piece
    return [json.loads(each)["received_bytes"] for each in found]


def test_a_piece_of_an_upload_is_in_memory_once(url):
    uploads: RemoteUploads = RemoteArtifactStore(url).uploads
    uploads.append("0" * 64, 0, CONTENT)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert uploads.append(DIGEST, 0, CONTENT) == len(CONTENT)
        more = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(CONTENT) <= more < 1.2 * len(CONTENT)


@pytest.mark.parametrize("length", [SMALLEST - 1, SMALLEST, PIECE_BYTES, PIECE_BYTES + 1, len(CONTENT)])
@pytest.mark.parametrize("first", [0, 1, 5000])
def test_what_comes_with_the_headers_in_pieces_and_before_another_request_is_taken_apart(raw, tmp_path, length, first):
    content = CONTENT[:length]
    info = BlobInfo(hashlib.sha256(content).hexdigest(), length)
    cut = len(content) // 2
    one, two = put(content[:cut], info.digest), put(content[cut:], info.digest, cut)
    end = len(one) - cut + first
    for each in (one[:end], one[end:-1], one[-1:] + two[:end], two[end:]):
        raw.sendall(each)
    assert answers(raw, 2) == [cut, length]
    folder = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    assert folder.uploads.finish(info.digest, info) == info


def test_a_body_that_breaks_off_is_not_taken(url, raw, tmp_path):
    raw.sendall(put(CONTENT)[:-1])
    raw.shutdown(socket.SHUT_WR)
    assert raw.recv(100) == b""
    assert RemoteArtifactStore(url).uploads.received(DIGEST) == 0


def test_content_may_be_used_for_something_else_once_it_was_taken(tmp_path):
    uploads = FsspecArtifactStore(f"file://{tmp_path}/blobs").uploads
    buffer = bytearray(CONTENT)
    assert uploads.append(DIGEST, 0, memoryview(buffer)) == len(CONTENT)
    buffer[:] = bytes(len(buffer))
    assert uploads.finish(DIGEST, BlobInfo(DIGEST, len(CONTENT))).digest == DIGEST
