"""What interrupts a log call may log, too: a signal handler, a destructor, a collection of garbage, another thread.

Luck is not waited for. Python calls signal handlers where a function begins and where one in C has returned; it says so
to a profiler. So each of these places is an interruption once.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.journal import journal as journal_module
from modeldb_core.journal.journal import Journal
from modeldb_core.journal.records import DRAFT, make_record
from modeldb_core.journal.recovery import recover
from modeldb_core.journal.segments import read_records
from modeldb_core.runtime import exits
from modeldb_core.tracking import Client

pytestmark = pytest.mark.interpreter

LINES = Path(modeldb.__file__).parent


@contextmanager
def interrupted(at: int, act: Callable[[], object]) -> Iterator[list[int]]:
    """Call ``act`` at the place with number ``at`` within the core; give a list that grows with each place."""
    places: list[int] = []
    is_acting = False

    def profile(frame: Any, event: str, argument: object) -> None:
        nonlocal is_acting
        if is_acting or event not in ("call", "c_return", "c_exception"):
            return
        if not frame.f_code.co_filename.startswith(str(LINES)):
            return
        places.append(len(places))
        if places[-1] == at:
            is_acting = True
            act()
            is_acting = False

    sys.setprofile(profile)
    try:
        yield places
    finally:
        sys.setprofile(None)


def connected(settings: dict[str, str], **more: Any) -> Client:
    return modeldb.connect(**{**settings, "flush_interval_s": 0.05, **more})


@pytest.fixture
def idle(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client whose thread ships nothing by itself, and whose segments are soon full."""
    monkeypatch.setattr(journal_module, "FIRST_SEGMENT_BYTES", 1 << 12)
    monkeypatch.setattr(journal_module, "MAX_SEGMENT_BYTES", 1 << 12)
    with connected(settings, url="memory://", flush_interval_s=3600.0) as client:
        yield client


def logged(run: Any) -> dict[str, list[tuple[int, float]]]:
    """Return the points of a run by metric, as the store has them."""
    found = {}
    for key in run.series:
        history = run.history(key)
        found[key] = sorted(zip(history.steps.tolist(), history.values.tolist(), strict=True))
    return found


def places_of(client: Client, log: Callable[[Any], object]) -> int:
    with client.start_run(capture=False) as run, interrupted(-1, lambda: None) as places:
        log(run)
    return len(places)


def first_calls(run: Any) -> None:
    """Log with keys that are new, and into a segment that is full: everything that a log call may ever do."""
    for step in range(3):
        run.log_metrics({"a": step, "b": -step}, step=step)
    run.set_attributes({"large": "x" * 3000})
    run.log_metrics({"a": 3, "b": -3}, step=3)


OWN = {"a": [(step, float(step)) for step in range(4)], "b": [(step, float(-step)) for step in range(4)]}


def test_a_signal_handler_may_log_wherever_it_interrupts_a_log_call(idle: Client) -> None:
    number = places_of(idle, first_calls)
    assert number > 50
    runs = []
    for at in range(number):
        run = idle.start_run(capture=False)

        def handler(run: Any = run) -> None:
            run.log_metrics({"c": 7.0}, step=1)  # keys of its own
            run.log_metrics({"a": 100.0, "b": 200.0}, step=100)  # and those of the call that it interrupts
            run.set_attributes({"fill": "y" * 4000})  # another segment begins

        with interrupted(at, handler) as places:
            first_calls(run)
        assert len(places) > at
        run.finish()
        runs.append(run)
    assert idle.flush(240)
    for run in runs:
        found = logged(run)
        assert found == {
            "a": [*OWN["a"], (100, 100.0)],
            "b": [*OWN["b"], (100, 200.0)],
            "c": [(1, 7.0)],
        }
        assert sorted(run.attributes) == ["fill", "large"]


def test_each_segment_of_a_journal_explains_its_rows_whatever_interrupted_the_calls(
    settings: dict[str, str], idle: Client, tmp_path: Path
) -> None:
    """The process dies before anything is shipped: what is recovered is what was logged."""
    ids = []
    for at in range(0, places_of(idle, first_calls), 5):
        run = idle.start_run(capture=False)

        def handler(run: Any = run) -> None:
            run.log_metrics({"a": 100.0, "b": 200.0}, step=100)
            run.set_attributes({"fill": "y" * 4000})

        with interrupted(at, handler):
            first_calls(run)
        ids.append(run.run_id)
    journal = idle.writer.ensure_stream().journal
    journals = {path.name: path.read_bytes() for path in journal.directory.glob("*.journal")}
    dead = tmp_path / "dead" / journal.stream_id
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    for name, content in journals.items():
        (dead / name).write_bytes(content)
    with connected(settings, journal_dir=str(tmp_path / "others")) as reader:
        done = recover(tmp_path / "dead", idle.writer.store_url, reader.store, lambda: reader.artifacts)
        assert done.damaged == []
        for run_id in ids:
            expected = {"a": [*OWN["a"], (100, 100.0)], "b": [*OWN["b"], (100, 200.0)]}
            assert logged(reader.get_run(run_id)) == expected


def test_what_interrupts_an_append_may_offer_a_record_that_is_there_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journal_module, "FIRST_SEGMENT_BYTES", 1 << 12)
    monkeypatch.setattr(journal_module, "MAX_SEGMENT_BYTES", 1 << 12)

    def attempt(at: int) -> int:
        journal = Journal(tmp_path / str(at), "s", {})
        expected = [bytes([number]) * 900 for number in range(8)]

        def offer() -> None:
            if journal.offer(make_record(DRAFT, b"offered" * 100)):
                expected.append(b"offered" * 100)

        with interrupted(at, offer) as places:
            for content in expected[:8]:
                assert journal.append(make_record(DRAFT, content))
        found = [
            bytes(body)
            for segment in journal.snapshot()
            for _, kind, body in read_records(segment.memory, 0, segment.used)
            if kind == DRAFT
        ]
        assert sorted(found) == sorted(expected)
        journal.close(remove=True)
        return len(places)

    for at in range(attempt(-1)):
        attempt(at)


def test_a_signal_handler_may_log_while_the_first_call_opens_the_stream(settings: dict[str, str]) -> None:
    def attempt(at: int) -> int:
        with connected(settings, flush_interval_s=3600.0) as client:
            ids = []

            def handler() -> None:
                inner = client.start_run(name="inner", capture=False)
                inner.log_metrics({"m": 1.0}, step=0)
                ids.append(inner.run_id)

            with interrupted(at, handler) as places:
                run = client.start_run(name="outer", capture=False)
                run.log_metrics({"m": 2.0}, step=0)
            assert client.flush(240)
            heads = client.store.heads()
            assert all(heads[client.get_run(one).entity.stream_id].seq > 1 for one in (run.run_id, *ids))
            assert run.history("m").values.tolist() == [2.0]
            for one in ids:
                assert client.get_run(one).history("m").values.tolist() == [1.0]
            return len(places)

    number = attempt(-1)
    for at in range(0, number, max(1, number // 25)):
        attempt(at)


def test_another_thread_may_log_between_any_two_steps_of_a_log_call(idle: Client) -> None:
    runs = []
    for at in range(0, places_of(idle, first_calls), 2):
        run = idle.start_run(capture=False)
        journal = idle.writer.ensure_stream().journal

        def log(run: Any = run) -> None:
            run.log_metrics({"c": 7.0}, step=1)
            run.log_metrics({"a": 100.0, "b": 200.0}, step=100)
            run.set_attributes({"fill": "y" * 4000})

        threads: list[threading.Thread] = []

        def beside(journal: Any = journal, log: Any = log, threads: list[threading.Thread] = threads) -> None:
            thread = threading.Thread(target=log)
            thread.start()
            threads.append(thread)
            if not journal.is_interrupted:  # else it waits for the lock that this thread holds, and logs afterwards
                thread.join(240)

        with interrupted(at, beside):
            first_calls(run)
        for thread in threads:
            thread.join(240)
        run.finish()
        runs.append(run)
    assert idle.flush(240)
    for run in runs:
        assert logged(run) == {"a": [*OWN["a"], (100, 100.0)], "b": [*OWN["b"], (100, 200.0)], "c": [(1, 7.0)]}


def test_a_stream_is_shipped_by_one_thread_however_many_ask_for_it_at_once(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = []
    start_thread = exits.start_thread

    def slowly(target: Callable[[], object], name: str) -> threading.Thread | None:
        started.append(name)
        time.sleep(0.05)  # the window of the fault: the others ask while the thread is being started
        return start_thread(target, name)

    monkeypatch.setattr(exits, "start_thread", slowly)
    with connected(settings) as client:
        client.writer.on_stream.append(lambda: [thread.start() for thread in threads])
        threads = [threading.Thread(target=client.flush, args=(240,)) for _ in range(4)]
        with client.start_run(capture=False) as run:
            for step in range(200):
                run.log_metric("m", step, step=step)
        for thread in threads:
            thread.join(240)
        assert client.flush(240)
        assert run.history("m").values.tolist() == list(range(200))
    assert started.count("modeldb-writer") == 1
    assert not caplog.records


def test_destructors_and_collections_may_log_in_the_middle_of_a_log_call(idle: Client) -> None:
    run = idle.start_run(capture=False)
    taken = {"collected": 0, "destroyed": 0}
    inside = False
    own = threading.get_ident()

    def log(key: str) -> None:
        nonlocal inside
        if (
            not inside and threading.get_ident() == own
        ):  # another thread may collect as well, also once the run has ended
            inside = True
            run.log_metrics({key: taken[key]}, step=taken[key])
            taken[key] += 1
            inside = False

    class Node:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            log("destroyed")

    def collected(phase: str, info: object) -> None:
        log("collected")

    before = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(1)
    try:
        for step in range(2000):
            Node()
            run.log_metrics({"own": step, "same": 1.0}, step=step)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(collected)
    inside = True
    run.finish()
    assert idle.flush(240)
    found = logged(run)
    assert found["own"] == [(step, float(step)) for step in range(2000)]
    for key, count in taken.items():
        assert count > 100
        assert found[key] == [(step, float(step)) for step in range(count)]


def test_a_signal_handler_that_flushes_or_closes_in_the_middle_of_a_log_call_waits_for_nobody(idle: Client) -> None:
    journal = idle.writer.ensure_stream().journal
    run = idle.start_run(capture=False)
    seen: list[bool] = []

    def handler() -> None:
        if journal.is_interrupted:
            seen.append(idle.flush())
            seen.append(idle.writer.close())

    number = places_of(idle, first_calls)
    for at in range(number):
        with interrupted(at, handler):
            first_calls(run)
        run.log_metrics({"a": 0, "b": 0}, step=1000 + at)
    assert seen
    assert not any(seen)
    assert idle.writer.ensure_stream().journal is journal, "it goes on, and is closed at the end"


def test_what_is_found_out_about_a_run_is_recorded_though_its_client_is_closed_at_once(
    settings: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with connected(settings) as client, client.start_run() as run:
        pass
    with connected(settings) as reader:
        assert reader.get_run(run.run_id).entity.context["hostname"]
    assert not caplog.records


def test_what_threads_log_while_the_client_is_closed_is_in_the_store(settings: dict[str, str]) -> None:
    client = connected(settings, exit_timeout_s=240.0)  # the machine may be busy
    run = client.start_run(capture=False)
    counts = [0] * 4
    stop = threading.Event()

    def work(number: int) -> None:
        handle = modeldb.tracking.run.RunHandle(client, run.run_id)
        while not stop.is_set():
            handle.log_metrics({f"thread {number}": counts[number]}, step=counts[number])
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        client.writer.close(240)
    stop.set()
    for thread in threads:
        thread.join(240)
    client.close()
    with connected(settings) as reader:
        found = logged(reader.get_run(run.run_id))
    for number, count in enumerate(counts):
        assert found.get(f"thread {number}", []) == [(step, float(step)) for step in range(count)]


@pytest.mark.parametrize("fsync", [False, True])
def test_what_interrupts_an_append_anywhere_is_in_the_journal_when_that_returns(tmp_path: Path, *, fsync: bool) -> None:
    def texts(journal: Journal) -> set[bytes]:
        (segment,) = journal.snapshot()
        found = set()
        for _, record_type, body in read_records(segment.memory, 0, segment.used):
            if record_type == DRAFT:
                found.add(bytes(body))
            body.release()
        return found

    at = 0
    while True:
        journal = Journal(tmp_path, f"s{at}", {}, fsync=fsync)
        with interrupted(at, lambda journal=journal: journal.append(make_record(DRAFT, b"handler"))) as places:  # type: ignore[misc]
            journal.append(make_record(DRAFT, b"program"))
        expected = {b"program", b"handler"} if len(places) > at else {b"program"}
        assert texts(journal) == expected, at
        journal.close(remove=True)
        if len(places) <= at:
            break
        at += 1
    assert at >= 2
