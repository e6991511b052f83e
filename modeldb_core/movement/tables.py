"""Runs and points as Parquet, in the layout that DuckDB, polars, Spark and Trino read without ModelDB.

``docs/tables.md`` has the layout and the columns.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from modeldb_core.errors import NotFoundError
from modeldb_core.log.json_documents import entity_document, json_value, time_text
from modeldb_core.model.entities import Experiment, Project, Run
from modeldb_core.movement.deletion import pages
from modeldb_core.movement.parquet import COLUMNS, FORMAT, MANIFEST, PARTITION, VERSION, Place, Tables
from modeldb_core.queries import Query, condition, portions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from modeldb_core.model.entities import Entity
    from modeldb_core.movement.copying import Progress
    from modeldb_core.stores import MetadataStore

_PAGE = 200  # runs that are held at a time


@dataclass(slots=True)
class Written:
    """What was written.

    Attributes:
        url: where, without secrets.
        rows: of each table.
        files: how many files, and ``size_bytes`` their bytes.
        left_out: runs whose project has not arrived in the store yet.
        sha256: of the manifest, which names each file with its own.
    """

    url: str
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    size_bytes: int = 0
    left_out: int = 0
    sha256: str = ""


def write_tables(
    store: MetadataStore,
    url: str,
    *,
    projects: Sequence[str] | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Write what is not deleted of a store as tables. Memory holds some thousand runs and the longest series.

    Args:
        url: a folder, or a URL that fsspec knows.
        projects: identifiers of those to write; all of them by default.
        replace: over tables that are there.

    Raises:
        MissingDependencyError: pyarrow is not installed, or what the URL needs.
        InvalidArgumentError: there are tables already, or something else.
        StoreUnavailableError: the place cannot be written.
    """
    place = Place.open(url)
    old = place.old_files(replace=replace)
    tables, done = Tables(place), Written(place.url)
    tell = progress or (lambda *_: None)
    for project in _chosen(store, projects):
        if project.deleted_at is None:
            tables.add("projects", "", _project_row(project))
        for experiment in pages(store, Query(Experiment.KIND, "", "entity_id", within=project.entity_id), _PAGE):
            tables.add("experiments", project.entity_id, _experiment_row(experiment))
        for entity in pages(store, Query(Run.KIND, "", "entity_id", within=project.entity_id), _PAGE):
            _add_run(store, tables, project.entity_id, cast("Run", entity))
            if tables.rows["runs"] % _PAGE == 0:
                tell("runs", tables.rows["runs"], None)
        tables.end_project()
    tables.end()
    if projects is None:
        total = store.find(Query(Run.KIND, limit=0, count=True)).total or 0
        done.left_out = max(total - tables.rows["runs"], 0)
    manifest = json.dumps(_manifest(store, tables, done), indent=1).encode()
    with place.create(MANIFEST) as file:
        file.write(manifest)
    place.remove(old - {each["path"] for each in tables.files})
    done.rows, done.files = dict(tables.rows), len(tables.files)
    done.size_bytes = sum(each["size_bytes"] for each in tables.files)
    done.sha256 = hashlib.sha256(manifest).hexdigest()
    return done


def _chosen(store: MetadataStore, projects: Sequence[str] | None) -> Iterator[Entity]:
    """Iterate over the projects that are named, as far as they are there, or over all: deleted ones too, which may hold runs."""
    if projects is None:
        yield from pages(store, Query(Project.KIND, "", "entity_id", include_deleted=True), _PAGE)
        return
    for some in portions(sorted(set(projects))):
        yield from pages(store, Query(Project.KIND, condition("entity_id in ?", some), "entity_id"), _PAGE)


def _manifest(store: MetadataStore, tables: Tables, done: Written) -> dict[str, Any]:
    described = {
        name: {
            "partitioned_by": [] if name == "projects" else [PARTITION],
            "columns": [{"name": column, "type": kind} for column, kind in columns.items()],
            "rows": tables.rows[name],
            "files": [each for each in tables.files if each["path"].startswith(f"{name}/")],
        }
        for name, columns in COLUMNS.items()
    }
    written_at = time_text(datetime.now(UTC))
    head = {"format": FORMAT, "version": VERSION, "store": store.url, "written_at": written_at}
    return {**head, "left_out_runs": done.left_out, "tables": described}


# -- rows -------------------------------------------------------------------------------------------------------------


def _add_run(store: MetadataStore, tables: Tables, project_id: str, run: Run) -> None:
    tables.add("runs", project_id, _run_row(run))
    for key, summary in sorted(run.series.items()):
        known = {name: getattr(summary, name, None) for name in COLUMNS["series"]}
        tables.add("series", project_id, {**known, "run_id": run.run_id, "key": key})
        with suppress(NotFoundError):  # the run is erased at this moment
            series = store.read_series(run.run_id, key)
            columns = {"step": series.steps, "time": series.times, "value": series.values}
            tables.add_points(project_id, run.run_id, key, columns)


def _run_row(run: Run) -> dict[str, Any]:
    plain = {name: getattr(run, name, None) for name in COLUMNS["runs"]}
    numbers = ((key, _number(value)) for key, value in run.metrics.items())
    return {
        **plain,
        "name": run.name,
        "tags": list(run.tags),
        "hyperparameters": _json_map(run.hyperparameters),
        "attributes": _json_map(run.attributes),
        "metrics": [(key, number) for key, number in numbers if number is not None],
        "document": _json(entity_document(run)),
    }


def _project_row(project: Entity) -> dict[str, Any]:
    plain = {name: getattr(project, name, None) for name in COLUMNS["projects"]}
    return {
        **plain,
        "project_id": project.entity_id,
        "name": project.name,
        "document": _json(entity_document(project)),
    }


def _experiment_row(experiment: Entity) -> dict[str, Any]:
    row = {"experiment_id": experiment.entity_id, "name": experiment.name, "created_at": experiment.created_at}
    return {**row, "document": _json(entity_document(experiment))}


def _number(value: object) -> float | None:
    """Return a metric as a number; ``None`` where it is none, or beyond what a double holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    with suppress(OverflowError):
        return float(value)
    return None


def _json_map(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, _json(json_value(value))) for key, value in values.items()]


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)
