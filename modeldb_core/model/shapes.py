"""What the fields of an entity's document may hold: their types, as the schema declares them.

Fields that this version does not know hold anything, and so do those of kinds that a plugin declares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidTypeError
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from modeldb_core.model.entities import Document


def check_document(kind: str, document: Document, before: Document | None = None) -> None:
    """See that every answer of a store can be made of a document.

    Args:
        kind: of the entity.
        document: what is looked at.
        before: one that was looked at; what is the same object in both is not looked at again.

    Raises:
        InvalidTypeError: a field holds what is not of its type; the error names it.
    """
    declaration = KINDS.get(kind)
    if declaration is None or not declaration.is_own:
        return
    known, stored = before or {}, declaration.stored
    for name, value in document.items():
        if name in known and known[name] is value:
            continue
        declared = stored.get(name)
        if declared is not None and not declared.fits(value):
            msg = f"{name} is {repr(value)[:60]}; expected {declared.expected}"
            raise InvalidTypeError(msg)
