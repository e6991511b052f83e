"""A fingerprint of everything that decides which rows follow from a log: the code that makes them and what it declares.

Rows that other code made are not wrong, but they may lack what that code did not know. Who can make them again compares
fingerprints.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODE = (
    "modeldb_core.model",
    "modeldb_core.log",
    "modeldb_core.queries",
    "modeldb_core.stores.naming",
    "modeldb_core.backends._sql",
    "modeldb_core.backends.objects",
)
"""Modules and packages: a line too many costs a replica that is made again once, one too few an answer."""


def fingerprint() -> str:
    """Return the fingerprint, 24 hexadecimal digits."""
    digest = hashlib.sha256(_of_code())
    for kind, declaration in sorted(KINDS.items()):
        digest.update(f"{kind}\0{declaration.fingerprint}\0".encode())
    return digest.hexdigest()[:24]


@cache
def _of_code() -> bytes:
    digest = hashlib.sha256()
    for path in _files():
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.digest()


def _files() -> Iterator[Path]:
    for name in _CODE:
        path = Path(str(import_module(name).__file__))
        yield from sorted(path.parent.glob("*.py*")) if path.stem == "__init__" else (path,)
