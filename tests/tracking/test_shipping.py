"""When what was logged is shipped, and what the store learns then: how long a writer may be silent, and how often it speaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.errors import StoreUnavailableError
from modeldb_core.journal import shipping
from modeldb_core.log.changes import Head
from modeldb_core.tracking import Client


class Clock:
    """The monotonic clock of what ships: it stands still until a test lets time pass, long before any deadline."""

    now = -1e7

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(shipping, "time", made)
    return made


@pytest.fixture
def quiet(settings: dict[str, str], clock: Clock) -> Iterator[Client]:
    """Return a client whose thread does nothing by itself: a test does what that would do, and when."""
    with modeldb.connect(**{**settings, "flush_interval_s": 3600.0, "lease_s": 600.0}) as client:
        yield client


def step(client: Client) -> None:
    """Do what the thread of a stream does when it has waited."""
    while not client.writer.ensure_stream()._step():  # the thread itself is still about to rest
        time.sleep(0.01)


def shipped(client: Client, run: Any) -> int:
    """Return how many points the store has; nobody waits for those that it has not."""
    return len(client.store.read_series(run.run_id, "m").values)


def head(client: Client) -> Head:
    return client.store.heads()[client.writer.stream_id]


def test_points_wait_for_an_interval_and_no_longer(quiet: Client, clock: Clock) -> None:
    run = quiet.start_run(capture=False)
    run.log_metric("m", 0.0, step=0)
    assert quiet.flush()
    run.log_metric("m", 1.0, step=1)
    clock.now += 59  # the longest interval there is, though the settings say more, is a minute
    step(quiet)
    assert shipped(quiet, run) == 1
    clock.now += 1
    step(quiet)
    assert shipped(quiet, run) == 2


def test_the_thread_looks_once_in_an_interval(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    wait, waits, has_waited = threading.Condition.wait, list[float | None](), threading.Event()

    def noted(condition: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread().name == "modeldb-writer":
            waits.append(timeout)
            has_waited.set()
        return wait(condition, timeout)

    monkeypatch.setattr(threading.Condition, "wait", noted)
    with modeldb.connect(**{**settings, "flush_interval_s": 1.75}) as client:
        client.start_run(capture=False)
        assert has_waited.wait(240)
        assert waits[0] == 1.75


def test_a_writer_may_be_silent_as_long_as_the_settings_say_and_speaks_three_times_meanwhile(
    quiet: Client, clock: Clock
) -> None:
    quiet.start_run(capture=False)
    assert quiet.flush()
    before = head(quiet)
    assert before.lease_s == 600
    clock.now += 199
    step(quiet)
    assert head(quiet) == before
    clock.now += 1
    quiet.writer.ensure_stream().wake_soon()
    step(quiet)
    assert (head(quiet).seq, head(quiet).lease_s) == (before.seq + 1, 600)


def test_a_process_ships_ever_more_rarely_and_may_be_silent_for_three_of_its_intervals(
    settings: dict[str, str], clock: Clock
) -> None:
    with modeldb.connect(**{**settings, "flush_interval_s": 0.05, "lease_s": 30.0}) as client:
        client.start_run(capture=False)
        leases = []
        for days in (0, 0.25, 1, 30):
            clock.now += days * 86_400
            client.writer.submit(lambda: None)
            assert client.flush()
            leases.append(head(client).lease_s)
        assert leases == pytest.approx([30, 64.8, 180, 180])


def test_what_was_logged_is_in_the_store_before_something_is_recorded_that_may_take_long(quiet: Client) -> None:
    run = quiet.start_run(capture=False)
    assert quiet.flush()
    seen: list[int] = []
    run.log_metric("m", 0.0, step=0)
    quiet.writer.submit(
        lambda: seen.append(shipped(quiet, run))
    )  # a model that is stored, a data set that is described
    step(quiet)
    assert seen == [1]


def test_nobody_waits_for_a_store_that_will_not_be_asked_before_the_waiting_is_over(client: Client) -> None:
    busy = StoreUnavailableError("busy")
    busy.retry_after_s = 600.0

    def refuse(_: object) -> None:
        raise busy

    with client.start_run(capture=False) as run:
        assert client.flush()
        apply, client.store.apply = client.store.apply, refuse  # type: ignore[method-assign]
        run.log_metric("m", 1.0, step=0)
        assert not client.flush(500.0)  # longer than the limit of any test
    client.store.apply = apply  # type: ignore[method-assign]
