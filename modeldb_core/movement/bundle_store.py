"""Bundles as stores that can be read: ``bundle:///folder/runs.bundle``.

The log and the blobs are read where they lie. Questions are answered by a replica, an SQLite file in the folder for
temporary files, which is filled when the first one is asked.
"""

from __future__ import annotations

import tempfile
import threading
from typing import TYPE_CHECKING, BinaryIO, NoReturn
from urllib.parse import quote, unquote

from modeldb_core.errors import ErasedError, InvalidArgumentError, NotFoundError, StoreReadOnlyError
from modeldb_core.log.changes import DELETE, ERASE
from modeldb_core.log.stream import Entry
from modeldb_core.movement.bundles import Bundle
from modeldb_core.plugins import open_store
from modeldb_core.stores import PARTS_ADDED_TO_QUERY, ArtifactStore, BlobInfo, ChangePage, KeyInfo, MetadataStore, Page
from modeldb_core.stores.direct import DirectWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modeldb_core.log.changes import Change, Head
    from modeldb_core.log.conditions import Condition
    from modeldb_core.log.plots import Canvas, Plot
    from modeldb_core.log.points import Series
    from modeldb_core.model.entities import Entity
    from modeldb_core.queries import GroupPage, Query

PREFIX = "bundle://"


class BundleStore(MetadataStore):
    """The records in a bundle; nothing can be written.

    Args:
        url: ``bundle:///folder/runs.bundle``.

    Raises:
        InvalidArgumentError: the URL names no file, or the bundle was written by a newer version.
        NotFoundError: there is no such file.
        IntegrityError: it is not a bundle, or not as it was written.
    """

    understands = PARTS_ADDED_TO_QUERY

    def __init__(self, url: str) -> None:
        self.bundle = Bundle(path_of(url))
        self.url = self.bundle.url
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._filled: MetadataStore | None = None

    @property
    def is_partial(self) -> bool:  # type: ignore[override]
        return self.bundle.is_partial

    def apply(self, changes: Sequence[Change], *, expect: Sequence[Condition] = ()) -> None:
        del changes, expect
        _refuse(self.url)

    def get(self, kind: str, entity_id: str) -> Entity:
        try:
            return self._replica().get(kind, entity_id)
        except ErasedError as error:
            if not self.is_partial:
                raise
            msg = f"what is known of the {kind.replace('_', ' ')} {entity_id} was withheld from {self.url}, or erased"
            raise NotFoundError(msg) from error

    def find(self, query: Query) -> Page:
        return self._replica().find(query)

    def find_keys(self, query: Query) -> tuple[KeyInfo, ...]:
        return self._replica().find_keys(query)

    def find_groups(self, query: Query, by: str, measures: Sequence[str] = ()) -> GroupPage:
        return self._replica().find_groups(query, by, measures)

    def read_series(
        self, run_id: str, key: str, *, steps: tuple[int, int] | None = None, max_points: int | None = None
    ) -> Series:
        return self._replica().read_series(run_id, key, steps=steps, max_points=max_points)

    def plot_series(self, run_id: str, key: str, canvas: Canvas) -> Plot:
        return self._replica().plot_series(run_id, key, canvas)

    def read_changes(
        self, *, after: int = 0, limit: int = 1000, entity_id: str | None = None, stream_id: str | None = None
    ) -> ChangePage:
        return self.bundle.read_changes(after=after, limit=limit, entity_id=entity_id, stream_id=stream_id)

    def heads(self) -> Mapping[str, Head]:
        return self.bundle.heads()

    def close(self) -> None:
        with self._lock:
            if self._filled is not None:
                self._filled.close()
            if self._folder is not None:
                self._folder.cleanup()
            self._filled = self._folder = None
            self.bundle.close()

    def _replica(self) -> MetadataStore:
        from modeldb_core.movement.copying import copy

        with self._lock:
            if self._filled is None:
                self._folder = tempfile.TemporaryDirectory(prefix="modeldb-bundle-")
                replica = open_store(f"sqlite:///{quote(self._folder.name)}/replica.db")
                try:
                    copy(self.bundle, replica, view=_bare)
                    self._hide_withheld(replica)
                except BaseException:
                    replica.close()
                    raise
                self._filled = replica
            return self._filled

    def _hide_withheld(self, replica: MetadataStore) -> None:
        """Take entities of which nothing is known but that there are some out of the answers."""
        from modeldb_core.movement.logs import changes_of

        if not self.is_partial:
            return
        withheld: dict[tuple[str, str], None] = {}
        known: set[tuple[str, str]] = set()
        for change in changes_of(self.bundle):
            name = (change.kind, change.entity_id)
            if change.withheld:
                withheld[name] = None
            elif change.payload is not None and change.action != ERASE:
                known.add(name)
        with DirectWriter(replica, "") as writer:
            writer.apply(Entry(DELETE, *name, {}) for name in withheld if name not in known)


def _bare(change: Change) -> Change:
    """Return a change as the replica takes it, which is thrown away with the bundle and never read as a log."""
    return change.erased() if change.withheld else change


class BundleArtifactStore(ArtifactStore):
    """The blobs in a bundle; nothing can be written. Arguments and errors as of :class:`BundleStore`."""

    is_local = True

    def __init__(self, url: str) -> None:
        self._bundle = Bundle(path_of(url))
        self.url = self._bundle.url

    def put(self, stream: BinaryIO, *, digest: str | None = None) -> BlobInfo:
        del stream, digest
        _refuse(self.url)

    def open(self, digest: str) -> BinaryIO:
        return self._bundle.open(digest)

    def stat(self, digest: str) -> BlobInfo:
        return self._bundle.stat(digest)

    def list(self) -> Iterator[BlobInfo]:
        return self._bundle.list()

    def delete(self, digest: str) -> None:
        del digest
        _refuse(self.url)

    def close(self) -> None:
        self._bundle.close()


def path_of(url: str) -> str:
    """Return the path that a URL names.

    Raises:
        InvalidArgumentError: it names none.
    """
    path = unquote(url.removeprefix(PREFIX))
    if not url.startswith(PREFIX) or not path.strip("/") or "\0" in path:
        msg = f"{url!r} does not name a bundle; write bundle:///folder/name.bundle"
        raise InvalidArgumentError(msg)
    return path


def _refuse(url: str) -> NoReturn:
    msg = f"{url} is a bundle, which is only read; `modeldb export FILE` writes one, `modeldb import FILE` takes it in"
    raise StoreReadOnlyError(msg)
