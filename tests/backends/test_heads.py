"""Heads of many streams come in pages: what one costs does not grow with the number of streams."""

from __future__ import annotations

from collections import Counter

import pytest

from modeldb_core.backends._sql.database import Transaction
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.movement.copying import copy
from modeldb_core.plugins import open_store
from modeldb_core.stores import protocol
from modeldb_core.testing import StreamWriter
from tests.services.server import serving_folder

MANY = 3_000


def filled(store, count=MANY):
    writers = [StreamWriter() for _ in range(count)]
    for writer in writers:
        writer.open()
    store.apply([change for writer in writers for change in writer.changes])
    return writers


@pytest.fixture
def read(monkeypatch):
    """Counts the statements, and the most rows that one has given."""
    counted = Counter()
    ask = Transaction.rows

    def rows(self, build, parameters=None):
        found = ask(self, build, parameters)
        counted["statements"] += 1
        counted["most"] = max(counted["most"], len(found))
        return found

    monkeypatch.setattr(Transaction, "rows", rows)
    return counted


def test_a_page_of_heads_reads_its_rows_alone(store, read):
    names = sorted(writer.stream_id for writer in filled(store))
    read.clear()
    assert list(store.heads_after(names[1_999], 10)) == names[2_000:2_010]
    assert read == {"statements": 1, "most": 10}
    plan = "EXPLAIN QUERY PLAN " if isinstance(store, SQLiteStore) else ""
    if plan:  # the index gives them in order: nothing is sorted, and those before are not looked at
        statement = "SELECT stream_id, seq FROM streams WHERE seq > 0 AND stream_id > 'x' ORDER BY stream_id LIMIT 10"
        rows = store._database.read(lambda one: one.connection.exec_driver_sql(plan + statement).all())
        assert [row[-1].split(" USING")[0] for row in rows] == ["SEARCH streams"]


def test_a_copy_compares_heads_a_page_at_a_time(store, read):
    source = MemoryStore()
    writers = filled(source)
    copy(source, store)
    writers[7].beat()
    source.apply(writers[7].changes)
    filled(store, 2_000)  # of which the source knows nothing
    read.clear()
    done = copy(source, store)
    assert (done.changes, done.streams, done.present) == (1, 1, MANY)
    assert read["most"] <= 1_000
    assert store.head(writers[7].stream_id) == source.head(writers[7].stream_id)


def test_heads_of_a_server_come_in_several_answers(monkeypatch, tmp_path):
    with serving_folder(tmp_path) as url, open_store(url) as remote:
        names = sorted(writer.stream_id for writer in filled(remote, 25))
        monkeypatch.setattr(protocol, "MAX_HEADS", 10)
        ask, asked = remote._connection.get_json, []

        def get_json(path, query=None, **options):
            asked.append((path, query))
            return ask(path, query, **options)

        monkeypatch.setattr(remote._connection, "get_json", get_json)
        assert list(remote.heads()) == names
        assert asked == [("/heads", {"after": after, "limit": 10}) for after in ("", names[9], names[19])]
        assert list(remote.heads_after(names[4], 12)) == names[5:17]
