"""Which part of an entity a query asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import QuerySyntaxError
from modeldb_core.model.schema import KINDS, METRICS
from modeldb_core.model.values import key_named
from modeldb_core.queries.fields import AGGREGATES
from modeldb_core.queries.parse import split_name

if TYPE_CHECKING:
    from modeldb_core.model.entities import Document

ALWAYS = frozenset({"name", "created_at", "updated_at", "deleted_at", "status", "stream_id", "revision"})
"""Fields that come without being asked for, where a kind has them: without them an entity would mislead."""


@dataclass(frozen=True, slots=True)
class Projection:
    """The fields of an entity that are wanted, and the keys of those maps of which not all is.

    Attributes:
        whole: names of fields.
        keys: by field, the keys that are wanted; names of nested maps joined by dots. A field is in one of the two.
    """

    whole: frozenset[str]
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def wants(self, name: str) -> bool:
        """Return whether any part of a field is wanted."""
        return name in self.whole or name in self.keys

    def pick(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the wanted part of the map in field ``name``."""
        if name in self.whole:
            return dict(values)
        picked: dict[str, Any] = {}
        for key in self.keys.get(name, ()):
            if key in values:
                picked[key] = values[key]
            else:
                _pick(values, key, picked)
        return picked

    def document(self, document: Document) -> Document:
        """Return the wanted part of a document."""
        part = {name: document[name] for name in self.whole if name in document}
        for name in self.keys:
            if name in document:
                value = document[name]
                part[name] = self.pick(name, value) if isinstance(value, Mapping) else value
        return part


def parse_fields(names: tuple[str, ...], kind: str) -> Projection:
    """Return what ``names`` ask for: fields such as ``status`` and ``metrics``, and keys such as ``metrics.auc``.

    For a column that is worked out from fields, such as ``duration``, those fields come.

    Raises:
        QuerySyntaxError: a name does not parse, or entities of ``kind`` have no such field.
    """
    whole = set(ALWAYS)
    keys: dict[str, list[str]] = {}
    declared = KINDS[kind].fields
    for name in names:
        (first, *rest) = split_name(name)
        fields_of = KINDS[kind].sources.get(first[0].removesuffix("_s"), (first[0],))
        if first[0] in (f"{kind}_id", "entity_id", "kind", "document"):
            continue
        if fields_of[0] not in declared:
            msg = f"{name!r} is not a field of a {KINDS[kind].words}; there are {', '.join(sorted(declared))}"
            raise QuerySyntaxError(msg, name, 1)
        if not rest:
            whole.update(fields_of)
            continue
        last, quoted = rest[-1]
        if first[0] == METRICS and len(rest) > 1 and not quoted and last in AGGREGATES:
            keys.setdefault("series", []).append(".".join(text for text, _ in rest[:-1]))
        else:
            keys.setdefault(first[0], []).append(".".join(text for text, _ in rest))
    return Projection(frozenset(whole), {name: tuple(found) for name, found in keys.items() if name not in whole})


def _pick(values: Mapping[Any, Any], text: str, into: dict[Any, Any]) -> bool:
    key = key_named(values, text)
    if key in values:
        into[key] = values[key]
        return True
    at = text.find(".")
    while at >= 0:
        key = key_named(values, text[:at])
        inner = values.get(key)
        if isinstance(inner, Mapping):
            part = dict(into.get(key, {}))
            if _pick(inner, text[at + 1 :], part):
                into[key] = part
                return True
        at = text.find(".", at + 1)
    return False
