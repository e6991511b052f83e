"""Groups as JSON data: how a remote store and a server, and a server and a page, say them."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any, cast

from modeldb_core.model.values import from_json, to_json
from modeldb_core.queries import Group, GroupPage, Spread
from modeldb_core.queries.grouping import TYPES, GroupType

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPREAD = tuple(field.name for field in fields(Spread))


def dump_groups(page: GroupPage) -> dict[str, Any]:
    """Return groups as JSON data."""
    return {"groups": [_dump_group(group) for group in page.groups], "total": page.total}


def load_groups(page: Mapping[str, Any], measures: int) -> GroupPage:
    """Return the groups that :func:`dump_groups` wrote, each with as many spreads as there were measures.

    Raises:
        LookupError, TypeError, ValueError: it is not what that writes.
    """
    groups, total = page["groups"], page["total"]
    if type(groups) is not list or type(total) is not int or total < len(groups):
        msg = "these are not groups, and how many there are"
        raise TypeError(msg)
    return GroupPage(tuple(_load_group(group, measures) for group in groups), total)


def _dump_group(group: Group) -> dict[str, Any]:
    spreads = [None if spread is None else dict(zip(_SPREAD, astuple(spread), strict=True)) for spread in group.spreads]
    return {
        "value": to_json(group.value),
        "value_type": group.value_type,
        "count": group.count,
        "spreads": spreads,
    }


def _load_group(data: Mapping[str, Any], measures: int) -> Group:
    value_type, count, spreads = data["value_type"], data["count"], data["spreads"]
    if value_type not in TYPES or type(count) is not int or len(spreads) != measures:
        msg = "this is not a group"
        raise ValueError(msg)
    loaded = tuple(None if spread is None else _load_spread(spread) for spread in spreads)
    return Group(from_json(data["value"]), cast("GroupType", value_type), count, loaded)


def _load_spread(data: Mapping[str, Any]) -> Spread:
    count, *numbers = (data[name] for name in _SPREAD)
    if type(count) is not int:
        msg = "a spread does not say of how many numbers it is"
        raise TypeError(msg)
    return Spread(count, *map(float, numbers))
