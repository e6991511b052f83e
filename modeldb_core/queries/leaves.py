"""The searchable leaves of a document: what an index over it holds, so that every store finds the same entities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from modeldb_core.model.integers import int_text
from modeldb_core.model.plain_data import SAFE_INTEGER
from modeldb_core.model.values import json_text, key_text, to_json
from modeldb_core.queries.ast import TAGS
from modeldb_core.queries.fields import sections_of

ValueType: TypeAlias = Literal["number", "text", "bool", "null", "json"]

MAX_LEAVES = 1000
"""Of one value under a key of a section. The rest of a larger value is kept and shown, but not searched."""
MAX_TEXT = 10_000
"""Characters of a text that is searched. A longer one, or one that holds NUL, counts as ``json``: it only exists."""
MAX_LIST = 1000
"""Characters of a list as JSON: so long a list is a value to group by, of a longer one is known only that it exists."""


LeafValue: TypeAlias = tuple[ValueType, float | None, str | None]
"""Type, number and text of a searchable value, as :class:`Leaf` has them."""


class Leaf(NamedTuple):
    """One searchable value.

    Attributes:
        section: metrics (values logged once), hyperparameters, attributes, code, datasets, artifacts, or tags.
        key: the key, names of nested maps joined by dots; the tag itself for tags.
        value_type: number, text, bool, null, or json: lists, maps, spilled and over-long values.
        number: a number as the nearest float (``None`` for NaN, infinite beyond the range); 1.0 and 0.0 for bools.
        text: a text; the exact digits of an integer beyond 2^53, so that equality stays exact; a short list as JSON.
    """

    section: str
    key: str
    value_type: ValueType
    number: float | None = None
    text: str | None = None


def searchable(kind: str, document: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Return the values that predicates find in a document, by section and key; of two with one key, the first.

    A map is a value, and so are those in it, under their names joined by dots; a list is one value. The key of a tag is
    the tag. Series are not in the document.
    """
    found: dict[tuple[str, str], Any] = {}
    for section in sections_of(kind):
        values = document.get(section)
        if values and isinstance(values, Mapping):
            for key, value in values.items():
                if type(value) in _WITHOUT_PARTS:
                    if (section, key) not in found:
                        found[section, key] = value
                    continue
                for name, item in _flatten(key, value):
                    found.setdefault((section, name), item)
    for tag in document.get(TAGS, ()):
        if isinstance(tag, str):
            found.setdefault((TAGS, tag), tag)
    return found


_WITHOUT_PARTS = frozenset({bool, float, int, str, type(None)})


def changed(
    kind: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return two documents without what is the same object in both, such that what differs can be found in them.

    The :func:`searchable` values of the two that differ are those of the documents that differ, so an index is brought up
    to date in time that grows with the change and not with the document. An unchanged value that could hide a changed
    one, or be hidden by it (``{"a.b": 1, "a": {"b": 2}}``), is kept in both.
    """
    one, other = dict(before), dict(after)
    for section in sections_of(kind):
        old, new = before.get(section), after.get(section)
        if old is new:
            one.pop(section, None)
            other.pop(section, None)
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            altered = {key for key, value in new.items() if key not in old or old[key] is not value}
            altered.update(old.keys() - new.keys())
            if not _may_hide(altered, old) and not _may_hide(altered, new):
                one[section] = {key: value for key, value in old.items() if key in altered}
                other[section] = {key: value for key, value in new.items() if key in altered}
    old, new = before.get(TAGS, ()), after.get(TAGS, ())
    if all(isinstance(tag, str) for tags in (old, new) for tag in tags):
        common = {*old} & {*new}
        one[TAGS] = [tag for tag in old if tag not in common]
        other[TAGS] = [tag for tag in new if tag not in common]
    return one, other


def _may_hide(altered: set[str], values: Mapping[str, Any]) -> bool:
    """Return whether a value under a key beyond ``altered`` may go by the name of one of those, or the other way."""
    if any(prefix in values for key in altered for prefix in _prefixes(key)):
        return True
    lengths = {*map(len, altered)}
    return any(_is_below(key, altered, lengths) for key in values if "." in key)


def _is_below(key: str, altered: set[str], lengths: set[int]) -> bool:
    at = key.find(".")
    while at >= 0:
        if at in lengths and key[:at] in altered:  # the lengths spare most keys a copy of their beginning
            return True
        at = key.find(".", at + 1)
    return False


def _prefixes(key: str) -> Iterator[str]:
    at = key.find(".")
    while at >= 0:
        yield key[:at]
        at = key.find(".", at + 1)


def leaves(kind: str, document: Mapping[str, Any]) -> list[Leaf]:
    """Return the rows of an index over a document: the leaf of each of its :func:`searchable` values."""
    found = leaf_values(kind, document).items()
    return [Leaf(section, key, of, number, text) for (section, key), (of, number, text) in found]


def leaf_values(kind: str, document: Mapping[str, Any]) -> dict[tuple[str, str], LeafValue]:
    """Return what the :func:`leaves` of a document hold, by section and key."""
    found: dict[tuple[str, str], LeafValue] = {}
    for pair, value in searchable(kind, document).items():
        of = type(value)
        # Nothing is called for what nearly all values are.
        if of is float:
            found[pair] = "number", value if value == value else None, None
        elif of is str and len(value) <= MAX_TEXT and "\0" not in value:
            found[pair] = "text", None, value
        else:
            found[pair] = leaf_value(value)
    return found


def _flatten(key: str, value: object) -> Iterator[tuple[str, object]]:
    waiting: list[tuple[str, object]] = [(key, value)]
    for _ in range(MAX_LEAVES):
        if not waiting:
            return
        name, item = waiting.pop()
        if isinstance(item, Mapping):
            # Reversed, because the last one is taken first.
            waiting.extend((f"{name}.{key_text(child)}", item[child]) for child in reversed(item))
        yield name, item


def leaf_of(section: str, key: str, value: object) -> Leaf:
    """Return the leaf of one value."""
    of, number, text = leaf_value(value)
    return Leaf(section, key, of, number, text)


def leaf_value(value: object) -> LeafValue:
    """Return what the leaf of one value holds."""
    if isinstance(value, bool):
        return "bool", float(value), None
    if isinstance(value, (int, float)):
        return "number", nearest_float(value), exact_digits(value)
    if value is None:
        return "null", None, None
    if isinstance(value, str) and is_searchable(value):
        return "text", None, value
    return "json", None, _list_text(value)


def _list_text(value: object) -> str | None:
    """Return a list as JSON, where that is short."""
    if not isinstance(value, (list, tuple)) or 2 * len(value) > MAX_LIST:
        return None
    text = json_text(to_json(value))  # type: ignore[arg-type]  # of values
    return text if len(text) <= MAX_LIST else None


def is_searchable(text: str) -> bool:
    """Return whether predicates look at a text."""
    return len(text) <= MAX_TEXT and "\0" not in text


def nearest_float(value: float) -> float | None:
    """Return a number as the float that comparisons by size take it for; ``None`` for NaN."""
    try:
        result = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return None if math.isnan(result) else result


def exact_digits(value: float) -> str | None:
    """Return the digits of an integer that a float may not equal; ``None`` for every other number."""
    return int_text(value) if isinstance(value, int) and abs(value) > SAFE_INTEGER else None
