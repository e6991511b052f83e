"""What a finished run costs, counted: calls of functions, in the loop that trains and in the thread that ships."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.log.changes import payload_of
from modeldb_core.model.plain_data import is_plain_data
from modeldb_core.model.values import BlobReference, encode, json_text, normalize, to_json
from modeldb_core.tracking import Client
from modeldb_core.tracking.run import RunHandle

RUNS = 40
HYPERPARAMETERS = {**{f"hp.{n}": n * 0.1 for n in range(10)}, **{f"name.{n}": f"v{n}" for n in range(10)}}
METRICS = {f"metric.{n}": n * 0.01 for n in range(10)}
TAGS = [f"tag {n}" for n in range(5)]


def log_runs(client: Client) -> None:
    for number in range(RUNS):
        with client.start_run(name=f"run {number}", capture=False) as run:
            run.log_hyperparameters(HYPERPARAMETERS)
            run.log_metrics(METRICS)
            run.add_tags(*TAGS)
    client.flush()


def test_a_finished_run_takes_a_bounded_number_of_calls(client: Client) -> None:
    """Of Python's functions and of C's, per run; before, 870 and 890 here, and 930 and 1,500 while shipping."""
    log_runs(client)
    client.close()
    counted: Counter[tuple[str, str]] = Counter()
    own = threading.get_ident()

    def count(_: Any, event: str, __: Any) -> None:
        if event in ("call", "c_call"):
            counted["loop" if threading.get_ident() == own else "shipping", event] += 1

    threading.setprofile(count)  # of threads that begin from now on: a client that was closed has a new one
    try:
        client.start_run(capture=False).finish()
        client.flush()
        counted.clear()
        sys.setprofile(count)
        try:
            log_runs(client)
        finally:
            sys.setprofile(None)
    finally:
        threading.setprofile(None)
    calls = {name: number // RUNS for name, number in counted.items()}
    threads = 4 * threading.active_count()  # each is noted by each run, and those of other tests end after a while
    assert calls["loop", "call"] < 450 + threads, calls
    assert calls["loop", "c_call"] < 470 + threads, calls
    assert calls["shipping", "call"] < 620, calls
    assert calls["shipping", "c_call"] < 1050, calls
    assert len(client.search_runs()) == 2 * RUNS + 1


PLAIN = [None, True, 1, -1.5, "text", "", [], {}, {"a": [1, {"b": None}]}, [2**53 - 1, -(2**53) + 1], {"": 0.0}]
TAGGED: list[Any] = [
    float("nan"),
    float("-inf"),
    2**53,
    "é",
    "\ud800",
    {"$a": 1},
    {1: 2},
    {None: 1},
    {"é": 1},
    BlobReference("0" * 64, 1),
    [[float("inf")]],
    {"a": {"$float": "NaN"}},
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_what_is_plain_is_its_own_written_form(value: Any) -> None:
    assert is_plain_data(value)
    assert to_json(normalize(value, "v")) == value
    assert encode(value) == json_text(value).encode()


@pytest.mark.parametrize("value", TAGGED, ids=ascii)
def test_what_is_not_its_own_written_form_is_not_taken_for_plain(value: Any) -> None:
    assert not is_plain_data(value)
    assert not is_plain_data({"deep": [value]})


def test_types_that_look_plain_are_not_taken_for_it() -> None:
    class Text(str):
        __slots__ = ()

    class Number(int):
        pass

    for value in (Text("a"), Number(1), (1, 2), {Text("a"): 1}):
        assert not is_plain_data([value])
    assert payload_of({"a": Text("x"), "b": (Number(1), 2)}) == b'{"a":"x","b":[1,2]}'
    nested: Any = 0
    for _ in range(99):
        nested = [nested]
    assert is_plain_data(nested)
    for _ in range(5):
        nested = [nested]
    assert not is_plain_data(nested)  # normalize() says that it is too deep


@pytest.mark.parametrize("key", ["", "a\0b", "x" * 1025, "\ud800", 5, None])
def test_a_bad_name_among_good_ones_is_refused_and_nothing_stored(client: Client, key: Any) -> None:
    with client.start_run(capture=False) as run:
        before = list(client.artifacts.list())
        for log in (run.log_hyperparameters, run.log_metrics):
            with pytest.raises((modeldb.errors.InvalidArgumentError, modeldb.errors.InvalidTypeError)):
                log({"good": 1.0, key: 2.0, "other": 3.0})
        with pytest.raises((modeldb.errors.InvalidArgumentError, modeldb.errors.InvalidTypeError)):
            run.log_hyperparameters({"large": "x" * 100_000, key: 2.0})
        assert list(client.artifacts.list()) == before
    assert isinstance(run, RunHandle)
    assert run.metrics == {}
    assert run.hyperparameters == {}


def test_texts_that_grow_when_they_are_written_are_moved_out_as_others(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.log_hyperparameters({"quotes": '"' * 40_000, "short": "x" * 40_000})
    assert run.hyperparameters == {"quotes": '"' * 40_000, "short": "x" * 40_000}
    stored = client.store.get("run", run.run_id).document["hyperparameters"]
    assert isinstance(stored["quotes"], BlobReference)
    assert stored["short"] == "x" * 40_000
