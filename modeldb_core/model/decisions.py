"""Values that an operation decides under conditions, where stores come together that each decided for themselves.

A branch, a stage, an alias: within one store each decision was made by somebody who had seen the one before. Two stores
that part and are merged later may both hold one, made without knowing of the other. The document keeps the *heads* of
every such value: the decisions that no other one has seen. As a rule that is one. Where there are several, the one that
was made last by the clocks of the writers counts, and the others are shown in the field ``clashes`` until somebody decides
again, who has then seen all of them. A decision never loses to one that it has seen, whatever a clock says.

A change says what it has seen: ``{"saw": {field: {key: [time, mark, ...]}}}``, the marks of the heads that were there
and the latest of their times. Heads, the value that counts and the clashes follow from the set of changes alone, whatever
order they arrive in. A change that says nothing of this, such as a raw edit, has seen what the store that takes it in holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.errors import InvalidTypeError
from modeldb_core.model.kinds import OF_CLASHES
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.model.entities import Document

DECISIONS = "decisions"
"""Where a document keeps the heads: by field and key, ``heads`` by mark, and ``early``, marks that were seen before they came."""
SAW = "saw"
_MARK_LENGTH = 16
_WHOLE = ""  # the key of a field that is decided as a whole


class Mark(NamedTuple):
    """What names a change among decisions, and when it was recorded."""

    mark: str
    recorded_at: int

    @classmethod
    def of(cls, change_hash: bytes, recorded_at: int) -> Mark:
        """Return the mark of a change."""
        return cls(change_hash.hex()[:_MARK_LENGTH], recorded_at)


class _Place(NamedTuple):
    field: str
    key: str


def saw(kind: str, document: Mapping[str, Any], data: Document) -> Document:
    """Return the payload of an update with what was seen of the decisions that it replaces.

    Args:
        kind: of the entity.
        document: as it was read by the one who decides.
        data: the payload.
    """
    seen: dict[str, dict[str, list[Any]]] = {}
    for place in _touched(kind, document, "update", data):
        heads = _stored(document, place)[0]
        latest = max((at for at, *_ in heads.values()), default=0)
        seen.setdefault(place.field, {})[place.key] = [latest, *sorted(heads)]
    return {**data, SAW: seen} if seen else data


def clash_at(document: Mapping[str, Any], field: str, key: str = _WHOLE) -> list[Any]:
    """Return what others decided on a value, which does not count, each once; ``None`` stands for a removal."""
    heads = _stored(document, _Place(field, key))[0]
    counts = _counting(heads)
    others: list[list[Any]] = []
    for _, head in sorted(heads.items()):
        if head[1:] not in (counts, *others):
            others.append(head[1:])
    return [each[0] if each else None for each in others]


def decide(before: Document | None, after: Document, change: Mark, kind: str, action: str, data: Document) -> None:
    """Let a change decide in a document; ``after`` is as it is after the change alone, and is altered."""
    if kind not in KINDS or not KINDS[kind].decided or action not in ("create", "update"):
        return
    known = before or {}
    for name in (DECISIONS, *OF_CLASHES):  # no payload says these
        if name in known:
            after[name] = known[name]
        else:
            after.pop(name, None)
    touched = list(_touched(kind, known, action, data))
    if not touched:
        return
    decisions = {field: dict(keys) for field, keys in known.get(DECISIONS, {}).items()}
    for place in touched:
        heads, early = _stored({DECISIONS: decisions}, place)
        latest, marks = _seen(data, place, heads, is_first=action == "create")
        early |= {mark for mark in marks if mark not in heads}
        heads = {mark: head for mark, head in heads.items() if mark not in marks}
        if change.mark in early:
            early.remove(change.mark)
        else:
            heads[change.mark] = [max(change.recorded_at, latest + 1), *_said(after, action, data, place)]
        kept = {"heads": heads, **({"early": sorted(early)} if early else {})}
        decisions.setdefault(place.field, {})[place.key] = kept
        _put(after, place, _counting(heads))
    after[DECISIONS] = decisions
    _show(after, kind)


def _touched(kind: str, before: Mapping[str, Any], action: str, data: Document) -> Iterator[_Place]:
    """Iterate over what a change decides."""
    declaration = KINDS[kind]
    parts = (data,) if action == "create" else (data.get(part) or {} for part in ("set", "put", "remove"))
    given: dict[str, list[Any]] = {}
    for at, part in enumerate(parts):
        for name in declaration.decided:
            if name in part:
                is_map_of_keys = bool(declaration.fields[name].entries)
                keys: list[Any] = list(part[name] or ()) if is_map_of_keys else [_WHOLE]
                if is_map_of_keys and action == "update" and at == 0:  # the whole map is set
                    keys += list(before.get(name) or ())
                given.setdefault(name, []).extend(keys)
    for name, keys in given.items():
        for key in dict.fromkeys(keys):
            yield _Place(name, key)


def _stored(document: Mapping[str, Any], place: _Place) -> tuple[dict[str, list[Any]], set[str]]:
    kept = document.get(DECISIONS, {}).get(place.field, {}).get(place.key, {})
    return dict(kept.get("heads", {})), set(kept.get("early", ()))


def _seen(data: Document, place: _Place, heads: Mapping[str, list[Any]], *, is_first: bool) -> tuple[int, list[str]]:
    """Return the latest time of what a change has seen of a place, and the marks of it."""
    said = data.get(SAW, {}).get(place.field, {}).get(place.key)
    if said is None:
        return (0, []) if is_first else (max((at for at, *_ in heads.values()), default=0), list(heads))
    latest, *marks = said
    if type(latest) is not int or not 0 <= latest < 2**53 or not all(type(mark) is str for mark in marks):
        msg = f"saw is {said!r:.80} for {place.field} {place.key!r:.80}; expected a time and marks of changes"
        raise InvalidTypeError(msg)
    return latest, marks


def _said(after: Document, action: str, data: Document, place: _Place) -> list[Any]:
    """Return what a change says at a place: a list of one value, or an empty one where it removes it."""
    if action == "create":
        value = data[place.field]
        return [value if place.key == _WHOLE else value[place.key]]
    value = after.get(place.field)
    if place.key == _WHOLE:
        return [value]
    return [value[place.key]] if isinstance(value, dict) and place.key in value else []


def _counting(heads: Mapping[str, list[Any]]) -> list[Any] | None:
    """Return what counts at a place: a list of one value, an empty one where it was removed, ``None`` for no decision."""
    return max(heads.items(), key=lambda item: (item[1][0], item[0]))[1][1:] if heads else None


def _put(after: Document, place: _Place, value: list[Any] | None) -> None:
    if value is None:
        return
    if place.key == _WHOLE:
        after[place.field] = value[0]
        return
    kept = dict(after.get(place.field) or {})
    if value:
        kept[place.key] = value[0]
    else:
        kept.pop(place.key, None)
    after[place.field] = kept


def _show(after: Document, kind: str) -> None:
    """Let the document say in a field of its own what was decided elsewhere and does not count."""
    declaration = KINDS[kind]
    shown: dict[str, Any] = {}
    for field, keys in sorted(after[DECISIONS].items()):
        if not declaration.fields[field].says_last:
            for key in sorted(keys):
                for value in clash_at(after, field, key):
                    shown[f"{field} {key}".strip() + f" {len(shown) + 1}"] = {
                        "field": field,
                        "key": key,
                        "value": value,
                    }
    for name, value in zip(OF_CLASHES, (shown, len(shown)), strict=True):
        if value:
            after[name] = value
        else:
            after.pop(name, None)
