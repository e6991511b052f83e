"""The pauses between attempts: they grow, have an upper limit, and are kept no matter who asks."""

from __future__ import annotations

from typing import Any

import pytest

from modeldb_core.errors import (
    ConfigurationError,
    PermissionDeniedError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
)
from modeldb_core.journal import retries
from modeldb_core.journal.retries import Retries

AWAY, REFUSED = StoreUnavailableError("away"), PermissionDeniedError("no")


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    class Longest:
        def uniform(self, _low: float, high: float) -> float:
            return high

    made = Clock()
    monkeypatch.setattr(retries, "time", made)
    monkeypatch.setattr(retries, "_spread", Longest())
    return made


def pauses(clock: Clock, kept: Retries, error: Exception, count: int) -> list[float]:
    found = []
    for _ in range(count):
        kept.note_failure(error)
        assert not kept.is_due()
        found.append(kept.pause_s())
        clock.now += found[-1]
        assert kept.is_due()
    return found


def test_pauses_grow_up_to_a_limit_and_begin_anew_after_a_success(clock: Clock) -> None:
    kept = Retries(1.0)
    assert kept.is_due()
    assert pauses(clock, kept, AWAY, 7) == [2, 4, 8, 16, 30, 30, 30]
    assert kept.note_success()
    assert not kept.note_success()
    assert pauses(clock, kept, AWAY, 2) == [2, 4]


@pytest.mark.parametrize(("error", "failures", "longest_s"), [(AWAY, 9, 5.0), (REFUSED, 1, 10.0)])
def test_who_asks_waits_less_long_but_never_not_at_all(
    clock: Clock, error: Exception, failures: int, longest_s: float
) -> None:
    kept = Retries(1.0)
    for _ in range(failures):
        kept.note_failure(error)
    assert kept.is_refused == (error is REFUSED)
    assert kept.pause_s() == (600.0 if kept.is_refused else 30.0)
    kept.ask_again()
    assert kept.pause_s() == longest_s
    clock.now += longest_s - 0.5
    kept.ask_again()
    assert not kept.is_due(), "asking once more does not shorten the pause further"
    clock.now += 0.5
    assert kept.is_due()


def test_a_store_that_named_a_time_is_left_alone_for_it_whoever_asks(clock: Clock) -> None:
    kept = Retries(1.0)
    busy = StoreUnavailableError("busy")
    busy.retry_after_s = 120.0
    kept.note_failure(busy)
    kept.ask_again()
    assert kept.pause_s() == 120.0
    clock.now += 120.0
    assert kept.is_due()
    assert pauses(clock, kept, AWAY, 1) == [4], "what it said once holds for once"


def test_asking_does_not_prolong_a_short_pause(clock: Clock) -> None:
    kept = Retries(0.5)
    kept.note_failure(AWAY)
    kept.ask_again()
    assert kept.pause_s() == 1.0


@pytest.mark.parametrize(
    "refusal",
    [
        PermissionDeniedError("401 or 403"),
        StoreVersionError("the store is of a newer version"),
        ConfigurationError("the bucket does not exist"),
        StoreReadOnlyError("the server takes no changes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_of_any_kind_is_not_repeated_before_minutes_have_passed(clock: Clock, refusal: Exception) -> None:
    kept = Retries(1.0)
    kept.note_failure(refusal)
    assert kept.is_refused
    clock.now += 290.0
    assert not kept.is_due()


def test_each_kind_of_failure_is_said_once_until_it_is_over() -> None:
    kept = Retries(0.01)
    said: list[Any] = [kept.note_failure(error) for error in (AWAY, AWAY, REFUSED, AWAY, REFUSED)]
    assert said == [True, False, True, False, False]
    kept.note_success()
    assert kept.note_failure(AWAY)
