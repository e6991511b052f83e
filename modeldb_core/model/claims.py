"""Values that only one entity may have within a container: names, and numbers of versions.

An entity *claims* such a value while its document holds it, is not deleted, and names its container. Of two entities
that claim one value, :mod:`modeldb_core.log.settling` says which one keeps it.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.schema import KINDS, WHOLE_STORE, FieldDeclaration
from modeldb_core.model.values import encode

if TYPE_CHECKING:
    from collections.abc import Mapping


class Claim(NamedTuple):
    """A value that only one entity of a kind may have within ``scope``, the identifier of a container or ""."""

    kind: str
    scope: str
    field: str
    value: str
    """As JSON text, normalized (NFC)."""

    @property
    def digest(self) -> str:
        """A name for it of fixed length, for tables and objects."""
        return hashlib.sha256("\0".join(self).encode()).hexdigest()


def claim_of(kind: str, scope: str, field: str, value: object) -> Claim:
    """Return the claim to a value.

    Raises:
        InvalidArgumentError: the field of the kind need not be unique, or no value can be so.
    """
    if field not in {each.name for each in _unique_fields(kind)}:
        known = ", ".join(f"{other}.{each.name}" for other in KINDS for each in _unique_fields(other))
        msg = f"{kind}.{field} is not unique within anything; these are: {known}"
        raise InvalidArgumentError(msg)
    if _is_nothing(value):
        msg = f"{kind}.{field} cannot be {value!r}, which many may have; expected a text that is not empty, or a number"
        raise InvalidArgumentError(msg)
    return Claim(kind, scope, field, _text_of(value))


def claims_of(kind: str, document: Mapping[str, Any] | None) -> set[Claim]:
    """Return what an entity claims by its document."""
    if not document or document.get("deleted_at") is not None:
        return set()
    claims = set()
    for each in _unique_fields(kind):
        within = each.unique_within
        scope = "" if within == WHOLE_STORE else document.get(within or "")
        value = document.get(each.name)
        if isinstance(scope, str) and (scope or within == WHOLE_STORE) and not _is_nothing(value):
            claims.add(Claim(kind, scope, each.name, _text_of(value)))
    return claims


def may_claim(kind: str) -> bool:
    """Return whether entities of a kind have values that must be unique."""
    return bool(_unique_fields(kind))


def _unique_fields(kind: str) -> tuple[FieldDeclaration, ...]:
    declaration = KINDS.get(kind)
    return () if declaration is None else declaration.unique


def _is_nothing(value: Any) -> bool:  # noqa: ANN401 - of any type
    return isinstance(value, bool) or not isinstance(value, (str, int)) or not value


def _text_of(value: Any) -> str:  # noqa: ANN401 - a text or a number
    return encode(unicodedata.normalize("NFC", value) if isinstance(value, str) else value).decode()
