"""Warnings that point at the line of the user's program that led to them."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from modeldb_core.errors import ModelDBWarning

if TYPE_CHECKING:
    from types import FrameType

_INSIDE = frozenset({"modeldb_core", "modeldb_sklearn", "modeldb_lightning", "modeldb_server", "pluggy", "contextlib"})


def warn(message: str) -> None:
    """Emit a :class:`~modeldb_core.errors.ModelDBWarning` at the innermost caller that is no part of ModelDB."""
    level = 2  # the caller of this function
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _INSIDE:
        level += 1
        frame = frame.f_back
    warnings.warn(message, ModelDBWarning, stacklevel=level)
