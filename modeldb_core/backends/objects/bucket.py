"""The objects of a store: listed, read, written once, deleted. On a folder of this machine, or on what fsspec reaches."""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._folders import inside, refuse_links
from modeldb_core.backends.objects.layout import newer_format
from modeldb_core.errors import (
    ConfigurationError,
    ModelDBError,
    NotFoundError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from modeldb_core.runtime import disk, owned
from modeldb_core.runtime.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modeldb_core.backends._fsspec import Remote

_READERS = 16  # objects that are fetched at once
_AT_ONCE = 256  # objects whose content is in memory at the same time, at most
_AT_ONCE_BYTES = 64 << 20
_MOST_AT_ONCE = 64 << 20  # of an object that is sent in one request
_DELETED_AT_ONCE = 1000  # as many as S3 takes in one request


class Bucket:
    """Objects below a prefix, by their name relative to it.

    Args:
        remote: where they are.
        fsync: wait for the disk where objects are files of this machine.
    """

    def __init__(self, remote: Remote, *, fsync: bool = False) -> None:
        self.url = remote.url
        self._remote = remote
        self._fsync = fsync
        self._is_s3 = remote.scheme in ("s3", "s3a")
        self._is_folder = remote.scheme == "file"
        self._readers = Workers(_READERS, "modeldb-objects")

    def listing(self, folder: str) -> dict[str, tuple[str, int]]:
        """Return the objects below a folder (which ends with a slash): from name to a mark and the size.

        A mark changes when an object is written again.

        Raises:
            StoreVersionError: a newer version of ModelDB wrote there.
        """
        with self._remote.errors():
            try:
                found = self._list_files(folder) if self._is_folder else self._list_remote(folder)
            except FileNotFoundError:
                if self._is_s3:
                    raise  # it is the bucket that is missing
                return {}
            if (number := newer_format(found)) is not None:
                msg = (
                    f"{self.url} has the format {number}, which this ModelDB does not know: it was written by a newer "
                    f"one; install that: pip install --upgrade modeldb-core"
                )
                raise StoreVersionError(msg)
            return found

    def read(self, name: str) -> bytes:
        """Return the content of an object.

        Raises:
            NotFoundError: there is none of that name.
        """
        path = f"{self._remote.root}/{name}"
        try:
            with self._remote.errors():
                if self._is_folder:
                    refuse_links(self._remote.root, os.path.dirname(name))
                    return disk.read_regular(path)
                # With a start, s3fs does not ask for the size first.
                return bytes(self._remote.fs.cat_file(path, start=0))
        except NotFoundError:
            msg = f"there is no object {name} in {self.url}"
            raise NotFoundError(msg) from None
        except StoreUnavailableError as error:
            if error.__cause__ is not None and "InvalidRange" in str(error.__cause__.__cause__):
                return b""  # S3 finds that an empty object has no beginning
            raise

    def read_many(self, sizes: Mapping[str, int]) -> Iterator[list[tuple[str, bytes | ModelDBError]]]:
        """Iterate over objects with their content, by windows; what cannot be read comes as its error.

        Args:
            sizes: the objects and their sizes.
        """
        for names in _windows(sizes):
            if len(names) == 1:
                yield [(names[0], self._read_or_error(names[0]))]
                continue
            reading = [self._readers.submit(partial(self._read_or_error, name)) for name in names]
            yield [(name, found.result()) for name, found in zip(names, reading, strict=True)]

    def _read_or_error(self, name: str) -> bytes | ModelDBError:
        try:
            return self.read(name)
        except ModelDBError as error:
            return error

    def write(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all, durably."""
        path = f"{self._remote.root}/{name}"
        with self._remote.errors("write"):
            if self._is_folder:
                self._write_file(path, content)
            else:
                try:
                    self._send(path, content)
                except FileNotFoundError as error:
                    msg = f"{self.url} cannot be written: there is no bucket {self._remote.bucket!r}; create it first"
                    raise ConfigurationError(msg) from error

    def _send(self, path: str, content: bytes, *, only_new: bool = False) -> None:
        """Send an object, and see that the bucket has it: an answer of 200 may come from anybody, a sign-in page for one.

        Who knows the MD5 has read the content. Where the ETag is another (of encrypted objects), the object is read back.
        """
        if not self._is_s3 or len(content) > _MOST_AT_ONCE:
            mode = {"mode": "create"} if only_new else {}
            self._remote.send("pipe_file", path, content, size_bytes=len(content), **mode)
            is_confirmed = not self._is_s3
        else:
            bucket, _, key = path.partition("/")
            condition = {"IfNoneMatch": "*"} if only_new else {}
            answer = self._remote.send(
                "call_s3", "put_object", Bucket=bucket, Key=key, Body=content, size_bytes=len(content), **condition
            )
            is_confirmed = (
                str(answer.get("ETag", "")).strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest()
            )
        if not is_confirmed and bytes(self._remote.fs.cat_file(path, start=0)) != content:
            msg = f"{self.url} did not confirm an object of {len(content):,} bytes: it may not have it; send it again later"
            raise StoreUnavailableError(msg)

    @property
    def knows_create(self) -> bool:
        """Whether there is a way to ask that an object is written only where it is not there."""
        return self._is_s3 or self._is_folder

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if there is none of that name; return whether the one that is there is this one.

        Raises:
            StoreUnavailableError: the bucket does not answer: the object may or may not be written, now or later.
        """
        path = f"{self._remote.root}/{name}"
        try:
            with self._remote.errors("write"):
                if self._is_folder:
                    self._write_file(path, content, may_replace=False)
                else:
                    self._send(path, content, only_new=True)
        except ModelDBError as error:
            # Whether it was refused, or an attempt before it has written the object, what is there tells.
            if isinstance(error, StoreReadOnlyError) and not self._is_folder:
                raise
            try:
                return self.read(name) == content
            except NotFoundError:
                if "ConditionalRequestConflict" in str(error.__cause__):
                    return False  # of two at once, S3 refuses both
                raise error from None
        return True

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        with self._remote.errors("write"):
            paths = [f"{self._remote.root}/{name}" for name in names]
            if self._is_s3:
                self._delete_from_s3(paths)
                return
            if self._is_folder:
                self._delete_files(names)
                return
            for path in paths:
                with suppress(FileNotFoundError):
                    self._remote.fs.rm_file(path)

    def _delete_files(self, names: Sequence[str]) -> None:
        by_folder: dict[str, list[str]] = {}
        for name in names:
            folder, _, file = name.rpartition("/")
            by_folder.setdefault(folder, []).append(file)
        for folder, files in by_folder.items():
            with suppress(FileNotFoundError), inside(self._remote.root, folder) as opened:
                for file in files:
                    with suppress(FileNotFoundError):
                        opened.remove(file)
                opened.remove_itself()

    def _delete_from_s3(self, paths: Sequence[str]) -> None:
        for at in range(0, len(paths), _DELETED_AT_ONCE):
            keys = [{"Key": path.partition("/")[2]} for path in paths[at : at + _DELETED_AT_ONCE]]
            answer = self._remote.send(
                "call_s3", "delete_objects", Bucket=self._remote.bucket, Delete={"Objects": keys, "Quiet": True}
            )
            errors = [item for item in answer.get("Errors", []) if item.get("Code") != "NoSuchKey"]
            if errors:
                msg = f"{self.url} cannot be tidied up: deleting {errors[0].get('Key')} gave {errors[0].get('Code')}"
                denied = errors[0].get("Code") == "AccessDenied"
                raise (StoreReadOnlyError if denied else StoreUnavailableError)(msg)

    def _list_remote(self, folder: str) -> dict[str, tuple[str, int]]:
        root = self._remote.root
        if self._is_s3:  # so asked, it is one request, also where nothing is found
            self._remote.expect_listings()
            found = self._remote.fs.find(root, prefix=folder, detail=True, refresh=True)
        else:
            found = self._remote.fs.find(f"{root}/{folder}".rstrip("/"), detail=True)
        start = len(root) + 1
        # Some servers make an empty object of a request whose body never came; none of ours is empty.
        return {path[start:]: (_mark(info), int(info["size"])) for path, info in found.items() if info["size"]}

    def _list_files(self, folder: str) -> dict[str, tuple[str, int]]:
        found = {}
        refuse_links(self._remote.root, folder)
        waiting = [folder.rstrip("/")]
        while waiting:
            current = waiting.pop()
            try:
                entries = list(os.scandir(f"{self._remote.root}/{current}"))
            except FileNotFoundError:
                continue
            for entry in entries:
                name = f"{current}/{entry.name}"
                if entry.name.startswith("."):
                    continue
                with suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    elif entry.is_file(follow_symlinks=False):  # opening a pipe waits for ever, and a link leads away
                        info = entry.stat(follow_symlinks=False)
                        found[name] = f"{info.st_mtime_ns}", info.st_size
        return found

    def _write_file(self, path: str, content: bytes, *, may_replace: bool = True) -> None:
        # A reader must never see half an object: it is written beside, under a name that listings leave out.
        refuse_links(self._remote.root, os.path.dirname(os.path.relpath(path, self._remote.root)))
        folder, name = os.path.split(path)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}"
        for _ in range(10):  # a compactor may remove a folder that has become empty just now
            if not os.path.isdir(folder):
                owned.make_private(self._remote.root)
                os.makedirs(folder, exist_ok=True)
            try:
                with open(temporary, "xb") as file:
                    file.write(content)
                    if self._fsync:
                        file.flush()
                        disk.reach_disk(file.fileno())
                if may_replace:
                    os.replace(temporary, path)
                else:
                    os.link(temporary, path)
                    os.unlink(temporary)
                break
            except FileNotFoundError:
                continue
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        else:
            msg = f"the folder {folder} is removed again and again"
            raise OSError(msg)
        if self._fsync:
            _sync_folder(folder)


def _mark(info: Mapping[str, Any]) -> str:
    for name in ("ETag", "md5Hash", "etag", "generation", "LastModified", "last_modified", "mtime", "created"):
        if info.get(name):
            return str(info[name])
    return str(info.get("size"))


def _sync_folder(folder: str) -> None:
    if os.name == "nt":  # where a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        disk.reach_disk(descriptor)
    finally:
        os.close(descriptor)


def _windows(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    names: list[str] = []
    total = 0
    for name, size in sizes.items():
        if names and (len(names) >= _AT_ONCE or total + size > _AT_ONCE_BYTES):
            yield names
            names, total = [], 0
        names.append(name)
        total += size
    if names:
        yield names
