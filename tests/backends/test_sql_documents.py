"""What an update writes grows with what it alters, and not with the entity."""

from __future__ import annotations

import copy
import math
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modeldb_core.audit import verify
from modeldb_core.backends._sql import documents
from modeldb_core.backends._sql.documents import facts_between, facts_of
from modeldb_core.errors import IntegrityError, InvalidArgumentError
from modeldb_core.model import fields, values
from modeldb_core.model.evolve import evolve
from modeldb_core.testing import StreamWriter

MANY = 1000
ITEMS = {
    "artifacts": lambda number: {"digest": f"{number:064x}", "size_bytes": number, "media_type": "text/plain"},
    "datasets": lambda number: {"digest": f"{number:064x}", "rows": number},
    "hyperparameters": lambda number: number / 7,
    "attributes": str,
    "metrics": float,
}


@pytest.fixture
def work(store, monkeypatch):
    """Counts the leaves that are looked at, the values that are written as JSON, and the rows that each statement writes."""
    counted = Counter()
    to_json = values.to_json

    def counting_to_json(value):
        counted["values"] += 1
        return to_json(value)

    for module in (values, documents):
        monkeypatch.setattr(module, "to_json", counting_to_json)
    leaf_values, run_many = documents.leaf_values, store._database.run_many

    def counting_leaf_values(kind, document):
        found = leaf_values(kind, document)
        counted["leaves"] += len(found)
        return found

    def counting_run_many(connection, build, rows, written):
        counted[build.__name__] += len(rows)
        return run_many(connection, build, rows, written)

    monkeypatch.setattr(documents, "leaf_values", counting_leaf_values)
    monkeypatch.setattr(store._database, "run_many", counting_run_many)
    return counted


def test_an_update_of_a_run_with_thousands_of_items_writes_what_it_alters(store, work):
    writer = StreamWriter()
    full = {
        section: {f"part.{number}/file.x": item(number) for number in range(MANY)} for section, item in ITEMS.items()
    }
    tags = [f"tag {number}" for number in range(MANY)]
    run_id = writer.create_run(name="full", tags=tags, **full).entity_id
    store.apply(writer.changes)
    for section, item in ITEMS.items():
        leaves_of_one = 1 + (len(item(0)) if isinstance(item(0), dict) else 0)
        for change, writes, deletes in (
            ({"put": {section: {"further": item(1)}}}, leaves_of_one, 0),
            ({"put": {section: {"part.7/file.x": item(8)}}}, leaves_of_one, 0),
            ({"remove": {section: ["further"]}}, 0, leaves_of_one),
        ):
            work.clear()
            store.apply([writer.update("run", run_id, **change)])
            assert work["leaves"] <= 2 * leaves_of_one
            assert work["values"] <= 20
            facts = ("_upsert_fact", "_delete_fact") if section != "metrics" else ("_upsert", "_delete")
            assert work[facts[0]] <= writes
            assert work[facts[1]] <= deletes
            assert work["_insert_key"] <= leaves_of_one
    for change in ({"add": {"tags": ["further"]}}, {"remove": {"tags": ["further"]}}):
        work.clear()
        store.apply([writer.update("run", run_id, **change)])
        assert (work["leaves"], work["_upsert_fact"] + work["_delete_fact"]) == (1, 1)
    for change in ({"set": {"description": "new"}}, {"set": {"name": "new"}}):
        work.clear()
        store.apply([writer.update("run", run_id, **change)])
        assert work["leaves"] <= 2
        assert work["values"] <= 20
        assert work["_upsert_fact"] <= 1
    assert verify(store).findings == []


def test_a_batch_of_many_updates_looks_at_a_large_map_once(store, monkeypatch):
    """Once for the copy that the batch then writes into: a change costs as much in a run with thousands of items."""
    writer = StreamWriter()
    full = {f"part.{number}/file.x": ITEMS["artifacts"](number) for number in range(MANY)}
    run_id = writer.create_run(name="full", artifacts=full).entity_id
    store.apply(writer.changes)
    looked_at = []
    expected, fits = fields._FITS["map"]
    counting = (expected, lambda value: looked_at.append(len(value)) or fits(value))
    monkeypatch.setattr(fields, "_FITS", {**fields._FITS, "map": counting})
    count = 50
    changes = [
        writer.update("run", run_id, put={"artifacts": {f"more.{number}": ITEMS["artifacts"](number)}})
        for number in range(count)
    ]
    store.apply(changes)
    assert sum(looked_at) <= 2 * MANY + 10 * count
    assert len(store.get("run", run_id).artifacts) == MANY + count
    assert verify(store).findings == []


def test_what_a_first_update_of_a_batch_may_not_write_no_later_one_may(store):
    writer = StreamWriter()
    run_id = writer.create_run(name="r", artifacts={"a": ITEMS["artifacts"](1)}).entity_id
    store.apply(writer.changes)
    good = writer.update("run", run_id, put={"attributes": {"b": 1}})
    for wrong in ({"attributes": {5: 1}}, {"attributes": [["c", 1]]}, {"unheard_of": [["c", 1]]}):
        further = StreamWriter()
        changes = [
            further.update("run", run_id, put={"attributes": {"c": 1}, "unheard_of": {"c": 1}}),
            further.update("run", run_id, put=wrong),
        ]
        with pytest.raises(InvalidArgumentError):
            store.apply(changes)
    store.apply([good])
    assert dict(store.get("run", run_id).attributes) == {"b": 1}
    assert verify(store).findings == []


STEPS = st.lists(
    st.one_of(
        *(
            st.fixed_dictionaries({part: st.dictionaries(st.sampled_from("xy"), inner, max_size=2)})
            for part, inner in (
                ("put", st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=2)),
                ("set", st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=2)),
                ("remove", st.lists(st.sampled_from("abc"), max_size=2)),
            )
        ),
        st.just({"create": {"x": {"d": 1}, "y": {"d": 1}}}),
        st.just({"delete": {}}),
        st.just({"restore": {}}),
    ),
    max_size=6,
)


@given(st.one_of(st.none(), st.just({"x": {"a": 0}, "revision": 1, "created_at": 1, "owner": "me"})), STEPS)
def test_a_document_is_the_same_whether_its_maps_are_copied_or_written_into(before, steps):
    kept = copy.deepcopy(before)
    copied, written, own, given_payloads = before, before, set(), []
    for number, step in enumerate(steps):
        action = next(iter(step)) if next(iter(step)) in ("create", "delete", "restore") else "update"
        payload = step[action] if action != "update" else step
        arguments = {"actor": "me", "recorded_at": number, "kind": "run"}
        copied = evolve(copied, action, copy.deepcopy(payload), **arguments)
        written = evolve(written, action, given_payload := copy.deepcopy(payload), own=own, **arguments)
        assert written == copied
        given_payloads.append((given_payload, payload))
        assert all(one == other for one, other in given_payloads), "nor is a change altered"
        assert before == kept


ANYTHING = st.recursive(
    st.sampled_from([1, 2**53, 2.5, math.nan, "x", "$HOME", None, True]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "$b", 1]), inner, max_size=2),
    max_leaves=4,
)


@given(*[st.dictionaries(st.sampled_from(["a", "b", "$c"]), ANYTHING, max_size=3)] * 2, st.lists(st.sampled_from("ab")))
def test_what_is_taken_as_it_was_written_makes_the_same_text(attributes, put, remove):
    text = documents.dump_document({"name": "x", "attributes": attributes, "tags": ["t"]})
    before = documents.load_document(text)
    payload = {"put": {"attributes": put, "hyperparameters": put}, "remove": {"attributes": remove}}
    after = evolve(before, "update", payload, actor="me", recorded_at=1)
    written = before if documents.is_plain(text) else None
    assert documents.dump_document(after, written) == documents.dump_document(after) == values.encode(after).decode()


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "$c"]), ANYTHING, max_size=3), max_size=120))
def test_documents_that_are_read_together_are_read_as_each_alone(many):
    texts = [documents.dump_document({"name": "x", "attributes": attributes}) for attributes in many]
    found = documents.load_documents(texts)
    assert [documents.dump_document(each) for each in found] == texts
    assert len(found) == len(many)


def test_documents_that_are_read_together_have_their_keys_in_memory_once():
    texts = [documents.dump_document({"hyperparameters": {"number of layers": index}}) for index in range(50)]
    keys = [key for each in documents.load_documents(texts) for key in each["hyperparameters"]]
    assert len(keys) == 50
    assert len({id(key) for key in keys}) == 1
    alone = [key for text in texts for key in documents.load_document(text)["hyperparameters"]]
    assert len({id(key) for key in alone}) == 50


@pytest.mark.parametrize(
    "damaged",
    [('{"a":1',), ('{"a":1}]',), ("{},{}",), ('{"a":[1', "2]}"), ("",), ("[1]",), ('"x"',), ("7",), ("[" * 10**5,)],
)
def test_a_damaged_document_among_others_is_found(damaged):
    with pytest.raises(IntegrityError, match="stored document"):
        documents.load_documents(['{"a":1}', *damaged, '{"b":2}'])


KEYS = st.sampled_from(["a", "b", "a.b", "a.b.c", "b.a", "c"])
VALUES = st.recursive(
    st.sampled_from([1, 2.5, "x", None, True]), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=5
)
MAPS = st.dictionaries(KEYS, VALUES, max_size=4)
TAGS = st.lists(st.sampled_from(["t", "u", "v"]), unique=True, max_size=3)


@example({"a": 1, "c": 2}, [], {}, ["a"], [], [])
@given(MAPS, TAGS, MAPS, st.lists(KEYS, max_size=2), TAGS, TAGS)
def test_the_facts_that_differ_are_those_of_the_whole_documents(items, tags, put, remove, add, gone):
    before = {"name": "x", "hyperparameters": items, "tags": tags, "attributes": {"k": 1}}
    payload = {
        "put": {"hyperparameters": put},
        "add": {"tags": add},
        "remove": {"hyperparameters": remove, "tags": gone},
    }
    after = evolve(before, "update", payload, actor="me", recorded_at=1)
    one, other = facts_between("run", before, after)
    whole, expected = facts_of("run", before), facts_of("run", after)
    altered = {key: fact for key, fact in other.items() if one.get(key) != fact}
    assert altered == {key: fact for key, fact in expected.items() if whole.get(key) != fact}
    assert {key for key in one if key not in other} == {key for key in whole if key not in expected}
