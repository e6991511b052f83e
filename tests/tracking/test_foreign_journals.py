"""Folders of journals in which not everything is a journal of this user: nothing else is shipped, renamed or removed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.cli import program
from modeldb_core.journal import journal_folders
from modeldb_core.journal.journal import Journal
from modeldb_core.journal.journal_folders import LeftAlone, look
from modeldb_core.journal.records import HEADER, SEAL, Draft, make_record
from modeldb_core.journal.recovery import Recovered, orphans, recover
from modeldb_core.journal.segments import remove_directory
from modeldb_core.log.erasures import Target as ErasureTarget
from modeldb_core.stores import ArtifactStore, MetadataStore
from modeldb_core.testing import StreamWriter
from modeldb_core.tracking import Client
from tests.tracking.programs import ended, running

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
NOBODY = 65534


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    folder = tmp_path / "journals"
    folder.mkdir(mode=0o700)
    return folder


@dataclass
class Target:
    """Where journals are recovered to."""

    store: MetadataStore
    artifacts: ArtifactStore


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(MemoryStore("memory://here"), FsspecArtifactStore(f"file://{tmp_path}/artifacts"))


def header_of(client: Client | Target) -> dict[str, str]:
    return {"store_url": client.store.url, "actor": "somebody"}


def left(
    client: Client | Target, journals: Path, *, header: dict[str, Any] | None = None, stream_id: str | None = None
) -> Path:
    """Leave the journal of a process that died, with one project in it; return its folder."""
    stream_id = stream_id or str(uuid.uuid4())
    journal = Journal(journals, stream_id, header_of(client) if header is None else header)
    journal.append(Draft("open", "stream", stream_id, 1, b'{"pid":1,"lease_s":30,"version":"1"}').record())
    journal.abandon()
    return journals / stream_id


def recovered(client: Client | Target, journals: Path) -> Recovered:
    return recover(journals, client.store.url, client.store, lambda: client.artifacts)


def reasons(done: Recovered) -> str:
    return "\n".join(map(str, done.left_alone))


def documents(folder: Path) -> list[Path]:
    """Fill a folder with what somebody would miss, and a file named ``lock``."""
    files = [folder / "lock", folder / "thesis.txt", folder / "deep" / "er" / "photo.jpg", folder / ".hidden"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    return files


# -- what removes files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["papers", "22222222-2222-4222-9222-222222222222", "2026", "x.damaged"])
def test_a_folder_with_a_file_named_lock_is_not_deleted(target: Target, journals: Path, name: str) -> None:
    files = documents(journals / name)
    good = left(target, journals)
    done = recovered(target, journals)
    assert all(file.exists() for file in files)
    assert done.streams == [good.name]
    assert done.damaged == []
    assert str(journals / name) in reasons(done)


def test_starting_a_run_and_syncing_delete_no_documents(environment: dict[str, str], journals: Path) -> None:
    files = [*documents(journals / "papers"), *documents(journals / str(uuid.uuid4()))]
    ended("import modeldb_core as m\nwith m.start_run(capture=False) as run: run.log_metric('m', 1)", environment)
    assert program.run(("sync",)) in (0, 1)
    assert all(file.exists() for file in files)


def test_links_in_the_folder_of_journals_lead_nowhere(target: Target, journals: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    files = documents(elsewhere)
    (journals / "papers").symlink_to(elsewhere)
    (journals / str(uuid.uuid4())).symlink_to(elsewhere)
    moved = left(target, tmp_path / "other")
    link = journals / moved.name
    link.symlink_to(moved)
    done = recovered(target, journals)
    assert done.streams == []
    assert all(file.exists() for file in files)
    assert moved.is_dir()
    assert f"{link} is a link" in reasons(done)


def test_only_names_that_modeldb_makes_are_removed_from_a_journal(target: Target, journals: Path) -> None:
    folder = left(target, journals)
    mine = [folder / "thesis.txt", folder / "0000000x.journal", folder / "spool" / "notes.txt"]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    done = recovered(target, journals)
    assert done.streams == [folder.name]
    assert [file.read_text() for file in mine] == ["mine"] * 3
    assert not (folder / "00000001.journal").exists()
    assert "thesis.txt" in reasons(done)
    again = recovered(target, journals)
    assert again.streams == []
    assert "thesis.txt" in reasons(again)


def test_removing_a_journal_follows_no_link_and_no_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    files = documents(elsewhere)
    (elsewhere / ("a" * 64)).write_text("kept")
    folder = tmp_path / "stream"
    (folder / "00000002.journal").mkdir(parents=True)
    (folder / "00000002.journal" / "kept").write_text("")
    (folder / "00000001.journal").symlink_to(elsewhere / "thesis.txt")
    (folder / "spool").symlink_to(elsewhere)
    assert not remove_directory(folder)
    assert all(file.exists() for file in [*files, elsewhere / ("a" * 64), folder / "00000002.journal" / "kept"])
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(OSError, match="is a link"):
        remove_directory(link)


def test_a_living_journal_whose_folder_was_replaced_by_a_link_removes_nothing_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", {})
    journal.append(Draft("open", "stream", "s", 1, b"{}").record())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "00000001.journal").write_text("mine")
    (tmp_path / "s").rename(tmp_path / "moved")
    (tmp_path / "s").symlink_to(elsewhere)
    journal.close(remove=True)
    assert (elsewhere / "00000001.journal").read_text() == "mine"


def test_a_damaged_journal_is_set_aside_over_nothing(target: Target, journals: Path) -> None:
    folder = left(target, journals)
    occupied = journals / f"{folder.name}.damaged"
    occupied.mkdir()
    other = left(target, journals)
    segment = folder / "00000001.journal"
    data = bytearray(segment.read_bytes())
    end = len(bytes(data).rstrip(b"\0"))
    data[end - 5] ^= 0xFF
    data[end + 40] = 1
    segment.write_bytes(data)
    done = recovered(target, journals)
    assert [path.name for path in done.damaged] == [f"{folder.name}.damaged-2"]
    assert occupied.is_dir()
    assert other.name in done.streams


# -- one bad journal ---------------------------------------------------------------------------------------------------


def with_header(content: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "00000001.journal").write_bytes(make_record(HEADER, content).ljust(4096, b"\0"))

    return spoil


def with_value(name: str, value: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        header = {"format": 1, "store_url": "memory://", "actor": "a", "stream_id": folder.name, "number": 1, "base": 0}
        content = json.dumps({**header, name: value} if value is not None else header | {name: None}).encode()
        with_header(content)(folder)

    return spoil


def fifo(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


def sparse(folder: Path) -> None:
    with (folder / "00000001.journal").open("r+b") as file:
        file.truncate(1 << 36)


def link(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        target = folder.parent.parent / f"target-{uuid.uuid4()}"
        (folder / name).parent.mkdir(exist_ok=True)
        if (folder / name).exists():
            (folder / name).rename(target)
        else:
            target.write_text("secret")
        (folder / name).symlink_to(target)

    return spoil


def loop(folder: Path) -> None:
    (folder / "spool").symlink_to(folder)


def unreadable_record(folder: Path) -> None:
    segment = folder / "00000001.journal"
    data = segment.read_bytes()
    end = len(data.rstrip(b"\0"))
    draft = Draft("update", "run", "r", 1, b"{}").record()
    broken = make_record(draft[4], b"[" * 100_000 + b"\n{}")
    segment.write_bytes(data[:end] + broken + bytes(4096))


def lying_seal(folder: Path) -> None:
    segment = folder / "00000001.journal"
    data = segment.read_bytes()
    end = len(data.rstrip(b"\0"))
    body = (8).to_bytes(8, "little") + (1 << 60).to_bytes(8, "little") + b"\xff" * 112
    segment.write_bytes(data[:end] + make_record(SEAL, body) + bytes(4096))


BAD = {
    "header-text": with_header(b"hello"),
    "header-list": with_header(b"[1, 2]"),
    "header-null": with_header(b"null"),
    "header-latin-1": with_header(b'{"format": 1, "actor": "\xff"}'),
    "header-deep": with_header(b"[" * 50_000),
    "header-digits": with_header(b'{"format": 1, "number": ' + b"9" * 5000 + b"}"),
    "header-empty": with_header(b"{}"),
    "header-format-true": with_header(b'{"format": true}'),
    "no-actor": with_value("actor", None),
    "actor-list": with_value("actor", ["a"]),
    "actor-long": with_value("actor", "a" * 10_000),
    "actor-surrogate": with_value("actor", "\ud800"),
    "no-stream": with_value("stream_id", None),
    "number-text": with_value("number", "1"),
    "number-other": with_value("number", 2),
    "number-bool": with_value("number", True),
    "base-negative": with_value("base", -1),
    "base-huge": with_value("base", 1 << 80),
    "url-number": with_value("store_url", 1),
    "garbage": lambda folder: (folder / "00000001.journal").write_bytes(os.urandom(4096)) and None,
    "pipe": fifo("00000001.journal"),
    "pipe-lock": fifo("lock"),
    "pipe-spool": fifo("spool"),
    "pipe-in-spool": fifo(f"spool/{'a' * 64}"),
    "pipe-temporary": fifo("spool/.abcdefgh"),
    "sparse": sparse,
    "link": link("00000001.journal"),
    "link-lock": link("lock"),
    "link-in-spool": link(f"spool/{'a' * 64}"),
    "spool-loop": loop,
    "spool-name": link("spool/--help"),
    "deep-record": unreadable_record,
    "lying-seal": lying_seal,
}


@pytest.mark.parametrize("bad", BAD)
def test_one_bad_journal_keeps_no_other_from_being_shipped(target: Target, journals: Path, bad: str) -> None:
    first, last = "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"
    spoiled = left(target, journals, stream_id="11111111-1111-4111-9111-111111111111")
    BAD[bad](spoiled)
    for stream_id in (first, last):
        left(target, journals, stream_id=stream_id)
    done = recovered(target, journals)
    assert {first, last} <= set(done.streams)
    assert {first, last} <= set(target.store.heads())
    assert [path for path in journals.iterdir() if path.name.startswith(spoiled.name)], "it stays"
    assert done.damaged or spoiled.name in reasons(done)


def test_doctor_and_sync_say_what_is_wrong_with_each_bad_journal(
    client: Client, journals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoiled = {bad: left(client, journals) for bad in list(BAD)[:18]}
    for bad, folder in spoiled.items():
        BAD[bad](folder)
    good = left(client, journals)
    for command in ("doctor", "sync"):
        assert program.run((command,)) == 1
        captured = capsys.readouterr()
        for folder in spoiled.values():
            assert f"{folder.name} is left alone" in captured.out + captured.err
    assert good.name in client.store.heads()


def test_a_file_whose_content_is_not_that_of_its_name_keeps_no_other_from_being_sent(
    target: Target, journals: Path
) -> None:
    import hashlib

    folder = left(target, journals)
    (folder / "spool").mkdir()
    digest = hashlib.sha256(b"content").hexdigest()
    for name in ("0" * 64, digest, "f" * 64):
        (folder / "spool" / name).write_bytes(b"content")
    done = recovered(target, journals)
    assert target.artifacts.stat(digest).size_bytes == 7
    (kept,) = done.damaged
    assert sorted(path.name for path in (kept / "spool").iterdir()) == ["0" * 64, "f" * 64]


def test_what_the_store_refuses_of_one_journal_keeps_no_other_from_being_shipped(
    target: Target, journals: Path
) -> None:
    stream_id = "11111111-1111-4111-9111-111111111111"
    journal = Journal(journals, stream_id, header_of(target))
    for kind, payload in (("stream", b'{"pid":1}'), ("run", b'{"tags": 5}')):
        journal.append(Draft("open" if kind == "stream" else "create", kind, stream_id, 1, payload).record())
    journal.abandon()
    good = left(target, journals, stream_id="ffffffff-ffff-4fff-bfff-ffffffffffff")
    done = recovered(target, journals)
    assert good.name in done.streams
    assert (journals / stream_id).is_dir() or done.damaged


def test_a_journal_erases_nothing_in_the_name_of_the_actor_that_it_claims(target: Target, journals: Path) -> None:
    writer = StreamWriter(actor="somebody")
    run_id = writer.create_run(name="mine").entity_id
    target.store.apply(writer.changes)
    stream_id = str(uuid.uuid4())
    journal = Journal(journals, stream_id, header_of(target))
    named = json.dumps(ErasureTarget.of(writer.changes[-1]).payload()).encode()
    journal.append(Draft("open", "stream", stream_id, 1, b"{}").record())
    journal.append(Draft("erase", "run", run_id, 2, named).record())
    journal.abandon()
    done = recovered(target, journals)
    assert [path.name for path in done.damaged] == [f"{stream_id}.damaged"]
    assert target.store.get("run", run_id).name == "mine"
    assert stream_id not in target.store.heads()


def test_files_without_a_journal_go_to_no_store(target: Target, journals: Path) -> None:
    """Nobody knows for which store they are."""
    import hashlib

    folder = journals / str(uuid.uuid4())
    (folder / "spool").mkdir(parents=True)
    (folder / "lock").touch()
    digest = hashlib.sha256(b"secret").hexdigest()
    (folder / "spool" / digest).write_bytes(b"secret")
    done = recovered(target, journals)
    assert list(target.artifacts.list()) == []
    assert (folder / "spool" / digest).exists()
    assert "for which store" in reasons(done)


def test_a_pipe_in_the_spool_does_not_hang_sync(environment: dict[str, str], client: Client, journals: Path) -> None:
    folder = left(client, journals)
    fifo(f"spool/{'a' * 64}")(folder)
    result = subprocess.run(
        [sys.executable, "-m", "modeldb_core", "sync", "--json"], capture_output=True, text=True, timeout=240
    )
    said = json.loads(result.stdout)
    assert result.returncode == 1, result.stderr
    assert said["streams"] == [folder.name]
    assert ["a pipe" in item["reason"] for item in said["left_alone"]] == [True]


# -- journals of others ------------------------------------------------------------------------------------------------


def give_away(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@as_root
@pytest.mark.parametrize("part", ["", "lock", "00000001.journal"])
def test_the_journal_of_another_user_is_not_recovered_under_my_name(target: Target, journals: Path, part: str) -> None:
    foreign, mine = left(target, journals), left(target, journals)
    give_away(foreign / part)
    content = (foreign / "00000001.journal").read_bytes()
    done = recovered(target, journals)
    assert done.streams == [mine.name]
    assert foreign.name not in target.store.heads()
    assert (foreign / "00000001.journal").read_bytes() == content
    assert (foreign / "lock").exists()
    assert "belongs to the user" in reasons(done)
    assert list(orphans(journals)) == []


@as_root
def test_a_file_of_another_user_in_my_spool_is_not_sent_as_mine(target: Target, journals: Path) -> None:
    import hashlib

    folder = left(target, journals)
    (folder / "spool").mkdir()
    theirs = folder / "spool" / hashlib.sha256(b"theirs").hexdigest()
    theirs.write_bytes(b"theirs")
    give_away(theirs)
    done = recovered(target, journals)
    assert done.streams == [folder.name]
    assert list(target.artifacts.list()) == []
    assert theirs.exists()
    assert "belongs to the user" in reasons(done)


@as_root
def test_a_shared_folder_of_journals_serves_each_user(tmp_path: Path) -> None:
    """What belongs to others is no warning of mine, and they can tell their children of their runs."""
    shared = tmp_path / "shared"
    shared.mkdir()
    foreign = shared / str(uuid.uuid4())
    foreign.mkdir()
    (foreign / "lock").touch()
    theirs = shared / f".processes-{os.geteuid()}"
    theirs.mkdir()
    for path in (foreign, foreign / "lock", theirs):
        give_away(path)
    assert [item.is_pending for item in look(shared) if isinstance(item, LeftAlone)] == [False]


@pytest.mark.parametrize(
    "claimed",
    ["22222222-2222-4222-9222-222222222222", "' or status = 'running' or stream_id = '", "../../elsewhere", "", "\0"],
)
def test_a_header_that_names_another_stream_is_refused(target: Target, journals: Path, claimed: str) -> None:
    folder = left(target, journals)
    header = {"format": 1, **header_of(target), "stream_id": claimed, "number": 1, "base": 0}
    with_header(json.dumps(header).encode())(folder)
    done = recovered(target, journals)
    assert done.streams == []
    assert claimed not in target.store.heads()
    assert "stream_id" in reasons(done)


def test_segments_that_contradict_one_another_are_refused(target: Target, journals: Path) -> None:
    folder = left(target, journals)
    header = {"format": 1, **header_of(target), "stream_id": folder.name, "number": 2, "base": 9, "actor": "another"}
    second = make_record(HEADER, json.dumps(header).encode()).ljust(4096, b"\0")
    (folder / "00000002.journal").write_bytes(second)
    done = recovered(target, journals)
    assert done.streams == []
    assert len(done.damaged) == 1


HOSTILE_NAMES = ["' or status = 'running' or stream_id = '", '" or status = "running', "a" * 36, "A" * 8, "stream"]


def test_a_hostile_name_of_a_stream_ends_no_living_run(
    environment: dict[str, str], client: Client, journals: Path
) -> None:
    program = """
        import signal, modeldb_core as modeldb
        with modeldb.start_run(capture=False) as run:
            modeldb.flush()
            print(run.run_id, flush=True)
            signal.pause()
    """
    variables = {**environment, "MODELDB_JOURNAL_DIR": str(journals.parent / "living")}
    with running(program, variables) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        hostile = [left(client, journals, stream_id=name) for name in HOSTILE_NAMES]
        done = recovered(client, journals)
        assert done.streams == done.runs == []
        assert all(folder.is_dir() for folder in hostile)
        assert client.store.get("run", run_id).document["status"] == "running"


# -- files that say which run a process belongs to ---------------------------------------------------------------------


def test_telling_children_of_a_run_writes_through_no_link(
    environment: dict[str, str], journals: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / f"{os.uname().nodename}@1.json").write_text("kept")
    (journals / f".processes-{os.geteuid()}").symlink_to(victim)
    program = "import modeldb_core as m\nwith m.start_run(capture=False) as run: run.log_metric('m', 1)"
    ended(program, environment)
    assert [path.name for path in victim.iterdir()] == [f"{os.uname().nodename}@1.json"]


@pytest.mark.parametrize(
    "content", [b"[1]", b"[" * 100_000, b'{"pid": 1, "open": [], "run": {}}', b"\xff", b'{"run": 3}']
)
def test_a_file_that_says_nonsense_of_a_run_is_not_believed(
    environment: dict[str, str], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "told.json").write_bytes(b"%08x\n" % zlib.crc32(content) + content)
    program = textwrap.dedent("""
        import modeldb_core as m
        from modeldb_core.tracking import blocks
        assert m.current_run() is None and blocks.inherited_id() is None
    """)
    ended(program, environment, MODELDB_RUN=str(tmp_path / "told.json"))


def test_a_pipe_that_is_named_as_the_file_of_a_run_hangs_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "told.json")
    ended(
        "import modeldb_core as m; assert m.current_run() is None", environment, MODELDB_RUN=str(tmp_path / "told.json")
    )


# -- other folders from which files are removed --------------------------------------------------------------------------


def test_temporary_files_of_the_artifact_folder_are_swept_through_no_link(tmp_path: Path) -> None:
    from modeldb_core.backends.blobs.local_files import LocalFiles

    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / ("a" * 32)).write_text("")
    os.utime(victim / ("a" * 32), (0, 0))
    store = tmp_path / "store"
    store.mkdir()
    (store / f".incoming-{os.geteuid()}").symlink_to(victim)
    files = LocalFiles(str(store))
    with pytest.raises(OSError, match="is a link"):
        files.create()
    assert [path.name for path in victim.iterdir()] == ["a" * 32]


def test_only_temporary_files_are_swept(tmp_path: Path) -> None:
    from modeldb_core.backends.blobs.local_files import LocalFiles

    folder = tmp_path / f".incoming-{os.geteuid()}"
    folder.mkdir()
    for name in ("a" * 32, "notes.txt"):
        (folder / name).write_text("")
        os.utime(folder / name, (0, 0))
    name, file = LocalFiles(str(tmp_path)).create()
    file.close()
    assert sorted(path.name for path in folder.iterdir()) == sorted(["notes.txt", Path(name).name])


HOUR_S = 3600


def test_the_upload_of_another_process_is_not_swept_away_while_it_may_go_on(tmp_path: Path) -> None:
    from modeldb_core.backends.blobs.local_files import LocalFiles

    kept = {}
    for hours in (0, 1, 23, 25):
        name, file = LocalFiles(str(tmp_path)).create()
        file.write(b"half")
        file.close()
        kept[hours] = Path(name)
    for hours, path in kept.items():
        os.utime(path, (time.time() - hours * HOUR_S,) * 2)
    files = LocalFiles(str(tmp_path))
    for _ in range(2):
        files.create()[1].close()
    assert [hours for hours, path in kept.items() if path.exists()] == [0, 1, 23]
    files.publish(str(kept[23]), "aa/blob")
    assert (tmp_path / "aa" / "blob").read_bytes() == b"half"


def test_the_upload_of_another_process_to_any_file_system_is_not_swept_away_while_it_may_go_on() -> None:
    import fsspec

    from modeldb_core.backends.blobs.fsspec_files import FsspecFiles

    url = f"memory://{uuid.uuid4().hex}"
    memory, kept = fsspec.filesystem("memory"), {}
    for hours in (0, 1, 23, 25):
        name, file = FsspecFiles(url, {}).create()
        file.close()
        kept[hours] = name
    for hours, name in kept.items():
        memory.store[f"/{name.lstrip('/')}"].created = datetime.now(UTC) - timedelta(hours=hours)
    FsspecFiles(url, {}).create()[1].close()
    assert [hours for hours, name in kept.items() if memory.exists(name)] == [0, 1, 23]


def test_a_replica_is_kept_behind_no_link(tmp_path: Path) -> None:
    cache, victim = tmp_path / "cache", tmp_path / "victim"
    victim.write_text("mine")
    url = f"file://{tmp_path}/bucket?cache_dir={cache}"
    with modeldb.connect(url) as client:
        assert not client.search_runs("")
    for path in cache.rglob("*"):
        if path.is_file():
            path.unlink()
            path.symlink_to(victim)
    with pytest.raises(modeldb.errors.ModelDBError, match="is a link"), modeldb.connect(url) as client:
        client.search_runs("")[:]
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("digest", ["/etc/passwd", "../../../x", "./../../x", "../lock", "lock"])
def test_a_record_that_names_a_file_instead_of_a_digest_reads_no_file(client: Client, digest: str) -> None:
    with client.start_run(capture=False) as run:
        run.log_metric("m", 1)
        (client.writer.spool / digest).resolve().parent.mkdir(parents=True, exist_ok=True)
        with pytest.raises(modeldb.errors.ModelDBError, match="digest|blob"):
            client.blobs.open(digest)


def test_looking_shows_a_few_of_many_names(tmp_path: Path) -> None:
    folder = tmp_path / str(uuid.uuid4())
    folder.mkdir()
    for number in range(10):
        (folder / f"file{number}").touch()
    (found,) = look(tmp_path)
    assert isinstance(found, LeftAlone)
    assert "'file0', 'file1', 'file2' and 7 more" in found.reason
    assert journal_folders.is_set_aside(f"{folder.name}.damaged-2")
    shutil.rmtree(folder)
    assert list(look(tmp_path)) == []
