"""For how long a server wants to be left alone."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from modeldb_core.runtime.retry_after import MAX_WAIT_S, seconds_to_wait

NOW = "Mon, 30 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"Retry-After": "Mon, 30 Nov 2026 12:01:30 GMT", "Date": NOW}, 90.0),
        ({"Retry-After": "Monday, 30-Nov-26 12:01:30 GMT", "Date": NOW}, 90.0),
        ({"Retry-After": "Mon, 30 Nov 2026 11:00:00 GMT", "Date": NOW}, 0.0),
        ({"Retry-After": "Mon, 30 Nov 2099 12:00:00 GMT", "Date": NOW}, MAX_WAIT_S),
        ({"Retry-After": "9" * 5000}, MAX_WAIT_S),
        ({}, 0.0),
        *(({"Retry-After": text}, 0.0) for text in ("-5", "1.5", "soon", "٣", "Mon, 99 Nov 2026", "1 Jan 99999999999")),
    ],
)
def test_seconds_and_dates_are_understood_and_have_a_limit(headers: dict[str, str], expected: float) -> None:
    assert seconds_to_wait(headers) == expected


def test_a_date_without_the_clock_of_the_server_is_compared_with_the_clock_of_this_machine() -> None:
    assert 200.0 < seconds_to_wait({"Retry-After": formatdate(time.time() + 300, usegmt=True)}) <= 300.0
