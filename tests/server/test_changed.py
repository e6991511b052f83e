"""What has changed of an entity: a page that follows a run is sent what moved, and ends up with what is there."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from modeldb_core.backends._sql.database import Transaction
from modeldb_core.testing import StreamWriter
from modeldb_server.handlers import changed

ODD_KEYS = ("a", "a.b", "a.b.c", "$dollar", "__proto__", 'quote"d', "sp ace", "x.last", "", "ü", "new\nline")


def merged(before: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return the entity as who has seen the one before knows it now, as docs/api.md says it."""
    entity, keys = answer["entity"], answer["keys"]
    if keys is None:
        return entity
    maps = {name for name, value in before.items() if isinstance(value, dict)} | keys.keys()
    after = {name: value for name, value in entity.items() if name not in maps}
    for name in maps:
        value = {key: item for key, item in before.get(name, {}).items() if key not in keys.get(name, ())}
        value |= {key: entity[name][key] for key in keys.get(name, ()) if key in entity.get(name, {})}
        if value:
            after[name] = value
    return after


def test_who_follows_a_run_knows_it_as_it_is(client: Any, filled: Any) -> None:
    rng = random.Random(13)
    path = f"/api/v2/runs/{filled.run_id}"
    answer = client.get(f"{path}/changed")
    assert answer["keys"] is None
    known, parts = answer["entity"], 0
    for _ in range(120):
        for _ in range(rng.randrange(4)):
            name, key = rng.choice(("attributes", "hyperparameters", "metrics", "environment")), rng.choice(ODD_KEYS)
            value = rng.choice((1, 2.5, {"b": {"c": 1}}, {"b.c": 2})) if name != "metrics" else rng.random()
            if rng.random() < 0.3:
                filled.writer.append(filled.run_id, {key or "y": [rng.random()]}, steps=[rng.randrange(100)])
            else:
                update = rng.choice(
                    ({"put": {name: {key: value}}}, {"remove": {name: [key]}}, {"add": {"tags": [key or "t"]}})
                    + (({"set": {"name": key}}, {"set": {name: {key: value}}}) if rng.random() < 0.2 else ())
                )
                filled.writer.update("run", filled.run_id, **update)
        if rng.random() < 0.1:
            filled.writer.delete("run", filled.run_id)
        elif rng.random() < 0.1:
            filled.writer.restore("run", filled.run_id)
        filled.apply()
        answer = client.get(f"{path}/changed", after=answer["cursor"])
        parts += answer["keys"] is not None
        known = merged(known, answer)
        assert known == client.get(path)
    assert parts > 80


def test_who_is_far_behind_is_given_the_whole(client: Any, filled: Any) -> None:
    path = f"/api/v2/runs/{filled.run_id}"
    cursor = client.get(f"{path}/changed")["cursor"]
    for number in range(changed.MAX_CHANGES - 1):
        filled.writer.update("run", filled.run_id, put={"attributes": {"n": number}})
    filled.apply()
    assert client.get(f"{path}/changed", after=cursor)["keys"] == {"attributes": ["n"]}
    filled.writer.update("run", filled.run_id, put={"attributes": {"n": -1}})
    filled.apply()
    answer = client.get(f"{path}/changed", after=cursor)
    assert answer["keys"] is None
    assert answer["entity"] == client.get(path)
    cursor = answer["cursor"]
    many = {f"k{number}": number for number in range(changed.MAX_KEYS + 1)}
    filled.writer.update("run", filled.run_id, put={"attributes": many})
    filled.apply()
    assert client.get(f"{path}/changed", after=cursor)["keys"] is None


def test_who_has_seen_what_a_restored_store_has_lost_is_given_the_whole(client: Any, filled: Any) -> None:
    path, end = f"/api/v2/runs/{filled.run_id}", filled.store.end_of_log()
    assert client.get(f"{path}/changed", after=end)["keys"] == {}
    answer = client.get(f"{path}/changed", after=end + 5)
    assert (answer["keys"], answer["cursor"], answer["entity"]) == (None, end, client.get(path))


def test_an_entity_that_is_not_there_has_not_changed(client: Any, filled: Any) -> None:
    for query in ({}, {"after": 0}, {"after": 10**6}):
        assert client.error("/api/v2/runs/none/changed", 404, **query)["code"] == "not_found"
        assert client.error(f"/api/v2/projects/{filled.run_id}/changed", 404, **query)["code"] == "not_found"
    assert client.error(f"/api/v2/runs/{filled.run_id}/changed", 400, after=-1)["code"] == "invalid_argument"


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, filled: Any) -> Counter[str]:
    """Counts rows that are read, those of the log as well."""
    counted: Counter[str] = Counter()
    ask, read = Transaction.rows, filled.store.read_changes

    def asked(self: Transaction, build: Any, parameters: Any = None) -> Any:
        found = ask(self, build, parameters)
        counted["rows"] += len(found)
        return found

    def read_changes(**options: Any) -> Any:
        page = read(**options)
        counted["rows"] += len(page.changes)
        return page

    monkeypatch.setattr(Transaction, "rows", asked)
    monkeypatch.setattr(filled.store, "read_changes", read_changes)
    return counted


@pytest.mark.parametrize("kind", ["series", "metrics", "artifacts"])
def test_a_refresh_costs_what_has_changed_however_many_keys_the_run_has(
    client: Any, filled: Any, rows: Counter[str], kind: str
) -> None:
    taken = []
    for count in (5_000, 5_000, 20_000):  # the first lets the server remember what it always needs
        writer = StreamWriter(actor="ada")
        run_id = writer.create_run(name="wide", project_id=filled.project_id).entity_id
        names = [f"layer{number:05}/norm" for number in range(count)]
        if kind == "series":
            for start in range(0, count, 5_000):
                writer.append(run_id, {name: [1.0] for name in names[start : start + 5_000]})
        else:
            writer.update("run", run_id, put={kind: {name: _item(kind, 1) for name in names}})
        filled.store.apply(writer.take())
        seen = len(writer.changes)
        path = f"/api/v2/runs/{run_id}/changed"
        answer = client.get(path)
        assert len(answer["entity"][kind]) == count
        moved = names[7:57:10]
        for value in (2.0, 3.0):
            if kind == "series":
                writer.append(run_id, {name: [value] for name in moved}, steps=[int(value)])
            else:
                writer.update("run", run_id, put={kind: {name: _item(kind, value) for name in moved}})
        filled.store.apply(writer.take(seen))
        rows.clear()
        response = client.request("GET", path, query_string={"after": answer["cursor"]})
        taken.append((rows["rows"], len(response.data)))
        answer = response.json
        assert answer["keys"][kind] == moved
        assert answer["entity"][kind].keys() == set(moved)
        assert json.dumps(answer["entity"][kind]).count("3.0") >= len(moved)
    assert taken[1][0] == taken[2][0] <= 25, "rows"
    assert abs(taken[1][1] - taken[2][1]) < 50, "bytes"
    assert taken[2][1] < 4_000, "bytes"


def _item(kind: str, value: float) -> Any:
    return {"digest": "0" * 64, "size_bytes": 1, "media_type": f"x/{value}"} if kind == "artifacts" else float(value)
