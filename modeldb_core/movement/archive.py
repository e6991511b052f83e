"""The tar files that bundles are: of the plainest kind only, so that there is nothing to be fooled with.

A member is a regular file with a name of at most 100 ASCII characters and nothing else that could differ: the header
follows from the name and the size. What reads one makes the header again and compares it, so that links, devices,
names with a way out, extensions and false sizes all end in the same error.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modeldb_core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
_END = bytes(2 * BLOCK)
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_OCTAL_LIMIT = 8**11


@dataclass(frozen=True, slots=True)
class Member:
    """A file within an archive: its name, and where its content lies."""

    name: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.offset + self.size + -self.size % BLOCK


def header(name: str, size: int) -> bytes:
    """Return the header of a member; sizes from 8 GiB on are written in base 256, as GNU tar does."""
    digits = b"%011o\0" % size if size < _OCTAL_LIMIT else b"\x80" + size.to_bytes(11, "big")
    parts = [
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0",
        b"0000000\0",  # mode, owner, group
        digits,
        b"00000000000\0",
        b" " * 8,
        b"0",  # time; the sum, counted as spaces; a regular file
        bytes(100),
        b"ustar\x0000",
        bytes(32 + 32),
        b"0000000\0",
        b"0000000\0",
        bytes(155 + 12),
    ]
    block = b"".join(parts)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    """Return what follows the content of a member up to the next header."""
    return bytes(-size % BLOCK)


def end_of_archive() -> bytes:
    """Return what follows the last member."""
    return _END


def read_members(descriptor: int, path: str) -> Iterator[Member]:
    """Iterate over the members of an archive.

    Raises:
        IntegrityError: it is not such an archive, or not complete.
    """
    length, at = os.fstat(descriptor).st_size, 0
    while True:
        block = os.pread(descriptor, BLOCK, at)
        if len(block) == BLOCK and not any(block):
            if length != at + len(_END) or any(os.pread(descriptor, len(_END), at)):
                msg = f"{path} goes on after its end, or ends too early; it was damaged on its way: get it again"
                raise IntegrityError(msg)
            return
        member = _member(block, at)
        if member is None:
            what = "is cut off" if len(block) < BLOCK else "holds something that no bundle holds"
            msg = f"{path} {what} at byte {at:,}: it is not a bundle of ModelDB, or it was damaged on its way"
            raise IntegrityError(msg)
        if member.end > length:
            msg = f"{path} is cut off within {member.name}: get it again"
            raise IntegrityError(msg)
        yield member
        at = member.end


def _member(block: bytes, at: int) -> Member | None:
    """Return what a header says, if it is one that :func:`header` makes."""
    if len(block) < BLOCK:
        return None
    name, digits = block[:100].rstrip(b"\0"), block[124:136]
    if not _NAME.fullmatch(name):
        return None
    try:
        size = int.from_bytes(digits[1:], "big") if digits[:1] == b"\x80" else int(digits[:-1], 8)
        if size < 0:
            return None
        same = header(name.decode("ascii"), size) == block
    except (ValueError, OverflowError):
        return None
    return Member(name.decode("ascii"), at + BLOCK, size) if same else None
