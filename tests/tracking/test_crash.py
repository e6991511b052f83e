"""What survives: kill -9 at any moment, a full disk, a store that is away, forks, threads, signals, and exits."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.journal import rescue
from modeldb_core.journal.recovery import orphans, recover
from modeldb_core.tracking import Client
from modeldb_core.tracking.inheritance import describe
from tests.tracking.programs import without_waiting
from tests.waiting import wait_until

_started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def leave_no_process() -> Any:
    """End what a failing test leaves running."""
    yield
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    _started.clear()


def start(script: str | Path, environment: dict[str, str], **variables: str) -> subprocess.Popen[str]:
    """Start a script, given as its text or, as workers that are spawned need it, as a file."""
    arguments = [str(script)] if isinstance(script, Path) else ["-c", textwrap.dedent(script)]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _started.append(process)
    return process


def start_command(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    variables = {**os.environ, **environment}
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _started.append(process)
    return process


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, errors = process.communicate(timeout=240)
    assert process.returncode == code, errors
    return output


LOG_AS_FAST_AS_POSSIBLE = """
    import mmap, os, modeldb_core as modeldb
    shared = memoryview(mmap.mmap(os.open(os.environ["COUNTER"], os.O_RDWR), 8)).cast("Q")  # which is never half written
    run = modeldb.start_run(project="kill", name=os.environ["NAME"], capture=False)
    print(run.run_id, flush=True)
    step = 0
    while True:
        run.log_metrics({"a": step, "b": step + 0.5, "c": -step, "d": 1.0, "e": step * 2}, step=step)
        step += 1
        shared[0] = step
"""


@pytest.mark.parametrize("attempt", [*range(5), *(pytest.param(n, marks=pytest.mark.thorough) for n in range(5, 20))])
def test_kill_9_at_a_random_moment_loses_no_call_that_had_returned(
    environment: dict[str, str], tmp_path: Path, attempt: int
) -> None:
    counter = tmp_path / "counter"
    counter.write_bytes(bytes(8))
    process = start(LOG_AS_FAST_AS_POSSIBLE, environment, COUNTER=str(counter), NAME=f"attempt {attempt}")
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    time.sleep(random.Random(attempt).uniform(0.0, 0.8))
    process.kill()
    process.communicate()
    returned = int.from_bytes(counter.read_bytes(), "little")
    with modeldb.connect(lease_s=1.0) as client:
        done = recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
        assert done.runs == [run_id]
        run = client.get_run(run_id)
        assert run.status == "killed"
        assert "ended without a word" in run.notes[0]
        for key, factor, offset in (("a", 1, 0), ("b", 1, 0.5), ("c", -1, 0), ("e", 2, 0)):
            if returned == 0 and key not in run.series:
                continue
            history = run.history(key)
            assert returned <= len(history) <= returned + 1
            assert list(history.steps) == list(range(len(history)))
            assert (history.values == history.steps * factor + offset).all()
    left = [path for path in (tmp_path / "journals").iterdir() if not path.name.startswith(".")]
    assert not left, "the journal of a recovered process is gone"


def test_a_run_whose_process_was_killed_reads_as_lost_elsewhere_and_as_killed_on_its_machine(
    environment: dict[str, str], tmp_path: Path
) -> None:
    counter = tmp_path / "counter"
    counter.write_bytes(bytes(8))
    process = start(LOG_AS_FAST_AS_POSSIBLE, environment, COUNTER=str(counter), NAME="lost", MODELDB_LEASE_S="1")
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    with modeldb.connect(journal_dir=str(tmp_path / "of another machine")) as client:
        wait_until(lambda: client.search_runs("status = 'running' and metrics.a exists"))
        process.kill()
        process.communicate()
        wait_until(lambda: client.get_run(run_id).status != "running")
        assert client.get_run(run_id).status == "lost"
        assert [run.run_id for run in client.search_runs("status = 'lost'")] == [run_id]
    with modeldb.connect() as client:  # which logs nothing
        wait_until(lambda: client.get_run(run_id).status == "killed")


@pytest.mark.parametrize("way", ["get_run", "search_runs", "command", "server"])
def test_a_run_that_was_killed_in_its_first_seconds_is_seen_by_whoever_reads(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(rescue, "READ_PATIENCE_S", 240.0)  # a reader waits so long for what dead processes left
    script = """
        import os, modeldb_core as modeldb
        run = modeldb.start_run(name="short of breath", capture=False)
        run.log_metric("m", 0.5, step=3)
        run.log_artifact(b"content", "file.bin")
        print(run.run_id, flush=True)
        os.kill(os.getpid(), 9)
    """
    with modeldb.connect() as client:  # the store is there
        client.store.heads()
    run_id = finish(start(script, environment, MODELDB_FLUSH_INTERVAL_S="3600"), -signal.SIGKILL).strip()
    if way == "get_run":
        with modeldb.connect() as client:
            assert client.get_run(run_id).status == "killed"
    elif way == "search_runs":
        with modeldb.connect() as client:
            assert [(run.run_id, run.status) for run in client.search_runs()] == [(run_id, "killed")]
    elif way == "command":
        patient = (
            "from modeldb_core.journal import rescue; rescue.READ_PATIENCE_S = 240.0; from modeldb_core import cli; "
        )
        command = [sys.executable, "-c", f"{patient}cli.main()", "runs"]
        output = finish(start_command(command, environment))
        assert "short of breath" in output
        assert "killed" in output
    else:
        from modeldb_core.plugins import load_settings, open_artifacts, open_store
        from modeldb_server.serving import Server, serve

        settings = load_settings(url=environment["MODELDB_URL"])
        settings = replace(settings, plugins={**settings.plugins, "server": {"port": 0}})
        with (
            open_store(settings.url, settings) as store,
            contextlib.closing(open_artifacts(settings.artifact_url, settings)) as artifacts,
        ):
            servers: list[Server] = []
            arguments = (store, artifacts, settings)
            thread = threading.Thread(target=serve, args=arguments, kwargs={"ready": servers.append})
            thread.start()
            try:
                wait_until(lambda: servers and store.heads() and next(iter(store.heads().values())).closed)
                assert store.get("run", run_id).status == "killed"  # type: ignore[attr-defined]
            finally:
                servers[0].stop()
                thread.join(240)
    with modeldb.connect() as client:
        assert client.get_run(run_id).read_artifact("file.bin") == b"content"
        assert not list(orphans(client.settings.journal_dir))


def test_journals_that_cannot_be_shipped_before_reading_are_said_once(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    script = """
        import os, modeldb_core as modeldb
        modeldb.start_run(capture=False)
        os.kill(os.getpid(), 9)
    """
    finish(start(script, environment, MODELDB_FLUSH_INTERVAL_S="3600"), -signal.SIGKILL)
    with modeldb.connect() as client:

        def apply(changes: object) -> None:
            raise modeldb.errors.StoreReadOnlyError("it may only be read")

        client.store.apply = apply  # type: ignore[method-assign]
        for _ in range(3):
            client._rescue._looked_at = -1e9
            assert len(client.search_runs()) == 0
    assert len([text for text in caplog.messages if "1 dead process are not in the store" in text]) == 1


def test_the_first_rows_are_shipped_by_a_thread_that_imports_nothing_before(environment: dict[str, str]) -> None:
    """A thread that imports waits for its turn at each step, for as long as the program computes."""
    script = """
        import importlib.abc, sys, threading
        import modeldb_core as modeldb
        imported, is_shipped = [], threading.Event()
        class Watch(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if threading.current_thread().name == "modeldb-writer" and not is_shipped.is_set():
                    imported.append(name)
        sys.meta_path.insert(0, Watch())
        client = modeldb.connect()
        real = client.store.apply
        def apply(changes):
            real(changes)
            is_shipped.set()
        client.store.apply = apply
        run = client.start_run()  # with all that is found out about the host
        step = 0
        while not is_shipped.is_set():
            run.log_metrics({"m": step}, step=step)
            step += 1
        print(imported)
    """
    assert finish(start(script, environment)).strip() == "[]"


def test_a_recovery_that_is_killed_half_way_repeats_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_bytes(bytes(8))
    variables = {"MODELDB_FLUSH_INTERVAL_S": "3600"}
    process = start(LOG_AS_FAST_AS_POSSIBLE, environment, COUNTER=str(counter), NAME="twice", **variables)
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    while int.from_bytes(counter.read_bytes(), "little") < 300_000:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    returned = int.from_bytes(counter.read_bytes(), "little")
    interrupted = """
        import os, modeldb_core as modeldb
        from modeldb_core.journal.recovery import recover
        client = modeldb.connect()
        applied = []
        real = client.store.apply
        def apply(changes):
            real(changes)
            applied.append(1)
            if len(applied) == int(os.environ["KILL_AFTER"]):
                os.kill(os.getpid(), 9)
        client.store.apply = apply
        recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
    """
    for kill_after in (1, 1, 2):
        finish(start(interrupted, environment, KILL_AFTER=str(kill_after)), -signal.SIGKILL)
    with modeldb.connect() as client:
        recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
        history = client.get_run(run_id).history("a")
        assert returned <= len(history) <= returned + 1
        assert list(history.steps) == list(range(len(history)))


def test_32_processes_log_to_one_sqlite_file_at_once(environment: dict[str, str]) -> None:
    script = """
        import os, modeldb_core as modeldb
        number = int(os.environ["NUMBER"])
        with modeldb.start_run(project="many", experiment=f"e{number % 4}", name=f"run {number}", capture=False) as run:
            run.log_hyperparameters({"number": number})
            for step in range(500):
                run.log_metrics({"loss": number + step, "x": 1.0}, step=step)
            run.log_metric("score", number / 32)
        print("done")
    """
    processes = [start(script, environment, NUMBER=str(number)) for number in range(32)]
    for process in processes:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert without_waiting(errors) == "", "no warning, no lock"
        assert output == "done\n"
    with modeldb.connect() as client:
        runs = client.search_runs("status = 'finished'", project="many", limit=100, order_by="metrics.score")
        assert [run.hyperparameters["number"] for run in runs] == list(range(32))
        for number, run in enumerate(runs):
            assert list(run.history("loss").values) == [number + step for step in range(500)]
        assert len(client.experiments("many")) == 4


def test_training_goes_on_while_the_store_is_away_and_nothing_is_lost(
    environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from modeldb_core.errors import StoreUnavailableError

    with modeldb.connect() as client:
        store = client.store
        real = store.apply
        away = threading.Event()

        def apply(changes: Any) -> None:
            if away.is_set():
                raise StoreUnavailableError("the database is away")
            real(changes)

        store.apply = apply  # type: ignore[method-assign]
        with client.start_run(capture=False) as run:
            run.log_metric("m", 0, step=0)
            assert client.flush(240)
            away.set()
            for step in range(1, 20_000):
                run.log_metric("m", step, step=step)
            assert client.flush(0.5) is False
            away.clear()
            assert client.flush(240)
        assert list(run.history("m").values) == list(range(20_000))
    messages = [record.message for record in caplog.records if record.name == "modeldb"]
    assert len([text for text in messages if "the database is away" in text]) == 1, "it is said once"
    assert len([text for text in messages if "reached" in text]) == 1


@pytest.mark.parametrize("where", ["task", "store"])
def test_a_client_that_is_closed_while_its_thread_is_held_up_begins_nothing_anew(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture, where: str
) -> None:
    inside, gate = threading.Event(), threading.Event()
    client = modeldb.connect(exit_timeout_s=0.0)
    run = client.start_run(capture=False)
    assert client.flush(240)
    (thread,) = [each for each in threading.enumerate() if each.name == "modeldb-writer"]
    opened: list[str] = []
    client.writer.on_stream.append(lambda: opened.append(str(client.writer.stream)))

    def hold_up() -> None:
        inside.set()
        gate.wait(240)

    def task() -> None:
        hold_up()
        client.log_change("update", "run", run.run_id, {"put": {"attributes": {"late": 1}}})

    real = client.store

    def open_store() -> Any:
        hold_up()
        return real

    if where == "task":
        client.writer.submit(task)
    else:
        client.writer.target.open_store = open_store
        run.log_metric("early", 1.0)
    inside.wait(240)
    client.close()
    gate.set()
    thread.join(240)
    assert not thread.is_alive()
    assert opened == []
    assert client.writer.failure is None
    assert not [each for each in caplog.messages if "cannot write" in each]
    said = [each for each in caplog.messages if "could not be recorded" in each and "closed meanwhile" in each]
    assert len(said) == (where == "task")


def test_a_store_that_hangs_delays_neither_logging_nor_the_exit_beyond_its_bound(environment: dict[str, str]) -> None:
    script = """
        import time, threading, modeldb_core as modeldb
        client = modeldb.connect()
        client.store.apply = lambda changes: threading.Event().wait()
        run = client.start_run(name="hung", capture=False)
        for step in range(10_000):
            run.log_metric("m", step, step=step)
        print(run.run_id)
    """
    # The store never answers: without a bound this would not come back.
    output = finish(start(script, environment, MODELDB_EXIT_TIMEOUT_S="0.5"))
    with modeldb.connect() as client:
        recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
        run = client.get_run(output.strip())
        assert list(run.history("m").values) == list(range(10_000))
        assert run.status == "finished", "its end was in the journal"


def mounted_tmpfs(path: Path, size: str) -> bool:
    path.mkdir(exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """Give a disk of 2 MiB."""
    path = tmp_path / "small"
    if not mounted_tmpfs(path, "2m"):
        pytest.fail("mounting a tmpfs needs root: run this test as root, or in `unshare -rm`")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_the_disk_of_the_store_is_full(environment: dict[str, str], small_disk: Path) -> None:
    script = """
        import random, modeldb_core as modeldb
        client = modeldb.connect(exit_timeout_s=1)
        run = client.start_run(name="full", capture=False)
        random.seed(1)
        for step in range(100_000):
            run.log_metrics({"a": random.random(), "b": random.random(), "c": random.random()}, step=step)
            if step % 10_000 == 0:
                client.flush(0.3)
        print(run.run_id)
    """
    url = f"sqlite:///{small_disk}/modeldb.db"
    process = start(script, environment, MODELDB_URL=url)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "is full" in errors or "disk" in errors
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    with modeldb.connect(url) as client:
        recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
        run = client.get_run(output.strip())
        rng = random.Random(1)
        expected = [[rng.random(), rng.random(), rng.random()] for _ in range(100_000)]
        assert run.history("a").values.tolist() == [row[0] for row in expected]
        assert run.status == "finished"


def test_the_disk_of_the_journal_is_full_and_the_run_says_so(environment: dict[str, str], small_disk: Path) -> None:
    script = """
        import modeldb_core as modeldb
        with modeldb.connect(flush_interval_s=0.5) as client:
            real = client.store.apply
            client.store.apply = lambda changes: (_ for _ in ()).throw(modeldb.errors.StoreUnavailableError("away"))
            run = client.start_run(name="no room", capture=False)
            for step in range(200_000):
                run.log_metrics({"a": step, "b": 1.0}, step=step)
            client.store.apply = real
            client.flush(240)
            print(run.run_id)
    """
    output = finish(start(script, environment, MODELDB_JOURNAL_DIR=str(small_disk)))
    with modeldb.connect() as client:
        run = client.get_run(output.strip())
        assert run.history("a").values.tolist() == list(range(200_000)), "memory took what the disk did not"
        assert any("took nothing more" in note for note in run.notes)


def test_values_that_nothing_could_take_are_said_on_the_run(environment: dict[str, str], small_disk: Path) -> None:
    script = """
        import modeldb_core as modeldb
        from modeldb_core.journal import journal
        journal.MAX_VOLATILE_BYTES = 1 << 21
        with modeldb.connect(flush_interval_s=0.5) as client:
            real = client.store.apply
            client.store.apply = lambda changes: (_ for _ in ()).throw(modeldb.errors.StoreUnavailableError("away"))
            run = client.start_run(name="no room", capture=False)
            for step in range(200_000):
                run.log_metrics({"a": step, "b": 1.0}, step=step)
            client.store.apply = real
            client.flush(240)
            run.log_metric("after", 1.0, step=0)
            print(run.run_id)
    """
    output = finish(start(script, environment, MODELDB_JOURNAL_DIR=str(small_disk)))
    with modeldb.connect() as client:
        run = client.get_run(output.strip())
        kept = run.history("a").steps.tolist()
        assert kept == list(range(len(kept))), "what was taken is in order, once"
        lost = next(note for note in run.notes if "were lost" in note)
        assert int(re.sub(r"[^0-9].*", "", lost.replace(",", ""))) == 200_000 - len(kept)
        assert len(run.history("after")) == 1


@pytest.mark.interpreter
def test_a_forked_child_logs_through_a_stream_of_its_own(environment: dict[str, str]) -> None:
    script = """
        import os, modeldb_core as modeldb
        with modeldb.connect() as client:
            with client.start_run(name="forked", capture=False) as run:
                for step in range(100):
                    run.log_metric("before", step, step=step)
                children = []
                for number in range(4):
                    child = os.fork()
                    if child == 0:
                        for step in range(100):
                            run.log_metric(f"child {number}", step, step=step)
                        client.close()
                        os._exit(0)
                    children.append(child)
                for step in range(100):
                    run.log_metric("parent", step, step=step)
                for child in children:
                    assert os.waitpid(child, 0)[1] == 0
            print(run.run_id)
    """
    output = finish(start(script, environment))
    with modeldb.connect() as client:
        run = client.get_run(output.strip())
        assert run.status == "finished"
        for key in ("before", "parent", *(f"child {number}" for number in range(4))):
            assert list(run.history(key).values) == list(range(100))
        assert len(client.store.heads()) >= 5


@pytest.mark.interpreter
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_logs_into_the_run_it_was_given(
    environment: dict[str, str], tmp_path: Path, method: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
            import multiprocessing, modeldb_core as modeldb
            def work(job):
                run, number = job
                for step in range(50):
                    run.log_metric(f"worker {{number}}", step, step=step)
            if __name__ == "__main__":
                with modeldb.connect() as client, client.start_run(capture=False) as run:
                    context = multiprocessing.get_context("{method}")
                    with context.Pool(2) as pool:
                        pool.map(work, [(run, number) for number in range(4)])
                        pool.close()
                        pool.join()
                    print(run.run_id)
        """)
    )
    output = finish(start(program, environment))
    with modeldb.connect() as client:
        recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
        run = client.get_run(output.strip())
        assert run.status == "finished"
        for number in range(4):
            assert list(run.history(f"worker {number}").values) == list(range(50))


@pytest.mark.interpreter
def test_a_signal_handler_may_log_in_the_middle_of_a_log_call(client: Client) -> None:
    taken, inside = 0, False
    with client.start_run(capture=False) as run:

        def handler(number: int, frame: object) -> None:
            nonlocal taken, inside
            if not inside:  # the next signal may come while this one is handled
                inside = True
                run.log_metrics({"handler": taken}, step=taken)
                taken += 1
                inside = False

        run.log_metrics({"handler": -1.0}, step=-1)
        previous = signal.signal(signal.SIGPROF, handler)
        signal.setitimer(signal.ITIMER_PROF, 0.0005, 0.0005)
        try:
            own = 0
            while taken < 300:
                run.log_metrics({"program": own, "same": 1.0}, step=own)
                own += 1
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, previous)
    assert list(run.history("program").values) == list(range(own))
    assert list(run.history("handler").values) == list(range(-1, taken))


def test_threads_log_to_one_run_without_losing_a_point(client: Client) -> None:
    with client.start_run(capture=False) as run:

        def work(number: int) -> None:
            for step in range(2000):
                run.log_metrics({f"thread {number}": step, "shared": number}, step=step)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(8):
        assert list(run.history(f"thread {number}").values) == list(range(2000))
    assert len(run.history("shared")) == 16_000


@pytest.mark.interpreter
@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        ("pass", "finished", 0),
        ("raise ValueError('x')", "failed", 1),
        ("raise SystemExit(3)", "finished", 3),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(30)", "killed", 1),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)", "killed", 143),
    ],
)
@pytest.mark.parametrize("block", [True, False])
def test_a_script_says_how_it_ended(
    environment: dict[str, str], ending: str, status: str, code: int, block: bool
) -> None:
    if block and code == 3:
        status = "failed"  # leaving a block with an error code fails its run
    head = (
        "with modeldb.start_run(capture=False) as run:" if block else "run = modeldb.start_run(capture=False)\nif True:"
    )
    script = f"""
import os, signal, time, modeldb_core as modeldb
signal.signal(signal.SIGINT, signal.default_int_handler)
{head}
    run.log_metric("m", 1.0, step=0)
    print(run.run_id, flush=True)
    {ending}
"""
    process = start(script, environment)
    output, errors = process.communicate(timeout=240)
    expected = {1: (1, -signal.SIGINT, 130)}.get(code, (code,))
    assert process.returncode in expected, errors
    with modeldb.connect() as client:
        run = client.get_run(output.strip())
        assert run.status == status
        assert len(run.history("m")) == 1
        assert not list(orphans(client.settings.journal_dir))


@pytest.mark.interpreter
def test_sigterm_ends_a_program_in_whose_destructor_the_exit_was_lost(environment: dict[str, str]) -> None:
    script = """
        import os, signal, time, modeldb_core as modeldb
        from modeldb_core.tracking import endings
        endings.GRACE_S, endings.CLOSING_S = 0.2, 240
        class Collected:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
        run = modeldb.start_run(capture=False)
        run.log_metric("m", 1.0, step=0)
        print(run.run_id, flush=True)
        Collected()
        time.sleep(600)
    """
    process = start(script, environment)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGTERM, errors
    with modeldb.connect() as client:
        run = client.get_run(output.strip())
        assert run.status == "killed"
        assert len(run.history("m")) == 1


@pytest.mark.interpreter
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_ends_its_workers_and_what_they_had_not_shipped_is_shipped_with_the_program(
    environment: dict[str, str], tmp_path: Path, method: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
            import multiprocessing, signal, modeldb_core as modeldb
            def work(number):
                with modeldb.current_run().start_child(f"worker {{number}}") as run:
                    for step in range(50):
                        run.log_metric("m", step, step=step)
                    return run.run_id, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            if __name__ == "__main__":
                from modeldb_core.journal import rescue
                rescue.PATIENCE_S = 240  # the machine may be busy
                with modeldb.connect() as client, client.start_run(capture=False):
                    with multiprocessing.get_context("{method}").Pool(2) as pool:
                        done = pool.map(work, range(4))
                    assert all(is_default for _, is_default in done)
                    print(*(run_id for run_id, _ in done))
        """)
    )
    run_ids = finish(start(program, environment, MODELDB_FLUSH_INTERVAL_S="3600")).split()
    with modeldb.connect() as client:
        assert not list(orphans(client.settings.journal_dir))
        for run_id in run_ids:
            run = client.get_run(run_id)
            assert run.status == "finished"
            assert list(run.history("m").values) == list(range(50))


@pytest.mark.interpreter
@pytest.mark.parametrize("method", ["fork", "spawn", "os.fork"])
def test_a_run_in_a_worker_has_its_circumstances_although_the_worker_is_killed_right_after_it(
    environment: dict[str, str], tmp_path: Path, method: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
            import multiprocessing, os, modeldb_core as modeldb
            def work():
                with modeldb.start_run() as run:
                    print(run.run_id, flush=True)
                os.kill(os.getpid(), 9)
            if "{method}" == "os.fork":
                work() if os.fork() == 0 else os.wait()
            elif __name__ == "__main__":
                worker = multiprocessing.get_context("{method}").Process(target=work)
                worker.start()
                worker.join()
        """)
    )
    run_id = finish(start(program, environment)).strip()
    with modeldb.connect() as client:
        run = client.get_run(run_id).entity
        assert run.status == "finished"
        assert run.environment["packages"]


def test_circumstances_are_in_the_journal_before_a_store_that_is_away_is_back(environment: dict[str, str]) -> None:
    script = """
        import os, time, modeldb_core as modeldb
        client = modeldb.connect()
        def refuse(changes):
            raise modeldb.errors.StoreUnavailableError("away")
        client.store.apply = refuse
        run = client.start_run()
        stream, deadline = client.writer.ensure_stream(), time.monotonic() + 200
        while stream._tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        print(run.run_id, flush=True)
        os.kill(os.getpid(), 9)
    """
    run_id = finish(start(script, environment), -signal.SIGKILL).strip()
    with modeldb.connect() as client:
        run = client.get_run(run_id).entity
        assert run.status == "killed"
        assert run.environment["packages"]


def test_a_damaged_journal_is_kept_aside_and_what_precedes_the_damage_is_shipped(
    environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = """
        import os, modeldb_core as modeldb
        run = modeldb.start_run(capture=False)
        for step in range(1000):
            run.log_metric("m", step, step=step)
        print(run.run_id, flush=True)
        os.kill(os.getpid(), 9)
    """
    output = finish(start(script, environment, MODELDB_FLUSH_INTERVAL_S="3600"), -signal.SIGKILL)
    (path,) = (tmp_path / "journals").glob("*/*.journal")
    data = bytearray(path.read_bytes())
    end = len(bytes(data).rstrip(b"\0"))
    data[end // 2] ^= 0xFF
    path.write_bytes(data)
    with modeldb.connect() as client:
        done = recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
        assert len(done.damaged) == 1
        assert done.damaged[0].is_dir()
        kept = client.get_run(output.strip()).history("m").steps.tolist()
        assert 0 < len(kept) < 1000
        assert kept == list(range(len(kept)))
        assert client.get_run(output.strip()).status == "killed"
    assert any("damaged" in record.message for record in caplog.records)


def test_a_journal_of_another_store_is_left_alone(environment: dict[str, str], tmp_path: Path) -> None:
    script = """
        import os, modeldb_core as modeldb
        run = modeldb.start_run(capture=False)
        os.kill(os.getpid(), 9)
    """
    finish(start(script, environment, MODELDB_FLUSH_INTERVAL_S="3600"), -signal.SIGKILL)
    with modeldb.connect(f"sqlite:///{tmp_path}/other.db") as client:
        done = recover(client.settings.journal_dir, client.store.url, client.store, lambda: client.artifacts)
        assert done.streams == []
    assert len(list(orphans(tmp_path / "journals"))) == 1


@pytest.mark.parametrize("how", ["attached", "continued"])
def test_nothing_that_is_logged_to_a_run_of_another_process_waits_for_a_store_that_is_locked(
    environment: dict[str, str], settings: dict[str, str], how: str
) -> None:
    with modeldb.connect() as first:
        run = first.start_run("churn", capture=False)
        assert first.flush()
        told = json.dumps(describe(run))
        script = f"""
            import json, sqlite3, sys, modeldb_core as modeldb
            from modeldb_core.tracking.inheritance import attach
            told = json.loads({told!r})
            if {how == "attached"}:
                run = attach(told)
            else:
                run = modeldb.start_run(run_id=told["run_id"])
            lock = sqlite3.connect({settings["url"].removeprefix("sqlite:///")!r})
            lock.execute("BEGIN IMMEDIATE")
            run.log_metrics({{"m": 1.0}}, step=0)
            run.log_hyperparameters({{"a": 1}})
            run.add_tags("x")
            run.log_artifact({{"a": 1}}, "a.json")
            run.log_dataset([1, 2, 3], "train")
            with run.start_child("part") as child:
                child.log_dataset([1, 2, 3], "train")
            run.finish()
            lock.rollback()
            assert run.client.flush(240)
        """
        finish(start(script, environment, MODELDB_EXIT_TIMEOUT_S="10000"))  # what waits, waits longer than any test
        found = first.get_run(run.run_id)
        assert [found.entity.datasets["train"]["name"], *(child.project for child in found.children())] == [
            "churn/train",
            "churn",
        ]
