"""Stores that share a folder or a bucket keep their files whatever the other one collects."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

import modeldb_core
from modeldb_core.cli.program import run as main
from modeldb_core.plugins import Places, load_settings, open_artifacts
from tests.services.postgres import PASSWORD
from tests.services.server import ModelDBServer

YEAR_S = 365 * 86400
COMMON = b"a file that both stores have"


def log_and_delete(url, *contents, artifact_url=None, delete=False, **settings):
    """Log files in a run of the store at ``url``, and perhaps delete the run."""
    with modeldb_core.connect(url, artifact_url=artifact_url, **settings) as client:
        with client.start_run("run", capture=False) as run:
            for number, content in enumerate(contents):
                run.log_artifact(content, name=f"{number}.bin")
        if delete:
            run.delete()
        return run.run_id


def make_old(folder):
    for path in Path(folder).rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - YEAR_S,) * 2)


def read(url, run_id, artifact_url=None):
    with modeldb_core.connect(url, artifact_url=artifact_url) as client:
        run = client.get_run(run_id)
        return [run.read_artifact(name) for name in sorted(run.artifacts)]


def gc(url, *options):
    return main(["gc", "--url", url, "--window-days", "0", "--grace-days", "0", *options])


@pytest.mark.parametrize("names", [("a.db", "b.db"), ("a.db", "a.sqlite"), ("a.db", "a"), ("a.sqlite", "a.sqlite3")])
def test_two_stores_in_one_folder_keep_their_files_apart(tmp_path, names):
    mine, other = (f"sqlite:///{tmp_path}/{name}" for name in names)
    run_id = log_and_delete(other, COMMON, b"the other's own")
    log_and_delete(mine, COMMON)
    log_and_delete(mine, b"mine, to go", delete=True)
    make_old(tmp_path)
    assert gc(mine) == 0
    assert read(other, run_id) == [COMMON, b"the other's own"]
    assert len({load_settings(url=url).artifact_url for url in (mine, other)}) == 2


def test_the_default_folder_is_named_after_the_store(tmp_path):
    assert load_settings(url=f"sqlite:///{tmp_path}/churn.db").artifact_url == f"file://{tmp_path}/churn-artifacts"
    assert load_settings(url=f"sqlite:///{tmp_path}/churn").artifact_url == f"file://{tmp_path}/churn.artifacts"


def test_gc_refuses_a_folder_that_is_not_its_own_alone(tmp_path, capsys, monkeypatch):
    mine, other, shared = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db", f"file://{tmp_path}/files"
    run_id = log_and_delete(other, COMMON, b"the other's own", artifact_url=shared)
    log_and_delete(mine, COMMON, artifact_url=shared)
    make_old(tmp_path)
    monkeypatch.setenv("MODELDB_ARTIFACT_URL", shared)
    for options in ((), ("--dry-run",)):
        assert gc(mine, *options, "--artifact-url", shared) != 0
        assert "sqlite:../b.db" in capsys.readouterr().err
    assert read(other, run_id, shared) == [COMMON, b"the other's own"]
    assert gc(mine, "--artifact-url", shared, "--force") == 0


def test_a_store_that_logs_only_what_is_there_already_is_an_owner_too(tmp_path):
    mine, other, shared = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db", f"file://{tmp_path}/files"
    log_and_delete(mine, COMMON, artifact_url=shared, delete=True)
    run_id = log_and_delete(other, COMMON, artifact_url=shared)
    make_old(tmp_path)
    assert gc(mine, "--artifact-url", shared) != 0
    assert read(other, run_id, shared) == [COMMON]


def test_a_store_moved_with_its_files_still_collects_them(tmp_path):
    (tmp_path / "before").mkdir()
    log_and_delete(f"sqlite:///{tmp_path}/before/a.db", b"to go", delete=True)
    log_and_delete(f"sqlite:///{tmp_path}/before/a.db", b"to stay")
    make_old(tmp_path)
    (tmp_path / "before").rename(tmp_path / "after")
    assert gc(f"sqlite:///{tmp_path}/after/a.db") == 0
    files = [path.read_bytes() for path in (tmp_path / "after").rglob("*") if len(path.name) == 64]
    assert files == [b"to stay"]


def test_a_bucket_and_a_server_know_their_owners(s3, tmp_path, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"s3://{s3.new_bucket()}/files"
    server = ModelDBServer(artifact_url=bucket, with_token=False, environment=s3.environment)
    try:
        log_and_delete(server.url, b"of the server")
        other = f"sqlite:///{tmp_path}/other.db"
        settings = load_settings(url=other, artifact_url=server.url)
        behind = open_artifacts(server.url, settings)
        log_and_delete(other, b"of another store", artifact_url=server.url)
        assert behind.owners() == {Places().owner_name(other, server.url)}, "its own store is not another one"
        direct = open_artifacts(bucket, load_settings(url=server.store_url, artifact_url=bucket))
        assert direct.owners() == {direct.owner, Places().owner_name(other, server.url)}
        for store in (behind, direct):
            store.close()
    finally:
        server.stop()


def test_a_name_of_a_store_holds_no_secrets_and_tells_stores_apart():
    named = {
        Places().owner_name(url, "s3://bucket")
        for url in (
            "postgresql://user:hunter2@host/runs",
            "postgresql://other@host:5432/runs?timeout_s=3",
            "postgresql://host/runs?schema=team",
            "postgresql://host2/runs",
            "postgresql:///runs?host=host&password=hunter2",
            "postgresql://user:hunter2@host:5432/?dbname=runs",
            "postgresql:///runs?host=host&port=5433",
            "postgresql:///runs?hostaddr=10.0.0.1",
            "postgresql:///runs?host=/run/one",
            "postgresql://%2Frun%2Ftwo/runs",
            "postgresql://host:5433,host2:5434/runs",
            "postgresql://host:5433,host2:5435/runs",
            "postgresql:///?service=one",
            "postgresql:///?service=two",
            "postgresql://alice:hunter2@host",
            "postgresql://bob@host/",
            "s3://bucket/prefix?secret=hunter2",
            "s3://bucket/prefix?endpoint_url=http://minio",
        )
    }
    assert named == {
        "postgresql://host:5432/runs",
        "postgresql://host:5432/runs?schema=team",
        "postgresql://host2:5432/runs",
        "postgresql://host:5433/runs",
        "postgresql://10.0.0.1:5432/runs",
        "postgresql:///run/one:5432/runs",
        "postgresql://%2Frun%2Ftwo:5432/runs",
        "postgresql://host:5433,host2:5434/runs",
        "postgresql://host:5433,host2:5435/runs",
        "postgresql://:5432/?service=one",
        "postgresql://:5432/?service=two",
        "postgresql://host:5432/alice",
        "postgresql://host:5432/bob",
        "s3://bucket/prefix",
        "s3://bucket/prefix?endpoint_url=http://minio",
    }


def test_the_environment_says_where_a_database_is_as_it_does_to_libpq(monkeypatch):
    names = set()
    for variables in ({"PGDATABASE": "one"}, {"PGDATABASE": "two"}, {"PGHOST": "elsewhere"}, {"PGSERVICE": "team"}):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            names.add(Places().owner_name("postgresql:///", "s3://bucket"))
    assert len(names) == 4


def test_gc_spares_the_files_of_a_database_that_is_named_behind_the_question_mark(tmp_path, postgres):
    shared = f"file://{tmp_path}/files"
    databases = [postgres.new_database() for _ in range(2)]
    try:
        parts = [urlsplit(url) for url in databases]
        login = f"user={parts[0].username}&password={quote(PASSWORD)}&host=127.0.0.1&port={postgres.port}"
        mine, other = (f"postgresql:///?{login}&dbname={part.path.strip('/')}" for part in parts)
        run_id = log_and_delete(other, COMMON, b"the other's own", artifact_url=shared)
        log_and_delete(mine, COMMON, artifact_url=shared)
        log_and_delete(mine, b"mine, to go", artifact_url=shared, delete=True)
        make_old(tmp_path / "files")
        assert gc(mine, "--artifact-url", shared) != 0
        assert read(other, run_id, shared) == [COMMON, b"the other's own"]
    finally:
        for url in databases:
            postgres.give_back(url)
