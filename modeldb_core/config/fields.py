"""How a setting is declared: a field of a dataclass that knows how its text is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any


def setting(kind: str, default: object, help_text: str, **more: object) -> Any:  # noqa: ANN401
    """Return a dataclass field that knows how its text is read.

    Args:
        more: ``table``: its table in ``modeldb.toml``; ``trust``: what a project's file may do to it (``trust.py``);
            ``is_folder``: whether a text that is not a URL names a folder.
    """
    metadata = {"kind": kind, "help": help_text, **more}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)
