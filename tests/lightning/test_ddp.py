"""Two processes that train together on processors: one run, no deadlock, and what each of them is asked to record."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import modeldb_core as modeldb

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys, logging
from datetime import timedelta
import torch, modeldb_core as modeldb
import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from modeldb_lightning import ModelDBCallback, ModelDBLogger, autolog, options
from tests.lightning.small import loader, make_model, make_trainer

kind, folder, strategy = sys.argv[1:4]
Small = type(make_model(pl))

class Chatty(Small):
    def on_fit_start(self):
        # As users do, on every rank: what the others get takes anything.
        for logger in self.trainer.loggers:
            run = logger.experiment
            if self.trainer.global_rank:
                run.config.update({"a": 1}, allow_val_change=True)
                run["metrics"].append(1)
                with run.group("x") as group:
                    group.add(1)
            else:
                run.set_attributes({"rank": 0})

def main():
    given = {"log_system_metrics": True, "project": "p"}
    arguments = {}
    if kind == "logger":
        arguments["logger"] = ModelDBLogger(**given)
    elif kind == "callback":
        arguments["callbacks"] = [ModelDBCallback(**given)]
    else:
        autolog(**given)
    timeout = {"timeout": timedelta(seconds=60)}
    trainer = make_trainer(pl, folder, devices=2, strategy=DDPStrategy(process_group_backend="gloo", start_method=strategy, **timeout), **arguments)
    model = Chatty()
    trainer.fit(model, loader(8), loader(8))
    if strategy == "popen":
        trainer.test(model, loader(8), verbose=False)
    print(f"rank {trainer.global_rank} is done")

if __name__ == "__main__":
    main()
"""


SCRIPT_WITH_A_RUN = """
import sys
from datetime import timedelta
import modeldb_core as modeldb
import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from modeldb_lightning import ModelDBCallback, ModelDBLogger, autolog
from tests.lightning.small import loader, make_model, make_trainer

Small = type(make_model(pl))

class Mine(Small):
    def on_train_end(self):
        modeldb.current_run().log_metric("rank", self.trainer.global_rank)

def main(kind, folder, strategy):
    arguments = {}
    if kind == "logger":
        arguments["logger"] = ModelDBLogger()
    elif kind == "callback":
        arguments["callbacks"] = [ModelDBCallback()]
    else:
        autolog()
    with modeldb.start_run(project="p", name="mine", tags=["a"]) as run:
        run.log_hyperparameters({"batch": 4})
        with run.start_child("preparation") as child:
            child.log_metric("rows", 32)
        strategy = DDPStrategy(process_group_backend="gloo", start_method=strategy, timeout=timedelta(seconds=60))
        trainer = make_trainer(pl, folder, devices=2, strategy=strategy, **arguments)
        trainer.fit(Mine(), loader(4))
        run.log_metric("final", 0.5)
        run.log_artifact({"a": 1}, "report.json")
        run.add_tags("done")
        assert run.metrics["final"] == 0.5
    assert run.status == "finished"
    print(f"rank {trainer.global_rank} is done")

if __name__ == "__main__":
    main(*sys.argv[1:4])
"""


def train(
    tmp_path: Path,
    kind: str,
    url: str,
    *,
    start: str = "popen",
    program: str = PROGRAM,
    launcher: tuple[str, ...] = (),
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "train.py"
    script.write_text(program)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "MODELDB_URL": url,
        "MODELDB_JOURNAL_DIR": str(tmp_path / "journals"),
        "MODELDB_CAPTURE_ENABLED": "false",
        "GLOO_SOCKET_IFNAME": "lo",
        "MASTER_ADDR": "127.0.0.1",
        **variables,
    }
    command = [sys.executable, "-W", "ignore", *launcher, str(script), kind, str(tmp_path / "root"), start]
    return subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.parametrize("kind", ["logger", pytest.param("autolog", marks=pytest.mark.thorough)])
def test_it_is_one_run_with_the_metrics_of_each_process(kind, tmp_path):
    url = f"sqlite:///{tmp_path}/modeldb.db"
    done = train(tmp_path, kind, url)
    assert done.returncode == 0, done.stderr
    assert "rank 0 is done" in done.stdout
    assert "rank 1 is done" in done.stdout
    with modeldb.connect(url, journal_dir=str(tmp_path / "journals")) as client:
        (run,) = (each.entity for each in client.search_runs(limit=10))
        assert [int(step) for step in client.get_run(run.run_id).history("loss").steps] == list(range(8))
    assert run.status == "finished"
    assert run.series["test_loss"].count == 1
    assert {"modeldb/system/rank0/memory_bytes", "modeldb/system/rank1/memory_bytes"} <= run.series.keys()
    assert run.attributes["trainer"]["world_size"] == 2
    assert len([name for name in run.artifacts if name.endswith(".ckpt")]) == 1


def test_processes_that_lightning_spawns_log_one_run(tmp_path):
    url = f"sqlite:///{tmp_path}/modeldb.db"
    done = train(tmp_path, "logger", url, start="spawn")
    assert done.returncode == 0, done.stderr
    with modeldb.connect(url, journal_dir=str(tmp_path / "journals")) as client:
        (run,) = (each.entity for each in client.search_runs(limit=10))
    assert run.series["loss"].count == 8


@pytest.mark.parametrize(
    ("kind", "start", "launcher"),
    [
        pytest.param("logger", "popen", (), marks=pytest.mark.thorough),
        ("callback", "spawn", ()),
        ("autolog", "popen", ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")),
    ],
)
def test_a_run_that_the_script_starts_is_one_run_however_many_processes_train(kind, start, launcher, tmp_path):
    url = f"sqlite:///{tmp_path}/modeldb.db"
    done = train(tmp_path, kind, url, start=start, program=SCRIPT_WITH_A_RUN, launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert "rank 0 is done" in done.stdout
    with modeldb.connect(url, journal_dir=str(tmp_path / "journals")) as client:
        child, run = (each.entity for each in client.search_runs(limit=10))
    assert (run.name, child.name, child.parent_id) == ("mine", "preparation", run.run_id)
    assert (run.status, sorted(run.tags)) == ("finished", ["a", "done"])
    assert run.hyperparameters["batch"] == 4
    assert (run.metrics["final"], run.metrics["rank"]) == (0.5, 0)
    assert run.series["loss"].count == 4


def test_nobody_waits_for_a_store_that_is_down(tmp_path):
    """Nothing listens at the store's address, and every process has to find the end of the training."""
    folder = tmp_path / "gone"
    folder.mkdir()
    url = f"sqlite:///{folder}/modeldb.db"
    (folder / "modeldb.db").write_text("this is no database, and stays none")
    done = train(tmp_path, "callback", url, MODELDB_EXIT_TIMEOUT_S="0.1")
    assert done.returncode == 0, done.stderr
    assert "rank 0 is done" in done.stdout
    assert "rank 1 is done" in done.stdout
