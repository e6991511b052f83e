"""The access log: what was recorded is there, in a chain; what could not be kept is said; the disk does not fill."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from modeldb_core.audit import Checkpoint
from modeldb_core.audit.access import Access, AccessLog, AccessReader, verify_access
from modeldb_core.audit.access.entries import LOSE, READ, REFUSE, RETIRE
from modeldb_core.audit.access.segments import Segment
from modeldb_core.errors import IntegrityError, NotFoundError
from modeldb_core.log.changes import Change
from modeldb_core.model.entities import now_us

AT = 1_700_000_000_000_000


def refusal(number: int = 0, action: str = REFUSE) -> Access:
    return Access(AT + number, "ada", action, "route", f"/api/v2/runs/{number}", {"status": 403, "n": number})


def changes_of(folder: Path) -> list[Change]:
    with AccessReader(folder) as reader:
        return list(reader.read_changes(limit=1_000_000).changes)


def recorded(folder: Path, action: str = REFUSE) -> list[int]:
    return [change.data()["n"] for change in changes_of(folder) if change.action == action]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_what_was_recorded_is_there_once_in_order_and_verifies(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    for number in range(1200):
        log.record(refusal(number))
    log.close()
    log.close()
    assert recorded(tmp_path / "log") == list(range(1200))
    first = next(change for change in changes_of(tmp_path / "log") if change.action == REFUSE)
    assert (first.actor, first.recorded_at, first.kind, first.entity_id) == ("ada", AT, "route", "/api/v2/runs/0")
    report = verify_access(tmp_path / "log")
    assert report.ok
    assert (report.streams, report.sealed_streams, report.changes) == (1, 1, 1202)
    with pytest.raises(NotFoundError, match=r"server\.access_log_dir"):
        AccessReader(tmp_path / "elsewhere")


def test_a_log_in_which_nothing_happened_leaves_nothing(tmp_path: Path) -> None:
    AccessLog(tmp_path / "log").close()
    assert list((tmp_path / "log").iterdir()) == []


def test_recording_from_many_threads_loses_nothing(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    threads = [
        threading.Thread(target=lambda start=start: [log.record(refusal(start + n)) for n in range(200)])  # type: ignore[misc]
        for start in range(0, 1600, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(recorded(tmp_path / "log")) == list(range(1600))


def test_what_overflows_is_counted_and_said_and_refusals_have_room_of_their_own(tmp_path: Path) -> None:
    lost: list[int] = []
    log = AccessLog(tmp_path / "log", max_waiting=20, on_lost=lost.append)
    with log._turn:  # the disk is slow: the thread that writes waits
        for number in range(30):
            log.record(refusal(number, READ))
        for number in range(5):
            log.record(refusal(number))
    log.close()
    assert recorded(tmp_path / "log", READ) == list(range(18))
    assert recorded(tmp_path / "log") == [0, 1]
    (said,) = [change for change in changes_of(tmp_path / "log") if change.action == LOSE]
    assert said.data() == {"entries": {READ: 12, REFUSE: 3}}
    assert sum(lost) == 15
    assert verify_access(tmp_path / "log").ok


def test_a_disk_that_fails_and_comes_back_costs_nothing_that_fits_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = AccessLog(tmp_path / "log", max_waiting=100)
    log.record(refusal(0))
    log.flush()
    write, is_full = os.write, True

    def full(descriptor: int, data: bytes) -> int:
        if is_full:
            write(descriptor, bytes(data[:3]))  # a part of it still fits
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    for number in range(1, 140):
        log.record(refusal(number))
    log.flush()
    log.flush()
    assert caplog.text.count("No space left on device") == 1
    is_full = False
    log.close()
    assert recorded(tmp_path / "log") == list(range(101))
    assert [change.data() for change in changes_of(tmp_path / "log") if change.action == LOSE] == [
        {"entries": {REFUSE: 39}}
    ]
    assert verify_access(tmp_path / "log").ok


def fill(log: AccessLog, numbers: range) -> None:
    for number in numbers:
        log.record(refusal(number))
        log.flush()


def test_the_disk_does_not_fill_the_oldest_files_go_and_the_log_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    first = AccessLog(folder, segment_bytes=1)  # a file for each entry
    fill(first, range(10))
    first.close()
    second = AccessLog(folder, segment_bytes=1, max_bytes=2000)
    fill(second, range(10, 13))
    checkpoint = _checkpoint(folder)
    streams = {second.stream_id: checkpoint.streams[second.stream_id]}
    fill(second, range(13, 30))
    size = sum(path.stat().st_size for path in folder.rglob("*.access"))
    assert size < 3000
    left = recorded(folder)
    assert left == list(range(left[0], 30))
    assert left[0] > 10
    report = verify_access(folder)
    assert report.ok, report
    assert len(report.retired) == 1
    assert f"NOTE the beginning of stream {second.stream_id} (up to change " in str(report)
    assert verify_access(folder, checkpoint=replace(checkpoint, streams=streams)).ok
    second.close()
    assert verify_access(folder).ok
    assert {change.action for change in changes_of(folder)} >= {RETIRE}


class _Killed(BaseException):
    pass


def test_a_server_that_is_killed_while_it_makes_room_leaves_a_log_that_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AccessLog, "_run", lambda log: None)  # else its thread may be the one that is ended
    whole = tmp_path / "whole"
    for start in range(0, 9, 3):
        log = AccessLog(whole, segment_bytes=1)
        fill(log, range(start, start + 3))
        log.close()
    is_through = False
    kill_at = calls = 0

    def until_killed(function: Callable[..., object], *arguments: object, **options: object) -> object:
        nonlocal calls
        if calls == kill_at:
            raise _Killed
        calls += 1
        return function(*arguments, **options)

    while not is_through:
        folder = tmp_path / f"log{kill_at}"
        shutil.copytree(whole, folder)
        calls = 0
        log = AccessLog(folder, segment_bytes=1, max_bytes=1500)
        log.record(refusal(9))
        with monkeypatch.context() as patched:
            for name in ("write", "fsync", "fdatasync", "unlink", "rmdir"):
                patched.setattr(os, name, partial(until_killed, getattr(os, name)))
            try:
                log.flush()
                is_through = True
            except _Killed:
                pass
        report = verify_access(folder)
        assert report.ok, (kill_at, str(report))
        left = recorded(folder)
        assert left == list(range(left[0], left[-1] + 1)), kill_at
        last = AccessLog(folder, segment_bytes=1, max_bytes=1500)  # it makes room where the other one was ended
        fill(last, range(10, 13))
        last.close()
        assert verify_access(folder).ok, kill_at
        others = [path for path in _files(folder) if path.parent.name != log.stream_id]  # which is locked still
        assert sum(path.stat().st_size for path in others) < 2600, kill_at
        kill_at += 1
    assert kill_at > 5


def test_a_damaged_file_stays_and_neither_stops_the_log_nor_lets_the_disk_fill(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    first = AccessLog(folder, segment_bytes=1)
    fill(first, range(5))
    first.close()
    damaged = min(folder.rglob("*.access"))
    flip(damaged, 10)
    second = AccessLog(folder, segment_bytes=1, max_bytes=2000)
    fill(second, range(10, 40))
    second.close()
    left = recorded(folder)
    assert left == list(range(left[0], 40))
    assert left[0] > 10
    assert sum(path.stat().st_size for path in folder.rglob("*.access")) < 3500
    report = verify_access(folder)
    assert report.sealed_streams == 1
    assert [finding.subject for finding in report.findings] == [f"file {damaged.parent.name}/{damaged.name}"]


def test_a_damaged_file_before_others_that_were_removed_is_all_that_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    first = AccessLog(folder, segment_bytes=1)
    fill(first, range(20))
    first.close()
    files = _files(folder)
    flip(files[0], 10)
    second = AccessLog(folder, segment_bytes=1, max_bytes=sum(path.stat().st_size for path in files) - 500)
    fill(second, range(20, 22))
    second.close()
    left = recorded(folder)
    assert left == list(range(left[0], 22))
    assert 0 < left[0] < 20
    (finding,) = verify_access(folder).findings
    assert finding.subject == f"file {first.stream_id}/{files[0].name}"


def test_a_file_that_another_server_is_writing_is_never_removed(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    idle = AccessLog(folder)
    idle.record(refusal(1000))
    idle.flush()
    busy = AccessLog(folder, segment_bytes=1, max_bytes=1)
    fill(busy, range(5))
    idle.record(refusal(1001))
    idle.close()
    busy.close()
    assert [number for number in recorded(folder) if number >= 1000] == [1000, 1001]
    assert verify_access(folder).ok


def _checkpoint(folder: Path) -> Checkpoint:
    with AccessReader(folder) as reader:
        return Checkpoint.of(reader)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.access"))


def test_every_alteration_of_a_log_shows(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = AccessLog(folder, segment_bytes=1)
    fill(log, range(6))
    log.close()
    checkpoint = _checkpoint(folder)
    assert verify_access(folder, checkpoint=checkpoint).ok
    before = changes_of(folder)
    whole = {path: path.read_bytes() for path in _files(folder)}
    for path, data in whole.items():
        for at in range(0, len(data), 7):
            flip(path, at)
            is_found = not verify_access(folder, checkpoint=checkpoint).ok
            assert is_found or changes_of(folder) == before, (path.name, at)  # packed in another way, it says the same
            path.write_bytes(data)
        path.unlink()
        assert not verify_access(folder, checkpoint=checkpoint).ok, path.name
        path.write_bytes(data)
    assert verify_access(folder, checkpoint=checkpoint).ok


def test_a_batch_that_a_killed_server_did_not_finish_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = AccessLog(folder)
    fill(log, range(3))
    (path,) = _files(folder)
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    assert recorded(folder) == [0, 1]
    assert verify_access(folder).ok
    path.write_bytes(data)
    log.close()


def test_somebody_elses_folder_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "log").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="is a link"):
        AccessLog(tmp_path / "log")
    with pytest.raises((OSError, IntegrityError), match="is a link"):
        AccessReader(tmp_path / "log")


def test_whoever_removes_a_stream_and_says_so_in_one_of_their_own_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = AccessLog(folder)
    fill(log, range(3))
    log.close()
    head = changes_of(folder)[-1]
    shutil.rmtree(folder / log.stream_id)
    forger = AccessLog(folder)
    gone = {log.stream_id: [head.seq, head.hash.hex()]}
    forger.record(Access(AT, "", RETIRE, "access_log", forger.stream_id, {"removed_up_to": gone}))
    forger.close()
    (sentence,) = verify_access(folder).retired
    assert f"all of stream {log.stream_id}" in sentence
    assert f"says stream {forger.stream_id}" in sentence


def test_an_entry_that_cannot_be_written_is_lost_alone_and_said(tmp_path: Path) -> None:
    lost: list[int] = []
    log = AccessLog(tmp_path / "log", on_lost=lost.append)
    for number in range(20):
        log.record(replace_data(refusal(number), object()) if number == 7 else refusal(number))
    log.close()
    assert recorded(tmp_path / "log") == [number for number in range(20) if number != 7]
    assert verify_access(tmp_path / "log").ok
    said = [change.data()["entries"] for change in changes_of(tmp_path / "log") if change.action == LOSE]
    assert (said, lost) == ([{REFUSE: 1}], [1])


def replace_data(access: Access, value: object) -> Access:
    return access._replace(data={"n": value})


def log_now(log: AccessLog, *numbers: int) -> None:
    for number in numbers:
        log.record(refusal(number)._replace(at=now_us()))
        log.flush()


def test_streams_are_read_by_time_and_not_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "log"
    for start in range(0, 30, 10):  # one server after another, each in files of one entry
        log = AccessLog(folder, segment_bytes=1)
        log_now(log, *range(start, start + 10))
        log.close()
    logs = [AccessLog(folder, segment_bytes=1) for _ in range(2)]  # two that take turns
    for number in range(30, 50):
        log_now(logs[number % 2], number)
    for log in logs:
        log.close()
    read: list[str] = []
    batches = Segment.batches
    monkeypatch.setattr(Segment, "batches", lambda segment, base: read.append(segment.name) or batches(segment, base))
    with AccessReader(folder) as reader:
        numbers = []
        for change in reader.by_time():
            if change.action == REFUSE:
                numbers.append(change.data()["n"])
                assert len(read) <= len(numbers) + 5 + 8  # the first of each stream, and what lies beside this one
    assert numbers == list(range(50))


def test_verifying_a_log_reads_its_files_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "log"
    for start in range(0, 60, 20):
        log = AccessLog(folder, segment_bytes=1, max_bytes=6000)
        fill(log, range(start, start + 20))
        log.close()
    read: list[str] = []
    batches = Segment.batches
    monkeypatch.setattr(Segment, "batches", lambda segment, base: read.append(segment.name) or batches(segment, base))
    changes = changes_of(folder)
    once = len(read)
    read.clear()
    report = verify_access(folder)
    assert report.ok, report
    assert report.changes == len(changes)
    assert report.retired
    streams = len({change.stream_id for change in changes})
    assert len(read) <= once + 2 * streams  # the file at the end of each is looked at first, to tell how far it is


def test_a_beginning_that_nobody_said_was_removed_is_missed(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = AccessLog(folder, segment_bytes=1)
    fill(log, range(4))
    log.close()
    _files(folder)[0].unlink()
    (finding,) = verify_access(folder).findings
    assert "it follows number 0: changes between were dropped or moved" in finding.message
    before = changes_of(folder)[0]
    for seq, value in ((before.seq - 1, "00" * 32), (before.seq, before.hash.hex())):
        forger = AccessLog(folder)
        gone = {log.stream_id: [seq, value]}
        forger.record(Access(AT, "", RETIRE, "access_log", forger.stream_id, {"removed_up_to": gone}))
        forger.close()
        assert not verify_access(folder).ok
        shutil.rmtree(folder / forger.stream_id)
    forger = AccessLog(folder)
    gone = {log.stream_id: [before.seq - 1, before.previous_hash.hex()]}
    forger.record(Access(AT, "", RETIRE, "access_log", forger.stream_id, {"removed_up_to": gone}))
    forger.close()
    assert verify_access(folder).ok
