"""What a data set is called where nobody says: after the file, the address or the variable that it comes from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

PLAIN_NAMES = frozenset(
    {
        "x",
        "y",
        "X",
        "Y",
        "df",
        "data",
        "features",
        "inputs",
        "samples",
        "labels",
        "target",
        "targets",
        "truth",
        "true",
        "expected",
        "actual",
        "args",
        "array",
        "frame",
        "table",
        "dataset",
        "y_true",
    }
)
"""Names that say no more of a variable than that it is data: a function's parameters, mostly."""
_FRAMES = 8  # so many callers are asked what they call it


def caller() -> FrameType | None:
    """Return the frame that called ModelDB: the innermost one that belongs to none of its packages."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("modeldb_"):
        frame = frame.f_back
    return frame


def variables(frame: FrameType | None) -> Iterator[tuple[str, Any]]:
    """Iterate over the variables that code in ``frame`` and around it can see, the innermost first."""
    seen: list[object] = []
    for _ in range(_FRAMES):
        if frame is None:
            return
        for names in (frame.f_locals, frame.f_globals):
            if any(names is known for known in seen):
                continue
            seen.append(names)
            for name, bound in list(names.items()):
                if not name.startswith("_"):
                    yield name, bound
        frame = frame.f_back


def variable_name(value: object, frame: FrameType | None) -> str:
    """Return what the program calls ``value``; "" where it has no name.

    A function that was handed ``X`` is looked at from outside too: its caller may call it ``X_test``.
    """
    fallback = ""
    for name, bound in variables(frame):
        if bound is value:
            if name not in PLAIN_NAMES:
                return name
            fallback = fallback or name
    return fallback


def place_of(origin: Mapping[str, Any]) -> str:
    """Return the name that an ``origin`` (of ``describe``) gives to its data; "" for what is in memory.

    Files are named by their path from the working folder, or by their name alone where they lie outside of it.
    """
    if path := origin.get("path"):
        place = Path(path)
        inside = Path(os.path.abspath(os.curdir))
        return place.relative_to(inside).as_posix() if place.is_relative_to(inside) else place.name
    if url := origin.get("url"):
        try:
            parts = urlsplit(url)
        except ValueError:  # it was recorded as it was given
            return ""
        return f"{parts.hostname or ''}{parts.path}".strip("/")
    return str(origin.get("file") or origin.get("table") or "")
