"""Of the processes that train together, one records."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.errors import RunFinishedError
from modeldb_core.tracking import blocks
from modeldb_core.tracking.ranks import is_first

TORCHRUN = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
RELAUNCHED = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "NODE_RANK": "0", "LOCAL_RANK": "1"}
SECOND_NODE = {"MASTER_ADDR": "10.0.0.1", "NODE_RANK": "1", "LOCAL_RANK": "0"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCHRUN, *RELAUNCHED):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def client(tmp_path: Path) -> Any:
    with modeldb.connect("memory://", journal_dir=str(tmp_path), capture_enabled=False) as connected:
        yield connected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (TORCHRUN, False),
        (RELAUNCHED, False),
        (SECOND_NODE, False),
        (TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0"}, True),
        (TORCHRUN | {"RANK": "0"}, True),  # RANK counts in all machines together, LOCAL_RANK in one
        (TORCHRUN | {"WORLD_SIZE": "1"}, True),
        ({"RANK": "1"}, True),  # no address to meet at: some other program's variable
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, True),
        ({}, True),
    ],
)
def test_what_launchers_say_about_a_process(variables, expected, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first() is expected


@pytest.mark.parametrize("variables", [TORCHRUN, RELAUNCHED])
def test_the_other_processes_of_a_training_may_log_anything_and_leave_no_run(variables, client, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with modeldb.start_run(project="p", name="mine", tags=["a"], hyperparameters={"a": 1}) as run:
        assert modeldb.current_run() is run
        run.log_metrics({"loss": 0.5}, 1)
        run.log_hyperparameters({"lr": 0.1})
        run.log_artifact({"a": 1}, "a.json")
        run.log_dataset([1, 2, 3])
        run.add_tags("b")
        run.note("a note")
        run.comment("a comment")
        with run.start_child("part") as child:
            child.log_metric("x", 1)
        pickle.loads(pickle.dumps(run)).log_metric("y", 2)
        assert (run.name, run.status, run.metrics["loss"]) == ("mine", "running", 0.5)
        assert run.hyperparameters == {"a": 1, "lr": 0.1}
    assert (run.status, run.has_ended) == ("finished", True)
    with pytest.raises(RunFinishedError):
        run.log_metric("late", 1)
    modeldb.start_run(run_id=run.run_id).finish()
    assert client.flush(60)
    assert list(client.search_runs()) == []
    assert client.projects() == ()


def test_each_process_can_have_a_run_of_its_own_on_request(client, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with modeldb.start_run(name="member 1", every_rank=True) as run:
        run.log_metric("x", 1)
    assert [(found.name, found.metrics["x"]) for found in client.search_runs()] == [("member 1", 1)]


def test_a_process_that_a_rank_starts_records_nothing_in_its_run(monkeypatch):
    told = {"run": {"run_id": "r", "fields": {}, "names": {}, "settings": {}}}
    monkeypatch.setattr(blocks, "_told", lambda: told)
    assert blocks.inherited() == told["run"]
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert blocks.inherited() == {**told["run"], "is_silent": True}


def test_a_run_of_another_rank_that_has_ended_is_no_open_block(client, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    run = client.start_run(project="p")
    assert modeldb.current_run() is run
    run.finish()
    assert modeldb.current_run() is None
    assert run not in [block.run for block in blocks._blocks]
