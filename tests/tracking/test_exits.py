"""How programs end: what is shipped by then, how long that takes, and what ends them."""

from __future__ import annotations

import http.server
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.journal.journal import Journal
from modeldb_core.journal.recovery import orphans
from modeldb_core.log.changes import Head
from modeldb_core.runtime import exits
from modeldb_core.tracking import Client
from tests.services.processes import free_port
from tests.tracking.programs import PATIENCE_S, ended, running
from tests.waiting import wait_until

pytestmark = pytest.mark.interpreter

# -- what is shipped ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "check"),
    [
        ('modeldb.search_runs("tags contains \'old\'")[0].add_tags("production")', "production"),
        ('modeldb.get_run(RUN).comment("looks good")', "comment"),
        ('modeldb.search_runs()[0].set_description("the best one")', "the best one"),
        ("modeldb.get_run(RUN).delete()", "deleted"),
        ('atexit.register(lambda: modeldb.get_run(RUN).add_tags("late"))', "late"),
        ('run = modeldb.get_run(RUN); atexit.register(lambda: run.add_tags("later")); run.note("n")', "later"),
    ],
)
def test_what_a_program_logs_without_starting_a_run_is_shipped_when_it_ends(
    environment: dict[str, str], act: str, check: str
) -> None:
    with modeldb.connect() as client, client.start_run(tags=["old"], capture=False) as run:
        pass
    script = f"import atexit, modeldb_core as modeldb\nRUN = {run.run_id!r}\n{act}\n"
    _, errors = ended(script, environment, MODELDB_FLUSH_INTERVAL_S="3600")
    assert errors == ""
    with modeldb.connect() as client:
        assert not list(orphans(client.settings.journal_dir))
        found = client.store.get("run", run.run_id)
        said = [*found.tags, found.description, "deleted" if found.deleted_at else ""]
        if check == "comment":
            assert [each.document["message"] for each in comments(client)] == ["looks good"]
        else:
            assert check in said


def test_what_a_thread_is_writing_when_the_program_ends_is_written_to_its_end(environment: dict[str, str]) -> None:
    script = """
        import threading
        import modeldb_core as modeldb
        from modeldb_core.tracking.artifacts import scratch_folder

        client = modeldb.connect()
        run = client.start_run(capture=False)
        has_begun, is_ending = threading.Event(), threading.Event()

        def write():  # as autologging writes models
            with scratch_folder() as folder:
                has_begun.set()
                is_ending.wait(60)
                (folder / "model.txt").write_text("whole")
                run.log_artifact(folder, "model")

        def wait(timeout_s):
            is_ending.set()
            thread.join(timeout_s)

        thread = threading.Thread(target=write, daemon=True)
        client.on_flush.append(wait)
        thread.start()
        has_begun.wait(60)
    """
    _, errors = ended(script, environment)
    assert errors == ""
    with modeldb.connect() as client:
        (run,) = client.search_runs()
        assert run.read_artifact("model/model.txt") == b"whole"


def test_a_program_whose_first_use_is_at_its_end_records_a_run_with_a_file(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    script = (
        "import atexit, modeldb_core as modeldb\n"
        "def late():\n"
        "    with modeldb.start_run(name='late') as run:\n"
        "        run.log_metric('loss', 0.5)\n"
        f"        run.log_artifact({str(tmp_path / 'model.bin')!r})\n"
        "atexit.register(late)\n"
    )
    _, errors = ended(script, environment)
    assert errors == ""
    with modeldb.connect() as client:
        (run,) = client.search_runs("name = 'late'")
        assert (run.status, run.metrics) == ("finished", {"loss": 0.5})
        assert run.read_artifact("model.bin") == b"weights"


def test_a_program_may_copy_its_store_and_remove_garbage_when_it_ends(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with modeldb.connect() as client, client.start_run(capture=False) as run:
        run.log_artifact(b"weights", "model.bin")
        stale = client.artifacts.put(io.BytesIO(b"nobody names it"))
        assert client.flush(PATIENCE_S)
        (file,) = (each for each in tmp_path.rglob(stale.digest))
        os.utime(file, (0, 0))
        commands = (["copy", client.settings.url, f"sqlite:///{tmp_path}/copy/modeldb.db"], ["gc", "--grace-days", "0"])
    script = (
        "import atexit, modeldb_core as modeldb\n"
        "from modeldb_core.cli.program import run\n"
        f"for command in {commands!r}:\n"
        "    atexit.register(lambda command=command: print(run(command)))\n"
        "with modeldb.start_run(name='first', capture=False): pass\n"
    )
    output, errors = ended(script, environment)
    assert "Error" not in errors
    assert [line for line in output.splitlines() if line.isdigit()] == ["0", "0"], output + errors
    assert not file.exists()
    with modeldb.connect(f"sqlite:///{tmp_path}/copy/modeldb.db") as client:
        assert client.get_run(run.run_id).read_artifact("model.bin") == b"weights"


def test_what_a_destructor_logs_at_the_very_end_of_the_interpreter_stays_in_the_journal(
    environment: dict[str, str],
) -> None:
    with modeldb.connect() as client, client.start_run(capture=False) as run:
        pass
    script = (
        "import modeldb_core as modeldb\n"
        "class Last:\n"
        "    def __del__(self):\n"
        "        self.run.comment('last words')\n"
        f"last = Last()\nlast.run = modeldb.get_run({run.run_id!r})\n"
    )
    _, errors = ended(script, environment)
    assert "Traceback" not in errors
    with modeldb.connect() as client:
        client.search_runs()  # ships what the dead have left
        wait_until(lambda: comments(client))
        assert [each.document["message"] for each in comments(client)] == ["last words"]


def comments(client: Client) -> tuple[modeldb.entities.Entity, ...]:
    from modeldb_core.queries import Query

    return client.store.find(Query(kind="comment")).entities


FOUR_CLIENTS = """
    import os, modeldb_core as modeldb
    for number in range(4):
        client = modeldb.connect(f"sqlite:///{os.environ['FOLDER']}/{number}.db")
        run = client.start_run(name="one of four", capture=False)
        run.log_metric("m", number, step=0)
        run.log_artifact(b"content", "file.bin")
        if number == 1 and "BROKEN" in os.environ:
            client.on_close.append(lambda: 1 / 0)
            def close(): raise OSError("the store does not close")
            client.store.close = close
"""


@pytest.mark.parametrize(
    ("home", "broken"),
    [
        ("a file", False),
        ("read-only", False),
        ("none", True),
        *(
            pytest.param(home, broken, marks=pytest.mark.thorough)
            for home, broken in (("a file", True), ("read-only", True), ("none", False))
        ),
    ],
)
def test_programs_that_can_keep_no_journal_ship_what_they_log(
    environment: dict[str, str], tmp_path: Path, home: str, broken: bool
) -> None:
    place = tmp_path / "home"
    if home == "a file":
        place.write_text("in the way")
    elif home == "none":
        place = Path("/proc/nowhere")
    else:
        place = Path("/sys/kernel")
    variables = {"FOLDER": str(tmp_path), "HOME": str(place), "XDG_STATE_HOME": f"{place}/state"}
    environment = {name: value for name, value in environment.items() if name != "MODELDB_JOURNAL_DIR"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MODELDB_JOURNAL_DIR", raising=False)
        patch.delenv("MODELDB_ARTIFACT_URL", raising=False)
        environment.pop("MODELDB_ARTIFACT_URL")
        _, errors = ended(FOUR_CLIENTS, environment, **variables, **({"BROKEN": "1"} if broken else {}))
        assert errors.count("The journal cannot be written") == 4
        assert ("does not close" in errors) == broken
        for number in range(4):
            with modeldb.connect(f"sqlite:///{tmp_path}/{number}.db", journal_dir=str(tmp_path / "j")) as client:
                (run,) = client.search_runs()
                assert (run.status, run.history("m").values.tolist()) == ("finished", [number])
                assert run.read_artifact("file.bin") == b"content"


def test_a_block_of_a_client_without_a_journal_ends_like_any_other(
    environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with modeldb.connect(journal_dir=str(tmp_path / "file" / "journals")) as client, client.start_run() as run:
        run.log_metric("m", 1.0, step=0)
    with modeldb.connect() as client:
        assert client.get_run(run.run_id).status == "finished"
    assert len([text for text in caplog.messages if "cannot be written" in text]) == 1


# -- stores that refuse, and stores that are away ----------------------------------------------------------------------


class Refusing(http.server.ThreadingHTTPServer):
    """Answers every request with 401, and counts them."""

    def __init__(self) -> None:
        self.requests = 0
        super().__init__(("127.0.0.1", 0), _Refusal)


class _Refusal(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Refusing)
        self.server.requests += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b'{"code": "unauthorized", "message": "not this token"}'
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    server = Refusing()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_refused_token_costs_a_request_and_not_a_loop(
    environment: dict[str, str], refusing: Refusing, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{refusing.server_port}"
    client = modeldb.connect(url, artifact_url=url, token="rotated", exit_timeout_s=60.0)
    with client.start_run(capture=False) as run:
        run.log_metric("m", 1.0, step=0)
        run.log_artifact(b"content", "file.bin")
        assert client.flush(240) is False
        before = refusing.requests
        for _ in range(50):
            assert client.flush(240) is False
            assert client.flush() is False
            client.settle()
        assert refusing.requests - before <= 4, "some are on their way already"
    client.close()
    assert refusing.requests - before <= 8
    assert len([text for text in caplog.messages if "cannot write to" in text]) == 1
    assert len(list(orphans(client.settings.journal_dir))) == 1


def test_a_store_that_fails_at_once_keeps_its_pauses_while_the_program_waits(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def apply(changes: object) -> None:
        calls.append(time.monotonic())
        raise modeldb.errors.StoreUnavailableError("away")

    with modeldb.connect(flush_interval_s=0.5, exit_timeout_s=0.1) as client:
        client.store.apply = apply  # type: ignore[method-assign]
        run = client.start_run(capture=False)
        run.log_metric("m", 1.0, step=0)
        started = time.monotonic()
        assert client.flush(4) is False
        took = time.monotonic() - started
        assert len(calls) <= 2 + took / 0.5
        count = len(calls)
        for _ in range(20):
            client.settle()
        assert len(calls) - count <= 2
    assert any("it is in the journal" in text for text in caplog.messages)


UNREACHABLE = """
    import os, modeldb_core as modeldb
    for client in [modeldb.connect(os.environ["URL"]) for _ in range(3)]:
        run = client.start_run(capture=False)
        run.log_metric("m", 1.0, step=0)
    print("logged", flush=True)
"""


def test_ctrl_c_ends_a_program_that_waits_for_its_stores_at_once(environment: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    variables = {"URL": url, "MODELDB_ARTIFACT_URL": url, "MODELDB_EXIT_TIMEOUT_S": "100000"}
    with running(UNREACHABLE, environment, **variables) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "logged\n"
        said = ""
        while "Ctrl-C leaves at once" not in said:
            said += process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in rest
    assert rest.count("Nothing is lost") == 3
    assert len(list(orphans(Path(environment["MODELDB_JOURNAL_DIR"])))) == 3


def test_all_clients_of_a_program_share_the_time_at_its_end(environment: dict[str, str]) -> None:
    """Nothing is timed: what is waited for is told to the one who waits, and it is what is left of one time."""
    script = """
        import modeldb_core as modeldb
        from modeldb_core.runtime import exits
        now = [0.0]
        exits.time.monotonic, real = (lambda: now[0]), exits.time.monotonic
        class Waits:
            def __init__(self, cost): self.cost = cost
            def __call__(self): print(exits.time_left(30.0)); now[0] += self.cost
        for cost in (12.0, 25.0, 3.0):
            exits.at_exit(Waits(cost))
    """
    output, _ = ended(script, environment)
    assert output.split() == ["30.0", "27.0", "2.0"]


ONE_AFTER_ANOTHER = """
    import os, modeldb_core as modeldb
    from modeldb_core.journal.shipping import OpenStream
    from modeldb_core.runtime import exits
    real = OpenStream.close
    def close(self, timeout_s, leave):
        print("close", timeout_s)
        try:
            return real(self, 240, leave)
        finally:
            exits._began_at -= 1000  # as if it had taken so long
    OpenStream.close = close
    for number in range(3):
        client = modeldb.connect(f"sqlite:///{os.environ['FOLDER']}/{number}.db", exit_timeout_s=2500)
        client.on_flush.append(lambda timeout_s: print("wait", timeout_s))
        client.start_run(capture=False)
"""


def test_what_one_client_took_of_the_time_at_the_end_the_next_ones_do_not_have(
    environment: dict[str, str], tmp_path: Path
) -> None:
    output, _ = ended(ONE_AFTER_ANOTHER, environment, FOLDER=str(tmp_path))
    told: dict[str, list[float]] = {"wait": [], "close": []}
    for line in output.splitlines():
        told[line.split()[0]].append(float(line.split()[1]))
    for times in told.values():
        assert len(times) == 3
        assert 1500 < times[0] <= 2500
        assert 500 < times[1] <= 1500
        assert 0 < times[2] <= 500


def test_a_stream_that_is_closed_without_its_client_shares_the_time_too(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    client.start_run(capture=False)
    stream = client.writer.ensure_stream()
    monkeypatch.setattr(type(stream), "close", lambda self, timeout_s, leave: told.append(timeout_s))
    with monkeypatch.context() as ending:
        ending.setattr(exits, "_began_at", time.monotonic() - client.settings.exit_timeout_s - 1)
        client.writer.close()
    assert told == [0.0]
    monkeypatch.undo()
    stream.close(PATIENCE_S, lambda: None)


# -- the closing change ------------------------------------------------------------------------------------------------


def head_of(client: Client, run_id: str) -> Head:
    return client.store.heads()[client.store.get("run", run_id).document["stream_id"]]


def test_a_program_that_ends_closes_its_stream_with_a_last_change(environment: dict[str, str]) -> None:
    """By it a lost tail shows, and nobody waits for the lease of a writer that is gone."""
    script = """
        import modeldb_core as modeldb
        run = modeldb.start_run(capture=False)
        run.log_metric("m", 1.0, step=0)
        print(run.run_id)
    """
    output, _ = ended(script, environment)
    with modeldb.connect() as client:
        stream_id = client.store.get("run", output.strip()).document["stream_id"]
        changes = client.store.read_changes(stream_id=stream_id).changes
        assert [change.action for change in changes].count("close") == 1
        assert changes[-1].action == "close"
        assert head_of(client, output.strip()).closed


def test_a_stream_whose_run_goes_on_elsewhere_is_not_closed(client: Client) -> None:
    """A closed stream says that nothing of its runs is open."""
    run = client.start_run(capture=False)
    client.writer.close(PATIENCE_S)  # below the client, which would end the run
    assert client.store.get("run", run.run_id).status == "running"
    assert not head_of(client, run.run_id).closed


def test_a_stream_that_could_not_be_shipped_is_not_closed_before_it_was(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ends = Journal.end_with, []

    def end_with(self: Journal, last: Callable[[], bytes | None]) -> None:
        ends.append(last())
        real(self, lambda: None)

    monkeypatch.setattr(Journal, "end_with", end_with)
    with client.start_run(capture=False):
        pass

    def apply(changes: object) -> None:
        raise modeldb.errors.StoreReadOnlyError("it may only be read")

    client.store.apply = apply  # type: ignore[method-assign]
    client.writer.close(PATIENCE_S)
    assert ends[0] is None


# -- SIGTERM -----------------------------------------------------------------------------------------------------------


def test_sigterm_ends_a_program_that_catches_everything_and_starts_further_runs(environment: dict[str, str]) -> None:
    script = """
        import time, modeldb_core as modeldb
        from modeldb_core.tracking import endings
        endings.GRACE_S, endings.CLOSING_S = 0.5, 240
        while True:
            try:
                with modeldb.start_run(capture=False) as run:
                    print(run.run_id, flush=True)
                    while True:
                        run.log_metric("m", 1.0, step=0)
                        time.sleep(0.01)
            except BaseException:
                pass
    """
    with running(script, environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode in (-signal.SIGTERM, 143)
    with modeldb.connect() as client:
        client.writer.recover(PATIENCE_S)
        assert client.get_run(first).status == "killed"


def test_sigterm_ends_a_program_that_has_set_a_handler_of_its_own_meanwhile(environment: dict[str, str]) -> None:
    script = """
        import signal, time, modeldb_core as modeldb
        from modeldb_core.tracking import endings
        endings.GRACE_S, endings.CLOSING_S = 0.5, 240
        run = modeldb.start_run(capture=False)
        print(run.run_id, flush=True)
        while True:
            try:
                time.sleep(0.01)
            except BaseException:
                signal.signal(signal.SIGTERM, lambda *_: None)
    """
    with running(script, environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 143


def test_sigterm_in_a_callback_at_exit_is_told_by_the_status_and_the_other_callbacks_are_called(
    environment: dict[str, str],
) -> None:
    script = """
        import atexit, time, modeldb_core as modeldb
        run = modeldb.start_run(capture=False)
        atexit.register(lambda: run.log_metric("last", 1.0))
        def wait():
            print(run.run_id, flush=True)
            while True:
                time.sleep(0.01)
        atexit.register(wait)
        print("some text that waits in a buffer")
    """
    with running(script, environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        run_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == -signal.SIGTERM
    with modeldb.connect() as client:
        run = client.get_run(run_id)
        assert (run.status, run.metrics["last"]) == ("killed", 1.0)


def test_sigterm_after_everything_is_shipped_ends_a_program_as_without_modeldb(environment: dict[str, str]) -> None:
    script = """
        import atexit, time
        def wait():
            print("waits", flush=True)
            while True:
                time.sleep(0.01)
        atexit.register(wait)
        import modeldb_core as modeldb
        with modeldb.start_run(capture=False):
            pass
    """
    with running(script, environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
        assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize("when", ["before", "in it"])
def test_sigterm_ends_a_program_with_a_callback_at_exit_that_catches_everything(
    environment: dict[str, str], when: str
) -> None:
    script = f"""
        import atexit, os, signal, time, modeldb_core as modeldb
        from modeldb_core.tracking import endings
        endings.GRACE_S, endings.CLOSING_S = 0.5, 5
        run = modeldb.start_run(capture=False)
        run.log_metric("m", 1.0)
        def stay():
            print(run.run_id, flush=True)
            while True:
                try:
                    time.sleep(0.01)
                except BaseException:
                    pass
        atexit.register(stay)
        if {when == "before"}:
            os.kill(os.getpid(), signal.SIGTERM)
    """
    with running(script, environment) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        if when == "in it":
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode in (-signal.SIGTERM, -signal.SIGALRM)
    with modeldb.connect() as client:
        client.writer.recover(PATIENCE_S)
        run = client.get_run(run_id)
        assert (run.status, run.metrics["m"]) == ("killed", 1.0)


def test_sigterm_ends_a_program_that_waits_for_its_stores_at_once(environment: dict[str, str]) -> None:
    script = f"""
        import modeldb_core as modeldb
        from modeldb_core.runtime import exits
        from modeldb_core.tracking import endings
        exits.SAY_AFTER_S, endings.GRACE_S = 0.1, 100_000
        clients = [modeldb.connect("http://127.0.0.1:{free_port()}", exit_timeout_s=600) for _ in range(2)]
        for client in clients:
            client.start_run(capture=False)
    """
    with running(script, environment) as process:
        assert process.stderr is not None
        while "waits for" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == -signal.SIGTERM
