"""How records of the journal become changes: in which order, with which times, and the same ones each time."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any
from zlib import adler32

import pytest

from modeldb_core.journal.journal import Journal, RowPlan
from modeldb_core.journal.records import CHECK_BYTES, ROW, ROW_AT, ROW_HEAD, Chain, Draft, Plan
from modeldb_core.journal.sealing import build
from modeldb_core.log.changes import GENESIS, Change, verify_change
from modeldb_core.log.points import decode_points
from modeldb_core.tracking import Client


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, "s", {})


def plan(number: int, run_id: str, *keys: str) -> RowPlan:
    packing = struct.Struct(f"{ROW_HEAD.format}{len(keys)}d")
    return RowPlan(packing.pack, number, packing.size + CHECK_BYTES, None, Plan(run_id, keys).record(number))


def log(journal: Journal, rows: RowPlan, step: int, time_ns: int, *values: float, kind: int = ROW) -> None:
    record = rows.pack(rows.size, kind, rows.number, step, time_ns, *values)
    journal.append(record + adler32(record).to_bytes(4, "little"), rows)


def sealed(journal: Journal, **given: Any) -> list[Change]:
    segment = journal.snapshot()[0]
    arguments: dict[str, Any] = {"first": Chain(0, GENESIS), "sealed_at": 7, "salt": bytes(16), "plans": {}, **given}
    changes, _ = build(segment, 0, segment.used, stream_id="s", actor="ann", **arguments)
    return changes


def test_points_of_a_run_come_before_its_end_and_those_of_others_wait(journal: Journal) -> None:
    log(journal, plan(1, "ends", "loss"), 0, 1000, 0.5)
    log(journal, plan(2, "goes on", "loss"), 0, 2000, 0.25)
    journal.append(Draft("update", "run", "ends", 3, b'{"set": {"status": "finished"}}', ends_run=True).record())
    journal.append(Draft("update", "run", "goes on", 4, b"{}").record())
    found = [(change.action, change.entity_id) for change in sealed(journal)]
    assert found == [("append", "ends"), ("update", "ends"), ("update", "goes on"), ("append", "goes on")]


def test_times_never_go_back_even_where_the_clock_did_unless_they_were_given(journal: Journal) -> None:
    one, other = plan(1, "r", "loss"), plan(2, "r", "auc")
    for time_ns in (5000, 3000, 6000):
        log(journal, one, 0, time_ns, 0.5)
    log(journal, other, 0, 2000, 0.5)
    log(journal, other, 1, 1000, 0.5, kind=ROW_AT)
    (change,) = sealed(journal)
    times = {group.keys: group.times.tolist() for group in decode_points(change.payload or b"")}
    assert times == {("loss",): [5, 5, 6], ("auc",): [6, 1]}
    (change,) = sealed(journal, first=Chain(0, GENESIS, last_time=9000))
    times = {group.keys: group.times.tolist() for group in decode_points(change.payload or b"")}
    assert times == {("loss",): [9, 9, 9], ("auc",): [9, 1]}


def test_each_change_has_a_salt_of_its_own_and_sealing_again_makes_the_same(journal: Journal) -> None:
    for number in range(3):
        journal.append(Draft("update", "run", "r", number, b"{}").record())
    changes = sealed(journal)
    assert len({change.salt for change in changes}) == 3, "equal payloads would show by equal digests"
    assert sealed(journal) == changes
    assert sealed(journal, salt=b"another sixteen!") != changes
    previous = GENESIS
    for change in changes:
        verify_change(change, previous)
        previous = change.hash


def test_rows_of_two_runs_that_look_alike_and_alternate_are_each_in_their_own_series(client: Client) -> None:
    first, second = client.start_run("first", capture=False), client.start_run("second", capture=False)
    for step in range(100):
        first.log_metrics({"loss": float(step)}, step=step)
        second.log_metrics({"loss": -1.0 - step}, step=step)
        second.log_metrics({"auc": 1000.0 + step}, step=step)
    assert client.flush(60)
    steps = list(range(100))
    for run, key, values in (
        (first, "loss", [float(step) for step in steps]),
        (second, "loss", [-1.0 - step for step in steps]),
        (second, "auc", [1000.0 + step for step in steps]),
    ):
        found = run.history(key)
        assert (list(found.steps), list(found.values)) == (steps, values)


def test_keys_that_were_always_logged_together_share_their_steps_and_times(journal: Journal) -> None:
    often, all_of_them = plan(1, "r", "loss"), plan(2, "r", "auc", "loss", "f1")
    log(journal, often, 0, 1000, 0.5)
    log(journal, all_of_them, 1, 2000, 0.75, 0.25, 0.5)
    log(journal, often, 2, 3000, 0.125)
    log(journal, plan(3, "r", "other"), 0, 4000, 1.0)
    (change,) = sealed(journal)
    groups = [
        (group.keys, group.steps.tolist(), group.values.tolist()) for group in decode_points(change.payload or b"")
    ]
    assert groups == [
        (("loss",), [0, 1, 2], [[0.5, 0.25, 0.125]]),
        (("auc", "f1"), [1], [[0.75], [0.5]]),
        (("other",), [0], [[1.0]]),
    ]


def test_a_series_is_in_the_order_of_logging_whatever_it_was_logged_with(client: Client) -> None:
    chance = random.Random(7)
    logged: dict[str, list[float]] = {}
    run = client.start_run(capture=False)
    for number in range(500):
        keys = chance.choice(["a", "ab", "ba", "c", "abc", "bc"])
        values = {key: number + place / 4 for place, key in enumerate(keys)}
        run.log_metrics(values, step=chance.randrange(5))
        for key, value in values.items():
            logged.setdefault(key, []).append(value)
        if chance.random() < 0.1:
            assert client.flush(60)
    assert {key: run.history(key).values.tolist() for key in logged} == logged
    assert dict(run.metrics) == {key: values[-1] for key, values in logged.items()}
