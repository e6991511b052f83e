"""Objects of a bucket, or of any other storage that fsspec reaches, as parts: read and hashed in parallel.

An object whose storage names its version or its content (a version id, a generation, an ETag) is read once: its digest is
remembered under its address, that name, its size and its time.
"""

from __future__ import annotations

import fnmatch
import hashlib
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import fsspec

from modeldb_core.errors import (
    FolderChangedError,
    InvalidArgumentError,
    MissingDependencyError,
    ModelDBError,
    NotFoundError,
    PermissionDeniedError,
    StoreUnavailableError,
    UnknownSchemeError,
)
from modeldb_core.runtime.redaction import redact_url
from modeldb_core.runtime.workers import Workers
from modeldb_core.tracking.data.parts import Found, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modeldb_core.tracking.data.cache import HashCache
    from modeldb_core.tracking.data.parts import Progress

_CHUNK_BYTES = 1 << 20
_WORKERS = 16
_AT_ONCE = 64  # digests that are remembered in one transaction
_TAGS = ("ETag", "etag", "md5", "md5Hash", "content_md5")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified")
_VERSIONS = ("VersionId", "version_id", "generation")


def find_objects(
    url: str,
    cache: HashCache,
    *,
    storage_options: Mapping[str, Any],
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
) -> Found:
    """Return the objects at an address with the digests of their content.

    Args:
        url: of an object, or of what the addresses of several begin with (a folder).
        cache: of digests that are known.
        storage_options: for fsspec, such as ``endpoint_url``; they are recorded nowhere.
        exclude: patterns of names or locations that are no part of it.
        progress: called now and then, from this thread.

    Raises:
        NotFoundError: there is nothing.
        PermissionDeniedError: something may not be read.
        UnknownSchemeError, MissingDependencyError: fsspec, or what it needs for this scheme, is missing.
        FolderChangedError: an object changed while it was read.
        StoreUnavailableError: the storage does not answer.
    """
    shown = redact_url(url)
    with _translated(shown):
        storage = _Storage(url, storage_options)
        listed = storage.listed(exclude)
        if not listed:
            msg = f"there is nothing at {shown}; pass the address of something that exists"
            raise NotFoundError(msg)
        identities = {location: storage.identity(info) for location, info in listed.items()}
        known = cache.find_objects([identity for identity in identities.values() if identity])
        unknown = [location for location, identity in identities.items() if identity not in known]
        digests = {location: known[identity] for location, identity in identities.items() if identity in known}
        read_bytes = 0
        new: dict[str, bytes] = {}
        try:
            hashed = Workers(_WORKERS, "modeldb-hash").map(lambda each: storage.hash(listed[each]), unknown)
            for location, digest in zip(unknown, hashed, strict=True):
                digests[location] = digest
                read_bytes += int(listed[location]["size"] or 0)
                if identities[location]:
                    new[identities[location]] = digest
                if len(new) == _AT_ONCE:
                    cache.keep_objects(new)
                    new = {}
                if progress is not None:
                    progress(len(digests), len(listed), read_bytes)
        finally:
            cache.keep_objects(new)  # what was hashed so far is not read again
    parts = tuple(
        Part(location, int(info["size"] or 0), digests[location].hex(), _observed(info))
        for location, info in listed.items()
    )
    opened = listed
    return Found(
        parts, storage.is_file, len(unknown), read_bytes, {}, shown, lambda part: storage.open(opened[part.location])
    )


class _Storage:
    """A file system of fsspec, and an address in it."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        try:
            self._system, self._root = fsspec.core.url_to_fs(url, **options)
        except ImportError as error:
            msg = f"{redact_url(url)} needs a package that is not installed ({error})"
            raise MissingDependencyError(msg) from error
        except ValueError as error:
            msg = f"{redact_url(url)} cannot be read: {error}; expected an address that fsspec knows"
            raise UnknownSchemeError(msg) from error
        self.is_file = False
        self._is_versioned = self._knows_versions()

    def listed(self, exclude: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what is known of each object by its location, in order."""
        self._system.invalidate_cache()
        root = self._root.rstrip("/")
        found = self._system.find(root, detail=True)
        self.is_file = len(found) == 1 and next(iter(found)).rstrip("/") == root
        listed: dict[str, dict[str, Any]] = {}
        for path, info in sorted(found.items()):
            location = path.rpartition("/")[2] if self.is_file else path[len(root) :].removeprefix("/")
            name = location.rpartition("/")[2]
            is_marker = not name or (info.get("size") in (0, None) and path.endswith("/"))
            if is_marker or any(
                fnmatch.fnmatchcase(name, each) or fnmatch.fnmatchcase(location, each) for each in exclude
            ):
                continue
            listed[location] = {**info, "name": path}
        if self._is_versioned:
            heads = Workers(_WORKERS, "modeldb-hash").map(lambda info: self._system.info(info["name"]), listed.values())
            for location, head in zip(list(listed), heads, strict=True):
                listed[location] = {**listed[location], **head, "name": listed[location]["name"]}
        return listed

    def identity(self, info: Mapping[str, Any]) -> str:
        """Return what names the content of an object for good; "" where the storage says nothing of that kind."""
        observed = _observed(info)
        if not observed.keys() & {"etag", "version_id"}:
            return ""
        seen = "\0".join(f"{name}={value}" for name, value in sorted(observed.items()))
        place = f"{self._system.protocol}\0{getattr(self._system, 'endpoint_url', '')}\0{info['name']}"
        return f"{place}\0{info['size']}\0{seen}"

    def hash(self, info: Mapping[str, Any]) -> bytes:
        """Return the SHA-256 of an object; raises FolderChangedError where it is another one by then."""
        digest, size = hashlib.sha256(), 0
        try:
            with self.open(info) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
            again = info if self._is_versioned else self._system.info(info["name"], refresh=True)
        except FileNotFoundError as error:
            raise _changed(info["name"], "went away") from error
        except TypeError:  # a file system that has no listing to look at again
            again = self._system.info(info["name"])
        if size != info["size"] or _observed(again) != _observed(info):
            raise _changed(info["name"], "was written to")
        return digest.digest()

    def open(self, info: Mapping[str, Any]) -> BinaryIO:
        """Return the content of an object, of the version that was seen."""
        options = {"version_id": info["VersionId"]} if self._is_versioned and info.get("VersionId") else {}
        return cast("BinaryIO", self._system.open(info["name"], "rb", **options))

    def _knows_versions(self) -> bool:
        """Return whether a bucket of S3 keeps versions; then the one that was seen is the one that is read."""
        if not hasattr(self._system, "is_bucket_versioned"):
            return False
        bucket = self._root.partition("/")[0]
        if not self._system.is_bucket_versioned(bucket):
            return False
        # Not set on this one: fsspec gives the program the same instance.
        options = {**self._system.storage_options, "version_aware": True}
        self._system = type(self._system)(*self._system.storage_args, **options)
        return True


def _observed(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was seen of an object beside its content."""
    seen: dict[str, Any] = {}
    for name, keys in (("etag", _TAGS), ("version_id", _VERSIONS), ("modified_at", _TIMES)):
        value = next((info[key] for key in keys if info.get(key) not in (None, "", "null")), None)
        if isinstance(value, datetime):
            value = round(value.timestamp() * 1_000_000)
        elif isinstance(value, float):
            value = round(value * 1_000_000)
        if value is not None:
            seen[name] = value if isinstance(value, int) else str(value).strip('"')
    return seen


def _changed(name: str, what: str) -> FolderChangedError:
    return FolderChangedError(f"{name!r} {what} while it was read; nothing of it is recorded. Do it again")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Raise errors of ours for those of a file system."""
    try:
        yield
    except ModelDBError:
        raise
    except FileNotFoundError as error:
        msg = f"there is nothing at {url}; pass the address of something that exists"
        raise NotFoundError(msg) from error
    except PermissionError as error:
        msg = f"{url} may not be read: {error}"
        raise PermissionDeniedError(msg) from error
    except ImportError as error:
        msg = f"{url} needs a package that is not installed ({error})"
        raise MissingDependencyError(msg) from error
    except (ValueError, NotImplementedError) as error:
        msg = f"{url} cannot be read: {error}"
        raise InvalidArgumentError(msg) from error
    except Exception as error:
        msg = f"{url} cannot be read: {type(error).__name__}: {error}; check the address and the storage"
        raise StoreUnavailableError(msg) from error
