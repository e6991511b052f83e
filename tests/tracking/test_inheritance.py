"""Threads and processes that are started inside the block of a run belong to it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import stat
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.runtime import owned
from modeldb_core.tracking import Client, blocks, inheritance, process_files

pytestmark = pytest.mark.interpreter

METHODS = ["fork", "spawn", "forkserver"]


def current_id() -> str | None:
    run = modeldb.current_run()
    return None if run is None else run.run_id


def log(value: float) -> str | None:
    run = modeldb.current_run()
    if run is not None:
        run.log_metric("loss", value, step=int(value))
        modeldb.flush()
    return None if run is None else run.run_id


def log_child(name: str) -> str:
    run = modeldb.current_run()
    assert run is not None
    with run.start_child(name) as child:
        child.log_metric("m", 1.0)
    return child.run_id


def pool(method: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method))


def test_a_thread_started_inside_a_block_belongs_to_its_run(client: Client) -> None:
    with client.start_run(capture=False) as run, ThreadPoolExecutor(2) as threads:
        assert set(threads.map(lambda _: current_id(), range(4))) == {run.run_id}
        assert threads.submit(current_id).result() == run.run_id
    assert current_id() is None


def test_a_thread_that_was_there_before_does_not(client: Client) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(int).result()
        with client.start_run(capture=False):
            assert threads.submit(current_id).result() is None


def test_a_thread_belongs_to_the_innermost_block_that_it_was_started_in(client: Client) -> None:
    with client.start_run(capture=False), client.start_run(capture=False) as inner, ThreadPoolExecutor(1) as threads:
        assert threads.submit(current_id).result() == inner.run_id


def test_threads_with_runs_of_their_own_keep_them_apart(client: Client) -> None:
    barrier = threading.Barrier(2)

    def train(name: str) -> tuple[str, str | None, str | None]:
        with client.start_run(name=name, capture=False) as run:
            barrier.wait(240)
            with ThreadPoolExecutor(1) as inner:
                found = inner.submit(current_id).result()
            barrier.wait(240)
            return run.run_id, current_id(), found

    with client.start_run(capture=False) as around, ThreadPoolExecutor(2) as threads:
        first, second = threads.map(train, ("a", "b"))
    assert first[0] == first[1]
    assert second[0] == second[1]
    # Either could have started the inner threads: what is certain is the block around both.
    assert {first[2], second[2]} <= {around.run_id, first[0], second[0]}


@pytest.mark.parametrize("method", METHODS)
def test_a_process_pool_started_inside_logs_to_the_run_through_journals_of_its_own(client: Client, method: str) -> None:
    with client.start_run(capture=False) as run, pool(method) as processes:
        assert set(processes.map(log, [1.0, 2.0, 3.0])) == {run.run_id}
    assert run.history("loss").values.tolist() == [1.0, 2.0, 3.0]
    streams = {change.stream_id for change in client.store.read_changes().changes if change.entity_id == run.run_id}
    assert len(streams) == 2


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_that_outlives_a_run_logs_to_the_one_that_is_open(client: Client, method: str) -> None:
    with client.start_run(capture=False) as first:
        processes = pool(method)
        assert processes.submit(current_id).result() == first.run_id
    with processes:
        assert processes.submit(current_id).result() is None
        with client.start_run(capture=False) as second:
            assert processes.submit(log, 1.0).result() == second.run_id
            with client.start_run(capture=False) as inner:
                assert processes.submit(current_id).result() == inner.run_id
            assert processes.submit(current_id).result() == second.run_id
    assert second.history("loss").values.tolist() == [1.0]
    assert not first.metrics


@pytest.mark.parametrize("method", METHODS)
def test_children_started_in_workers_belong_to_the_run(client: Client, method: str) -> None:
    with client.start_run(capture=False) as run, pool(method) as processes:
        children = list(processes.map(log_child, ["a", "b"]))
    found = {child.run_id: child.entity for child in client.search_runs(f"parent_id = '{run.run_id}'")}
    assert set(found) == set(children)
    assert {child.status for child in found.values()} == {"finished"}
    assert {child.experiment_id for child in found.values()} == {run.entity.experiment_id}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_bound_function_reaches_workers_that_were_there_before(client: Client, method: str) -> None:
    with pool(method) as processes:
        assert processes.submit(current_id).result() is None
        with client.start_run(capture=False) as run:
            assert processes.submit(run.bind(log), 1.0).result() == run.run_id
    assert run.history("loss").values.tolist() == [1.0]


def test_a_bound_function_looks_like_the_function(client: Client) -> None:
    run = client.start_run(capture=False, make_current=False)
    bound = run.bind(log)
    assert bound.__name__ == "log"
    assert bound(3.0) == run.run_id
    assert pickle.loads(pickle.dumps(bound))(4.0) == run.run_id
    assert current_id() is None


def test_a_program_started_inside_belongs_to_the_run_and_so_does_what_it_starts(client: Client, tmp_path: Path) -> None:
    inner = "import modeldb_core as m; run = m.current_run(); run.log_metric('inner', 1.0); print(run.run_id)"
    outer = (
        "import subprocess, sys, modeldb_core as m\n"
        f"subprocess.run([sys.executable, '-c', {inner!r}], check=True)\n"
        "with m.current_run().start_child('child') as child:\n"
        f"    subprocess.run([sys.executable, '-c', {inner!r}], check=True)\n"
        f"subprocess.run([sys.executable, '-c', {inner!r}], check=True)\n"
        "print(child.run_id)\n"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MODELDB_FLUSH")}
    with client.start_run(capture=False) as run:
        environ[blocks.VARIABLE] = os.environ[blocks.VARIABLE]
        out = subprocess.run(
            [sys.executable, "-c", outer], capture_output=True, text=True, check=True, env=environ, cwd=tmp_path
        ).stdout.split()
    first, in_child, last, child = out
    assert (first, last) == (run.run_id, run.run_id)
    assert in_child == child
    client.flush()
    assert client.get_run(child).metrics == {"inner": 1.0}
    assert run.metrics == {"inner": 1.0}


def test_a_worker_that_is_killed_loses_nothing_it_logged(client: Client) -> None:
    program = "import os, modeldb_core as m; m.current_run().log_metric('m', 1.0, step=0); os.kill(os.getpid(), 9)"
    with client.start_run(capture=False) as run:
        subprocess.run([sys.executable, "-c", program], check=False)
    from modeldb_core.journal.recovery import recover

    client.writer.recover(240)  # one that is under way may have the journal in hand, or have looked too early
    recover(client.settings.journal_dir, client.writer.store_url, client.store, lambda: client.artifacts)
    assert run.history("m").values.tolist() == [1.0]
    assert run.status == "finished"


def test_neither_the_environment_nor_other_users_see_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_own", None)
    with (
        modeldb.connect(
            f"sqlite:///{tmp_path}/modeldb.db",
            journal_dir=str(tmp_path / "j"),
            token="hush-hush",
            capture_enabled=False,
        ) as client,
        client.start_run() as run,
    ):
        path = Path(os.environ[blocks.VARIABLE])
        assert process_files.read(path)["run"]["run_id"] == run.run_id
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "hush-hush" in path.read_text()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert not [value for value in os.environ.values() if "hush-hush" in value]
    assert "hush-hush" not in path.read_text()


def test_the_files_of_processes_that_are_gone_are_removed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, modeldb_core as m; m.start_run(capture=False).__enter__(); m.flush(); "
        "print(os.environ['MODELDB_RUN'], flush=True); {}"
    )
    ended, killed = (
        Path(subprocess.run([sys.executable, "-c", program.format(end)], capture_output=True, text=True).stdout.strip())
        for end in ("", "os.kill(os.getpid(), 9)")
    )
    assert ended.parent == killed.parent == client.settings.journal_dir / f".processes-{os.geteuid()}"
    assert not ended.exists()
    assert killed.exists()
    monkeypatch.setattr(blocks, "_own", None)
    with client.start_run(capture=False):
        assert not killed.exists()


def test_what_cannot_be_told_to_processes_harms_nobody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(owned.Folder, "replace_file", refuse)
    monkeypatch.setattr(blocks, "_own", None)
    with client.start_run(capture=False) as run:
        assert current_id() == run.run_id


def test_a_block_tells_processes_of_its_run_in_place(client: Client) -> None:
    with client.start_run(capture=False):  # makes the file
        pass
    called: list[str] = []

    def note(_: Any, event: str, function: Any) -> None:
        if event == "c_call" and getattr(function, "__module__", "") == "posix":
            called.append(function.__name__)

    run = client.start_run(capture=False, make_current=False)
    sys.setprofile(note)
    try:
        with run:
            pass
    finally:
        sys.setprofile(None)
    assert called.count("write") == 2  # when it begins, and when it ends
    assert not {"open", "close", "replace", "rename", "mkdir", "listdir"}.intersection(called)


def test_who_reads_while_blocks_come_and_go_reads_whole_answers(client: Client) -> None:
    with client.start_run(capture=False) as outer:
        path, is_over, read = Path(os.environ[blocks.VARIABLE]), threading.Event(), []

        def ask() -> None:
            while not is_over.is_set():
                read.append(process_files.read(path))

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(100):
            with client.start_run(name="x" * 200, capture=False):
                pass
        while not read:
            pass
        is_over.set()
        asking.join()
        assert {len(told["open"]) for told in read} <= {1, 2}
        assert process_files.read(path)["run"]["run_id"] == outer.run_id


def test_a_file_that_somebody_removed_is_written_again(client: Client) -> None:
    with client.start_run(capture=False):
        Path(os.environ[blocks.VARIABLE]).unlink()
    with client.start_run(capture=False) as run:
        assert process_files.read(Path(os.environ[blocks.VARIABLE]))["run"]["run_id"] == run.run_id
    opened = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert f"{os.environ[blocks.VARIABLE]} (deleted)" not in opened


def test_a_descriptor_that_the_program_closed_is_not_written_to(client: Client, tmp_path: Path) -> None:
    with client.start_run(capture=False):
        assert blocks._own is not None
        descriptor = blocks._own._descriptor
    with (tmp_path / "other").open("wb") as file:
        os.dup2(file.fileno(), descriptor)  # which closes it first
        with client.start_run(capture=False) as run:
            assert process_files.read(Path(os.environ[blocks.VARIABLE]))["run"]["run_id"] == run.run_id
        os.close(descriptor)
    assert (tmp_path / "other").read_bytes() == b""


def test_a_file_that_says_nonsense_is_no_run(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "[]", "{", '{"pid": 0, "run": {"run_id": "x"}}', '{"pid": 0, "run": 5}', "\x00"):
        path = tmp_path / "run.json"
        path.write_text(text)
        monkeypatch.setattr(blocks, "_inherited_path", str(path))
        assert current_id() is None


def test_a_program_that_was_started_inside_a_block_ships_what_it_logged_before_it_ends(client: Any):
    program = "import modeldb_core; modeldb_core.current_run().log_metric('x', 1.5, 0)"
    with client.start_run() as run:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=240)
        journals = Path(client.settings.journal_dir).glob("*/*.journal")
        assert {path.parent.name for path in journals} == {client.writer.stream_id}
        assert client.get_run(run.run_id).history("x").values.tolist() == [1.5]


def test_the_block_of_a_handle_that_came_from_another_process_ends_no_run(client: Client) -> None:
    with client.start_run(capture=False) as run:
        with inheritance.attach(inheritance.describe(run)) as attached:
            assert attached.run_id == run.run_id
        assert not attached.has_ended
        client.flush(60)
        assert client.store.get("run", run.run_id).document["status"] == "running"


def test_a_handle_from_another_process_knows_the_name_of_its_project_although_no_store_answers(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client.start_run("churn", capture=False) as run:
        told = inheritance.describe(run)
        client.known_names.clear()  # as in another process
        with monkeypatch.context() as away:
            away.setattr(Client, "_ask_soon", lambda client, question: None)
            inheritance.attach(told).log_dataset([1, 2, 3], "train")
    assert client.flush(240)
    assert client.get_run(run.run_id).entity.datasets["train"]["name"] == "churn/train"
