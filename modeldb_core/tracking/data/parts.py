"""The parts of a version: its files, each with size, checksum, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from modeldb_core.runtime.git_names import is_git_name
from modeldb_core.tracking.description.digests import ContentHash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Progress: TypeAlias = Callable[[int, int, int], None]
"""Called with files that are done, files in all, and bytes that were read."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a version.

    Attributes:
        location: its path within the version, with ``/``.
        size_bytes: its length.
        sha256: of its content, in hexadecimal.
        observed: what was seen of it and is no content: ``modified_at`` (microseconds), ``etag``, ``version_id``.
    """

    location: str
    size_bytes: int
    sha256: str
    observed: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, *, is_kept: bool) -> dict[str, Any]:
        """Return the part as a content tree keeps it. That the blob is kept is no content either."""
        observed = {**self.observed, **({"digest": self.sha256} if is_kept else {})}
        return {"size_bytes": self.size_bytes, "sha256": self.sha256, **({"observed": observed} if observed else {})}


@dataclass(frozen=True)
class Found:
    """What was found at a path.

    Attributes:
        parts: the files, ordered by location.
        is_file: whether the path is one file.
        hashed: how many files were read; of the others the digest was remembered.
        hashed_bytes: how many bytes were read.
        left_out: by location, what is not part of it and why.
        url: where it is, without secrets.
        open: returns the content of a part.
    """

    parts: tuple[Part, ...]
    is_file: bool
    hashed: int
    hashed_bytes: int
    left_out: Mapping[str, str]
    url: str
    open: Callable[[Part], BinaryIO]

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(part.size_bytes for part in self.parts)

    @cached_property  # of a folder of many files it takes as long as looking at them
    def digest(self) -> str:
        """The digest of the content, as :mod:`modeldb_core.tracking.description.digests` defines it.

        "" of a file that was left out: nothing is known of its content.
        """
        if self.is_file and not self.parts:
            return ""
        return self.parts[0].sha256 if self.is_file else folder_digest(self.parts, self.left_out)


def folder_digest(parts: Iterable[Part], left_out: Iterable[str] = ()) -> str:
    """Return the digest of a folder by its files."""
    ordered = sorted(parts, key=lambda part: part.location.encode("utf-8", "surrogateescape"))
    content = ContentHash()
    content.text("folder")
    content.number(len(ordered))
    for part in ordered:
        content.text(part.location)
        content.raw(bytes.fromhex(part.sha256))
    names = [name for name in left_out if not is_git_name(name.rpartition("/")[2])]
    if names := sorted(names, key=lambda name: name.encode("utf-8", "surrogateescape")):
        content.text("left out")
        content.number(len(names))
        for name in names:
            content.text(name)
    return content.hexdigest()
