"""Threads that do what is handed to them: as many as there is work for, and none where there can be none."""

from __future__ import annotations

import threading

import pytest

from modeldb_core.runtime import exits
from modeldb_core.runtime.workers import Workers
from tests.waiting import wait_until

PATIENCE_S = 60.0


def test_work_is_done_at_once_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(2, "test")
    monkeypatch.setattr(exits, "start_thread", lambda *_: None)
    assert [workers.submit(lambda: 1).result(0), workers.submit(lambda: 2).result(0)] == [1, 2]


def test_an_idle_thread_keeps_no_second_one_from_being_started_for_more_work() -> None:
    workers = Workers(2, "test")
    assert workers.submit(threading.get_ident).result(PATIENCE_S)
    wait_until(lambda: workers._crew._idle)
    together = threading.Barrier(2, timeout=PATIENCE_S)
    with workers._crew._condition:  # both are there before the idle one can take the first
        found = [workers.submit(together.wait) for _ in range(2)]
    assert sorted(future.result(PATIENCE_S) for future in found) == [0, 1]


def test_there_are_no_more_threads_than_wanted() -> None:
    workers = Workers(2, "test")
    going = threading.Event()
    futures = [workers.submit(lambda: going.wait(PATIENCE_S) and threading.get_ident()) for _ in range(8)]
    going.set()
    assert len({future.result(PATIENCE_S) for future in futures}) <= 2
