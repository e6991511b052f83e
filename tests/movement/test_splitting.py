"""A store that has grown too large is split by project, and questions over all of it are asked of the tables of its parts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb

from modeldb_core.audit import verify
from modeldb_core.log.changes import DELETE
from modeldb_core.log.stream import Entry
from modeldb_core.movement.copying import copy
from modeldb_core.movement.deletion import parts, to_delete
from modeldb_core.movement.selection import select
from modeldb_core.movement.tables import write_tables
from modeldb_core.plugins import open_store
from modeldb_core.queries import Query
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing.scene import Scene

DOCS = Path(__file__).parents[2] / "docs" / "scaling.md"


def runs_in(store: Any, project_id: str) -> int | None:
    total: int | None = store.find(Query(limit=0, count=True, within=project_id)).total
    return total


def test_a_project_moves_to_another_store_of_postgresql_and_one_question_reads_both(
    postgres_url: str, tmp_path: Path
) -> None:
    (statement,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL)
    with open_store(postgres_url) as first, open_store(f"{postgres_url}?schema=vision") as second:
        stays, moves = Scene(first), Scene(first)
        for scene, count in ((stays, 2), (moves, 3)):
            for number in range(count):
                run_id = scene.run(f"run {number}")
                scene.writer.append(run_id, {"loss": [1.0, 2.0]}, steps=[0, 1])
            scene.writer.close()
            scene.ship()
        chosen = select(first, projects=[moves.project_id])
        assert copy(first, second, streams=chosen.streams).ok
        assert (runs_in(second, moves.project_id), runs_in(second, stays.project_id)) == (3, 0)
        assert second.heads().items() <= first.heads().items()
        with DirectWriter(first, "ann") as writer:
            gone = to_delete(first, "project", moves.project_id, recursive=True)
            writer.apply([Entry(DELETE, kind, entity_id, {}) for kind, entity_id in gone])
        assert (runs_in(first, moves.project_id), runs_in(first, stays.project_id)) == (0, 2)
        assert not list(parts(first, "project", moves.project_id))
        for name, store in (("a", first), ("b", second)):
            assert verify(store).ok
            write_tables(store, str(tmp_path / name))
        asked = statement.replace("s3://a/tables", f"{tmp_path}/a").replace("s3://b/tables", f"{tmp_path}/b")
        assert duckdb.sql(asked).fetchall() == [(5,)]
