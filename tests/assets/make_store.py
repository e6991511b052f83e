"""Makes the committed store of a release: everything that ModelDB can hold, logged through the tracking API.

Run once for each version of the tables, with the code of the release that has it first::

    python tests/assets/make_store.py tests/assets/sqlite-NNNN.tar.gz

    python tests/assets/make_store.py tests/assets/postgres-NNNN.tar.gz

The archive holds ``modeldb.db`` (of PostgreSQL: ``modeldb.sql``, a dump without owners), the folder
``modeldb-artifacts``, the folder ``journals`` with what a killed process left, and ``answers.json``.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tests.services.postgres import Postgres

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.assets.answers import answers

SPILLED = "a long text, " * 6000
_PROJECT, _EXPERIMENT = "Überprüfung 日本", "forêt 🌲"


def fill(url: str, folder: Path) -> None:
    """Log everything to the store at ``url``; artifacts and journals are in ``folder``."""
    from modeldb_core.plugins import open_store

    for part in ("first", "second", "killed"):
        command = [sys.executable, "-m", "tests.assets.make_store", part, url, str(folder)]
        done = subprocess.run(command, check=False, timeout=300)
        assert done.returncode == (-9 if part == "killed" else 0), part
    with open_store(url) as store:
        _write_to(store)


def _connect(url: str, folder: Path, **settings):
    import modeldb_core as modeldb

    return modeldb.connect(
        url,
        artifact_url=f"file://{folder}/modeldb-artifacts",
        journal_dir=str(folder / "journals"),
        capture_enabled=False,
        **settings,
    )


def first(url: str, folder: Path) -> None:
    """Log runs of every ending, with values and points of every kind."""
    client = _connect(url, folder)
    with client, client.start_run(project=_PROJECT, experiment=_EXPERIMENT, name="first", tags=["größte"]) as run:
        (folder / "run_id").write_text(run.run_id)
        run.log_hyperparameters({"lr": 0.1, "big": 2**70, "huge": -(10**40), "opt": {"name": "adam", "b": [0.9, 1]}})
        run.log_hyperparameters({"nothing": None, "flag": True, "nan": math.nan, "inf": -math.inf, "zero": -0.0})
        run.set_attributes(
            {"text": "Die ÜBERprüfung 日本 🚀", "nul": "a\0b", "spilled": SPILLED, "$float": {"$int": 1}}
        )
        run.set_description("the first of them")
        run.log_metric("auc", 0.91)
        rng = np.random.default_rng(0)
        for batch in range(45):  # each a change of its own, so that small chunks are merged into larger ones
            for step in range(batch * 25, batch * 25 + 25):
                run.log_metrics({"loss": 1 / (step + 1) + rng.normal() / 1000, "accuracy": step / 1000}, step=step)
            run.log_metric("special", (math.nan, math.inf, -0.0, 5e-324)[batch % 4], step=-batch)
            client.flush()
        run.comment("fine so far")
        run.log_dataset(np.arange(12.0).reshape(3, 4), name="train")
        run.log_artifact(b"a small file", name="notes/small.txt")
        run.remove_tags("größte")
        run.add_tags("größte", "two")
        with run.start_child("child") as child:
            child.log_metric("auc", math.nan)
    with client, client.start_run(project=_PROJECT, name="failed") as run:
        run.log_metric("auc", 0.4)
        run.finish("failed")


def second(url: str, folder: Path) -> None:
    """Go on with the first run in a stream of another process, after its end."""
    with _connect(url, folder) as client, client.start_run(run_id=(folder / "run_id").read_text()) as run:
        for step in range(500, 600):
            run.log_metric("loss", -step / 1e6, step=step)


def killed(url: str, folder: Path) -> None:
    """Die in the middle of a run whose last values are in the journal only."""
    import signal

    client = _connect(url, folder, flush_interval_s=600)
    run = client.start_run(project=_PROJECT, experiment=_EXPERIMENT, name="killed")
    run.log_metric("auc", 0.7)
    run.log_metric("loss", 9.0, step=0)
    client.flush()
    for step in range(1, 10):
        run.log_metric("loss", 9.0 + step, step=step)
    os.kill(os.getpid(), signal.SIGKILL)


def _write_to(store) -> None:
    """Write what the tracking API does not: other kinds of entities, deletion, erasure, mixed streams."""
    from modeldb_core.testing import StreamWriter

    writer, other = StreamWriter(actor="größter"), StreamWriter(actor="other")
    writer.open(lease_s=5)
    ids = writer.create_containers("second project", "e", "another workspace")
    workspace = "a-workspace"
    writer.create("dataset", "a-dataset", name="data", workspace_id=workspace, dataset_type="raw")
    writer.create("dataset_version", dataset_id="a-dataset", version=2, digest="ab" * 32)
    writer.create("repository", "a-repository", name="code", workspace_id=workspace, refs={"branches": {"main": "c1"}})
    writer.create("commit", "c1", repository_id="a-repository", message="first", author="me", parents=[])
    writer.create("registered_model", "a-model", name="model", workspace_id=workspace)
    writer.create("model_version", registered_model_id="a-model", version=1, stage="production")
    writer.create("user", "a-user", name="me", email="me@example.org")
    writer.create("token", user_id="a-user", expires_at=2_000_000_000_000_000)
    plain = writer.create_run(name="plain", **ids, metrics={"auc": 0.6}, status="finished").entity_id
    deleted = writer.create_run(name="deleted", **ids, metrics={"auc": 0.99}, tags=["gone"]).entity_id
    restored = writer.create_run(name="restored", **ids, status="killed").entity_id
    secret = writer.update("run", plain, put={"attributes": {"secret": "s3cr3t"}})
    points = writer.append(plain, {"loss": [5.0, 6.0]})
    for number in range(3):
        writer.append(plain, {"loss": [float(number)], "acc": [number / 2]}, steps=[number])
        other.append(plain, {"loss": [number + 0.5]}, steps=[number], times=[writer.at - 1])
    writer.delete("run", deleted)
    writer.delete("run", restored)
    writer.restore("run", restored)
    store.apply([*writer.changes, *other.changes])
    other.erase(secret)
    other.erase(points)
    other.close()
    store.apply(other.changes)


def main(target: Path) -> None:
    """Make the archive of a store: of SQLite, or of PostgreSQL where its name begins so."""
    if target.name.startswith("postgres"):
        from tests.services.postgres import Postgres

        server = Postgres()
        try:
            _pack(target, server)
        finally:
            server.stop()
    else:
        _pack(target, None)


def _pack(target: Path, server: Postgres | None) -> None:
    from modeldb_core.plugins import open_store

    with tempfile.TemporaryDirectory() as home:
        # A long path: the journal names its store, and a test writes its own, shorter one over that.
        folder = Path(home) / ("a-folder-with-a-long-name-" * 8)[:200] / "store"
        folder.mkdir(parents=True)
        url = f"sqlite:///{folder}/modeldb.db" if server is None else server.new_database()
        fill(url, folder)
        with open_store(url) as store:
            found = answers(store)
        (folder / "answers.json").write_text(json.dumps(found, indent=0, sort_keys=True))
        (folder / "run_id").unlink()
        if server is not None:
            (folder / "modeldb.sql").write_text(server.dump(url))
        target.parent.mkdir(parents=True, exist_ok=True)
        with gzip.GzipFile(target, "wb", 9, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.add(path, str(path.relative_to(folder)))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        {"first": first, "second": second, "killed": killed}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
