"""Telling whether two answers are the same in every bit, and where they differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from modeldb_core.model.entities import Entity, SeriesSummary

_SHOWN = 80


def differences(found: Entity, expected: Entity) -> Iterator[str]:
    """Iterate over sentences on how an entity differs from the one that its changes make."""
    for field in fields(expected):
        if field.name != "series":
            yield from _values(field.name, getattr(found, field.name), getattr(expected, field.name))
    yield from _series(getattr(found, "series", {}), getattr(expected, "series", {}))


def _values(where: str, found: Any, expected: Any) -> Iterator[str]:  # noqa: ANN401 - values
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in expected:
            if key in found:
                yield from _values(f"{where}.{key}", found[key], expected[key])
            else:
                yield f"{where}.{key} is missing; the changes say {_show(expected[key])}"
        for key in found:
            if key not in expected:
                yield f"{where}.{key} is {_show(found[key])}, of which no change says anything"
    elif not _is_same(found, expected):
        yield f"{where} is {_show(found)}; the changes say {_show(expected)}"


def _series(found: Mapping[str, SeriesSummary], expected: Mapping[str, SeriesSummary]) -> Iterator[str]:
    for key, summary in expected.items():
        if key not in found:
            yield f"the series {key!r} is missing"
            continue
        for field in fields(SeriesSummary):
            one, other = getattr(found[key], field.name), getattr(summary, field.name)
            if not (_is_same(one, other) or (field.name == "mean" and is_close(one, other, summary))):
                yield f"the {field.name} of series {key!r} is {_show(one)}; its points say {_show(other)}"
    for key in found:
        if key not in expected:
            yield f"there is a series {key!r}, of which no change says anything"


def is_close(found: float, expected: float, summary: SeriesSummary) -> bool:
    """Return whether a mean is the same but for rounding, which depends on the order in which points were summed up."""
    largest = max(abs(summary.minimum), abs(summary.maximum))
    return abs(found - expected) <= summary.count * 2.0**-52 * largest or found == expected


def _is_same(one: Any, other: Any) -> bool:  # noqa: ANN401 - values
    if type(one) is not type(other):
        return isinstance(one, Mapping) and isinstance(other, Mapping) and dict(one) == dict(other)
    if isinstance(one, float):
        return one.hex() == other.hex() or (math.isnan(one) and math.isnan(other))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _show(value: object) -> str:
    text = repr(dict(value)) if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
