"""A script that is over before anything was shipped: all of it is in the store, wherever that is, when the script ends.

Hosts have names here, since looking one up is one of the things that Python stops doing while a program ends.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modeldb_core as modeldb
from tests.services.s3 import SeaweedFS
from tests.tracking.programs import without_waiting

SCRIPT = """
import modeldb_core as modeldb
run = modeldb.start_run(project="short", capture=False)
run.log_metric("loss", 0.5, step=0)
run.log_artifact("notes.txt")
run.log_artifact("more.txt")
print(run.run_id)
"""


def named(url: str) -> str:
    assert "127.0.0.1" in url
    return url.replace("127.0.0.1", "localhost")


@pytest.fixture
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return the configuration of a store."""
    with contextlib.ExitStack() as closing:
        found: dict[str, str]
        match request.param:
            case "postgres":
                found = {"MODELDB_URL": named(request.getfixturevalue("postgres_url"))}
                found["MODELDB_ARTIFACT_URL"] = f"file://{tmp_path}/artifacts"
            case "bucket" | "files in a bucket":
                s3: SeaweedFS = request.getfixturevalue("s3")
                bucket = s3.new_bucket()
                found = {**s3.environment, "AWS_ENDPOINT_URL_S3": named(s3.endpoint_url)}
                found["MODELDB_ARTIFACT_URL"] = f"s3://{bucket}/files"
                is_all = request.param == "bucket"
                found["MODELDB_URL"] = f"s3://{bucket}/models" if is_all else f"sqlite:///{tmp_path}/modeldb.db"
            case "server":
                from tests.services.server import ModelDBServer

                server = ModelDBServer()
                closing.callback(server.stop)
                found = {"MODELDB_URL": named(server.url), "MODELDB_TOKEN": server.token}
            case _:
                found = {"MODELDB_URL": f"sqlite:///{tmp_path}/modeldb.db"}
        yield found


@pytest.mark.parametrize(
    "variables",
    [
        *(pytest.param(name, marks=pytest.mark.interpreter) for name in ("sqlite", "server")),
        *("postgres", "bucket", "files in a bucket"),
    ],
    indirect=True,
)
def test_everything_is_there_when_the_script_is_over(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables |= {"MODELDB_JOURNAL_DIR": str(tmp_path / "journals"), "MODELDB_CACHE_DIR": str(tmp_path / "cache")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "notes.txt").write_text("as they were")
    (tmp_path / "more.txt").write_text("small files go together")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "MODELDB_FLUSH_INTERVAL_S": "3600", "MODELDB_EXIT_TIMEOUT_S": "240"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (ended.returncode, without_waiting(ended.stderr)) == (0, "")
    assert not [path for path in (tmp_path / "journals").iterdir() if not path.name.startswith(".")]
    with modeldb.connect() as client:
        run = client.get_run(ended.stdout.strip())
        assert run.status == "finished"
        assert run.history("loss").values.tolist() == [0.5]
        assert run.download_artifact("notes.txt", tmp_path / "back").read_text() == "as they were"
        assert run.read_artifact("more.txt") == b"small files go together"
