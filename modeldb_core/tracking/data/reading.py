"""From data to the content of a version: read, hashed, described, and kept where that is asked for."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from modeldb_core.commands.datasets import PATH, QUERY, Content, content_of
from modeldb_core.errors import FolderChangedError, IntegrityError
from modeldb_core.model.entities import from_datetime
from modeldb_core.runtime.workers import Workers
from modeldb_core.tracking.data.files import find_files
from modeldb_core.tracking.data.kept import dump
from modeldb_core.tracking.data.parts import Found, Part
from modeldb_core.tracking.data.sources import PathData, QueryData
from modeldb_core.tracking.description.contents import nested
from modeldb_core.tracking.description.datasets import describe
from modeldb_core.tracking.description.digests import FORMAT, ContentHash
from modeldb_core.tracking.description.folders import name_left_out
from modeldb_core.tracking.description.items import encode_item
from modeldb_core.tracking.description.statistics import statistics
from modeldb_core.trees import TreeStore, order_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from modeldb_core.model.entities import DatasetVersion
    from modeldb_core.tracking.data.cache import HashCache
    from modeldb_core.tracking.data.parts import Progress
    from modeldb_core.trees import Blobs, Tree

_SENDERS = 8


@dataclass(frozen=True, slots=True)
class Read:
    """What was read.

    Attributes:
        content: of the version.
        note: what is to be said of it, such as what was left out.
        hashed: how many files were read; the digests of the others were remembered.
        hashed_bytes: how many bytes of them.
        sent: how many files went to the artifact store.
    """

    content: Content
    note: str = ""
    hashed: int = 0
    hashed_bytes: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads data for versions.

    Attributes:
        blobs: where trees, and what is kept, are put.
        cache: of digests of files that were read before.
        own: real paths of what is ModelDB's own, and no part of any data.
        describe_object: asked about objects that are not known here.
        is_lenient: whether what cannot be read is left out and named, instead of an error.
        progress: called now and then while files are read.
    """

    blobs: Blobs
    cache: HashCache
    own: Collection[str] = ()
    describe_object: Callable[[object], Mapping[str, Any] | None] | None = None
    is_lenient: bool = False
    progress: Progress | None = None

    def read(self, data: object, name: str, *, keep: bool = False, before: DatasetVersion | None = None) -> Read:
        """Return the content of data for a version.

        Args:
            data: a :class:`PathData`, a :class:`QueryData`, or anything that ``describe`` knows.
            name: of the data set.
            keep: whether the content is put into the artifact store.
            before: the version before: what its tree has is not put again.

        Raises:
            NotFoundError, PermissionDeniedError, InvalidArgumentError, FolderChangedError: it cannot be read; nothing
                is recorded.
            InvalidTypeError: nothing is known about data of this type, or it cannot be kept.
        """
        if isinstance(data, PathData):
            return self._read_path(data, name, keep or data.keep, before)
        if isinstance(data, QueryData):
            return self._read_query(data, name, keep or data.keep)
        return self._read_object(data, name, keep)

    def find(self, data: PathData) -> Found:
        """Return the files at a path with the digests of their content."""
        if data.is_remote:
            from modeldb_core.tracking.data.remote import find_objects

            options = data.storage_options
            return find_objects(
                data.path, self.cache, storage_options=options, exclude=data.exclude, progress=self.progress
            )
        path = url2pathname(urlsplit(data.path).path) if data.path.startswith("file://") else data.path
        return find_files(
            path,
            self.cache,
            exclude=data.exclude,
            own=self.own,
            is_lenient=self.is_lenient,
            progress=self.progress,
        )

    def store(self, found: Found, *, keep: bool, before: str = "") -> tuple[Tree, int]:
        """Put the parts of a version as a tree, and their content where that is kept; return how many were sent."""
        trees = TreeStore(self.blobs)
        tree = trees.build((part.location, part.entry(is_kept=keep)) for part in sorted(found.parts, key=_order))
        if not keep:
            return tree, 0
        parts: Collection[Part] = found.parts
        if before:
            changed = {each.location for each in trees.open(before).diff(tree, observed=True) if each.after}
            parts = [part for part in parts if part.location in changed]
        return tree, self._send(found, parts)

    # Inside

    def _read_path(self, data: PathData, name: str, keep: bool, before: DatasetVersion | None) -> Read:
        found = self.find(data)
        root, sent = "" if before is None else before.tree, 0
        size = found.size_bytes if found.digest else None
        keep = keep and bool(found.digest)  # of a file that could not be read there is nothing to keep
        if before is None or not root or before.digest != found.digest or (keep and not before.is_kept):
            tree, sent = self.store(found, keep=keep, before=root)
            root = tree.root
        kind = "file" if found.is_file else "folder"
        place = {"url": found.url} if data.is_remote else {"path": found.url}
        info: dict[str, Any] = {
            "name": name,
            "digest_format": FORMAT,
            "kind": kind,
            "type": kind,
            "digest": found.digest,
            "shape": None,
            "size_bytes": size,
            "schema": {"files": len(found.parts)},
            "origin": {"type": kind, **place},
            **({"exclude": list(data.exclude)} if data.exclude else {}),
        }
        note = f"left out: {name_left_out(dict(found.left_out))}" if found.left_out else ""
        if note:
            info["note"] = note
        content = Content(
            dataset_type=PATH,
            digest=found.digest,
            source=found.url,
            size_bytes=size,
            part_count=len(found.parts),
            info=info,
            fields={"tree": root, "is_kept": keep},
        )
        return Read(content, note, found.hashed, found.hashed_bytes, sent)

    def _read_query(self, data: QueryData, name: str, keep: bool) -> Read:
        result = None if data.result is None else self._read_object(data.result, name, keep)
        digest = ContentHash(nested)
        for text in ("query", data.text, data.source):
            digest.text(text)
        digest.raw(encode_item(dict(data.parameters), nested))
        digest.raw(encode_item(data.record_count, nested))
        digest.text("" if result is None else result.content.digest)
        info = {
            "name": name,
            "kind": "query",
            "digest": digest.hexdigest(),
            "query": data.text,
            "query_template": data.template,
            "query_parameters": dict(data.parameters),
            "data_source_url": data.source,
            "executed_at": None if data.executed_at is None else from_datetime(data.executed_at),
            "result": {} if result is None else dict(result.content.info),
        }
        is_readable = result is None or bool(result.content.digest)
        content = Content(
            dataset_type=QUERY,
            digest=digest.hexdigest() if is_readable else "",
            source=data.source,
            size_bytes=None if result is None else result.content.size_bytes,
            record_count=data.record_count,
            part_count=None if result is None else result.content.part_count,
            info={name: value for name, value in info.items() if value not in ("", None, {})},
            fields={} if result is None else result.content.fields,
        )
        return Read(content, "" if result is None else result.note)

    def _read_object(self, data: object, name: str, keep: bool) -> Read:
        described = describe(data, name, describe_object=self.describe_object)
        columns = {} if self.is_lenient else statistics(data)
        if columns:
            described["statistics"] = columns
        content = content_of(described)
        if keep:
            file, raw = dump(data)
            part = Part(file, len(raw), hashlib.sha256(raw).hexdigest())
            self.blobs.put(io.BytesIO(raw))
            tree = TreeStore(self.blobs).build({file: part.entry(is_kept=True)})
            content = replace(content, part_count=1, fields={"tree": tree.root, "is_kept": True})
        return Read(content, str(described.get("note", "")))

    def _send(self, found: Found, parts: Collection[Part]) -> int:
        """Put the content of parts, each content once; return how many that are."""
        distinct = list({part.sha256: part for part in parts}.values())

        def send(part: Part) -> None:
            try:
                with found.open(part) as stream:
                    info = self.blobs.put(stream)
            except (FileNotFoundError, IntegrityError) as error:
                raise _changed(part) from error
            if info.digest != part.sha256:
                raise _changed(part)

        for _ in Workers(_SENDERS, "modeldb-keep").map(send, distinct):
            pass
        return len(distinct)


def _changed(part: Part) -> FolderChangedError:
    return FolderChangedError(
        f"{part.location!r} changed between its being hashed and its being kept; nothing of it is recorded. Do it again when "
        "nothing writes there"
    )


def _order(part: Part) -> str:
    return order_of(part.location)
