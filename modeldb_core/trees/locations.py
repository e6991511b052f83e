"""Locations: where in a tree an entry is, such as ``data/train/part-0001.csv``.

Trees are ordered by the parts of locations, as a walk through folders visits them: first ``a``, then all of ``a/…``, then
``a-b``. Within nodes a location is its *key*: UTF-8, with a zero byte in place of each slash, so that keys compare as bytes.
"""

from __future__ import annotations

import os
import re

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.values import check_text
from modeldb_core.runtime.git_names import is_git_name

MAX_LOCATION_BYTES = 4096
"""Of a location in UTF-8: what paths may have on Linux; keys of S3 have at most 1,024."""
MAX_NAME_BYTES = 255
"""Of a part of a path, in UTF-8: what file systems take as a name."""
SEPARATOR = b"\0"
AFTER_FOLDER = b"\1"
"""A folder's name and this comes after all that lies in the folder, and before everything else."""
_NO_PART = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)")
_NO_PART_OF_KEY = re.compile(rb"(?:\A|\0)\.{0,2}(?:\0|\Z)")


def order_of(location: str) -> str:
    """Return what locations are sorted by: ``sorted(locations, key=order_of)``."""
    return location.replace("/", "\0")


def check_location(location: object) -> str:
    """Return ``location`` if an entry may be there.

    It is kept as it is given, and no form of Unicode is made of another: a file has to be found again under its name.

    Raises:
        InvalidTypeError: it is not text.
        InvalidArgumentError: it is empty or too long, holds a NUL character, or has a part that is empty, ``.`` or ``..``;
            the message says what to do.
    """
    text = check_text(location, "a location")
    if not text:
        msg = "a location is empty; expected a path such as 'data/train.csv'"
        raise InvalidArgumentError(msg)
    if "\0" in text:
        msg = f"location {text!r:.200} holds a NUL character; remove it"
        raise InvalidArgumentError(msg)
    if len(text) > MAX_LOCATION_BYTES or len(text.encode()) > MAX_LOCATION_BYTES:
        msg = (
            f"location {text[:80]!r}… has {len(text.encode()):,} bytes in UTF-8; at most {MAX_LOCATION_BYTES:,} are "
            "allowed: use shorter names"
        )
        raise InvalidArgumentError(msg)
    if _NO_PART.search(text):
        wrong = next(part for part in text.split("/") if part in ("", ".", ".."))
        what = f"has the part {wrong!r}" if wrong else "begins or ends with '/', or holds '//'"
        msg = f"location {text!r:.200} {what}; write names of folders and of the file alone, as in 'data/train.csv'"
        raise InvalidArgumentError(msg)
    return text


def check_path(location: object) -> str:
    """Return ``location`` if a file may be written there, within a folder of this machine; raises as :func:`check_location` does.

    Raises:
        InvalidArgumentError: a part leads elsewhere on this machine, is too long, or is git's own folder.
    """
    text = check_location(location)
    parts = text.split("/")
    if os.sep != "/" and any(os.sep in part or ":" in part for part in parts):
        msg = f"{text!r:.200} cannot be a path on this machine; check it out on another one"
        raise InvalidArgumentError(msg)
    if any(map(is_git_name, parts)):
        msg = f"{text!r:.200} is not written: it would stand in a folder of git, and git would run what it says"
        raise InvalidArgumentError(msg)
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        msg = f"{text!r:.200} cannot be a path: a part of it has more than {MAX_NAME_BYTES} bytes"
        raise InvalidArgumentError(msg)
    return text


def key_of(location: object) -> bytes:
    """Return the key of a location; raises as :func:`check_location` does."""
    return check_location(location).encode().replace(b"/", SEPARATOR)


def location_of(key: bytes) -> str:
    """Return the location of a key."""
    return key.replace(SEPARATOR, b"/").decode()


def folder_key(folder: str) -> bytes:
    """Return what the keys of everything in a folder begin with; ``""`` is the whole tree. A slash may end it.

    Raises:
        InvalidArgumentError: it is not a location.
    """
    return key_of(folder.removesuffix("/")) + SEPARATOR if folder else b""


def key_problem(key: bytes) -> str:
    """Return what is wrong with the key of a node that somebody else may have made; empty where nothing is."""
    if not key or len(key) > MAX_LOCATION_BYTES:
        return f"it has {len(key):,} bytes; expected 1 to {MAX_LOCATION_BYTES:,}"
    if b"/" in key:
        return "it holds a slash"
    if _NO_PART_OF_KEY.search(key):
        return "it has a part that is empty, '.' or '..'"
    try:
        key.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    return ""
