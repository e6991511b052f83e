"""What grouping costs in SQL: one statement, in which the database groups, whatever is measured beside."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from modeldb_core.backends._sql import reading
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.queries import Query
from modeldb_core.testing.scene import Scene


@pytest.fixture
def store(tmp_path):
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        yield store


@pytest.fixture
def scene(store):
    """Three hundred runs, in groups of a hundred."""
    scene = Scene(store)
    for index in range(300):
        scene.run(str(index), hyperparameters={"depth": index % 3}, metrics={"auc": index / 300, "loss": 1.0})
    scene.ship()
    return scene


def test_the_database_groups_in_one_statement_and_reads_no_document(store, scene, monkeypatch):
    statements, rows, query = [], [], Query(within=scene.project_id)
    store.find_groups(query, "hyperparameters.depth")  # what is looked up once

    def note(_connection, cursor, statement, parameters, _context, _many):
        statements.append(statement)
        if "GROUP BY" in statement:
            rows.append(len(cursor.connection.execute(statement, parameters).fetchall()))

    event.listen(store._database.engine, "after_cursor_execute", note)
    monkeypatch.setattr(reading, "load_documents", lambda _texts: pytest.fail("documents were read"))
    page = store.find_groups(query, "hyperparameters.depth", ["metrics.auc", "metrics.loss"])
    assert [(group.value, group.count) for group in page.groups] == [(0, 100), (1, 100), (2, 100)]
    assert rows == [3]
    assert all("documents" not in statement for statement in statements)
    assert len([each for each in statements if each.startswith("SELECT")]) <= 6


def test_a_group_is_as_exact_where_the_numbers_are_many_and_far_from_zero(scene):
    for index in range(1500):
        scene.run(f"far {index}", hyperparameters={"depth": "far"}, metrics={"auc": 1e9 + index % 2})
    scene.ship()
    query = Query(filter='hyperparameters.depth = "far"', within=scene.project_id)
    (group,) = scene.store.find_groups(query, "hyperparameters.depth", ["metrics.auc"]).groups
    (spread,) = group.spreads
    assert spread.deviation == pytest.approx(0.5, rel=1e-3)
    assert spread.mean == pytest.approx(1e9 + 0.5)
