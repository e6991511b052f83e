"""Using a version of a data set: recorded with the run, and checked to be what was added."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.datasets import PATH, SHOWN, use_version
from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError
from modeldb_core.tracking import inheritance
from modeldb_core.tracking.artifacts import scratch_folder
from modeldb_core.tracking.connections import default_client
from modeldb_core.tracking.data.opening import reader_of
from modeldb_core.tracking.data.sources import PathData
from modeldb_core.tracking.dataset_versions import VersionHandle, find_reference

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from modeldb_core.tracking.data.opening import DataClient
    from modeldb_core.tracking.run import RunHandle

_NAMED = 5  # files in a message


@dataclass(frozen=True, slots=True)
class UsedDataset:
    """A version in use; wherever a path is expected, such as in ``open`` and ``pandas.read_csv``, it is its place.

    Attributes:
        version: which one.
        place: the path of its file or folder, or the address of its objects; "" where only its digest is known.
    """

    version: VersionHandle
    place: str

    @property
    def path(self) -> Path:
        """The file or folder on this machine.

        Raises:
            NotFoundError: there is none: the content was not kept, or lies in a bucket.
        """
        if not self.place or "://" in self.place:
            where = f"it lies at {self.place}" if self.place else "its content was not kept"
            msg = f"{self.version.reference} is on no path of this machine: {where}"
            raise NotFoundError(msg)
        return Path(self.place)

    def load(self) -> Any:  # noqa: ANN401 - what was kept
        """Return the object that was kept; see :meth:`VersionHandle.load`."""
        return self.version.load()

    def __fspath__(self) -> str:
        return self.place if "://" in self.place else str(self.path)

    def __str__(self) -> str:
        return self.place or self.version.reference


@contextmanager
def use_dataset(
    reference: str,
    *,
    role: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    run: RunHandle | None = None,
    storage_options: Mapping[str, Any] | None = None,
    client: DataClient | None = None,
) -> Iterator[UsedDataset]:
    """Use a version of a data set in a ``with`` block: the run records it, and its content is checked.

    What was kept is fetched and verified. What was not is looked for where it was, and has to be what it was.

    Args:
        reference: ``NAME@v3``, or ``NAME@latest``; without a version it is the latest.
        role: what the run does with it; default: the name of the data set.
        folder: where kept files are put, to stay there; default: a folder that is removed at the end of the block.
        run: which run uses it; default: the current one. Without one, nothing is recorded.
        storage_options: for fsspec, where it lies in a bucket.
        client: whose store it is in; default: the run's, else the one connected last.

    Raises:
        NotFoundError: there is no such version, or its content is not where it was.
        IntegrityError: what is there now differs; the message names files.
        InvalidArgumentError: the reference is not of that form.
    """
    user = run or inheritance.current()
    session = client or (default_client() if user is None else user.client)
    version = find_reference(reference, session)
    entity = version.entity
    if user is not None:
        shown = {key: entity.info[key] for key in SHOWN if key in entity.info}
        shown |= {"version": entity.version} if entity.version else {}
        name = version.dataset.name
        user._record(use_version(user.run_id, role or name, name, entity.dataset_id, version.version_id, shown))
    if entity.is_kept and entity.tree:
        with scratch_folder() as scratch:
            root = version.checkout(scratch / "data" if folder is None else folder)
            yield UsedDataset(version, str(_only_file(version, root)))
    else:
        yield UsedDataset(version, _verified(version, storage_options or {}) if entity.dataset_type == PATH else "")


def _only_file(version: VersionHandle, root: Path) -> Path:
    """Return where content was put: of one that consists of a file, or is an object, the file."""
    kind = version.dataset.client.resolve(version.entity.info.get("kind"))
    if kind == "folder":
        return root
    location, _ = next(version.parts(limit=1))
    return root / location


def _verified(version: VersionHandle, storage_options: Mapping[str, Any]) -> str:
    """Return where a version was, if it is still that there."""
    entity = version.entity
    place = entity.source
    if not place or not entity.tree:
        return place  # a table that keeps versions itself, or an address that nobody read
    reader = reader_of(version.dataset.client)
    try:
        exclude = version.dataset.client.resolve(entity.info.get("exclude"))
        patterns = tuple(map(str, exclude)) if isinstance(exclude, list) else ()
        found = reader.find(PathData(place, exclude=patterns, storage_options=storage_options))
    except NotFoundError as error:
        msg = f"{version.reference} was at {place}, where there is nothing; its content was not kept (keep=True)"
        raise NotFoundError(msg) from error
    except InvalidArgumentError as error:
        msg = f"{version.reference} was at {place}, which cannot be read as it was: {error}"
        raise IntegrityError(msg) from error
    finally:
        reader.cache.close()
    there = {part.location: part.sha256 for part in found.parts}
    added = {location: entry.get("sha256") for location, entry in version.parts()}
    if None in added.values():
        msg = f"{version.reference} was added with other checksums than SHA-256, so nobody can say whether {place} is it; add it again from there"
        raise IntegrityError(msg)
    differing = sorted(name for name in there.keys() | added.keys() if there.get(name) != added.get(name))
    if differing:
        more = f" and {len(differing) - _NAMED:,} more" if len(differing) > _NAMED else ""
        named = f"{', '.join(differing[:_NAMED])}{more}"
        msg = (
            f"{place} is not what {version.reference} was; it differs in {named}. Use another version, or add this one"
        )
        raise IntegrityError(msg)
    return place
