"""The conformance suite of artifact stores."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, TypeAlias

import pytest

from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError
from modeldb_core.stores import REFRESH_S, ArtifactStore, BlobInfo
from modeldb_core.trees import TreeStore, cutting

MakeArtifacts: TypeAlias = Callable[[], ArtifactStore]

_MIB = 1 << 20
_BAD_DIGESTS = ["", "abc", "../../etc/passwd", "/etc/passwd", "g" * 64, "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unique(size: int = 100) -> bytes:
    return os.urandom(size)


def _read_in_pieces(stream: BinaryIO) -> None:
    while stream.read(1000):
        pass


def _read_the_end(stream: BinaryIO) -> None:
    stream.seek(-1, io.SEEK_END)
    stream.read()


class _Dribble(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time, as a socket does."""

    def __init__(self, content: bytes, fails_at: int | None = None) -> None:
        self._content, self._at, self._fails_at = content, 0, fails_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with a buffer
        if self._fails_at is not None and self._at >= self._fails_at:
            msg = "the source went away"
            raise OSError(msg)
        part = self._content[self._at : self._at + min(len(buffer), 70_001)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


class ArtifactStoreTests:
    """Every sentence of :class:`~modeldb_core.stores.ArtifactStore`, as a test.

    Override the fixture ``make_artifacts`` with a function that opens the store; called twice in one test, it must open
    the same one. Override ``damage`` where the stored bytes can be reached: what needs it is skipped otherwise. Override
    ``age`` where the time of a put can be altered.
    The suite stores random content and removes it, so the store need not be empty.
    """

    promises = (ArtifactStore, ArtifactStore.put, ArtifactStore.open, ArtifactStore.stat)

    @pytest.fixture
    def make_artifacts(self) -> MakeArtifacts:
        """Return a function that opens the store."""
        msg = f"{type(self).__name__} must override the fixture make_artifacts"
        raise NotImplementedError(msg)

    @pytest.fixture
    def artifacts(self, make_artifacts: MakeArtifacts) -> Iterator[ArtifactStore]:
        """Return the open store."""
        store = make_artifacts()
        yield store
        store.close()

    def damage(self, store: ArtifactStore, digest: str, content: bytes) -> None:
        """Replace the stored bytes of a blob behind the store's back."""
        del store, digest, content
        pytest.skip("the stored bytes cannot be reached")

    def age(self, store: ArtifactStore, digest: str, seconds: float) -> bool:
        """Make a blob look older behind the store's back; False where that cannot be done."""
        del store, digest, seconds
        return False

    @pytest.mark.parametrize("size", [0, 1, 1000, _MIB - 1, _MIB, _MIB + 1, 5 * _MIB])
    def test_content_comes_back(self, artifacts: ArtifactStore, size: int) -> None:
        content = _unique(size)
        info = artifacts.put(io.BytesIO(content))
        assert info == BlobInfo(_digest(content), size)
        assert artifacts.stat(info.digest) == info
        with artifacts.open(info.digest) as stream:
            assert stream.read() == content
            assert stream.read() == b""
        artifacts.delete(info.digest)

    def test_a_stream_is_read_from_its_position(self, artifacts: ArtifactStore) -> None:
        content = _unique()
        stream = io.BytesIO(b"skipped" + content)
        stream.seek(7)
        assert artifacts.put(stream).digest == _digest(content)

    @pytest.mark.parametrize("size", [100, 3 * _MIB])
    def test_a_stream_need_not_seek_or_be_generous(self, artifacts: ArtifactStore, size: int) -> None:
        content = _unique(size)
        for digest in (None, _digest(content), _digest(content)):
            stream = io.BufferedReader(_Dribble(content), 5000)
            info = artifacts.put(stream, digest=digest)
            assert info == BlobInfo(_digest(content), size)
        assert artifacts.open(info.digest).read() == content

    def test_small_blobs_go_and_come_together(self, artifacts: ArtifactStore) -> None:
        contents = [_unique(100 * number) for number in range(20)]
        digests = [_digest(content) for content in contents]
        artifacts.put_many([*contents, contents[1]])
        assert [artifacts.stat(digest).size_bytes for digest in digests[:3]] == [0, 100, 200]
        assert list(artifacts.read_many([*digests, digests[1]], 2000)) == [*contents, contents[1]]
        artifacts.put_many([])
        assert list(artifacts.read_many([], 10)) == []
        with pytest.raises(IntegrityError):
            artifacts.read_many(digests, 1899)
        artifacts.delete(digests[7])
        with pytest.raises(NotFoundError):
            artifacts.read_many(digests, 2000)
        with pytest.raises(InvalidArgumentError):
            artifacts.read_many(["../x"], 2000)

    def test_a_small_blob_that_is_damaged_does_not_come(self, artifacts: ArtifactStore) -> None:
        artifacts.put_many([b"sound", b"as it was put"])
        self.damage(artifacts, _digest(b"as it was put"), b"as it is now!")
        with pytest.raises(IntegrityError):
            artifacts.read_many([_digest(b"sound"), _digest(b"as it was put")], 100)
        artifacts.delete(_digest(b"as it was put"))

    def test_a_content_tree_lives_in_it(
        self, artifacts: ArtifactStore, make_artifacts: MakeArtifacts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cutting, "BITS", 3)  # small nodes on several levels
        salt = os.urandom(4).hex()
        entries = {f"{number % 3}/{number}": {"size_bytes": number, "salt": salt} for number in range(300)}
        tree = TreeStore(artifacts).build(entries)
        edited = tree.edit({"1/new": {"digest": artifacts.put(io.BytesIO(b"a file")).digest}}, remove=["0/0"])
        other = make_artifacts()
        found = TreeStore(other).open(edited.root)
        del entries["0/0"]
        assert dict(found.items()) == {**entries, "1/new": edited.get("1/new")}
        assert [item.location for item in TreeStore(other).open(tree.root).diff(found)] == ["0/0", "1/new"]
        other.close()

    def test_the_same_content_is_one_blob(self, artifacts: ArtifactStore) -> None:
        content = _unique()
        first, second = artifacts.put(io.BytesIO(content)), artifacts.put(io.BytesIO(content))
        assert first == second
        assert [info for info in artifacts.list() if info.digest == first.digest] == [first]

    @pytest.mark.parametrize("size", [100, 3 * _MIB])
    def test_content_must_hash_to_what_was_said(self, artifacts: ArtifactStore, size: int) -> None:
        content, claimed = _unique(size), "0" * 64
        with pytest.raises(IntegrityError, match=claimed):
            artifacts.put(io.BytesIO(content), digest=claimed)
        for digest in (claimed, _digest(content)):
            with pytest.raises(NotFoundError):
                artifacts.stat(digest)

    @pytest.mark.parametrize("size", [100, 3 * _MIB])
    def test_other_content_under_a_known_digest_is_refused(self, artifacts: ArtifactStore, size: int) -> None:
        known = artifacts.put(io.BytesIO(_unique(size)))
        with pytest.raises(IntegrityError):
            artifacts.put(io.BytesIO(_unique(size)), digest=known.digest)
        assert artifacts.stat(known.digest) == known

    @pytest.mark.parametrize("size", [200_000, 3 * _MIB])
    def test_a_source_that_fails_leaves_nothing(self, artifacts: ArtifactStore, size: int) -> None:
        before = set(artifacts.list())
        with pytest.raises(OSError, match="the source went away"):
            artifacts.put(io.BufferedReader(_Dribble(_unique(size), fails_at=size // 2)))
        assert set(artifacts.list()) == before

    def test_owners_are_known_before_anything_is_there(
        self, artifacts: ArtifactStore, make_artifacts: MakeArtifacts
    ) -> None:
        first, second = (f"sqlite:../{_digest(_unique())[:8]}-ä\u2028.db" for _ in range(2))
        artifacts.add_owner(first)
        if first not in artifacts.owners():
            pytest.skip("the store keeps no names of owners")
        content = _unique()
        artifacts.put(io.BytesIO(content))
        other = make_artifacts()
        other.owner = second
        info = other.put(io.BytesIO(content))
        other.close()
        assert {first, second} <= artifacts.owners()
        assert [found for found in artifacts.list() if found == info] == [info], "a name is not a blob"

    def test_unknown_blobs_are_not_found(self, artifacts: ArtifactStore) -> None:
        digest = _digest(_unique())
        for action in (artifacts.open, artifacts.stat):
            with pytest.raises(NotFoundError, match=digest):
                action(digest)

    @pytest.mark.parametrize("digest", _BAD_DIGESTS, ids=range(len(_BAD_DIGESTS)))
    def test_what_is_no_digest_reaches_nothing(self, artifacts: ArtifactStore, digest: str) -> None:
        for action in (artifacts.open, artifacts.stat, artifacts.delete):
            with pytest.raises(InvalidArgumentError):
                action(digest)
        with pytest.raises(InvalidArgumentError):
            artifacts.put(io.BytesIO(b"x"), digest=digest)

    def test_a_blob_that_is_put_again_is_young(self, artifacts: ArtifactStore) -> None:
        for content in (_unique(), _unique(3 * _MIB)):
            info = artifacts.put(io.BytesIO(content))
            for digest in (None, info.digest):
                if not self.age(artifacts, info.digest, 5 * REFRESH_S):
                    return
                old = artifacts.stat(info.digest).modified_at
                assert old is not None
                assert datetime.now(UTC) - old > timedelta(seconds=4 * REFRESH_S)
                artifacts.put(io.BytesIO(content), digest=digest)
                young = artifacts.stat(info.digest).modified_at
                assert young is not None
                assert datetime.now(UTC) - young < timedelta(seconds=REFRESH_S)

    def test_the_age_of_a_blob_is_told_alike_or_not_at_all(self, artifacts: ArtifactStore) -> None:
        info = artifacts.put(io.BytesIO(_unique()))
        told = artifacts.stat(info.digest).modified_at
        listed = next(other.modified_at for other in artifacts.list() if other == info)
        if told is None or listed is None:
            assert told == listed
            return
        assert told.tzinfo is not None
        assert abs(told - listed) < timedelta(seconds=2)
        assert abs(datetime.now(UTC) - told) < timedelta(hours=1)

    def test_all_blobs_are_listed(self, artifacts: ArtifactStore) -> None:
        infos = {artifacts.put(io.BytesIO(_unique(size))) for size in (0, 10, 20, 30)}
        assert infos <= set(artifacts.list())

    def test_deleted_blobs_are_gone(self, artifacts: ArtifactStore) -> None:
        info = artifacts.put(io.BytesIO(_unique()))
        artifacts.delete(info.digest)
        artifacts.delete(info.digest)
        with pytest.raises(NotFoundError):
            artifacts.open(info.digest)
        assert info not in set(artifacts.list())

    def test_reading_in_pieces_and_seeking(self, artifacts: ArtifactStore) -> None:
        content = _unique(3 * _MIB + 17)
        info = artifacts.put(io.BytesIO(content))
        with artifacts.open(info.digest) as stream:
            assert stream.read(10) == content[:10]
            assert stream.seek(-5, io.SEEK_END) == len(content) - 5
            assert stream.read(100) == content[-5:]
            assert stream.seek(_MIB + 3) == _MIB + 3
            assert stream.tell() == _MIB + 3
            assert stream.read(2 * _MIB) == content[_MIB + 3 : 3 * _MIB + 3]
            assert stream.seek(0) == 0
            assert stream.read() == content
        with artifacts.open(info.digest) as stream:
            assert b"".join(iter(lambda: stream.read(9999), b"")) == content

    def test_archives_can_be_read_in_place(self, artifacts: ArtifactStore) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a", _unique(100_000))
            archive.writestr("b", "text")
        info = artifacts.put(io.BytesIO(buffer.getvalue()))
        with artifacts.open(info.digest) as stream, zipfile.ZipFile(stream) as archive:
            assert archive.read("b") == b"text"

    @pytest.mark.parametrize("size", [1, 100_000, 3 * _MIB])
    @pytest.mark.parametrize("harm", ["flipped", "shortened", "lengthened", "emptied"])
    def test_damage_shows_when_a_blob_is_read(self, artifacts: ArtifactStore, size: int, harm: str) -> None:
        content = _unique(size)
        info = artifacts.put(io.BytesIO(content))
        flipped = content[: size // 2] + bytes([content[size // 2] ^ 1]) + content[size // 2 + 1 :]
        bad = {"flipped": flipped, "shortened": content[:-1], "lengthened": content + b"x", "emptied": b""}[harm]
        self.damage(artifacts, info.digest, bad)
        with artifacts.open(info.digest) as stream, pytest.raises(IntegrityError, match=info.digest):
            stream.read()
        with artifacts.open(info.digest) as stream, pytest.raises(IntegrityError, match=info.digest):
            _read_in_pieces(stream)
        with artifacts.open(info.digest) as stream, pytest.raises(IntegrityError, match=info.digest):
            _read_the_end(stream)

    @pytest.mark.parametrize("size", [100, 3 * _MIB])
    def test_a_shortened_blob_is_put_right_by_the_next_put(self, artifacts: ArtifactStore, size: int) -> None:
        content = _unique(size)
        info = artifacts.put(io.BytesIO(content))
        for digest in (None, info.digest):
            self.damage(artifacts, info.digest, content[: size // 2])
            artifacts.put(io.BytesIO(content), digest=digest)
            assert artifacts.open(info.digest).read() == content

    def test_many_threads_put_at_once(self, artifacts: ArtifactStore) -> None:
        contents = [_unique(50_000) for _ in range(4)] + [_unique(2 * _MIB)]
        start = threading.Barrier(8)

        def put(_: int) -> list[BlobInfo]:
            start.wait()
            return [artifacts.put(io.BytesIO(content)) for content in contents]

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(put, range(8)))
        assert all(infos == results[0] for infos in results)
        for content in contents:
            assert artifacts.open(_digest(content)).read() == content

    def test_another_handle_sees_the_same_blobs(self, artifacts: ArtifactStore, make_artifacts: MakeArtifacts) -> None:
        content = _unique()
        info = artifacts.put(io.BytesIO(content))
        with make_artifacts().open(info.digest) as stream:
            assert stream.read() == content

    def test_blobs_are_there_after_every_handle_was_closed(
        self, artifacts: ArtifactStore, make_artifacts: MakeArtifacts
    ) -> None:
        content = _unique(_MIB + 1)
        kept, gone = artifacts.put(io.BytesIO(content)), artifacts.put(io.BytesIO(_unique()))
        artifacts.delete(gone.digest)
        artifacts.close()
        again = make_artifacts()
        try:
            assert again.open(kept.digest).read() == content
            with pytest.raises(NotFoundError):
                again.stat(gone.digest)
        finally:
            again.close()

    def test_the_stream_of_the_caller_stays_open(self, artifacts: ArtifactStore) -> None:
        content = _unique(2 * _MIB)
        for _ in range(2):
            stream = io.BytesIO(content)
            artifacts.put(stream)
            assert not stream.closed

    def test_a_blob_that_is_read_meanwhile_is_read_whole_or_gone(self, artifacts: ArtifactStore) -> None:
        content = _unique(3 * _MIB)
        info = artifacts.put(io.BytesIO(content))
        with artifacts.open(info.digest) as stream:
            begun = stream.read(1000)
            artifacts.delete(info.digest)
            try:
                rest = stream.read()
            except NotFoundError:
                return
        assert begun + rest == content

    def test_a_url_is_offered_or_not(self, artifacts: ArtifactStore) -> None:
        content = _unique()
        info = artifacts.put(io.BytesIO(content))
        url = artifacts.url_for(info.digest, expires_s=60)
        assert url is None or "://" in url
        if url is not None and url.startswith(("http://", "https://")):
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.read() == content

    def test_closing_twice_is_no_error(self, artifacts: ArtifactStore) -> None:
        artifacts.close()
        artifacts.close()
