"""Stores of earlier releases in PostgreSQL: they open, answer as they did, and go on."""

from __future__ import annotations

import json
import tarfile

import pytest

import modeldb_core as modeldb
from modeldb_core.audit import verify
from modeldb_core.backends._sql import schema
from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.plugins import open_artifacts
from tests.assets.answers import answers
from tests.assets.make_store import SPILLED
from tests.backends.test_upgrade import ASSETS

ARCHIVES = sorted(ASSETS.glob("postgres-*.tar.gz"))
VERSIONS = [path.name.removeprefix("postgres-").removesuffix(".tar.gz") for path in ARCHIVES]
FIRST = "0002"
"""The version of the tables when there was first a store in PostgreSQL."""


def test_every_version_of_the_tables_has_a_committed_store():
    assert tuple(VERSIONS) == schema.REVISIONS[schema.REVISIONS.index(FIRST) :]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_of_a_release_answers_as_it_did_and_goes_on(version, postgres, postgres_url, tmp_path):
    with tarfile.open(ASSETS / f"postgres-{version}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    postgres.load(postgres_url, (tmp_path / "modeldb.sql").read_text())
    expected = json.loads((tmp_path / "answers.json").read_text())
    assert PostgresStore.schema_state(postgres_url).version == version
    artifacts = open_artifacts(f"file://{tmp_path}/modeldb-artifacts")
    with PostgresStore(postgres_url) as store:
        found = answers(store)
        for part, answer in expected.items():
            assert found[part] == answer, part
        assert verify(store, artifacts).findings == []

    settings = {"journal_dir": str(tmp_path / "new-journals"), "artifact_url": artifacts.url, "capture_enabled": False}
    with modeldb.connect(postgres_url, **settings) as client:
        (first,) = client.search_runs('name = "first"')
        assert client.resolve(first.entity.attributes["spilled"]) == SPILLED
        with client.start_run(run_id=first.run_id) as run:
            run.log_metric("loss", -1.0, step=1)
        with client.start_run(project="Überprüfung 日本", name="of today") as run:
            run.log_metrics({"loss": 0.5, "auc": 0.95}, step=0)
            run.log_metric("auc", 0.96)
        assert [run.name for run in client.search_runs("metrics.auc > 0.95", project="Überprüfung 日本")] == [
            "of today"
        ]
        count = found["series"][first.run_id]["loss"][0]
        assert len(client.get_run(first.run_id).history("loss")) == count + 1
        assert verify(client.store, client.artifacts).findings == []


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgrade_makes_the_tables_of_a_new_store(version, postgres, postgres_url, tmp_path):
    with tarfile.open(ASSETS / f"postgres-{version}.tar.gz") as archive:
        archive.extract("modeldb.sql", tmp_path, filter="data")
    postgres.load(postgres_url, (tmp_path / "modeldb.sql").read_text())
    PostgresStore(postgres_url).close()
    PostgresStore(f"{postgres_url}?schema=new").close()
    described = (
        "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns "
        "WHERE table_schema = '{}' ORDER BY 1, 2"
    )
    indexed = "SELECT indexname, replace(indexdef, '{0}.', '') FROM pg_indexes WHERE schemaname = '{0}' ORDER BY 1"
    name = postgres_url.rpartition("/")[2]
    for query in (described, indexed):
        old, new = (postgres.execute(query.format(place), database=name) for place in ("public", "new"))
        assert old == new
