"""Runs as a table, column by column: no run is held while the next ones are read."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from modeldb_core.log.display import flat, is_own
from modeldb_core.model.entities import Run
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_ABSENT = float("nan")  # what pandas has where a row has no value in a column
_WITHOUT_PARTS = frozenset({bool, float, int, str, type(None)})


class RunTable:
    """Gathers the columns of runs that come page by page."""

    def __init__(self) -> None:
        declared = KINDS[Run.KIND]
        own = [name for name in declared.shown if name in declared.stored and name not in declared.common]
        self._count = 0
        self._fields = ("run_id", "name", "project_id", "experiment_id", *own, "duration_s", "owner", "tags")
        self._columns: dict[str, list[Any]] = {name: [] for name in self._fields}
        self._logged: dict[str, dict[object, list[Any]]] = {section: {} for section in declared.listed}
        self._names: dict[str, list[Any]] = {}

    def add(self, runs: Sequence[Run]) -> None:
        """Add a row for each run."""
        for name in self._fields:
            self._columns[name].extend(map(attrgetter(name), runs))
        for run in runs:
            for section, known in self._logged.items():
                for key, value in getattr(run, section).items():
                    logged = known.get(key)
                    if logged is not None and len(logged) == self._count and type(value) in _WITHOUT_PARTS:
                        logged.append(value)
                    else:
                        self._put_all(section, key, value)
            self._count += 1

    @property
    def container_ids(self) -> dict[str, set[str]]:
        """The identifiers of the projects and experiments of the runs, by kind."""
        return {kind: set(self._columns[f"{kind}_id"]) for kind in ("project", "experiment")}

    def columns(self, names: Mapping[str, str]) -> dict[str, list[Any]]:
        """Return the columns by name, those that ModelDB measured itself last; ``names`` are those of containers."""
        found: dict[str, list[Any]] = dict(self._columns)
        shown = {"project_id": "project", "experiment_id": "experiment", "duration_s": "duration"}
        for name in ("project_id", "experiment_id"):
            found[name] = [names.get(entity_id) for entity_id in found[name]]
        found["tags"] = [list(tags) for tags in found["tags"]]
        table = {shown.get(name, name): column for name, column in found.items()}
        in_order = sorted(
            self._names, key=lambda name: is_own(name.partition(".")[2])
        )  # stable: otherwise as they came
        for name in in_order:
            column = self._names[name]
            table[name] = column + [_ABSENT] * (self._count - len(column))
        return table

    def _put_all(self, section: str, key: Any, value: object) -> None:  # noqa: ANN401 - what a map has
        """Put a value of the run that is being added into its column, or those within it into theirs."""
        for name, item in flat({key: value}):
            column = self._names.setdefault(f"{section}.{name}", [])
            if not isinstance(value, Mapping):
                self._logged[section][key] = column
            if len(column) <= self._count:  # otherwise another key of the same name was there first
                column += [_ABSENT] * (self._count - len(column))
                column.append(item)
