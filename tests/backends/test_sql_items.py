"""Large maps of documents lie item by item: an update costs what it alters, and nobody else sees a difference."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldb_core.audit import verify
from modeldb_core.backends._sql import entity_rows, items
from modeldb_core.backends._sql.database import Transaction
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import ErasedError, InvalidArgumentError, PreconditionError
from modeldb_core.log.conditions import Unset
from modeldb_core.model.links import Link, links_of
from modeldb_core.queries import Query, field_name
from modeldb_core.testing import StreamWriter

FEW, MANY = 500, 4_000


def artifact(number):
    return {"digest": f"{number:064x}", "size_bytes": number, "media_type": "text/plain"}


@pytest.fixture
def work(store, monkeypatch):
    """Counts rows and characters that are read and written, and statements."""
    counted = Counter()
    ask, write = Transaction.rows, Transaction.write

    def size(values):
        return sum(len(value) for value in values if isinstance(value, (str, bytes)))

    def rows(self, build, parameters=None):
        found = ask(self, build, parameters)
        counted["statements"] += 1
        counted["rows"] += len(found)
        counted["characters"] += sum(map(size, found))
        return found

    def written(self, build, rows, **options):
        counted["statements"] += bool(rows)
        counted["rows"] += len(rows)
        counted["characters"] += sum(size(row.values()) for row in rows)
        return write(self, build, rows, **options)

    monkeypatch.setattr(Transaction, "rows", rows)
    monkeypatch.setattr(Transaction, "write", written)
    return counted


def filled(store, count):
    writer = StreamWriter()
    run_id = writer.create_run(name="many").entity_id
    for start in range(0, count, 500):
        names = range(start, min(start + 500, count))
        writer.update(
            "run", run_id, put={"artifacts": {f"images/{number:05}.png": artifact(number) for number in names}}
        )
    store.apply(writer.changes)
    return writer, run_id


UPDATES = (
    {"add": {"tags": ["best"]}},
    {"set": {"status": "finished"}},
    {"put": {"artifacts": {"images/new.png": artifact(1)}}},
    {"put": {"artifacts": {"images/00007.png": artifact(8)}}},
    {"remove": {"artifacts": ["images/00009.png"]}},
)


def test_an_update_of_a_run_costs_the_same_with_eight_times_the_artifacts(store, work):
    taken = []
    for count in (FEW, FEW, MANY):  # the first makes keys
        writer, run_id = filled(store, count)
        taken.append([])
        for update in UPDATES:
            work.clear()
            store.apply([writer.update("run", run_id, **update)])
            taken[-1].append((work["statements"], work["rows"]))
            assert work["characters"] < 5_000, update
        found = store.get("run", run_id)
        assert (len(found.artifacts), found.tags, found.status) == (count, ("best",), "finished")
        assert dict(found.artifacts["images/00007.png"]) == artifact(8)
        assert next(reversed(found.artifacts)) == "images/new.png"
    assert taken[1] == taken[2]
    assert verify(store).findings == []


def test_an_artifact_of_a_batch_costs_the_same_with_eight_times_as_many(store, work):
    taken = []
    for count in (FEW, FEW, MANY):
        writer, run_id = filled(store, count)
        changes = [writer.update("run", run_id, put={"artifacts": {f"n/{n}": artifact(n)}}) for n in range(100)]
        work.clear()
        store.apply(changes)
        taken.append((work["statements"], work["rows"], work["characters"] // 1000))
    assert taken[1] == taken[2]


def test_fields_that_lie_apart_are_read_where_they_are_wanted(store, work):
    _, run_id = filled(store, FEW)
    work.clear()
    (run,) = store.find(Query("run", fields=("name", "metrics"))).entities
    assert (run.name, work["characters"] < 5_000) == ("many", True)
    (run,) = store.find(Query("run", fields=("artifacts.images/00001",))).entities
    assert run.entity_id == run_id
    assert (
        len(store.find(Query("run", filter='artifacts."images/00001.png".size_bytes = 1')).entities[0].artifacts) == FEW
    )


def test_items_are_read_by_their_keys_where_only_those_are_wanted(store, work):
    writer, run_id = filled(store, FEW)
    odd = {"a": {"b": 1, "c.d": {"e": 2}}, "a.b": 3, "x" * 1_100: 4, "": 5, 'quote"d': 6}
    store.apply([writer.update("run", run_id, put={"artifacts": odd})])
    work.clear()
    names = ("images/00007.png", "a.b", "a.c.d.e", "none", "x" * 1_100, "", 'quote"d')
    (run,) = store.find(Query("run", fields=tuple(field_name("artifacts", name) for name in names))).entities
    assert dict(run.artifacts) == {**odd, "images/00007.png": artifact(7), "a": {"c.d": {"e": 2}}}
    assert work["rows"] < 40


def test_a_run_is_read_in_as_many_rows_however_many_artifacts_it_has(store, work):
    read = []
    for count in (FEW, MANY):
        _, run_id = filled(store, count)
        work.clear()
        found = store.get("run", run_id)
        assert [*found.artifacts] == [f"images/{number:05}.png" for number in range(count)]
        read.append(work["rows"])
    assert read[0] == read[1] < 10


def test_a_page_of_large_runs_takes_as_many_statements_as_one_run(store, work):
    asked = []
    for _ in range(2):
        for _ in range(1 + 3 * len(asked)):
            filled(store, FEW)
        store.find(Query("run"))  # the first question looks at the tables, too
        work.clear()
        found = store.find(Query("run")).entities
        assert {len(run.artifacts) for run in found} == {FEW}
        asked.append(work["statements"])
    assert len(found) == 5
    assert asked[0] == asked[1]


def test_a_map_keeps_its_order_though_its_keys_are_in_another(store):
    writer = StreamWriter()
    names = [f"images/{number * 7919 % FEW:05}.png" for number in range(FEW)]
    run_id = writer.create_run(artifacts={name: artifact(at) for at, name in enumerate(names)}).entity_id
    writer.update("run", run_id, remove={"artifacts": [names[3]]})
    writer.update("run", run_id, put={"artifacts": {names[3]: artifact(3)}})
    for change in writer.changes:
        store.apply([change])
    assert [*store.get("run", run_id).artifacts] == [*names[:3], *names[4:], names[3]]


def rows_of_items(store):
    return store._database.read(lambda read: len(read.connection.exec_driver_sql("SELECT 1 FROM items").all()))


def test_what_is_set_anew_or_erased_leaves_no_item(store):
    writer, run_id = filled(store, FEW)
    assert rows_of_items(store) == FEW
    store.apply([writer.update("run", run_id, set={"artifacts": {"only": artifact(1)}})])
    assert (rows_of_items(store), dict(store.get("run", run_id).artifacts)) == (1, {"only": artifact(1)})
    altering = list(writer.changes)
    store.apply([writer.delete("run", run_id)])
    store.apply([writer.erase(change) for change in altering])
    assert rows_of_items(store) == 0
    with pytest.raises(ErasedError):
        store.get("run", run_id)
    assert verify(store).findings == []


def test_a_condition_on_a_key_of_a_map_that_lies_apart_holds_or_does_not(store):
    writer, run_id = filled(store, FEW)
    for key, unset in (("images/00003.png", False), ("images/none.png", True)):
        change = writer.update("run", run_id, put={"artifacts": {key: artifact(3)}})
        expect = [Unset("run", run_id, "artifacts", key)]
        if unset:
            store.apply([change], expect=expect)
        else:
            with pytest.raises(PreconditionError):
                store.apply([change], expect=expect)
            del writer.changes[-1]
    assert "images/none.png" in store.get("run", run_id).artifacts


@pytest.mark.parametrize(
    "wrong",
    [
        {"put": {"artifacts": {5: 1}}},
        {"put": {"artifacts": [["c", 1]]}},
        {"put": {"artifacts": 7}},
        {"remove": {"artifacts": [["c"]]}},
        {"add": {"artifacts": ["c"]}},
        {"set": {"artifacts": ["c"]}},
    ],
)
def test_a_wrong_change_of_a_map_that_lies_apart_is_refused(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(items, "LARGE", 1)
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        writer, run_id = filled(store, 5)
        with pytest.raises(InvalidArgumentError):
            store.apply([writer.update("run", run_id, **wrong)])
        assert (len(store.get("run", run_id).artifacts), verify(store).findings) == (5, [])


ALTERED = (
    "UPDATE items SET item = replace(item, 'text/plain', 'text/other') WHERE name = 'images/00003.png'",
    "DELETE FROM items WHERE name = 'images/00003.png'",
    "UPDATE items SET place = place + 1000000 WHERE name = 'images/00003.png'",
    "INSERT INTO items SELECT entity_pk, 'attributes', name, place, item FROM items WHERE name = 'images/00003.png'",
    "UPDATE documents SET apart = NULL",
)


@pytest.mark.parametrize("statement", ALTERED)
def test_an_audit_sees_altered_items(store, monkeypatch, statement):
    monkeypatch.setattr(items, "LARGE", 1)
    filled(store, 5)
    assert rows_of_items(store) == 5
    store._database.write(lambda write: write.connection.exec_driver_sql(statement))
    assert any("not written as its changes" in finding.message for finding in verify(store).findings)


KEYS = st.sampled_from(["a", "b", "a.b", "a.b.c", "$x", "ä", "c" * 1020, "c" * 1021])
VALUES = st.recursive(
    st.sampled_from([1, 2**70, 2.5, float("inf"), "$y", None]),
    lambda inner: st.dictionaries(st.sampled_from(["b", "c", "b.c"]), inner, max_size=2),
    max_leaves=4,
)
MAPS = st.dictionaries(KEYS, VALUES, max_size=4)
FIELDS = st.sampled_from(["hyperparameters", "attributes", "metrics"])
PARTS = st.one_of(
    st.tuples(st.just("put"), FIELDS, MAPS),
    st.tuples(st.just("put"), FIELDS, MAPS),
    st.tuples(st.just("set"), FIELDS, MAPS),
    st.tuples(st.just("remove"), FIELDS, st.lists(KEYS, max_size=3)),
    st.tuples(st.just("add"), st.just("tags"), st.lists(st.sampled_from("xyz"), max_size=2)),
)
BATCHES = st.lists(st.lists(st.one_of(PARTS, st.sampled_from(["delete", "restore", "create"])), max_size=4), max_size=5)


@given(MAPS, BATCHES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_store_whose_maps_all_lie_apart_says_what_the_reference_says(tmp_path_factory, monkeypatch, first, batches):
    monkeypatch.setattr(items, "LARGE", 1)
    writer, reference = StreamWriter(), MemoryStore()
    run_id = writer.create_run(name="r", hyperparameters=first).entity_id
    with SQLiteStore(f"sqlite:///{tmp_path_factory.mktemp('items')}/modeldb.db") as store:
        sent = 0
        for batch in ([], *batches):
            for part in batch:
                if isinstance(part, str):
                    writer.write(part, "run", run_id, {"features": {"late": 1}} if part == "create" else {})
                else:
                    writer.update("run", run_id, **{part[0]: {part[1]: part[2]}})
            for each in (store, reference):
                each.apply(writer.changes[sent:])
            sent = len(writer.changes)
            one, other = store.get("run", run_id), reference.get("run", run_id)
            assert one == other
            for name in ("hyperparameters", "attributes", "metrics"):
                assert list(getattr(one, name)) == list(getattr(other, name))
        assert store.find_keys(Query("run")) == reference.find_keys(Query("run"))
        assert verify(store).findings == []


def test_a_run_that_uses_many_data_sets_takes_another_one_without_comparing_all_with_all(store, monkeypatch):
    count, compared = 400, Counter()

    class Counted(Link):
        def __eq__(self, other):
            compared["links"] += 1
            return tuple(self) == tuple(other)

        __hash__ = Link.__hash__

    writer = StreamWriter()
    run_id = writer.create_run(name="many").entity_id
    used = {f"role {number}": {"dataset_id": f"{number:032x}"} for number in range(count)}
    writer.update("run", run_id, put={"datasets": used})
    store.apply(writer.changes)
    monkeypatch.setattr(entity_rows, "links_of", lambda *given: [Counted(*link) for link in links_of(*given)])
    store.apply([writer.update("run", run_id, put={"datasets": {"one more": {"dataset_id": "f" * 32}}})])
    assert len(store.get("run", run_id).document["datasets"]) == count + 1
    assert 0 < compared["links"] <= 4 * count
