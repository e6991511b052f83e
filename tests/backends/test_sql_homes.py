"""Where entities lie, in the tables: what that costs, and that an audit knows it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends._sql.database import Transaction
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.model.entities import new_id
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter
from modeldb_core.testing.scene import Scene


@pytest.fixture
def store(tmp_path):
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        yield store


@pytest.fixture
def asked(monkeypatch):
    """How often each question was asked since it was cleared."""
    counts = Counter()
    rows = Transaction.rows

    def counted(self, build, parameters=None):
        counts[build.__name__] += build.__module__.endswith("_sql.homes")
        return rows(self, build, parameters)

    monkeypatch.setattr(Transaction, "rows", counted)
    return counts


def test_only_what_is_new_or_moves_asks_where_it_lies(store, asked):
    scene = Scene(store)
    scene.ship()
    asked.clear()
    run_id = scene.run("run")
    for number in range(20):
        scene.run(f"further {number}", parent_id=run_id)
    scene.ship()
    assert +asked == {"_homes": 1}  # for all of them together
    asked.clear()
    scene.writer.append(run_id, {"loss": [1.0]})
    scene.writer.update("run", run_id, set={"status": "finished"}, put={"metrics": {"auc": 1}})
    scene.writer.delete("run", run_id)
    scene.ship()
    assert +asked == {}


def test_places_are_written_when_an_entity_is_new_or_moves(store, monkeypatch):
    placed = []
    write = Transaction.write

    def noted(self, build, rows, **options):
        placed.extend(row["pk"] for row in rows if build.__name__ == "_place_entity")
        write(self, build, rows, **options)

    monkeypatch.setattr(Transaction, "write", noted)
    scene = Scene(store)
    run_id, parent_id = scene.run("run"), scene.run("parent")
    scene.ship()
    scene.writer.update("run", run_id, set={"name": "other", "status": "finished"}, put={"metrics": {"auc": 1}})
    scene.ship()
    assert placed == []
    scene.writer.update("run", run_id, set={"parent_id": parent_id})
    scene.ship()
    assert len(placed) == 1
    assert [run.entity_id for run in store.find(Query(filter=f'parent_id = "{parent_id}"')).entities] == [run_id]
    assert verify(store).findings == []


def test_a_project_that_arrives_late_reaches_all_that_waits_for_it(store, monkeypatch):
    monkeypatch.setattr("modeldb_core.backends._sql.homes._SOME", 7)
    writer, project_id, workspace_id = StreamWriter(), new_id(), new_id()
    for number in range(20):
        run_id = writer.create_run(name=f"run {number}", project_id=project_id).entity_id
        writer.create("comment", parent_id=writer.create("comment", parent_id=run_id).entity_id)
    store.apply(writer.changes)
    last = StreamWriter()
    last.create("project", project_id, name="late", workspace_id=workspace_id)
    store.apply(last.changes)
    totals = {
        kind: store.find(Query(kind, within=workspace_id, limit=0, count=True)).total for kind in ("run", "comment")
    }
    assert totals == {"run": 20, "comment": 40}
    assert verify(store).findings == []


@pytest.mark.parametrize("column", ["workspace_id", "project_id"])
@pytest.mark.parametrize("value", ["'elsewhere'", "NULL"])
def test_an_altered_place_shows_in_an_audit(store, tmp_path, column, value):
    scene = Scene(store)
    comment = scene.writer.create("comment", parent_id=scene.run("run")).entity_id
    scene.ship()
    assert verify(store).findings == []
    with closing(sqlite3.connect(tmp_path / "modeldb.db")) as database, database:
        database.execute(f"UPDATE entities SET {column} = {value} WHERE kind = 'comment'")
    database.close()
    (finding,) = (finding for finding in verify(store).findings if "key_counts" not in finding.message)
    assert finding.subject == f"comment {comment}"
    assert finding.message.startswith(f"{column} is ")
