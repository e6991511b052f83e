"""A run says how it ended: what went wrong, and what was no failure."""

from __future__ import annotations

import asyncio
import bdb
import json
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.tracking import Client, failures


def train(password: str) -> None:
    print(connect(password="hunter2-in-the-code") or password)


def connect(password: str) -> None:
    msg = f"no route to postgresql://anna:{password}@db, Authorization: Bearer abcdefgh12345678xyz"
    raise ConnectionError(msg)


def test_a_failed_run_says_why_and_keeps_no_secret(client: Client) -> None:
    secret = "hunter" + str(2)
    with pytest.raises(ConnectionError), client.start_run(capture=False) as run:
        train(secret)
    failure = client.get_run(run.run_id).failure
    assert failure["type"] == "ConnectionError"
    assert failure["message"] == "no route to postgresql://anna:***@db, Authorization: Bearer ***"
    assert "in train" in failure["traceback"]
    assert 'connect(password="***")' in failure["traceback"]
    assert "hunter2" not in json.dumps(failure)
    assert [found.run_id for found in client.search_runs('failure.type = "ConnectionError"')] == [run.run_id]
    assert [found.run_id for found in client.search_runs('failure.message contains "no route"')] == [run.run_id]


def test_a_failed_run_keeps_no_secret_of_a_message_that_quotes_nothing(client: Client) -> None:
    message = "connection to server failed: host=db user=anna password=hunter2 dbname=x"
    with pytest.raises(OSError, match="failed"), client.start_run(capture=False) as run:
        raise OSError(message)
    run.note(f"Not recorded: {message}")
    found = client.get_run(run.run_id)
    assert found.failure["message"] == message.replace("hunter2", "***")
    assert f"OSError: {message.replace('hunter2', '***')}" in found.failure["traceback"]
    assert "hunter2" not in str(found.notes)


def test_a_run_without_failure_says_none(client: Client) -> None:
    with client.start_run(capture=False) as run:
        pass
    assert client.get_run(run.run_id).failure == {}


def test_a_run_that_is_continued_is_no_failure_any_more(client: Client) -> None:
    with pytest.raises(ZeroDivisionError), client.start_run(capture=False) as run:
        print(1 / 0)
    with client.start_run(run_id=run.run_id):
        pass
    again = client.get_run(run.run_id)
    assert (again.status, again.failure) == ("finished", {})


def test_a_run_that_is_ended_by_hand_takes_the_exception(client: Client) -> None:
    by_error, by_status, elsewhere = (client.start_run(capture=False) for _ in range(3))
    try:
        print({}["missing"])
    except KeyError as error:
        by_error.finish(error=error)
        by_status.finish("failed")
    elsewhere.finish("failed")
    assert [client.get_run(run.run_id).status for run in (by_error, by_status, elsewhere)] == ["failed"] * 3
    assert client.get_run(by_error.run_id).failure["type"] == "KeyError"
    assert client.get_run(by_status.run_id).failure["message"] == "'missing'"
    assert client.get_run(elsewhere.run_id).failure == {}


def test_a_program_that_breaks_says_why_in_its_runs_without_a_block(environment: dict[str, str]) -> None:
    program = "import modeldb_core as modeldb\nmodeldb.start_run(capture=False)\nint('x')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 1
    with modeldb.connect() as client:
        (run,) = client.search_runs()
        assert run.status == "failed"
        assert run.failure["message"] == "invalid literal for int() with base 10: 'x'"


class _HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "error",
    [
        _HostileError(),
        ValueError("lone \ud800 surrogate \0 and \x1b[31mcolour"),
        ValueError("x" * 1_000_000),
        KeyError("a"),
        OSError(2, "no such file", "a.csv"),
        ExceptionGroup("several", [ValueError("a"), ExceptionGroup("more", [KeyError("b")])]),
    ],
)
def test_whatever_was_raised_can_be_recorded(client: Client, error: Exception) -> None:
    with pytest.raises(type(error)), client.start_run(capture=False) as run:
        raise error
    found = client.get_run(run.run_id)
    assert found.status == "failed"
    assert type(error).__name__ in found.failure["type"]
    assert sum(map(len, found.failure.values())) < 100_000
    assert "\x1b" not in found.failure["message"]


def test_an_endless_recursion_is_a_short_failure(client: Client) -> None:
    def deeper() -> None:
        deeper()

    with pytest.raises(RecursionError), client.start_run(capture=False) as run:
        deeper()
    assert len(client.get_run(run.run_id).failure["traceback"]) <= failures.MAX_TRACEBACK + 100


class EarlyStop(Exception):
    """Not an error."""


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> type[Exception]:
    monkeypatch.setattr(failures, "_registered", dict(failures._registered))
    return EarlyStop


def known_as(name: str, base: type[BaseException] = Exception, **attributes: Any) -> BaseException:
    """Return an exception that has the name of another library's."""
    module, _, cls = name.rpartition(".")
    error: BaseException = types.new_class(cls, (base,), exec_body=lambda body: body.update(__module__=module))()
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "killed"),
        (asyncio.CancelledError(), "killed"),
        (bdb.BdbQuit(), "killed"),
        (SystemExit(), "finished"),
        (SystemExit(0), "finished"),
        (SystemExit(False), "finished"),
        (SystemExit("no data"), "failed"),
        (SystemExit(2), "failed"),
        (SystemExit(130), "killed"),
        (SystemExit(143), "killed"),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), "killed"),
        (BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [KeyboardInterrupt()])]), "killed"),
        (BaseExceptionGroup("", [SystemExit(0)]), "finished"),
        (BaseExceptionGroup("", [asyncio.CancelledError(), ValueError()]), "failed"),
        (known_as("optuna.exceptions.TrialPruned"), "pruned"),
        (ExceptionGroup("", [known_as("optuna.exceptions.TrialPruned")]), "pruned"),  # type: ignore[list-item]
        (known_as("click.exceptions.Abort", RuntimeError), "killed"),
        (known_as("click.exceptions.Exit", RuntimeError, exit_code=0), "finished"),
        (known_as("click.exceptions.Exit", RuntimeError, exit_code=1), "failed"),
        (known_as("lightning.pytorch.utilities.exceptions.SIGTERMException", SystemExit), "killed"),
        (StopIteration(), "failed"),
    ],
    ids=repr,
)
def test_an_exception_says_how_the_run_ended(client: Client, error: BaseException, status: str) -> None:
    run = client.start_run(capture=False)
    with pytest.raises(type(error)), run:
        raise error
    found = client.get_run(run.run_id)
    assert found.status == status
    assert bool(found.failure) == (status == "failed")
    assert [hit.run_id for hit in client.search_runs(f'status = "{status}"')] == [run.run_id]


def test_any_exception_can_be_registered_as_an_end(client: Client, stops: type[Exception]) -> None:
    class Patience(stops):  # type: ignore[misc,valid-type]
        """A kind of it."""

    modeldb.register_ending(stops)
    with pytest.raises(stops), client.start_run(capture=False) as run:
        raise stops
    assert client.get_run(run.run_id).status == "finished"
    modeldb.register_ending(stops, "pruned")
    with pytest.raises(stops), client.start_run(capture=False) as run:
        raise Patience
    assert client.get_run(run.run_id).status == "pruned"


def test_what_is_no_exception_or_no_end_is_not_registered() -> None:
    with pytest.raises(InvalidTypeError, match="optuna"):
        modeldb.register_ending("TrialPruned")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="finished, failed, killed, pruned"):
        modeldb.register_ending(ValueError, "running")


@pytest.mark.parametrize("code", [0, 1])
def test_an_exit_that_comes_of_ctrl_c_kills_the_run(client: Client, code: int) -> None:
    with pytest.raises(SystemExit), client.start_run(capture=False) as run:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(code)  # as Lightning's trainer does
    assert client.get_run(run.run_id).status == "killed"


@pytest.mark.usefixtures("no_running_loop")
def test_ctrl_c_in_asyncio_kills_the_run_of_the_task(client: Client) -> None:
    found = []

    async def main() -> None:
        with client.start_run(capture=False) as run:
            found.append(run)
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert client.get_run(found[0].run_id).status == "killed"


@pytest.mark.usefixtures("no_running_loop")
def test_ctrl_c_in_a_task_group_kills_the_runs_of_all_its_tasks(client: Client) -> None:
    found = []

    async def train_one() -> None:
        with client.start_run(capture=False) as run:
            found.append(run)
            if len(found) == 4:
                asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            await asyncio.Event().wait()

    async def main() -> None:
        with client.start_run(capture=False) as run:
            found.append(run)
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(train_one())

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert [client.get_run(run.run_id).status for run in found] == ["killed"] * 4


@pytest.mark.usefixtures("no_running_loop")
def test_one_task_that_fails_fails_its_run_and_that_of_the_group(client: Client) -> None:
    found = {}

    async def breaks(other: asyncio.Event) -> None:
        with client.start_run(capture=False) as found["broken"]:
            await other.wait()
            print(1 / 0)

    async def waits(other: asyncio.Event) -> None:
        with client.start_run(capture=False) as found["stopped"]:
            other.set()
            await asyncio.Event().wait()

    async def main() -> None:
        other = asyncio.Event()
        with client.start_run(capture=False) as found["all"]:
            async with asyncio.TaskGroup() as group:
                group.create_task(breaks(other))
                group.create_task(waits(other))

    with pytest.raises(ExceptionGroup):
        asyncio.run(main())
    statuses = {name: client.get_run(run.run_id).status for name, run in found.items()}
    assert statuses == {"broken": "failed", "stopped": "killed", "all": "failed"}


def test_a_generator_that_is_not_read_to_its_end_finishes_its_run(client: Client) -> None:
    runs = []

    def epochs() -> Iterator[int]:
        with client.start_run(capture=False) as run:
            runs.append(run)
            yield from range(10)

    for epoch in (generator := epochs()):
        if epoch == 2:
            break
    generator.close()  # type: ignore[attr-defined]
    assert client.get_run(runs[0].run_id).status == "finished"


def test_an_exit_in_the_middle_of_a_fit_finishes_nothing(stops: type[Exception]) -> None:
    assert failures.interruption_of(SystemExit()).status == "killed"
    assert failures.interruption_of(SystemExit(1)).status == "failed"
    assert failures.interruption_of(KeyboardInterrupt()).status == "killed"
    modeldb.register_ending(stops)
    assert failures.interruption_of(stops()).status == "finished"
