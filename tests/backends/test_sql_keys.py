"""Keys and entities that are counted while they are written: exactly, and what asking for them costs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from modeldb_core.backends._sql.filters import Compiler
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.model.entities import derived_id
from modeldb_core.plugins import open_store
from modeldb_core.queries import Query
from modeldb_core.stores import KeyInfo
from modeldb_core.testing import StreamWriter
from modeldb_core.testing.scene import Scene

EVERY = "name exists"
"""A filter that all entities match: what is asked with it is not counted beforehand."""


@pytest.fixture
def store(tmp_path):
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        yield store


@pytest.fixture
def asked(store):
    """The tables that questions look at, each with how: from now on."""
    found = []

    def explain(connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith("SELECT"):
            driver = connection.connection.dbapi_connection
            rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            found.extend(row[3] for row in rows)

    event.listen(store._database.engine, "before_cursor_execute", explain)
    return found


def assert_counted(store, *containers):
    """Assert that what is counted is what there is, within each of some containers and everywhere."""
    for kind in ("run", "project", "comment", "registered_model"):
        for within in (None, *containers, tuple(containers)):
            counted = store.find_keys(Query(kind, within=within))
            assert counted == store.find_keys(Query(kind, EVERY, within=within))
            totals = [store.find(Query(kind, text, within=within, limit=0, count=True)).total for text in ("", EVERY)]
            assert totals[0] == totals[1], (kind, within)
    assert list(store.audit_tables()) == []


def test_counts_follow_all_that_happens_to_entities(store):
    scene, other = Scene(store), Scene(store)
    workspace = derived_id("workspace", "", "default")
    places = (scene.project_id, other.project_id, workspace, scene.ids["experiment_id"])
    writer = scene.writer
    runs = [
        scene.run(f"run {number}", hyperparameters={"lr": number, "o": "x" if number % 2 else 1}) for number in range(6)
    ]
    comment = writer.create("comment", parent_id=runs[0], message="of a run", tags=["seen"]).entity_id
    writer.append(runs[0], {"loss": [1.0, 2.0]})
    scene.ship()
    assert_counted(store, *places)
    writer.append(runs[0], {"loss": [3.0], "auc": [1.0]})
    writer.update("run", runs[0], put={"metrics": {"auc": 0.5, "f1": "text"}})
    writer.update("run", runs[1], set={"hyperparameters": {"lr": "text"}}, add={"tags": ["best"]})
    scene.ship()
    assert_counted(store, *places)
    for change in (writer.delete, writer.restore, writer.delete):
        change("run", runs[0])
        change("comment", comment)
        scene.ship()
        assert_counted(store, *places)
    for change in [each for each in writer.changes if each.entity_id == runs[0]]:
        writer.erase(change)
    scene.ship()
    assert_counted(store, *places)
    writer.update("run", runs[2], set={name: other.ids[name] for name in ("project_id", "experiment_id")})
    writer.append(runs[2], {"late": [1.0]})
    scene.ship()
    other.ship()
    assert_counted(store, *places)


def test_counts_follow_containers_that_arrive_late_or_move(store):
    writer = StreamWriter()
    writer.open()
    run_id = writer.create_run(project_id="p", experiment_id="e", metrics={"auc": 1.0}, tags=["t"]).entity_id
    writer.append(run_id, {"loss": [1.0]})
    store.apply(writer.changes)
    assert_counted(store, "p", "w", "v")
    sent = len(writer.changes)
    writer.create("project", "p", name="late", workspace_id="w")
    writer.create("workspace", "w", name="w")
    writer.create("workspace", "v", name="v")
    store.apply(writer.take(sent))
    assert_counted(store, "p", "w", "v")
    assert store.find(Query(within="w", limit=0, count=True)).total == 1
    sent = len(writer.changes)
    writer.update("project", "p", set={"workspace_id": "v"})
    writer.append(run_id, {"accuracy": [1.0]})
    store.apply(writer.take(sent))
    assert_counted(store, "p", "w", "v")
    assert store.find_keys(Query(within="w")) == ()
    assert KeyInfo("metrics", "accuracy", 1, ("series",)) in store.find_keys(Query(within="v"))


def test_points_may_come_before_their_run(store):
    scene, early = Scene(store), StreamWriter()
    scene.ship()
    early.open()
    early.append("run", {"loss": [1.0]})
    store.apply(early.changes)
    assert_counted(store, scene.project_id)
    scene.writer.create_run(entity_id="run", **scene.ids)
    scene.ship()
    assert_counted(store, scene.project_id)


def test_keys_and_counts_are_read_and_not_worked_out(store, asked):
    scene = Scene(store)
    for number in range(30):
        scene.run(f"run {number}", metrics={"auc": number})
    scene.ship()
    for within in (None, scene.project_id, (scene.project_id, "x")):
        asked.clear()
        assert store.find_keys(Query(within=within)) == (KeyInfo("metrics", "auc", 30, ("number",)),)
        assert store.find(Query(within=within, limit=0, count=True)).total == 30
        tables = " ".join(asked)
        assert "key_counts" in tables
        assert "SCAN key_counts" not in tables
        assert not any(name in tables for name in ("facts", "metrics", "entities_by_kind")), tables


def test_of_many_entities_that_a_filter_matches_keys_are_those_of_the_newest_and_say_so(store, asked, monkeypatch):
    monkeypatch.setattr("modeldb_core.backends._sql.key_counts.SAMPLE", 10)
    scene = Scene(store)
    for number in range(30):
        old = {"old": 1} if number < 15 else {}
        scene.run(f"run {number}", metrics={"auc": number}, hyperparameters={"lr": number, **old})
    scene.ship()
    asked.clear()
    assert store.find_keys(Query(filter="metrics.auc >= 0")) == (
        KeyInfo("hyperparameters", "lr", 10, ("number",), 10),
        KeyInfo("metrics", "auc", 10, ("number",), 10),
    )
    assert not any(line.startswith(("SCAN metrics", "SCAN facts")) for line in asked), asked
    few = store.find_keys(Query(filter="metrics.auc < 8"))
    assert [(info.key, info.count, info.sample) for info in few] == [("lr", 8, 0), ("old", 8, 0), ("auc", 8, 0)]


def test_counts_are_exact_when_many_write_at_once(postgres_url):
    with open_store(postgres_url) as store:

        def write(number):
            writer = StreamWriter()
            writer.open()
            ids = writer.create_containers("shared", "runs")
            sent = 0
            for step in range(5):
                run_id = writer.create_run(**ids, metrics={"auc": step}, tags=[f"tag {number % 2}"]).entity_id
                writer.append(run_id, {"loss": [1.0]})
                if step % 2:
                    writer.delete("run", run_id)
                store.apply(writer.take(sent))
                sent = len(writer.changes)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write, range(8)))
        project = derived_id("project", derived_id("workspace", "", "default"), "shared")
        assert_counted(store, project)
        assert KeyInfo("metrics", "auc", 24, ("number",)) in store.find_keys(Query(within=project))


def test_the_filter_of_a_question_for_keys_is_compiled_once(store, monkeypatch):
    scene = Scene(store)
    scene.run("one", hyperparameters={"depth": 3})
    store.apply(scene.writer.changes)
    compiled = []
    compile_alone = Compiler.__init__
    monkeypatch.setattr(Compiler, "__init__", lambda own, *args: compiled.append(args[0]) or compile_alone(own, *args))
    infos = store.find_keys(Query("run", "hyperparameters.depth = 3"))
    assert [info.count for info in infos if info.key == "depth"] == [1]
    assert compiled == ["run"]
