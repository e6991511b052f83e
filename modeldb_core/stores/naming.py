"""From names of containers to their identifiers.

Anyone who declares a container cannot wait to be told which one it is, so its identifier follows from its name: two offline
writers who both declare "churn" make one "churn". That holds for as long as nobody renames it, or creates another of that
name. Then the name leads to its entity by who has it, and a name that is free again to an identifier that is free.
"""

from __future__ import annotations

import time
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from modeldb_core.log.changes import CREATE, Change, alters_entity
from modeldb_core.model.claims import Claim, claim_of
from modeldb_core.model.entities import derived_id
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.model.entities import Document

Path: TypeAlias = tuple[tuple[str, str], ...]
"""Kinds and names of containers, each within the one before."""


_PATHS = 256  # remembered: each run that starts asks for the one of its project


@lru_cache(_PATHS)
def derive(path: Path) -> tuple[str, ...]:
    """Return the identifiers that follow from names alone."""
    found: list[str] = []
    for kind, name in path:
        found.append(derived_id(kind, found[-1] if found else "", name))
    return tuple(found)


@lru_cache(_PATHS)
def derived_claims(path: Path) -> tuple[Claim, ...]:
    """Return the claims to the names where each container has the identifier that follows from its name."""
    scopes = ("", *derive(path))
    return tuple(claim_of(kind, scope, "name", name) for (kind, name), scope in zip(path, scopes, strict=False))


class Names(NamedTuple):
    """What a store said of names: the identifiers, when, and its mark of what was written before."""

    identifiers: tuple[str, ...]
    at: float
    mark: object


class _Asked(Protocol):
    """A store, which says who has a name, and whether anybody has written."""

    def identify(self, *path: tuple[str, str]) -> tuple[str, ...]: ...

    def write_mark(self) -> object: ...


def ask_names(store: _Asked, path: Path, known: Names | None) -> Names:
    """Ask a store for identifiers, unless nobody has written since it said them; it may hang, so in a thread of its own."""
    at, mark = time.monotonic(), store.write_mark()  # before asking: what is written meanwhile makes another one
    if known is not None and mark is not None and mark == known.mark:
        return known
    return Names(store.identify(*path), at, mark)


def alters_names(change: Change) -> bool:
    """Return whether a change may let a name lead to another identifier than the one that follows from it."""
    declaration = KINDS.get(change.kind)
    within = (
        next((each.unique_within for each in declaration.unique if each.name == "name"), None) if declaration else None
    )
    if within is None or not alters_entity(change):
        return False
    data = change.data()
    if change.action == CREATE:
        name, scope = data.get("name"), data.get(within, "")
        return not isinstance(name, str) or change.entity_id != derived_id(change.kind, str(scope), name)
    given = data.get("set")
    return isinstance(given, dict) and "name" in given


def identify(
    path: Path, holder: Callable[[Claim], str | None], document: Callable[[str, str], Document | None]
) -> tuple[str, ...]:
    """Return the identifiers under which containers are declared.

    Args:
        path: what is looked for.
        holder: returns the identifier of the entity that has a unique value.
        document: returns the document of an entity by kind and identifier, deleted ones too.
    """
    found: list[str] = []
    for kind, name in path:
        scope = found[-1] if found else ""
        found.append(holder(claim_of(kind, scope, "name", name)) or _free(kind, scope, name, document))
    return tuple(found)


def _free(kind: str, scope: str, name: str, document: Callable[[str, str], Document | None]) -> str:
    """Return an identifier that follows from a name that nobody has; a deleted container comes back under its name."""
    number = 1
    while True:
        entity_id = derived_id(kind, scope, name if number == 1 else f"{name}\0{number}")
        there = document(kind, entity_id)
        if there is None or _is_same(there.get("name", name), name):
            return entity_id
        number += 1  # it was renamed


def _is_same(one: object, other: str) -> bool:
    return isinstance(one, str) and unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
