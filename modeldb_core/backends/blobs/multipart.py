"""Uploads in parts: in parallel, within a bounded memory, and taken up again where another process was stopped.

What has arrived is asked of the bucket, so nothing about an upload has to be kept on this machine. A part that is
there is trusted only if its checksum is that of the bytes at hand.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from modeldb_core.backends.blobs.bucket import code_of
from modeldb_core.backends.blobs.content import check_digest, read_fully
from modeldb_core.errors import IntegrityError, ModelDBError, StoreUnavailableError
from modeldb_core.stores import BlobInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from modeldb_core.backends.blobs.bucket import Bucket
    from modeldb_core.runtime.workers import Workers

logger = logging.getLogger("modeldb")

MIB = 1 << 20
MAX_PARTS = 10_000  # of S3; from its documentation, as the next one
MIN_PART_BYTES = 5 * MIB
ABANDONED = timedelta(days=1)
_ATTEMPTS = 3

# Somebody else has completed or aborted the upload meanwhile, or put other bytes in place of a part.
_OVERTAKEN = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"})


class MemoryBudget:
    """How many bytes of content may be held at once, by all threads together. A forked child begins with all of it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._free = self._size
        self._condition = threading.Condition()

    def take(self, size: int) -> int:
        """Wait until there is room for ``size`` bytes and return what to give back; more than all of it means all."""
        if self._pid != os.getpid():
            self._reset()
        size = min(size, self._size)
        with self._condition:
            while self._free < size:
                self._condition.wait()
            self._free -= size
        return size

    def give_back(self, size: int) -> None:
        """Let others have what :meth:`take` returned."""
        with self._condition:
            self._free += size
            self._condition.notify_all()


@dataclass(frozen=True, slots=True)
class Lanes:
    """What the uploads of a store share: threads, how many they are, memory, and how large a part is at least."""

    workers: Workers
    width: int
    memory: MemoryBudget
    part_bytes: int


class _OvertakenError(Exception):
    """The upload is no longer ours to complete."""


def part_size(size: int, least: int) -> int:
    """Return how large the parts of an object are: whole mebibytes, and no more parts than S3 allows."""
    return max(least, -(-size // (MAX_PARTS * MIB)) * MIB)


def checksum_of(content: bytes) -> str:
    """Return a SHA-256 as S3 writes it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def upload(bucket: Bucket, key: str, stream: BinaryIO, info: BlobInfo, lanes: Lanes) -> None:
    """Send ``info.size_bytes`` from a stream that can seek; the object appears whole, and only if it is ``info.digest``.

    Raises:
        IntegrityError: the stream holds something else.
        StoreUnavailableError: the bucket went away. What has arrived is used by the next call.
    """
    start = stream.tell()
    for attempt in range(_ATTEMPTS):
        stream.seek(start)
        try:
            # Who was overtaken twice shares an upload with somebody whose parts differ: it begins one of its own.
            _Upload(bucket, key, info, lanes, may_resume=attempt < _ATTEMPTS - 1).send(stream)
        except _OvertakenError:
            if is_there(bucket, key, info):
                return
        else:
            return
    msg = f"blob {info.digest} cannot be uploaded to {bucket.url} now: others upload or abort it too; try again later"
    raise StoreUnavailableError(msg)


def is_there(bucket: Bucket, key: str, info: BlobInfo) -> bool:
    """Whether an object of the right size is there."""
    try:
        return int(bucket.call("head_object", "read", key)["ContentLength"]) == info.size_bytes
    except ModelDBError as error:
        if code_of(error) in ("404", "NoSuchKey"):
            return False
        raise


class _Upload:
    """One upload in parts."""

    def __init__(self, bucket: Bucket, key: str, info: BlobInfo, lanes: Lanes, *, may_resume: bool) -> None:
        self._bucket, self._key, self._info, self._lanes = bucket, key, info, lanes
        self._part_bytes = part_size(info.size_bytes, lanes.part_bytes)
        self._found: dict[int, dict[str, Any]] = {}
        self._upload_id = self._find() if may_resume else ""
        self._is_ours = not self._upload_id
        if self._is_ours:
            answer = bucket.call("create_multipart_upload", "write", key, ChecksumAlgorithm="SHA256")
            self._upload_id = answer["UploadId"]

    def send(self, stream: BinaryIO) -> None:
        """Send all parts that are not there, and complete the upload."""
        sha = hashlib.sha256()
        parts: list[dict[str, Any]] = []
        sent: deque[Future[dict[str, Any]]] = deque()
        try:
            for number, length in enumerate(self._lengths(), 1):
                sent.append(self._submit(number, length, stream, sha))
                while len(sent) > self._lanes.width:  # no more is read ahead than keeps the threads busy
                    parts.append(sent.popleft().result())
            self._check(BlobInfo(sha.hexdigest() if not stream.read(1) else "more than was there", 0))
            parts.extend(future.result() for future in sent)
        except BaseException:
            for future in sent:
                future.cancel()
            raise
        self._call("complete_multipart_upload", MultipartUpload={"Parts": parts})

    def _submit(self, number: int, length: int, stream: BinaryIO, sha: hashlib._Hash) -> Future[dict[str, Any]]:
        """Read a part as soon as there is room for it, and have it sent."""
        memory = self._lanes.memory
        held = memory.take(length)
        try:
            content = read_fully(stream, length)
            sha.update(content)
        except BaseException:
            memory.give_back(held)
            raise
        future = self._lanes.workers.submit(partial(self._part, number, content))
        future.add_done_callback(lambda _: memory.give_back(held))  # also where it is cancelled
        return future

    def _check(self, hashed: BlobInfo) -> None:
        try:
            check_digest(hashed, self._info.digest)
        except IntegrityError:
            if self._is_ours:
                with suppress(ModelDBError):
                    self._call("abort_multipart_upload")
            raise

    def _lengths(self) -> Iterator[int]:
        left = self._info.size_bytes
        while left > 0:
            yield min(left, self._part_bytes)
            left -= self._part_bytes

    def _part(self, number: int, content: bytes) -> dict[str, Any]:
        """Send a part unless it is there; return how the upload's completion names it."""
        checksum = checksum_of(content)
        found = self._found.get(number)
        if found is not None and _is_part(found, content, checksum):
            return {"PartNumber": number, "ETag": found["ETag"], "ChecksumSHA256": checksum}
        answer = self._call("upload_part", PartNumber=number, Body=content, ChecksumSHA256=checksum)
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _find(self) -> str:
        """Return the latest upload of the object that was begun and not completed, and note its parts; "": there is none."""
        try:
            uploads = [item for item in _uploads(self._bucket, self._key) if item["Key"] == self._key]
            if not uploads:
                return ""
            upload_id: str = max(uploads, key=lambda item: item["Initiated"])["UploadId"]
            parts = self._bucket.pages("list_parts", "Parts", Key=self._key, UploadId=upload_id)
            self._found = {part["PartNumber"]: part for part in parts}
        except ModelDBError as error:  # not everyone who may write may list
            logger.debug("An upload to %s is not resumed: %s", self._bucket.url, error)
            return ""
        logger.info(
            "Resuming the upload of %s to %s: %d parts are there.", self._key, self._bucket.url, len(self._found)
        )
        return upload_id

    def _call(self, operation: str, **arguments: object) -> dict[str, Any]:
        try:
            return self._bucket.call(operation, "write", self._key, UploadId=self._upload_id, **arguments)
        except ModelDBError as error:
            # "InvalidRequest": the upload was begun with other checksums than ours.
            if code_of(error) in _OVERTAKEN or (code_of(error) == "InvalidRequest" and not self._is_ours):
                raise _OvertakenError from error
            raise


def _is_part(found: dict[str, Any], content: bytes, checksum: str) -> bool:
    """Whether a part that is there holds these bytes: by its SHA-256, else by the MD5 that most servers call its ETag."""
    if found.get("Size") != len(content):
        return False
    if found.get("ChecksumSHA256"):
        return bool(found["ChecksumSHA256"] == checksum)
    return is_md5_of(content, found.get("ETag"))


def is_md5_of(content: bytes, etag: object) -> bool:
    """Whether an ETag is the MD5 of some bytes, as most servers make it."""
    return isinstance(etag, str) and etag.strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest()


def _uploads(bucket: Bucket, prefix: str) -> Iterator[dict[str, Any]]:
    return bucket.pages("list_multipart_uploads", "Uploads", Prefix=prefix)


def sweep(bucket: Bucket) -> None:
    """Abort the uploads to the store that nobody has gone on with for a day: their parts take room, and cost."""
    oldest = datetime.now(UTC) - ABANDONED
    for item in _uploads(bucket, bucket.prefix):
        if item["Initiated"] > oldest:
            continue
        place = {"Key": item["Key"], "UploadId": item["UploadId"]}
        if any(part["LastModified"] > oldest for part in bucket.pages("list_parts", "Parts", **place)):
            continue
        bucket.call("abort_multipart_upload", "write", **place)
