"""What tests of trees share."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

import pytest

from modeldb_core.errors import NotFoundError
from modeldb_core.stores import BlobInfo
from modeldb_core.trees import TreeStore, cutting


class CountingBlobs:
    """Blobs in memory that count what is put and opened."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.put_digests: list[str] = []
        self.opened: list[str] = []

    def put(self, stream: BinaryIO) -> BlobInfo:
        content = stream.read()
        info = BlobInfo(hashlib.sha256(content).hexdigest(), len(content))
        self.put_digests.append(info.digest)
        self.contents[info.digest] = content
        return info

    def open(self, digest: str) -> BinaryIO:
        self.opened.append(digest)
        if digest not in self.contents:
            msg = f"there is no blob {digest}"
            raise NotFoundError(msg)
        return io.BytesIO(self.contents[digest])

    def forget(self) -> None:
        self.put_digests.clear()
        self.opened.clear()


@pytest.fixture
def blobs() -> CountingBlobs:
    return CountingBlobs()


@pytest.fixture
def trees(blobs: CountingBlobs) -> TreeStore:
    return TreeStore(blobs)


@pytest.fixture
def small_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nodes of two items or three, and some cut by their length: a few entries make a tree of many levels."""
    monkeypatch.setattr(cutting, "BITS", 1)
    monkeypatch.setattr(cutting, "MAX_ITEM_BYTES", 400)


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {"digest": hashlib.sha256(str(number).encode()).hexdigest(), "size_bytes": number, **more}
