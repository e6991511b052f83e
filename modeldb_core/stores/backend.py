"""The descriptor by which a backend registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.stores.places import Address, Files, Place

ADDRESS = Address()
StoreKind = Literal["metadata", "artifacts"]


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
        place: how its URLs say where a store is: ``Files("duck:///")`` for a store in files of this machine, else an
            ``Address``, a ``Server`` of ModelDB, or the memory of this ``Process``.

    Raises:
        InvalidTypeError: ``place`` is not one of those.
        InvalidArgumentError: the prefix of its files does not begin with the scheme.
    """

    scheme: str
    kind: StoreKind
    target: str
    extra: str = ""
    description: str = ""
    table: str = ""
    harmless: frozenset[str] = frozenset({"durability", "read_only"})
    place: Place = ADDRESS

    def __post_init__(self) -> None:
        """Check the place."""
        if not isinstance(cast("object", self.place), Place):
            msg = f"the place of the backend for {self.scheme!r} is {self.place!r:.100}; expected Files, Address, Server or Process"
            raise InvalidTypeError(msg)
        if isinstance(self.place, Files) and not self.place.prefix.startswith(f"{self.scheme}://"):
            msg = f"the files of the backend for {self.scheme!r} have the prefix {self.place.prefix!r}; expected {self.scheme}:// or {self.scheme}:///"
            raise InvalidArgumentError(msg)
