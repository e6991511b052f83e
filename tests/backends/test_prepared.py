"""Statements of SQLite that were built beforehand: they are those that would be built, and writing needs no others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from modeldb_core.backends._sql import chain, metrics, prepared
from modeldb_core.backends._sql.preparing import as_text, build_all
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.queries import Query


def test_what_is_prepared_is_what_would_be_built(tmp_path: Path) -> None:
    advice = "run: python -m modeldb_core.backends._sql.preparing"
    assert prepared.FILE.read_text("utf-8") == as_text(build_all(tmp_path)), advice


def test_each_function_that_builds_a_statement_is_found_by_its_own_name(tmp_path: Path) -> None:
    assert prepared.find(chain._last_position) != prepared.find(chain._last_stream)
    found = prepared.find(metrics._select)
    assert found is not None
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        assert found[0] == store._database.compiled(metrics._select).text  # type: ignore[attr-defined]

    def _last_position(_database: object) -> None:  # of somebody else, who has a function of that name too
        raise AssertionError

    assert prepared.find(_last_position) is None


_PROGRAM = """
import json, sys
import numpy as np
import modeldb_core as modeldb
folder = sys.argv[1]
for number in range(2):
    with modeldb.connect(f"sqlite:///{folder}/modeldb.db", artifact_url=f"file://{folder}/files", journal_dir=f"{folder}/j"):
        modeldb.start_run(project="churn", capture=False, make_current=False).finish()
        modeldb.flush()  # so that the store knows the containers of what follows, and is asked for them
        with modeldb.start_run(project="churn", tags=["a"], hyperparameters={"lr": 0.1}) as run:
            for step in range(1000):
                run.log_metrics({"loss": 1 / (step + 1)}, step=step)
            run.log_metric("auc", 0.5 + number)
            run.log_artifact(b"1", "bytes")
            run.log_dataset(np.arange(6).reshape(3, 2) + number, name="data")
            modeldb.flush()
            run.log_dataset(np.arange(6).reshape(3, 2) + number, name="data", role="test")
        assert modeldb.get_run(run.run_id).metrics["auc"] == 0.5 + number
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_a_program_that_logs_into_a_file_and_reads_its_runs_imports_no_sqlalchemy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    assert not done.stderr
    assert "sqlalchemy" not in json.loads(done.stdout)
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        found = store.find(Query(filter="metrics.auc > 0", order_by="metrics.auc")).entities
        assert [run.metrics["auc"] for run in found] == [0.5, 1.5]
        versions = store.find(Query("dataset_version", order_by="created_at")).entities
        assert [version.document["version"] for version in versions] == [1, 2], "they have their numbers"


_FIRST_CLIENT = """
import importlib.abc, json, re, sys, threading
import numpy

def is_caller():
    return threading.current_thread() is threading.main_thread()

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        looked_for.update([name] if is_caller() else [])

def compile_pattern(*arguments):
    patterns.extend([arguments] if is_caller() else [])
    return real(*arguments)

looked_for, patterns, real = set(), [], re._compiler.compile
before = set(sys.modules)
sys.meta_path.insert(0, Watch())
re._compiler.compile = compile_pattern
import modeldb_core as modeldb
folder = sys.argv[1]
with modeldb.connect(f"sqlite:///{folder}/modeldb.db", artifact_url=f"file://{folder}/files", journal_dir=f"{folder}/j"):
    with modeldb.start_run(capture=False) as run:
        run.log_metrics({"loss": 0.5}, step=0)
modules = set(sys.modules) - before
print(json.dumps({"modules": sorted(modules), "by_caller": len(modules & looked_for), "patterns": len(patterns)}))
"""


def test_a_first_client_that_logs_and_ends_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_CLIENT, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(done.stdout)
    modules = set(found["modules"])
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    assert {name for name in packages if not name.startswith("modeldb_")} <= {
        "numpy",
        "pcodec",
        "platformdirs",
        "pluggy",
    }
    rooms = {".".join(name.split(".")[:2]) for name in modules}
    assert not rooms & {"modeldb_core.audit", "modeldb_core.repositories", "modeldb_core.reproduction"}
    assert not modules & {
        "modeldb_core.commands.lineage",
        "modeldb_core.tracking.deletion",
        "modeldb_core.provenance.walk",
    }
    assert len(modules) <= 310, "297 of them when this was written, and 447 before SQLAlchemy was left out"
    assert found["by_caller"] <= 295, "274 of them when this was written"
    assert found["patterns"] <= 55, "45 when this was written; those by which secrets are found were 32 more"
