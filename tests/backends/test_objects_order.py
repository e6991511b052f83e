"""Every replica of a bucket comes to the same answers, no matter who listed when."""

from __future__ import annotations

import random

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.objects import follower
from modeldb_core.backends.objects.layout import Part
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter
from tests.backends.test_objects import Place, ended_run, names, ship

AT = 1_700_000_000_000_000


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def rebuilds(monkeypatch):
    """Count the replicas that are made anew."""
    found = []
    renew = follower.Follower._renew
    monkeypatch.setattr(follower.Follower, "_renew", lambda self: (found.append(self), renew(self))[1])
    return found


def updates(run_id: str, **fields) -> tuple:
    writer = StreamWriter(at=AT)
    writer.update("run", run_id, **fields)
    return tuple(writer.changes)


def everything(store) -> dict:
    """Return every answer on every entity, and every series of it."""
    found = {}
    for kind in KINDS:
        for entity in store.find(Query(kind, include_deleted=True, limit=1000)).entities:
            series = {}
            for key in getattr(entity, "series", ()):
                points = store.read_series(entity.entity_id, key)
                series[key] = [points.steps.tolist(), points.times.tolist(), points.values.tolist()]
            found[kind, entity.entity_id] = entity, series
    return found


def assert_agree(*stores) -> None:
    first, *others = [everything(store) for store in stores]
    for other in others:
        assert other == first
    for store in stores:
        assert verify(store).findings == []


def test_of_two_updates_that_did_not_see_each_other_the_later_one_counts_everywhere(place):
    writer = StreamWriter(at=AT)
    run_id = writer.create_run(name="start").entity_id
    place.put(Part(1, tuple(writer.changes)))
    store = place.open("one")
    assert names(store) == ["start"]
    place.put(Part(20, updates(run_id, set={"name": "later"})))
    assert names(store) == ["later"]
    place.put(Part(10, updates(run_id, set={"name": "earlier"})))
    assert names(store) == ["later"]
    assert_agree(store, place.open("two"))


def test_a_store_that_took_its_own_write_first_changes_its_mind(place):
    one, two = place.open("one", max_staleness_s=3600), place.open("two")
    writer = StreamWriter(at=AT)
    run_id = writer.create_run(name="start").entity_id
    one.apply(writer.changes)
    assert names(one) == names(two) == ["start"]
    # The one of the two that is written first has the lower stamp.
    two.apply(updates(run_id, set={"name": "by two"}, add={"tags": ["two"]}))
    one.apply(updates(run_id, set={"name": "by one"}, add={"tags": ["one"]}))
    assert one.get("run", run_id).tags == ("one",)
    one.refresh()
    assert one.get("run", run_id).tags == ("two", "one")
    assert_agree(one, two, place.open("three"))


def test_an_own_write_that_turns_out_late_is_put_in_its_place(place, monkeypatch):
    one, sibling = place.open("one", max_staleness_s=3600), place.open("one")
    writer = StreamWriter(at=AT)
    run_id = writer.create_run(name="start").entity_id
    one.apply(writer.changes)
    names(one)
    place.put(Part(1 << 52, updates(run_id, set={"name": "from a clock that is ahead"})))
    names(sibling)  # fills the replica of both
    one.apply(updates(run_id, set={"name": "mine"}))
    assert names(one) == ["from a clock that is ahead"]
    assert_agree(one, place.open("two"))


def test_a_project_that_two_make_at_once_has_one_owner_and_one_beginning(place):
    parts = []
    for stamp, actor in ((10, "ann"), (20, "bob")):
        writer = StreamWriter(actor=actor, at=AT + stamp)
        ids = writer.create_containers("churn", "experiment")
        writer.create_run(name=actor, **ids)
        parts.append(Part(stamp, tuple(writer.changes)))
    one, two = place.open("one"), place.open("two")
    hidden = place.put(parts[0])
    names(one)
    hidden.unlink()
    place.put(parts[1])
    names(two)
    place.put(parts[0])
    assert two.get("project", ids["project_id"]).owner == "ann"
    assert_agree(one, two, place.open("three"))


def test_what_is_late_and_alters_nothing_makes_nothing_anew(place, rebuilds):
    """Runs of their own, and containers that every writer says are there: what training does all the time."""
    store = place.open()
    ship(store, ended_run("first"))
    assert names(store) == ["first"]
    late = []
    for number in range(5):
        writer = ended_run(f"late {number}")
        late += [Part(10**12 * (9 - number) + at, tuple(writer.changes[at : at + 4])) for at in (0, 4)]
    # The project began with a stamp before all of these.
    founder = StreamWriter(at=AT)
    founder.create_containers("project", "experiment")
    place.put(Part(1, tuple(founder.changes)))
    names(store)
    rebuilds.clear()
    for part in late:
        place.put(part)
        names(store)
    assert rebuilds == []
    assert len(names(store)) == 6
    assert_agree(store, place.open("two"))


def test_packs_that_others_made_make_nothing_anew(place, rebuilds):
    one, two = place.open("one"), place.open("two")
    for number in range(4):
        ship(one, ended_run(f"run {number}"))
    names(two)
    one.compact()
    names(two)
    assert rebuilds == []
    assert_agree(one, two)


def test_a_part_that_waits_is_taken_right_after_what_it_waits_for(place):
    writer = StreamWriter(at=AT)
    run_id = writer.create_run(name="start").entity_id
    place.put(Part(100, tuple(writer.changes)))
    writer.update("run", run_id, set={"name": "second"})
    place.put(Part(50, tuple(writer.changes[1:])))  # of another handle, whose clock is behind
    place.put(Part(120, updates(run_id, set={"name": "third"})))
    store = place.open()
    assert names(store) == ["third"]
    assert verify(store).findings == []


def test_points_of_one_time_are_in_the_same_order_everywhere(place):
    writer = StreamWriter(at=AT)
    run_id = writer.create_run(name="run").entity_id
    place.put(Part(1, tuple(writer.changes)))
    store = place.open("one")
    names(store)
    for stamp, value in ((30, 3.0), (20, 2.0)):
        rank = StreamWriter(at=AT)
        rank.append(run_id, {"loss": [value]})
        place.put(Part(stamp, tuple(rank.changes)))
        names(store)
    assert store.read_series(run_id, "loss").values.tolist() == [2.0, 3.0]
    assert_agree(store, place.open("two"))


def test_a_replica_whose_making_was_broken_off_is_put_in_order(place, monkeypatch):
    """What was taken before the end of a first filling is in no order with what comes after it."""
    writer = StreamWriter(at=AT)
    run_id = writer.create_run(name="start").entity_id
    place.put(Part(1, tuple(writer.changes)))
    place.put(Part(20, updates(run_id, set={"name": "later"})))
    store = place.open("one")
    with monkeypatch.context() as patch:
        patch.setattr(follower.Follower, "_put_in_order", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            names(store)
    place.put(Part(10, updates(run_id, set={"name": "earlier"})))
    assert names(store) == ["later"]


def test_what_shows_is_found_again_after_a_crash(place, monkeypatch):
    writer = StreamWriter(at=AT)
    run_id = writer.create_run(name="start").entity_id
    place.put(Part(1, tuple(writer.changes)))
    place.put(Part(20, updates(run_id, set={"name": "later"})))
    store = place.open("one")
    names(store)
    place.put(Part(10, updates(run_id, set={"name": "earlier"})))
    with monkeypatch.context() as patch:
        patch.setattr(follower.Follower, "_renew", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            names(store)
    assert names(store) == ["later"]
    assert_agree(store, place.open("two"))


@pytest.mark.parametrize("seed", range(4))
def test_replicas_that_list_at_any_time_agree(place, seed):
    chance = random.Random(seed)
    ranks = [StreamWriter(at=AT + chance.randrange(50), actor=f"actor {number}") for number in range(4)]
    parts = []
    runs: list[str] = ["a" * 32, "b" * 32]
    for rank in ranks:
        stamp = chance.randrange(100)
        sent = 0
        for _ in range(5):
            for _ in range(chance.randint(1, 2)):
                act(chance, rank, runs)
            stamp += chance.randrange(1, 60)
            parts.append(Part(stamp, tuple(rank.changes[sent:])))
            sent = len(rank.changes)
    # Objects show in any order; those before in a stream may show later.
    chance.shuffle(parts)
    stores = [place.open("one"), place.open("two")]
    for part in parts:
        place.put(part)
        for store in stores:
            if chance.random() < 0.4:
                names(store)
    assert_agree(*stores, place.open("three"))


def act(chance: random.Random, writer: StreamWriter, runs: list[str]) -> None:
    run_id = chance.choice(runs)
    what = chance.randrange(7)
    if what == 0:
        writer.create_containers("project", "experiment")
    elif what == 1:
        writer.create("run", run_id, name=f"by {writer.stream_id[:4]}")
    elif what == 2:
        writer.update("run", run_id, set={"name": str(chance.random())})
    elif what == 3:
        writer.update("run", run_id, put={"attributes": {chance.choice("xyz"): chance.random()}})
    elif what == 4:
        writer.update("run", run_id, add={"tags": [chance.choice("xyz")]})
    elif what == 5:
        writer.write(chance.choice(("delete", "restore")), "run", run_id, {})
    else:
        writer.append(run_id, {"loss": [float(chance.randrange(3))]})
