"""The descriptor by which a backend registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Backend:
    """Says which class serves which URL scheme, without importing it.

    Attributes:
        scheme: what comes before ``://``.
        kind: "metadata" or "artifacts".
        target: ``"package.module:Class"``; called as ``Class(url, **options)``.
        extra: the extra of ``modeldb-core``, or the package, that brings what the target imports.
        description: a few words for ``modeldb plugins``.
        table: the scheme whose table of options in the settings is this one's too, where two mean the same.
        harmless: the options that a project's file may set too: those that say nothing about whom to trust, where to
            connect to, or which credentials to use.
    """

    scheme: str
    kind: Literal["metadata", "artifacts"]
    target: str
    extra: str = ""
    description: str = ""
    table: str = ""
    harmless: frozenset[str] = frozenset({"durability", "read_only"})
