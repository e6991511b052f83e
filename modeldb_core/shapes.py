"""What the fields of an entity's document may hold: their types, as the entities declare them.

Fields that this version does not know hold anything.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from modeldb_core.entities import KINDS
from modeldb_core.errors import InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modeldb_core.entities import Document

_MAX_INTEGER = 2**63 - 1


def check_document(kind: str, document: Document) -> None:
    """See that every answer of a store can be made of a document.

    Raises:
        InvalidTypeError: a field holds what is not of its type; the error names it.
    """
    shapes = _SHAPES[kind]
    for name, value in document.items():
        shape = shapes.get(name)
        if shape is not None and not _FITS[shape](value):
            msg = f"{name} is {repr(value)[:60]}; expected {shape}"
            raise InvalidTypeError(msg)


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_integer(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_INTEGER)


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


_TEXT, _INTEGER, _MAP, _LIST = "text", "an integer of 64 bits", "a map with texts as keys", "a list"
_FITS: Mapping[str, Callable[[object], bool]] = {
    _TEXT: _is_text,
    _INTEGER: _is_integer,
    _MAP: _is_map,
    _LIST: _is_list,
}


def _shape(annotation: str) -> str:
    """Return what a document holds for a field of an entity; times are microseconds there."""
    if annotation.startswith("str"):
        return _TEXT
    if annotation.startswith("Mapping"):
        return _MAP
    return _LIST if annotation.startswith("tuple") else _INTEGER


_SHAPES: Mapping[str, Mapping[str, str]] = {
    kind: {field.name: _shape(str(field.type)) for field in fields(cls) if field.name not in ("entity_id", "document")}
    for kind, cls in KINDS.items()
}
