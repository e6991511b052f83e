"""The journal: what it keeps, in which order, and what it does when the disk or the process fails."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.errors import CorruptJournalError, StoreVersionError
from modeldb_core.journal import journal as journal_module
from modeldb_core.journal.journal import Journal
from modeldb_core.journal.records import DRAFT, HEADER, MAX_SEAL_BYTES, SEAL, Draft, make_record
from modeldb_core.journal.segments import SegmentReader, lock_directory, read_records
from modeldb_core.runtime import disk


def draft(text: bytes) -> bytes:
    return Draft("update", "run", "r", 1, text).record()


def bodies(journal: Journal) -> list[bytes]:
    found = []
    for segment in journal.snapshot():
        for _, record_type, body in read_records(segment.memory, 0, segment.used):
            if record_type == DRAFT:
                found.append(Draft.from_body(bytes(body)).payload)
            body.release()
    return found


def test_records_come_back_in_order_across_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    texts = [bytes([65 + i % 26]) * (i * 97 % 30_000) for i in range(400)]
    for text in texts:
        journal.append(draft(text))
    assert len(journal.segments) > 3
    assert bodies(journal) == texts


def test_a_record_larger_than_any_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    large = os.urandom(20_000_000)
    journal.append(draft(b"before"))
    journal.append(draft(large))
    journal.append(draft(b"after"))
    assert bodies(journal) == [b"before", large, b"after"]


def test_segments_are_allocated_for_real(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    stat = os.stat(journal.segments[0].path or "")
    assert stat.st_blocks * 512 >= stat.st_size


def test_a_torn_tail_is_cut_and_everything_before_it_survives(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    journal.append(draft(b"whole"))
    end = journal.position
    journal.append(draft(b"torn, alas"))
    journal.memory[journal.position - 6 : journal.position] = bytes(6)
    reader = SegmentReader.open(journal.segments[0].path or Path())
    assert reader is not None
    assert (reader.used, reader.torn, reader.damaged) == (end, True, False)


def test_damage_before_the_end_is_told_from_a_torn_tail(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    start = journal.position
    journal.append(draft(b"first"))
    journal.append(draft(b"second"))
    journal.memory[start + 20 : start + 21] = b"\xff"
    reader = SegmentReader.open(journal.segments[0].path or Path())
    assert reader is not None
    assert (reader.used, reader.damaged) == (start, True)


def test_a_record_that_reaches_beyond_what_is_read_is_not_part_of_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    journal.append(draft(b"one"))
    end = journal.position
    journal.append(draft(b"two"))
    memory = journal.segments[0].memory
    for limit, expected in ((end, 2), (journal.position - 1, 2), (journal.position, 3)):
        assert sum(1 for _ in read_records(memory, 0, limit)) == expected


def test_a_journal_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "00000001.journal"
    for version, error in (("7", StoreVersionError), ("0", CorruptJournalError), ("null", CorruptJournalError)):
        path.write_bytes(make_record(HEADER, b'{"format": %s}' % version.encode()).ljust(4096, b"\0"))
        with pytest.raises(error, match=r"format (1|7)"):
            SegmentReader.open(path)


def test_a_process_that_died_before_its_first_record_leaves_nothing_to_read(tmp_path: Path) -> None:
    path = tmp_path / "00000001.journal"
    path.write_bytes(bytes(4096))
    assert SegmentReader.open(path) is None


def test_shipped_segments_are_removed_and_the_current_one_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    for _ in range(100):
        journal.append(draft(bytes(20_000)))
    journal.drop_until(journal.end)
    assert len(journal.segments) == 1
    assert [path.name for path in (tmp_path / "s").glob("*.journal")] == [Path(journal.segments[0].path or "").name]


def test_a_segment_that_was_shipped_to_its_end_is_not_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    while len(journal.segments) < 3:
        journal.append(draft(bytes(10_000)))
    first, second, third = journal.snapshot()
    journal.drop_until(first.end)
    assert journal.snapshot() == [second, third]
    journal.drop_until(second.end)
    assert journal.snapshot() == [third]


def test_a_full_disk_moves_the_journal_into_memory_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.posix_fallocate

    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    journal = Journal(tmp_path, "s", {})
    monkeypatch.setattr(os, "posix_fallocate", full)
    texts = [bytes([i]) * 50_000 for i in range(20)]
    assert all(journal.append(draft(text)) for text in texts)
    assert journal.lost == 0
    assert journal.is_volatile
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1
    monkeypatch.setattr(os, "posix_fallocate", real)
    while journal.is_volatile:
        journal.append(draft(b"x" * 50_000))
    assert bodies(journal)[:20] == texts


def test_what_neither_disk_nor_memory_takes_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "s", {})
    monkeypatch.setattr(journal_module, "MAX_VOLATILE_BYTES", 1 << 20)

    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    for _ in range(40):
        journal.append(draft(bytes(100_000)))
    assert 0 < journal.lost <= 33
    assert len(bodies(journal)) == 40 - journal.lost
    lost = journal.lost
    assert not journal.offer(draft(bytes(100_000)))
    assert journal.lost == lost


def test_threads_do_not_tear_each_others_records(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})

    def write(number: int) -> None:
        for index in range(500):
            journal.append(draft(f"{number}:{index}".encode() * 20))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = bodies(journal)
    assert len(found) == 4000
    for number in range(8):
        mine = [text for text in found if text.startswith(f"{number}:".encode())]
        assert mine == [f"{number}:{index}".encode() * 20 for index in range(500)]


def test_a_signal_handler_may_append_in_the_middle_of_an_append(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    taken = 0

    def handler(number: int, frame: object) -> None:
        nonlocal taken
        taken += 1
        journal.append(draft(b"from the handler"))

    previous = signal.signal(signal.SIGPROF, handler)
    signal.setitimer(signal.ITIMER_PROF, 0.0005, 0.0005)
    try:
        own = 0
        while taken < 200:
            journal.append(draft(b"from the program"))
            own += 1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    found = bodies(journal)
    assert (found.count(b"from the handler"), found.count(b"from the program")) == (taken, own)


def test_a_signal_handler_that_raises_does_not_keep_the_lock(environment: dict[str, str]) -> None:
    class Stop(BaseException):
        pass

    def handler(number: int, frame: object) -> None:
        raise Stop

    with modeldb.connect() as client:
        run = client.start_run(capture=False)
        returned = 0
        previous = signal.signal(signal.SIGALRM, handler)
        try:
            for round_ in range(150):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0005 + round_ * 1e-6)
                    while True:
                        run.log_metrics({"m": 1.0}, step=returned)
                        returned += 1
                except Stop:
                    assert client.flush(240), "the writer waits for a lock that nobody will let go of"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        steps = run.history("m").steps
        assert sorted(set(steps)) == list(range(len(set(steps))))
        assert len(steps) >= returned


def test_a_folder_is_never_seen_without_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    try_lock = disk.try_lock

    def look_then_lock(fd: int) -> bool:
        seen.extend(path for path in tmp_path.iterdir() if not path.name.startswith("."))
        return try_lock(fd)

    monkeypatch.setattr(disk, "try_lock", look_then_lock)
    journal = Journal(tmp_path, "s", {})
    assert (seen, os.listdir(tmp_path)) == ([], ["s"])
    assert lock_directory(journal.directory) is None


def test_the_lock_is_held_while_the_process_lives_and_a_fork_does_not_keep_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    assert lock_directory(tmp_path / "s") is None
    child = os.fork()
    if child == 0:
        journal.abandon()
        os._exit(0 if lock_directory(tmp_path / "s") is None else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the parent's lock was lost with the child's copy"
    journal.close(remove=False)
    again = lock_directory(tmp_path / "s")
    assert again is not None
    os.close(again)


def test_a_full_segment_has_room_for_the_longest_seals_that_it_still_gets(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    while len(journal.snapshot()) == 1:
        journal.append(draft(b"x" * 100))
    full = journal.snapshot()[0]
    for _ in range(2):  # of what was sent last, and of the rest
        journal.append_seal(full, make_record(SEAL, bytes(MAX_SEAL_BYTES - len(make_record(SEAL, b"")))))
    assert full.used <= full.size


def test_the_memory_for_a_disk_that_takes_nothing_is_64_mib_and_is_free_as_soon_as_it_was_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", 3600.0)
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file", "s", {})
    record = draft(bytes(1 << 20))
    kept = 0
    while not journal.lost:
        journal.append(record)
        kept += 1
    assert 32 < kept <= 64
    assert not journal.offer(record)
    journal.drop_until(journal.end)
    assert journal.offer(record)


def test_segments_grow_to_8_mib_and_no_further(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    text = draft(bytes(1 << 20))
    for _ in range(40):
        journal.append(text)
        journal.drop_until(journal.snapshot()[-1].base)
    assert journal.snapshot()[-1].size == 8 << 20


def test_with_fsync_every_record_and_every_late_seal_is_on_the_disk_when_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(journal_module, "memory_reaches_disk", synced.append)
    journal = Journal(tmp_path, "s", {}, fsync=True)
    for count in range(1, 4):
        journal.append(draft(b"x"))
        assert len(synced) == count
    while len(journal.snapshot()) == 1:
        journal.append(draft(b"x" * 10_000))
    first, last = journal.snapshot()
    synced.clear()
    journal.append_seal(first, make_record(SEAL, bytes(80)))
    assert set(synced) == {first.path, last.path}


def test_a_disk_with_little_room_takes_a_small_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = journal_module.map_new

    def nearly_full(path: Path, size: int) -> object:
        if size > 300_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, size)

    monkeypatch.setattr(journal_module, "map_new", nearly_full)
    journal = Journal(tmp_path, "s", {})
    for _ in range(60):
        journal.append(draft(bytes(10_000)))
    assert len(journal.snapshot()) > 1
    assert not journal.is_volatile
