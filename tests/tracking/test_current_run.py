"""The run that a program is in, with and without a block, and what is logged to it without its handle."""

from __future__ import annotations

import asyncio
import contextvars
import io
import sys
import threading
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.errors import InvalidTypeError, NoRunError
from modeldb_core.tracking import Client, announcement


def current_id() -> str | None:
    run = modeldb.current_run()
    return None if run is None else run.run_id


def in_thread(work: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_run_without_a_block_is_the_current_run_until_it_ends(client: Client) -> None:
    run = client.start_run(capture=False)
    assert current_id() == run.run_id
    assert contextvars.Context().run(current_id) == run.run_id, "as in the next cell of a notebook"
    assert in_thread(current_id) == run.run_id
    run.finish()
    assert current_id() is None
    assert in_thread(current_id) is None


def test_the_run_before_is_current_again_when_one_without_a_block_ends(client: Client) -> None:
    first = client.start_run(capture=False)
    second = client.start_run(capture=False)
    assert current_id() == second.run_id
    second.finish()
    assert current_id() == first.run_id
    first.finish()
    with client.start_run(capture=False) as outer:
        inner = client.start_run(capture=False)
        assert current_id() == inner.run_id
        inner.finish()
        assert current_id() == outer.run_id
        with client.start_run(capture=False) as innermost:
            assert current_id() == innermost.run_id
        assert current_id() == outer.run_id
    assert current_id() is None


def test_a_run_that_outlives_the_block_around_it_stays_current(client: Client) -> None:
    with client.start_run(capture=False):
        run = client.start_run(capture=False)
    assert current_id() == run.run_id
    run.finish()
    assert current_id() is None


def test_a_run_that_is_taken_into_a_block_later_is_current_until_the_block_ends(client: Client) -> None:
    run = client.start_run(capture=False)
    with run:
        assert current_id() == run.run_id
    assert current_id() is None


def test_threads_that_were_there_before_keep_their_own(client: Client) -> None:
    asked, answered, found = threading.Event(), threading.Event(), []

    def work() -> None:
        asked.wait(60)
        found.append(current_id())
        answered.set()

    thread = threading.Thread(target=work)
    thread.start()
    run = client.start_run(capture=False)
    asked.set()
    answered.wait(60)
    thread.join()
    run.finish()
    assert found == [None]


@pytest.mark.usefixtures("no_running_loop")
def test_tasks_that_start_runs_without_blocks_keep_them_apart(client: Client) -> None:
    async def train(barrier: asyncio.Barrier) -> bool:
        run = client.start_run(capture=False)
        await barrier.wait()
        is_own = current_id() == run.run_id
        await barrier.wait()
        run.finish()
        return is_own

    async def main() -> list[bool]:
        barrier = asyncio.Barrier(3)
        return await asyncio.gather(*(train(barrier) for _ in range(3)))

    assert asyncio.run(main()) == [True] * 3
    assert current_id() is None


def test_children_and_found_runs_are_no_current_runs(client: Client) -> None:
    with client.start_run(capture=False) as run:
        child = run.start_child("fold")
        client.get_run(run.run_id)
        assert current_id() == run.run_id
        child.finish()
    found = client.start_run(capture=False, make_current=False)
    assert current_id() is None
    found.finish()


def test_the_module_logs_to_the_current_run(client: Client) -> None:
    run = modeldb.start_run("churn", capture=False)
    modeldb.log_metric("loss", 0.5, step=1)
    modeldb.log_metrics({"auc": 0.9})
    modeldb.log_params({"lr": 0.1})
    modeldb.log_hyperparameters({"depth": 3})
    modeldb.set_attributes({"team": "growth"})
    modeldb.log_artifact(b"bytes", "raw.bin")
    modeldb.log_text("# Report", "report.md")
    modeldb.log_dataset([1, 2, 3])
    modeldb.set_tags("a", "b")
    modeldb.add_tags("c")
    modeldb.set_description("a trial")
    run.finish()
    found = client.get_run(run.run_id)
    assert found.metrics == {"loss": 0.5, "auc": 0.9}
    assert found.hyperparameters == {"lr": 0.1, "depth": 3}
    assert (found.attributes, found.tags, found.description) == ({"team": "growth"}, ("a", "b", "c"), "a trial")
    assert found.read_artifact("report.md") == b"# Report"
    assert set(found.entity.datasets) == {"train"}


@pytest.mark.parametrize(
    "call",
    [
        lambda: modeldb.log_metric("loss", 1.0),
        lambda: modeldb.log_params({}),
        lambda: modeldb.log_model(object()),
        lambda: modeldb.set_tags("a"),
    ],
)
def test_without_a_run_the_module_says_how_to_start_one(client: Client, call: Any) -> None:
    with pytest.raises(NoRunError, match="start_run"):
        call()
    assert len(client.search_runs()) == 0


def test_a_text_is_an_artifact_only_as_text(client: Client) -> None:
    with client.start_run(capture=False) as run:
        with pytest.raises(InvalidTypeError, match="expected text"):
            run.log_text(b"x", "a.txt")  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="expected a list"):
            run.load_model(trusted=True)  # type: ignore[arg-type]


class Terminal(io.StringIO):
    """What a person reads."""

    def isatty(self) -> bool:
        return True


def as_first_run(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> io.StringIO:
    """Let the next run be the first of the process, which writes its errors into ``stream``."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(announcement, "_said_in", None)
    return stream


def test_the_first_run_of_a_program_says_once_where_it_can_be_seen(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = as_first_run(monkeypatch, Terminal())
    with client.start_run(name="first", capture=False) as run:
        pass
    with client.start_run(name="second", capture=False):
        pass
    (line,) = terminal.getvalue().splitlines()
    assert "first" in line
    assert run.url in line
    assert f" ui --url {client.settings.url}" in line
    assert capsys.readouterr().out == ""


def test_nothing_is_said_into_pipes_and_files_or_where_it_is_switched_off(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = as_first_run(monkeypatch, Terminal())
    with modeldb.connect(announce=False) as client, client.start_run(capture=False):
        pass
    assert terminal.getvalue() == ""
    pipe = as_first_run(monkeypatch, io.StringIO())
    with modeldb.connect() as client, client.start_run(capture=False):
        pass
    assert pipe.getvalue() == ""


def test_a_run_has_an_address(client: Client, environment: dict[str, str]) -> None:
    with client.start_run(capture=False) as run:
        assert run.url == f"http://127.0.0.1:5000/runs/{run.run_id}"
    client.flush()
    with modeldb.connect(ui_url="https://runs.example.org/team/") as other:
        assert other.get_run(run.run_id).url == f"https://runs.example.org/team/runs/{run.run_id}"
    assert client.url_of("x").endswith("/runs/x")
