"""The schema: each kind of entity and each of its fields is declared once, and everything else is derived from here.

A kind is a frozen dataclass (:class:`~modeldb_core.model.entities.Entity`) whose fields are made by the functions of this
module: ``size: float | None = number(searchable=True)``. :func:`declare` makes it known. What a document may hold, what
a filter can name, the rows by which it is found, links, containers, unique names, the JSON that is shown and its schema
follow from the declaration. A plugin declares kinds of its own by the hook ``modeldb_register_kinds``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.fields import (
    ANY,
    WHOLE_STORE,
    Elapsed,
    FieldDeclaration,
    FieldType,
    boolean,
    content_tree,
    home,
    integer,
    mapping,
    moment,
    number,
    reference,
    references,
    series,
    text,
    texts,
    title_of,
    visibility,
)
from modeldb_core.model.kinds import HOME_FIELDS, METRICS, ColumnType, KindDeclaration, problem_of

__all__ = [
    "ANY",
    "KINDS",
    "METRICS",
    "HOME_FIELDS",
    "WHOLE_STORE",
    "ByKind",
    "ColumnType",
    "Elapsed",
    "FieldDeclaration",
    "FieldType",
    "KindDeclaration",
    "boolean",
    "check_kind",
    "content_tree",
    "declare",
    "forget",
    "integer",
    "lineage_kinds",
    "mapping",
    "moment",
    "most_specific",
    "number",
    "parts_of",
    "reference",
    "references",
    "home",
    "series",
    "shown_kinds",
    "text",
    "texts",
    "title_of",
    "visibility",
]

_T = TypeVar("_T")


# -- all of them ------------------------------------------------------------------------------------------------------

_declarations: dict[str, KindDeclaration] = {}
KINDS: Mapping[str, KindDeclaration] = MappingProxyType(_declarations)
"""Every kind that this process knows, what contains before what is contained. It grows when plugins are loaded."""


class ByKind(Mapping[str, _T]):
    """A view of :data:`KINDS` that gives something derived for each kind."""

    def __init__(
        self, derive: Callable[[KindDeclaration], _T], among: Callable[[KindDeclaration], object] = bool
    ) -> None:
        self._derive, self._among = derive, among

    def __getitem__(self, kind: str) -> _T:
        declaration = KINDS[kind]
        if not self._among(declaration):
            raise KeyError(kind)
        return self._derive(declaration)

    def __iter__(self) -> Iterator[str]:
        return (kind for kind, declaration in KINDS.items() if self._among(declaration))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def declare(declaration: KindDeclaration) -> None:
    """Make a kind known to this process; declaring the same class again is not an error.

    Raises:
        InvalidArgumentError: the kind is known already and is another class, or something in the declaration is
            wrong; the message says what.
    """
    known = _declarations.get(declaration.kind)
    if known is not None and known.entity is declaration.entity:
        return
    problem = (
        problem_of(declaration, KINDS.values())
        if known is None
        else f"{known.entity.__module__} has declared it already"
    )
    if problem:
        msg = f"kind {declaration.kind!r} of {declaration.entity.__module__} cannot be declared: {problem}"
        raise InvalidArgumentError(msg)
    _declarations[declaration.kind] = declaration


def forget(kind: str) -> None:
    """Forget a kind that was declared: what was stored of it stays, and is not interpreted."""
    _declarations.pop(kind, None)


def shown_kinds() -> tuple[KindDeclaration, ...]:
    """Return the kinds that the server and the command line show."""
    return tuple(each for each in KINDS.values() if not each.secret)


def lineage_kinds() -> tuple[str, ...]:
    """Return the kinds that lineage leads through: those with a field of it, and those that such a field names."""
    found = {each.kind for each in KINDS.values() if each.flows}
    for declaration in KINDS.values():
        for each in declaration.flows:
            found.update(most_specific(each.entries.values() or (each.refers_to,)))
    return tuple(kind for kind in KINDS if kind in found)


def most_specific(kinds: Iterable[str]) -> list[str]:
    """Return those kinds of which no other one is a part: a version, and not the data set that it is a version of."""
    listed = list(kinds)
    above = {each.refers_to for kind in listed if kind in KINDS for each in KINDS[kind].containers} - {ANY}
    return [kind for kind in listed if kind not in above or len(listed) == 1]


def check_kind(kind: str) -> str:
    """Return ``kind`` if it is known.

    Raises:
        InvalidArgumentError: it is not.
    """
    given: object = kind  # of a query or a condition that somebody sent
    if not isinstance(given, str) or given not in KINDS:
        msg = (
            f"kind {kind!r:.80} is unknown; expected one of {', '.join(KINDS)}, or install the plugin that declares it"
        )
        raise InvalidArgumentError(msg)
    return kind


def parts_of(kind: str) -> tuple[tuple[str, str], ...]:
    """Return the kinds whose entities may be part of one of ``kind``, with the field that says so."""
    return tuple(
        (other.kind, each.name)
        for other in KINDS.values()
        for each in other.containers
        if each.refers_to in (kind, ANY)
    )
