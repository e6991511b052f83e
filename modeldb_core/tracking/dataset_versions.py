"""The handles of a data set and of its versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.datasets import LATEST, About, Content, add_version, find_version, parse_reference
from modeldb_core.commands.names import check_name
from modeldb_core.commands.values import recorded
from modeldb_core.errors import NotFoundError
from modeldb_core.model.entities import Dataset, DatasetVersion
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query
from modeldb_core.stores import numbering
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking.connections import default_client
from modeldb_core.tracking.data.checkout import check_out
from modeldb_core.tracking.data.comparing import DatasetDiff, columns_of, compare
from modeldb_core.tracking.data.kept import load
from modeldb_core.tracking.data.opening import as_data, reader_of
from modeldb_core.tracking.data.reading import Read
from modeldb_core.trees import TreeStore, blob_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from modeldb_core.tracking.data.opening import DataClient
    from modeldb_core.tracking.data.parts import Progress
    from modeldb_core.trees import Tree


def _nothing() -> Read:
    return Read(Content())


def dataset(name: str, *, client: DataClient | None = None) -> DatasetHandle:
    """Return the handle of a data set by its name; it need not exist yet.

    Raises:
        InvalidArgumentError: it cannot be a name.
    """
    return DatasetHandle(client or default_client(), check_name(name, "data set"))


def log_dataset_version(
    name: str,
    data: object,
    *,
    keep: bool = False,
    description: str = "",
    tags: Iterable[str] = (),
    attributes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    client: DataClient | None = None,
) -> VersionHandle:
    """Add a version to a data set; otherwise as :meth:`DatasetHandle.log_version`."""
    return dataset(name, client=client).log_version(
        data, keep=keep, description=description, tags=tags, attributes=attributes, progress=progress
    )


@dataclass(frozen=True, slots=True)
class DatasetHandle:
    """A data set, a line of numbered versions; get one from :func:`dataset`.

    Attributes:
        client: whose store it is in.
        name: of the data set within the workspace.
    """

    client: DataClient
    name: str

    @property
    def dataset_id(self) -> str:
        """Its identifier, whether it exists or not."""
        return self._ids[-1]

    @property
    def entity(self) -> Dataset:
        """What the store has of it.

        Raises:
            NotFoundError: it does not exist yet.
        """
        self.client.settle()
        try:
            entity = self.client.store.get("dataset", self.dataset_id)
        except NotFoundError as error:
            msg = f"there is no data set {self.name!r}; log_dataset_version({self.name!r}, data) makes it"
            raise NotFoundError(msg) from error
        assert isinstance(entity, Dataset)
        return entity

    def log_version(
        self,
        data: object,
        *,
        keep: bool = False,
        description: str = "",
        tags: Iterable[str] = (),
        attributes: Mapping[str, Any] | None = None,
        parent: VersionHandle | str | None = None,
        progress: Progress | None = None,
    ) -> VersionHandle:
        """Add a version at once: it is in the store, with its number, when this returns.

        Where the latest version has the same content (the same files, query or object), that one is returned and nothing
        is added. Nothing is recorded unless all of the data could be read.

        Args:
            data: a table, an array, a sparse matrix, a list; a path or :func:`path`; or a :func:`query`.
            keep: whether the content itself is kept in the artifact store, each content once.
            description: what the version is, in words; of a new version only, as are tags and attributes.
            tags: labels.
            attributes: further facts.
            parent: the version that it follows; default: the latest.
            progress: called with files that are done, files in all and bytes read.

        Raises:
            NotFoundError: a file is missing, or the parent.
            PermissionDeniedError: a file may not be read.
            FolderChangedError: the data changed while it was read.
            InvalidArgumentError: the data cannot be recorded, or the data set has versions of another type.
            ConditionsUnsupportedError: the store cannot decide on numbers.
            StoreUnavailableError: it cannot be reached.
        """
        self.client.settle()
        workspace_id, dataset_id = self._ids
        before = numbering.latest(self.client.store, "dataset_version", dataset_id)
        known = before if isinstance(before, DatasetVersion) else None
        read = self._read(as_data(data), keep=keep, before=known, progress=progress)
        put = self.client.artifacts.put
        content = read.content
        recorded_info = recorded(dict(content.info), "dataset", put)
        about = About(
            description=description,
            tags=tags,
            attributes=recorded(dict(attributes or {}), "attributes", put),
            parent_id=parent.version_id if isinstance(parent, VersionHandle) else parent or "",
        )
        with DirectWriter(self.client.store, self.client.actor) as writer:
            version = add_version(
                writer,
                self.name,
                content.with_info(recorded_info),
                about,
                workspace_id=workspace_id,
                dataset_id=dataset_id,
            )
        return VersionHandle(self, version, read)

    def versions(self, filter: str = "") -> tuple[VersionHandle, ...]:  # noqa: A002 - as of search_runs
        """Return the versions that are not deleted, the latest first; ``filter`` chooses among them (``docs/queries.md``)."""
        self.client.settle()
        query = Query("dataset_version", filter, "version desc", within=self.dataset_id)
        found = pages(self.client.store, query)
        return tuple(VersionHandle(self, each) for each in found if isinstance(each, DatasetVersion))

    def version(self, version: str | int = LATEST) -> VersionHandle:
        """Return a version by its number (``3``, ``"v3"``), its identifier, or ``"latest"``.

        Raises:
            NotFoundError: there is none; InvalidArgumentError: it names no version.
        """
        self.client.settle()
        return VersionHandle(self, find_version(self.client.store, self.dataset_id, version, self.name))

    def diff(self, before: str | int, after: str | int = LATEST) -> DatasetDiff:
        """Return what differs from one version to another: files, columns, statistics, the query."""
        one, other = self.version(before).entity, self.version(after).entity
        infos = tuple({name: self.client.resolve(value) for name, value in each.info.items()} for each in (one, other))
        return compare(one, other, TreeStore(self.client.blobs), (infos[0], infos[1]))

    def checkout(
        self,
        version: str | int,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Write the content of a version into a new folder; see :meth:`VersionHandle.checkout`."""
        return self.version(version).checkout(folder, overwrite=overwrite, progress=progress)

    @property
    def _ids(self) -> tuple[str, ...]:
        return self.client.identify(("workspace", self.client.settings.workspace), ("dataset", self.name))

    def _read(
        self, data: object, *, keep: bool, before: DatasetVersion | None, progress: Progress | None = None
    ) -> Read:
        reader = reader_of(self.client, self.client.artifacts, progress=progress)
        try:
            return reader.read(data, self.name, keep=keep, before=before)
        finally:
            reader.cache.close()


@dataclass(frozen=True, slots=True)
class VersionHandle:
    """A version of a data set.

    Attributes:
        dataset: whose version it is.
        entity: what the store had of it when it was looked up.
        read: what was read to make it, with how many files were hashed; nothing where it was looked up.
    """

    dataset: DatasetHandle
    entity: DatasetVersion
    read: Read = field(default_factory=_nothing, repr=False)

    @property
    def version_id(self) -> str:
        """Its identifier."""
        return self.entity.entity_id

    @property
    def version(self) -> int:
        """Its number; 0 where the store has not given it one yet."""
        return self.entity.version

    @property
    def reference(self) -> str:
        """What names it: ``churn/train@v3``."""
        return f"{self.dataset.name}@{f'v{self.version}' if self.version else self.version_id}"

    @property
    def digest(self) -> str:
        """Of its content; equal content has one digest."""
        return self.entity.digest

    def parts(
        self, prefix: str = "", *, after: str = "", limit: int | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Iterate over its files by location: ``size_bytes``, ``sha256`` and what was ``observed``; none where it has none."""
        if self.entity.tree:
            yield from (
                TreeStore(self.dataset.client.blobs).open(self.entity.tree).items(prefix, after=after, limit=limit)
            )

    def checkout(
        self,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Write its content into a new or empty folder; it is there whole when this returns, or nothing is.

        Args:
            folder: where to.
            overwrite: whether what lies in the folder is replaced.
            progress: called with files that are written, and files in all.

        Raises:
            NotFoundError: its content was not kept.
            AlreadyExistsError: something is there.
            IntegrityError: what is kept is not what was added.
        """
        blobs = self.dataset.client.blobs
        return check_out(self._kept_tree(), blobs, folder, overwrite=overwrite, progress=progress)

    def load(self) -> Any:  # noqa: ANN401 - what was kept
        """Return the object that was kept: a table, an array, a list; of a query its result.

        Raises:
            NotFoundError: its content was not kept.
            InvalidTypeError: it consists of files; check it out.
        """
        client = self.dataset.client
        info = {name: client.resolve(value) for name, value in self.entity.info.items()}
        described = info.get("result", info)
        if not isinstance(described, dict):
            described = {}
        location, entry = next(self._kept_tree().items(limit=1))
        digest = blob_of(entry)
        if digest is None:
            raise self._not_kept()
        with client.blobs.open(digest) as stream:
            return load(location, stream, str(described.get("type")), [*columns_of(described).values()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reference!r})"

    def _kept_tree(self) -> Tree:
        if not self.entity.is_kept or not self.entity.tree:
            raise self._not_kept()
        return TreeStore(self.dataset.client.blobs).open(self.entity.tree)

    def _not_kept(self) -> NotFoundError:
        return NotFoundError(
            f"the content of {self.reference} was not kept, only its digest; add it again with keep=True from where it is"
        )


def find_reference(reference: str, client: DataClient) -> VersionHandle:
    """Return the version that ``NAME@VERSION`` names.

    Raises:
        NotFoundError: there is none; InvalidArgumentError: it is not of that form.
    """
    name, version = parse_reference(reference)
    return dataset(name, client=client).version(version)
