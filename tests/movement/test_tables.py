"""Runs and points as Parquet: other engines read them, without ModelDB."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.cli.program import run
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.movement.parquet import COLUMNS
from modeldb_core.movement.tables import write_tables
from modeldb_core.plugins import open_store
from modeldb_core.queries import Query
from modeldb_core.testing.scene import Scene

DOCS = Path(__file__).parents[2] / "docs" / "tables.md"
NAN = float("nan")


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        for prefix in ("churn", "fraud"):
            scene = Scene(store)
            for number, lr in enumerate((0.1, 0.01)):
                run_id = scene.run(
                    f"{prefix} {number}",
                    status="finished",
                    hyperparameters={"lr": lr, "layers": [1, 2], "opt": "adam"},
                    metrics={"auc": 0.5 + number / 10, "n": NAN, "top": math.inf, "report": "good"},
                    tags=["nightly", "é"],
                )
                scene.writer.append(run_id, {"loss": [3.0, NAN, 1.0]}, steps=[1, 2, 2])
            scene.ship()
        yield store


@pytest.fixture
def tables(store: Any, tmp_path: Path) -> Path:
    write_tables(store, str(tmp_path / "tables"))
    return tmp_path / "tables"


def manifest(tables: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tables / "_manifest.json").read_bytes())
    return found


def files_in(tables: Path) -> set[str]:
    return {path.relative_to(tables).as_posix() for path in tables.rglob("*.parquet")}


def named_in(tables: Path) -> dict[str, Any]:
    return {each["path"]: each for table in manifest(tables)["tables"].values() for each in table["files"]}


def test_the_questions_of_the_page_are_answered_by_duckdb(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tables.parent)
    best, hourly = [
        part for part in re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL) if "read_parquet" in part
    ]
    rows = duckdb.sql(best).fetchall()
    assert [auc for _, auc, _ in rows] == [0.6, 0.6, 0.5, 0.5]
    assert sorted(rows)[:2] == [("churn 0", 0.5, 0.1), ("churn 1", 0.6, 0.01)]
    assert [(key, mean, points) for key, _, mean, points in duckdb.sql(hourly).fetchall()] == [("loss", 2.0, 8)]


def test_tables_hold_what_the_store_shows(store: Any, tables: Path) -> None:
    runs = pl.read_parquet(f"{tables}/runs/")
    assert set(runs.columns) == {*COLUMNS["runs"], "project_id"}
    for row in runs.iter_rows(named=True):
        found = store.get("run", row["run_id"])
        assert (row["name"], row["status"], row["project_id"]) == (found.name, found.status, found.project_id)
        assert row["created_at"] == found.created_at
        assert tuple(row["tags"]) == found.tags
        hyperparameters = {key: json.loads(value) for key, value in row["hyperparameters"].items()}
        assert hyperparameters == {"lr": found.hyperparameters["lr"], "layers": [1, 2], "opt": "adam"}
        metrics = dict(row["metrics"])
        assert math.isnan(metrics.pop("n"))
        assert metrics == {"auc": found.metrics["auc"], "top": math.inf, "loss": 1.0}
        document = json.loads(row["document"])
        assert document["metrics"]["report"] == "good"
        of_run = pl.scan_parquet(f"{tables}/points/").filter(pl.col("run_id") == found.run_id).collect()
        series = store.read_series(found.run_id, "loss")
        assert of_run["step"].to_list() == series.steps.tolist() == [1, 2, 2]
        assert of_run["time"].dt.timestamp("us").to_list() == series.times.tolist()
        assert of_run["value"].drop_nans().to_list() == [3.0, 1.0]
    summaries = pl.read_parquet(f"{tables}/series/")
    assert set(summaries.columns) == {*COLUMNS["series"], "project_id"}
    assert summaries.select("count", "nan_count", "mean").unique().rows() == [(3, 1, 2.0)]
    assert len(pl.read_parquet(f"{tables}/projects/")) == 2


def test_the_manifest_names_each_file_with_its_rows_and_digest(tables: Path) -> None:
    named = named_in(tables)
    assert named.keys() == files_in(tables)
    for path, each in named.items():
        content = (tables / path).read_bytes()
        assert (each["size_bytes"], each["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert each["rows"] == len(pl.read_parquet(tables / path, hive_partitioning=False))
    assert {name: table["rows"] for name, table in manifest(tables)["tables"].items()} == {
        "runs": 4,
        "series": 4,
        "points": 12,
        "projects": 2,
        "experiments": 2,
    }
    documented = DOCS.read_text()
    for table, columns in COLUMNS.items():
        (line,) = [line for line in documented.splitlines() if line.startswith(f"| `{table}`")]
        assert set(re.findall(r"`(\w+)`", line.split("|")[2])) >= set(columns)


def test_tables_are_replaced_only_where_that_is_asked_and_nothing_else_is_removed(store: Any, tables: Path) -> None:
    before = files_in(tables)
    with pytest.raises(InvalidArgumentError, match="--force"):
        write_tables(store, str(tables))
    (tables / "points" / "mine.parquet").write_bytes(b"mine")
    write_tables(store, str(tables), replace=True)
    assert not before & files_in(tables)
    assert files_in(tables) - named_in(tables).keys() == {"points/mine.parquet"}


@pytest.mark.parametrize("path", ["../mine.txt", "runs/../../mine.txt", "/etc/passwd", "runs/part-x.parquet"])
def test_a_manifest_of_somebody_else_removes_no_file(store: Any, tables: Path, path: str) -> None:
    mine = tables.parent / "mine.txt"
    mine.write_bytes(b"mine")
    document = manifest(tables)
    document["tables"]["runs"]["files"].append({"path": path})
    (tables / "_manifest.json").write_text(json.dumps(document))
    with pytest.raises(InvalidArgumentError, match="is not the manifest of tables"):
        write_tables(store, str(tables), replace=True)
    assert mine.read_bytes() == b"mine"


def test_a_folder_with_something_else_is_left_alone(store: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_bytes(b"mine")
    with pytest.raises(InvalidArgumentError, match="is not empty"):
        write_tables(store, str(tmp_path / "thesis"), replace=True)


def test_the_command_writes_one_project(store: Any, tmp_path: Path) -> None:
    target = tmp_path / "only"
    project = next(iter(store.find(Query("project", order_by="created_at")).entities))
    command = ["export", str(target), "--format", "parquet", "--project", project.name, "--url", store.url]
    assert run(command) == 0
    assert set(pl.read_parquet(f"{target}/runs/")["name"]) == {"churn 0", "churn 1"}
    assert run([*command, "--force", "--ro-crate"]) == 2


def test_compacting_a_bucket_writes_tables_of_it_too(tmp_path: Path, capsys: Any) -> None:
    url, target = f"file://{tmp_path}/bucket", tmp_path / "tables"
    with open_store(url) as store:
        scene = Scene(store)
        scene.run("one")
        scene.ship()
    for _ in range(2):  # again over those that are there
        assert run(["db", "compact", "--url", url, "--parquet", str(target), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["tables"]["rows"]["runs"] == 1
        assert pl.read_parquet(f"{target}/runs/")["name"].to_list() == ["one"]
