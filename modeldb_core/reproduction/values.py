"""Comparing single values, and the values of runs row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

from modeldb_core.errors import ModelDBError
from modeldb_core.log.display import flat, is_own
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import BlobReference, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modeldb_core.model.entities import Run

Resolve: TypeAlias = Callable[[Any], Any]
"""Returns a value; one that was moved to the artifact store is read from there, where that is possible."""
OpenBlob: TypeAlias = "Callable[[str], BinaryIO]"
"""Opens a blob by its digest."""
MAX_RESOLVED_BYTES = 16 << 20
"""Larger values that were moved to the artifact store are named, not read."""


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""In place of a value where there is none."""


@dataclass(frozen=True, slots=True)
class Row:
    """What several runs have under one key of one section.

    Attributes:
        values: of each run, :data:`ABSENT` where it has none.
        differs: whether they are not all the same.
    """

    section: str
    key: str
    values: tuple[Any, ...]
    differs: bool


def resolving(open_blob: OpenBlob, limit: float = MAX_RESOLVED_BYTES) -> Resolve:
    """Return what reads values that were moved to the artifact store, whose blobs ``open_blob`` opens by digest.

    A value that is not there, or larger than ``limit`` bytes, stays a reference: equal ones are equal values.
    """

    def resolve(value: Any) -> Any:  # noqa: ANN401 - any value
        if not isinstance(value, BlobReference) or value.size_bytes > limit:
            return value
        try:
            with open_blob(value.digest) as stream:
                content = stream.read(value.size_bytes + 1)
            return decode(content) if len(content) == value.size_bytes else value  # the record may say anything
        except ModelDBError:
            return value

    return resolve


def with_values(run: Run, open_blob: OpenBlob) -> tuple[Run, list[str]]:
    """Return a run with the values that were moved to its artifact store, however large, and a sentence on each that is lost."""
    resolve = resolving(open_blob, math.inf)
    sections: dict[str, Any] = {}
    lost: list[str] = []
    for section in KINDS[run.KIND].maps:
        values = {key: resolve(value) for key, value in getattr(run, section).items()}
        gone = [key for key, value in values.items() if isinstance(value, BlobReference)]
        lost += [f"{section}.{key} of the repeated run is not in its artifact store, so it is left out" for key in gone]
        sections[section] = {key: value for key, value in values.items() if key not in gone}
    return replace(run, **sections), lost


def differ(values: Sequence[Any]) -> bool:
    """Return whether not all values are the same: NaN is the same as NaN, 1 is not True, and 1 is not 1.0."""
    return any(not same(values[0], value) for value in values[1:])


def same(first: Any, second: Any) -> bool:  # noqa: ANN401 - any values
    """Return whether two values are the same, within lists and maps too."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    if type(first) is not type(second):
        return False
    return bool(first == second) or (isinstance(first, float) and math.isnan(first) and math.isnan(second))


def compare_maps(runs: Sequence[Run], resolve: Resolve) -> Iterator[Row]:
    """Iterate over every key of every map of the runs: what users logged first, then what ModelDB measured by itself.

    Nested maps are compared key by key. A file is compared by its digest.
    """
    declaration = KINDS[runs[0].KIND]
    for section in declaration.maps:
        is_of_files = declaration.fields[section].names_blobs
        maps = [_of_files(run, section) if is_of_files else _flat(run, section, resolve) for run in runs]
        for key in sorted(dict.fromkeys(key for found in maps for key in found), key=is_own):
            values = tuple(found.get(key, ABSENT) for found in maps)
            yield Row(section, key, values, differ(values))


def _of_files(run: Run, section: str) -> dict[str, Any]:
    entries = getattr(run, section)
    return {path: entry.get("digest", "") if isinstance(entry, Mapping) else entry for path, entry in entries.items()}


def _flat(run: Run, section: str, resolve: Resolve) -> dict[str, Any]:
    return dict(flat({key: resolve(value) for key, value in getattr(run, section).items()}))
