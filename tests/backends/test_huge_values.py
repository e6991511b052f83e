"""No value of one entity, however large, breaks a listing of others."""

from __future__ import annotations

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.objects import ObjectMetadataStore
from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter

HUGE = 7 * 10**5000 + 1  # more digits than Python writes or reads in decimal by itself
VALUES = {"huge": HUGE, "negative": -HUGE, "nested": {"list": [HUGE], "map": {"x": HUGE}}, "text": "9" * 20_000}


@pytest.fixture(params=["memory", "sqlite", "postgresql", "objects"])
def store(request, tmp_path):
    if request.param == "memory":
        store = MemoryStore()
    elif request.param == "sqlite":
        store = SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db")
    elif request.param == "postgresql":
        store = PostgresStore(request.getfixturevalue("postgres_url"))
    else:
        store = ObjectMetadataStore(f"file://{tmp_path}/bucket", cache_dir=tmp_path / "cache", max_staleness_s=0)
    with store:
        yield store


def test_an_integer_of_5000_digits_breaks_no_listing(store):
    writer = StreamWriter()
    plain = writer.create_run(name="plain", hyperparameters={"huge": 1}, metrics={"huge": 2.0}).entity_id
    huge = writer.create_run(name="huge", hyperparameters=VALUES, attributes=VALUES, metrics={"huge": HUGE}).entity_id
    store.apply(writer.changes)
    for order in ("name", "hyperparameters.huge", "metrics.huge", "attributes.text", "hyperparameters.negative desc"):
        pages, cursor = [], None
        while True:
            page = store.find(Query(order_by=order, limit=1, cursor=cursor, count=True))
            pages += [run.name for run in page.entities]
            assert page.total == 2
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(pages) == ["huge", "plain"], order
    for filter_text, expected in (
        ("hyperparameters.huge > 5", ["huge"]),
        ("hyperparameters.negative < 0", ["huge"]),
        ("metrics.huge < 5", ["plain"]),
        ("attributes.text exists", ["huge"]),
    ):
        assert [run.name for run in store.find(Query(filter=filter_text)).entities] == expected
    assert {info.key for info in store.find_keys(Query()) if info.section == "hyperparameters"} >= {"huge", "nested"}
    found = store.get("run", huge)
    assert found.hyperparameters["huge"] == HUGE
    assert found.attributes["nested"]["map"]["x"] == HUGE
    assert found.metrics["huge"] == HUGE
    assert store.get("run", plain).metrics["huge"] == 2.0
    store.apply([writer.update("run", huge, put={"hyperparameters": {"huge": HUGE + 1}})])
    assert store.get("run", huge).hyperparameters["huge"] == HUGE + 1
    assert verify(store).findings == []
