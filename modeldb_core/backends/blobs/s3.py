"""The blob store in a bucket of S3, or of anything that speaks its protocol.

A blob is the object ``<prefix>/ab/<digest>``. There is no renaming in S3, so the digest is known before anything is
sent: content that can be read twice is hashed first, and other content goes through a temporary file.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from modeldb_core.backends._fsspec import ARTIFACT_OPTIONS, split_url
from modeldb_core.backends.blobs import multipart
from modeldb_core.backends.blobs.bucket import GONE, Bucket, code_of
from modeldb_core.backends.blobs.content import (
    OWNERS,
    blob_path,
    check_digest,
    hash_rest,
    is_digest,
    owner_path,
    read_fully,
    size_of_rest,
)
from modeldb_core.backends.blobs.multipart import MIB, Lanes, MemoryBudget, checksum_of, is_md5_of
from modeldb_core.backends.blobs.ranges import FIRST_BYTES, RangeReader
from modeldb_core.backends.blobs.verified import verified
from modeldb_core.errors import (
    ConfigurationError,
    ModelDBError,
    NotFoundError,
    PermissionDeniedError,
    StoreUnavailableError,
)
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.runtime.workers import Workers
from modeldb_core.stores import REFRESH_S, ArtifactStore, BlobInfo, check_stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

logger = logging.getLogger("modeldb")

PART_MIB = 16
PARALLEL = 4
MEMORY_MIB = 128
_SMALL_AT_ONCE = 8

MAX_EXPIRES_S = 7 * 24 * 3600  # what signature version 4 allows
_COPY_BYTES = 1 << 30  # a copy in one request may have 5 GiB; smaller ones end before a connection times out
_MAX_COPY_BYTES = 5 << 30
_MAX_OWNER_BYTES = 1 << 16


class S3ArtifactStore(ArtifactStore):
    """Blobs in a bucket.

    Args:
        url: ``s3://bucket/prefix``, where options may follow: ``?region=eu-central-1&part_mib=64``.
        cache_dir: where content that cannot be read twice waits; default: the system's temporary folder.
        options: those of ``_fsspec.ARTIFACT_OPTIONS`` (``part_mib``: how large a part is at least; ``parallel``: how
            many are on their way at once; ``memory_mib``: how much content is held in memory by all uploads together)
            and of ``_fsspec.S3_OPTIONS`` (credentials, endpoint, timeouts).

    Raises:
        ConfigurationError: the URL names no bucket, or an option is unknown or has an invalid value.
        MissingDependencyError: botocore is not installed.
    """

    def __init__(self, url: str, *, cache_dir: str | Path | None = None, **options: Any) -> None:  # noqa: ANN401
        bare, driver, own = split_url(url, options, ARTIFACT_OPTIONS)
        self.url = redact_url(bare).rstrip("/")
        if not bare.partition("://")[2].strip("/"):
            msg = f"{self.url!r} does not name a bucket; expected a URL such as 's3://bucket/prefix'"
            raise ConfigurationError(msg)
        part_mib, parallel = own.get("part_mib", PART_MIB), own.get("parallel", PARALLEL)
        memory_mib = own.get("memory_mib", MEMORY_MIB)
        _check_range(self.url, "part_mib", part_mib, multipart.MIN_PART_BYTES // MIB, 5 << 10)
        _check_range(self.url, "parallel", parallel, 1, 64)
        _check_range(self.url, "memory_mib", memory_mib, 1, 1 << 20)
        self._bucket = Bucket(self.url, driver)
        workers = Workers(parallel, "modeldb-s3")
        self._lanes = Lanes(workers, parallel, MemoryBudget(memory_mib * MIB), part_mib * MIB)
        self._small = Workers(_SMALL_AT_ONCE, "modeldb-s3-small")
        self._cache_dir = cache_dir
        self._is_swept = False

    # -- several at once: a request takes long, and little work -------------------------------------------------------

    def put_many(self, contents: Sequence[bytes]) -> list[str]:
        put = self._small.map(lambda content: ArtifactStore.put_many(self, [content]), contents)
        return [digest for digests in put for digest in digests]

    def read_many(self, digests: Sequence[str], max_bytes: int) -> Sequence[bytes]:
        return list(self._small.map(lambda digest: self._read_small(digest, max_bytes), digests))

    # -- writing ------------------------------------------------------------------------------------------------------

    def owners(self) -> frozenset[str]:
        prefix = f"{self._bucket.prefix}{OWNERS}/"
        keys = [item["Key"] for item in self._bucket.pages("list_objects_v2", "Contents", Prefix=prefix)]
        contents = (self._bucket.read(key, 0, _MAX_OWNER_BYTES)[0] for key in keys)
        return frozenset(content.decode("utf-8", "replace") for content in contents)

    def add_owner(self, owner: str) -> None:
        content = owner.encode("utf-8", "surrogatepass")
        key = self._bucket.prefix + owner_path(owner)
        self._bucket.call("put_object", "write", key, Body=content, ChecksumSHA256=checksum_of(content))

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        self._claim()
        if digest is not None:
            blob_path(digest)
        size = size_of_rest(stream)
        if size is not None and size > self._lanes.part_bytes:
            return self._put_large(stream, size, digest)
        held = self._lanes.memory.take(self._lanes.part_bytes if size is None else size)
        try:
            content = read_fully(stream, self._lanes.part_bytes + 1)
            if len(content) <= self._lanes.part_bytes:
                return self._put_small(content, digest)
        finally:
            self._lanes.memory.give_back(held)
        return self._put_spooled(content, stream, digest)

    def _put_small(self, content: bytes, digest: str | None) -> BlobInfo:
        info = BlobInfo(hashlib.sha256(content).hexdigest(), len(content))
        check_digest(info, digest)
        if not self._is_kept(info):
            checksum = checksum_of(content)
            answer = self._bucket.call(
                "put_object", "write", self._key(info.digest), Body=content, ChecksumSHA256=checksum
            )
            # An answer of 200 may come from anybody. Who knows the checksum has read the content; a server that gives
            # neither (encrypted objects have another ETag) is asked what it has.
            if answer.get("ChecksumSHA256") != checksum and not is_md5_of(content, answer.get("ETag")):
                self._confirm(info)
        return info

    def _confirm(self, info: BlobInfo) -> None:
        """See that a blob is there as it was sent."""
        found = self._head(info.digest)
        check_stored(found or BlobInfo("nothing", 0), info, self.url)

    def _put_large(self, stream: BinaryIO, size: int, digest: str | None) -> BlobInfo:
        start = stream.tell()
        info = None if digest is None else BlobInfo(digest, size)
        if info is None or self._is_kept(info):
            hashed = hash_rest(stream)
            check_digest(hashed, digest)
            if info is not None or self._is_kept(hashed):
                return hashed
            info = hashed
            stream.seek(start)
        multipart.upload(self._bucket, self._key(info.digest), stream, info, self._lanes)
        self._confirm(info)
        self._sweep()
        return info

    def _put_spooled(self, first: bytes, stream: BinaryIO, digest: str | None) -> BlobInfo:
        """Put content that can be read only once by way of a file, which has no name and so ends with this process."""
        with self._temporary() as file:

            def take(chunk: bytes) -> None:
                try:
                    file.write(chunk)
                except OSError as error:
                    folder = self._cache_dir or tempfile.gettempdir()
                    msg = (
                        f"{folder} cannot hold what is to be sent to {self.url}: {error}; free space, or set cache_dir"
                    )
                    raise StoreUnavailableError(msg) from error

            hashed = hash_rest(stream, take, first)
            check_digest(hashed, digest)
            file.seek(0)
            return self._put_large(file, hashed.size_bytes, hashed.digest)

    @contextmanager
    def _temporary(self) -> Iterator[BinaryIO]:
        try:
            if self._cache_dir is not None:
                Path(self._cache_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
            file = tempfile.TemporaryFile(dir=self._cache_dir)  # noqa: SIM115 - what fails in it is another matter
        except OSError as error:
            msg = f"no temporary file can be made for what is to be sent to {self.url}: {error}"
            raise StoreUnavailableError(msg) from error
        with file:
            yield cast("BinaryIO", file)

    def _is_kept(self, info: BlobInfo) -> bool:
        """Whether the blob is there, whole and young: an old one is copied onto itself."""
        try:
            found = self._head(info.digest)
        except PermissionDeniedError:
            return False  # S3 says so of what is not there to those who may not list; writing it tells
        if found is None or found.size_bytes != info.size_bytes:
            return False
        assert found.modified_at is not None
        if datetime.now(UTC) - found.modified_at < timedelta(seconds=REFRESH_S / 2):
            return True
        return self._refresh(found)

    def _refresh(self, info: BlobInfo) -> bool:
        """Copy a blob onto itself; False where it is gone, or the server cannot do it."""
        key = self._key(info.digest)
        source = {"Bucket": self._bucket.name, "Key": key}
        try:
            if info.size_bytes <= _MAX_COPY_BYTES:
                # S3 refuses a copy that changes nothing.
                mark = {"modeldb-put": datetime.now(UTC).isoformat(timespec="seconds")}
                copy = {"CopySource": source, "MetadataDirective": "REPLACE", "Metadata": mark}
                self._bucket.call("copy_object", "write", key, **copy)
            else:
                self._copy_parts(key, source, info.size_bytes)
        except ModelDBError as error:
            if code_of(error) in GONE | {"NotImplemented", "InvalidRequest", "501"}:
                return False
            raise
        return True

    def _copy_parts(self, key: str, source: Mapping[str, str], size: int) -> None:
        upload_id = self._bucket.call("create_multipart_upload", "write", key)["UploadId"]

        def copy(number: int, start: int) -> dict[str, Any]:
            window = f"bytes={start}-{min(start + _COPY_BYTES, size) - 1}"
            arguments = {"UploadId": upload_id, "PartNumber": number, "CopySource": source, "CopySourceRange": window}
            answer = self._bucket.call("upload_part_copy", "write", key, **arguments)
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        try:
            starts = enumerate(range(0, size, _COPY_BYTES), 1)
            futures = [self._lanes.workers.submit(partial(copy, number, start)) for number, start in starts]
            parts = {"Parts": [future.result() for future in futures]}
            self._bucket.call("complete_multipart_upload", "write", key, UploadId=upload_id, MultipartUpload=parts)
        except BaseException:
            with suppress(ModelDBError):
                self._bucket.call("abort_multipart_upload", "write", key, UploadId=upload_id)
            raise

    def _sweep(self) -> None:
        if self._is_swept:
            return
        self._is_swept = True
        with suppress(ModelDBError):  # not everyone who may write may list and abort
            multipart.sweep(self._bucket)

    # -- reading ------------------------------------------------------------------------------------------------------

    def open(self, digest: str) -> BinaryIO:
        key = self._key(digest)
        try:
            first, size = self._bucket.read(key, 0, FIRST_BYTES)
        except ModelDBError as error:
            if code_of(error) in GONE:
                raise self._not_found(digest) from error
            if code_of(error) not in ("InvalidRange", "416"):
                raise
            first, size = b"", 0  # there is no range in an object without bytes
        reader = RangeReader(
            lambda start, stop: self._bucket.read(key, start, stop)[0], size, first, self._lanes.workers
        )
        return verified(cast("BinaryIO", reader), digest, size, self.url, _as_they_are)

    def stat(self, digest: str) -> BlobInfo:
        found = self._head(digest)
        if found is None:
            raise self._not_found(digest)
        return found

    def list(self) -> Iterator[BlobInfo]:
        for item in self._bucket.pages("list_objects_v2", "Contents", Prefix=self._bucket.prefix):
            name = item["Key"].rpartition("/")[2]
            if is_digest(name) and item["Key"] == self._key(name):
                yield BlobInfo(name, int(item["Size"]), item["LastModified"].astimezone(UTC))

    def delete(self, digest: str) -> None:
        key = self._key(digest)
        try:
            self._bucket.call("delete_object", "write", key)
        except ModelDBError as error:
            if code_of(error) not in GONE:
                raise

    def url_for(self, digest: str, *, expires_s: int = 3600) -> str | None:
        return self._bucket.presigned(
            min(max(expires_s, 1), MAX_EXPIRES_S),
            Key=self._key(digest),
            # What somebody uploaded is never shown by a browser as a page of the bucket's origin.
            ResponseContentDisposition=f'attachment; filename="{digest}"',
            ResponseContentType="application/octet-stream",
        )

    def close(self) -> None:
        self._bucket.close()
        self._lanes.workers.release()
        self._small.release()

    def _key(self, digest: str) -> str:
        return self._bucket.prefix + blob_path(digest)

    def _head(self, digest: str) -> BlobInfo | None:
        key = self._key(digest)
        refusal: ModelDBError | None = None
        try:
            found = self._bucket.call("head_object", "read", key)
        except ModelDBError as error:
            code = code_of(error)
            if code in GONE:
                return None
            if code not in ("400", "403"):
                raise
            refusal = error
        if refusal is not None:
            with suppress(NotFoundError):
                self._bucket.read(key, 0, 1)  # the answer to a HEAD has no body that says why; that of a GET has
            raise refusal
        return BlobInfo(digest, int(found["ContentLength"]), found["LastModified"].astimezone(UTC))

    def _not_found(self, digest: str) -> NotFoundError:
        return NotFoundError(f"there is no blob {digest} in {self.url}")


@contextmanager
def _as_they_are() -> Iterator[None]:
    """Leave errors: the bucket has put them into sentences."""
    yield


def _check_range(url: str, name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        msg = f"the option {name!r} of {url} is {value}; expected {least:,} to {most:,}"
        raise ConfigurationError(msg)
