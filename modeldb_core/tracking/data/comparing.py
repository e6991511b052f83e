"""What differs between two versions of a data set: files, columns, statistics, the query."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.model.entities import DatasetVersion
    from modeldb_core.trees import TreeStore

_QUERY = ("query", "query_template", "query_parameters", "data_source_url")


@dataclass(frozen=True, slots=True)
class Changed:
    """A value before and after; ``None`` where there is none."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDiff:
    """What differs from one version to another.

    Attributes:
        before, after: the numbers of the two.
        is_same: whether their content is the same.
        added, removed: locations of files, with their sizes in bytes.
        changed: by the location of a file, its size before and after.
        columns_added, columns_removed: names and types of columns.
        columns_changed: by the name of a column, its type before and after.
        statistics: by the name of a column and of the statistic, the value before and after.
        values: what else differs: size, records, files, query, parameters, source.
    """

    before: int
    after: int
    is_same: bool
    added: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, Changed] = field(default_factory=dict)
    columns_added: Mapping[str, str] = field(default_factory=dict)
    columns_removed: Mapping[str, str] = field(default_factory=dict)
    columns_changed: Mapping[str, Changed] = field(default_factory=dict)
    statistics: Mapping[str, Mapping[str, Changed]] = field(default_factory=dict)
    values: Mapping[str, Changed] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain maps, with ``before`` and ``after`` for each pair."""
        return {
            "before": self.before,
            "after": self.after,
            "is_same": self.is_same,
            "files": {"added": dict(self.added), "removed": dict(self.removed), "changed": _pairs(self.changed)},
            "columns": {
                "added": dict(self.columns_added),
                "removed": dict(self.columns_removed),
                "changed": _pairs(self.columns_changed),
            },
            "statistics": {name: _pairs(changes) for name, changes in self.statistics.items()},
            "values": _pairs(self.values),
        }


def compare(
    one: DatasetVersion,
    other: DatasetVersion,
    trees: TreeStore,
    info: tuple[Mapping[str, Any], Mapping[str, Any]],
    *,
    most: float = math.inf,
) -> DatasetDiff:
    """Return what differs from one version to another; of trees only what differs is read.

    Args:
        one, other: the versions.
        trees: where their trees are.
        info: what they say of themselves, with what was moved to the artifact store read back.
        most: how many files may differ.

    Raises:
        InvalidArgumentError: more differ.
    """
    is_same = bool(one.digest) and one.digest == other.digest and one.dataset_type == other.dataset_type
    added: dict[str, int] = {}
    removed: dict[str, int] = {}
    changed: dict[str, Changed] = {}
    for count, (location, before, after) in enumerate(_differences(one, other, trees), 1):
        if count > most:
            msg = f"more than {most:,} files differ; use `modeldb dataset diff` or Python"
            raise InvalidArgumentError(msg)
        if before is None:
            added[location] = _size(after)
        elif after is None:
            removed[location] = _size(before)
        else:
            changed[location] = Changed(_size(before), _size(after))
    columns = tuple(columns_of(each) for each in info)
    shared = columns[0].keys() & columns[1].keys()
    return DatasetDiff(
        before=one.version,
        after=other.version,
        is_same=is_same,
        added=added,
        removed=removed,
        changed=changed,
        columns_added={name: held for name, held in columns[1].items() if name not in shared},
        columns_removed={name: held for name, held in columns[0].items() if name not in shared},
        columns_changed=_changes({n: columns[0][n] for n in shared}, {n: columns[1][n] for n in shared}),
        statistics=_statistics(*info),
        values=_values(one, other, info),
    )


def _differences(one: DatasetVersion, other: DatasetVersion, trees: TreeStore) -> Any:  # noqa: ANN401 - an iterator
    if one.tree and other.tree and "path" in (one.dataset_type, other.dataset_type):
        yield from trees.open(one.tree).diff(trees.open(other.tree))


def columns_of(info: Mapping[str, Any]) -> dict[str, str]:
    """Return the types of the columns of a table by their names."""
    schema = _inner(info).get("schema")
    columns = schema.get("columns") if isinstance(schema, dict) else None
    if not isinstance(columns, list):
        return {}
    return {str(each.get("name")): str(each.get("dtype")) for each in columns if isinstance(each, dict)}


def _statistics(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, dict[str, Changed]]:
    first, second = (_inner(info).get("statistics") for info in (one, other))
    if not isinstance(first, dict) or not isinstance(second, dict):
        return {}
    found = {name: _changes(first[name], second[name]) for name in first if name in second}
    return {name: changes for name, changes in found.items() if changes}


def _values(
    one: DatasetVersion, other: DatasetVersion, info: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> dict[str, Changed]:
    names = ("dataset_type", "source", "size_bytes", "record_count", "part_count")
    first, second = ({name: getattr(version, name) for name in names} for version in (one, other))
    first |= {name: info[0][name] for name in _QUERY if name in info[0]}
    second |= {name: info[1][name] for name in _QUERY if name in info[1]}
    return _changes(first, second)


def _inner(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what describes a table: of a query its result."""
    result = info.get("result")
    return result if isinstance(result, dict) else info


def _changes(one: Any, other: Any) -> dict[str, Changed]:  # noqa: ANN401 - maps, in a record that may be a stranger's
    if not isinstance(one, dict) or not isinstance(other, dict):
        return {}
    names = sorted(one.keys() | other.keys())
    pairs = {name: Changed(one.get(name), other.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair.before != pair.after}


def _size(entry: Any) -> int:  # noqa: ANN401
    return int(entry.get("size_bytes", 0))


def _pairs(changes: Mapping[str, Changed]) -> dict[str, Any]:
    return {name: {"before": each.before, "after": each.after} for name, each in changes.items()}
