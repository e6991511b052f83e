"""Writes that wait together are made together, and each gets its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from modeldb_core.errors import (
    ConflictError,
    IntegrityError,
    PreconditionError,
    StoreUnavailableError,
    StreamGapError,
)
from modeldb_core.log.changes import Change
from modeldb_core.log.conditions import Absent, Condition, Unset
from modeldb_core.plugins import open_store
from modeldb_core.stores import MetadataStore
from modeldb_core.testing import StreamWriter
from modeldb_server import grouping
from modeldb_server.grouping import GroupedWrites


class Gated:
    """A store that holds up its first write until it is told, and says how many changes each write had."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self.may_go_on = threading.Event()
        self.begun = threading.Event()
        self.sizes: list[int] = []
        self.failure: Exception | None = None

    def apply(self, changes: list[Change], *, expect: Sequence[Condition] = ()) -> None:
        self.sizes.append(len(changes))
        self.begun.set()
        assert self.may_go_on.wait(30)
        if self.failure is not None:
            raise self.failure
        self._store.apply(changes, expect=expect)


def a_run(name: str) -> tuple[StreamWriter, str]:
    writer = StreamWriter()
    return writer, writer.create_run(name=name).entity_id


def write_together(
    gated: Gated,
    writes: GroupedWrites,
    batches: list[list[Change]],
    conditions: Sequence[Sequence[Condition]] | None = None,
) -> list[Future[None]]:
    """Write the first batch, and the others while it is being written."""
    expected = conditions or [()] * len(batches)
    with ThreadPoolExecutor(len(batches)) as pool:
        futures = [pool.submit(writes.apply, batches[0], expect=expected[0])]
        assert gated.begun.wait(30)
        rest = zip(batches[1:], expected[1:], strict=True)
        futures += [pool.submit(writes.apply, batch, expect=each) for batch, each in rest]
        while len(writes._waiting) < len(batches) - 1:
            pass
        gated.may_go_on.set()
    return futures


@pytest.fixture
def gated(store: MetadataStore) -> Gated:
    return Gated(store)


@pytest.fixture
def writes(gated: Any) -> GroupedWrites:
    return GroupedWrites(gated)


def test_what_arrives_during_a_write_is_one_more(gated: Gated, writes: GroupedWrites, store: MetadataStore) -> None:
    runs = [a_run(f"run {number}") for number in range(6)]
    futures = write_together(gated, writes, [writer.changes for writer, _ in runs])
    assert [future.result() for future in futures] == [None] * 6
    assert gated.sizes == [1, 5]
    assert {store.get("run", run_id).name for _, run_id in runs} == {f"run {number}" for number in range(6)}


def test_a_part_that_is_refused_harms_no_other(gated: Gated, writes: GroupedWrites, store: MetadataStore) -> None:
    first, _ = a_run("first")
    good, good_id = a_run("good")
    rival = StreamWriter(first.stream_id)
    rival.create_run(name="rival")
    late, _ = a_run("late")
    late.beat()
    altered, _ = a_run("altered")
    forged = [change.erased() for change in altered.changes]
    object.__setattr__(forged[0], "hash", bytes(32))
    batches = [first.changes, rival.changes, late.changes[1:], good.changes, forged]
    futures = write_together(gated, writes, batches)
    errors = [type(future.exception()) for future in futures]
    assert errors == [type(None), ConflictError, StreamGapError, type(None), IntegrityError]
    assert store.get("run", good_id).name == "good"
    assert set(store.heads()) == {first.stream_id, good.stream_id}


def test_conditions_of_one_part_refuse_no_other(gated: Gated, writes: GroupedWrites, store: MetadataStore) -> None:
    runs = [a_run(f"run {number}") for number in range(6)]
    store.apply([(known := StreamWriter()).create_run(name="known")])
    taken = known.changes[0].entity_id
    conditions: list[list[Condition]] = [
        [],
        [Absent("run", taken)],
        [],
        [Absent("run", runs[3][1])],
        [Unset("run", taken, "name")],
        [],
    ]
    futures = write_together(gated, writes, [writer.changes for writer, _ in runs], conditions)
    refused = [type(future.exception()) is PreconditionError for future in futures]
    assert refused == [False, True, False, False, True, False]
    assert {writer.stream_id in store.heads() for writer, _ in (runs[1], runs[4])} == {False}
    assert gated.sizes == [1, 2, 1, 1, 1]


def test_the_same_batch_sent_twice_at_once_is_recorded_once(gated: Gated, writes: GroupedWrites, store: Any) -> None:
    first, _ = a_run("first")
    writer, run_id = a_run("twice")
    writer.append(run_id, {"loss": [1.0, 2.0]})
    futures = write_together(gated, writes, [first.changes, writer.changes, writer.changes, writer.changes[:1]])
    assert [future.result() for future in futures] == [None] * 4
    assert store.read_series(run_id, "loss").total == 2


def test_an_outage_is_told_to_everybody_at_once(gated: Gated, writes: GroupedWrites) -> None:
    gated.failure = StoreUnavailableError("away")
    futures = write_together(gated, writes, [a_run(str(number))[0].changes for number in range(5)])
    assert all(isinstance(future.exception(), StoreUnavailableError) for future in futures)
    assert len(gated.sizes) == 2, "nobody asks the store for each of them again"


def test_long_batches_are_not_put_together_without_end(
    gated: Gated, writes: GroupedWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeldb_server.grouping.MAX_CHANGES", 3)
    futures = write_together(gated, writes, [a_run(str(number))[0].changes for number in range(8)])
    assert [future.result() for future in futures] == [None] * 8
    assert max(gated.sizes) == 3
    assert sum(gated.sizes) == 8


def test_many_threads_get_what_they_would_get_alone(tmp_path: Any) -> None:
    with open_store(f"sqlite:///{tmp_path}/many.db") as store:
        writes = GroupedWrites(store)

        def work(number: int) -> Callable[[], bool]:
            writer, run_id = a_run(str(number))
            for step in range(20):
                writer.append(run_id, {"loss": [float(step)]}, steps=[step])
                writes.apply(writer.changes[-3:] if step else writer.changes)
            return lambda: store.read_series(run_id, "loss").steps.tolist() == list(range(20))

        with ThreadPoolExecutor(8) as pool:
            checks = list(pool.map(work, range(8)))
        assert all(check() for check in checks)


def test_who_came_with_others_the_last_time_waits_for_them(
    gated: Gated, writes: GroupedWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run(f"run {number}")[0].changes for number in range(5)]
    write_together(gated, writes, runs[:3])
    assert gated.sizes == [1, 2]
    with ThreadPoolExecutor(1) as pool:
        futures: list[Future[None]] = []

        def wait(_seconds: float) -> None:
            """The other comes while this one waits."""
            if not futures:
                futures.append(pool.submit(writes.apply, runs[4]))
            while len(writes._waiting) < 2:
                pass

        monkeypatch.setattr(grouping, "LONGEST_WAIT_S", 600.0)
        monkeypatch.setattr(grouping, "time", SimpleNamespace(monotonic=time.monotonic, sleep=wait))
        writes.apply(runs[3])
        assert [future.result(30) for future in futures] == [None]
    assert gated.sizes == [1, 2, 2]


def test_who_waits_for_others_that_do_not_come_waits_no_longer_than_a_moment(
    gated: Gated, writes: GroupedWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run(f"run {number}")[0].changes for number in range(4)]
    write_together(gated, writes, runs[:3])
    clock = [0.0]

    def wait(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(grouping, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=wait))
    writes.apply(runs[3])
    assert gated.sizes == [1, 2, 1]
    assert 0 < clock[0] <= grouping.LONGEST_WAIT_S
