"""What differs between two states of a repository, location by location, and within a location part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from modeldb_core.repositories.blobs import Blob, Entry, from_entry
from modeldb_core.repositories.parts import Path, parts_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

Status: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class PartDifference:
    """A part that one of two blobs lacks, or that differs. ``before`` and ``after`` are ``None`` where there is none."""

    path: Path
    status: Status
    before: Any = None
    after: Any = None

    @property
    def name(self) -> str:
        """Where it is, as people read it."""
        return text_of(self.path)


@dataclass(frozen=True, slots=True)
class Difference:
    """A location that one of two states lacks, or that differs between them.

    Attributes:
        location: which.
        status: added, removed or changed, from the first state to the second.
        kind: of the blob, that of the second state where it has one.
        parts: what differs within.
        before: the blob of the first state.
        after: the blob of the second state.
    """

    location: str
    status: Status
    kind: str
    parts: tuple[PartDifference, ...]
    before: Blob | None
    after: Blob | None


def compare(before: Blob | None, after: Blob | None) -> tuple[PartDifference, ...]:
    """Return what differs between two blobs, in the order of the parts; another kind shares no part."""
    if before is not None and after is not None and before.kind != after.kind:
        return (*compare(before, None), *compare(None, after))
    old, new = parts_of(before), parts_of(after)
    return tuple(_compared(old, new))


def _compared(old: dict[Path, Any], new: dict[Path, Any]) -> Iterator[PartDifference]:
    for path in sorted({**old, **new}):
        if path not in old:
            yield PartDifference(path, "added", after=new[path].value)
        elif path not in new:
            yield PartDifference(path, "removed", before=old[path].value)
        elif old[path].written != new[path].written:
            yield PartDifference(path, "changed", old[path].value, new[path].value)


def difference(
    location: str, before: Entry | None, after: Entry | None, open_blob: Callable[[str], BinaryIO]
) -> Difference:
    """Return what differs at a location, of which two trees hold these entries.

    Raises:
        IntegrityError, NotFoundError: a blob cannot be read.
    """
    old = None if before is None else from_entry(before, open_blob)
    new = None if after is None else from_entry(after, open_blob)
    status: Status = "added" if old is None else "removed" if new is None else "changed"
    kind = new.kind if new is not None else old.kind if old is not None else ""
    return Difference(location, status, kind, compare(old, new), old, new)
