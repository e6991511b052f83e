"""The command line with a PostgreSQL store: it checks it, shows it without its password, and finds runs in it."""

from __future__ import annotations

import json

import pytest

import modeldb_core as modeldb
from modeldb_core.runtime.redaction import HIDDEN
from tests.services.postgres import PASSWORD


@pytest.fixture
def configured(postgres_url, tmp_path, monkeypatch):
    """Settings that name the store, and a run in it."""
    (tmp_path / "modeldb.toml").write_text(
        f'url = "{postgres_url}"\nartifact_url = "file:///{tmp_path}/files"\n\n[stores.postgresql]\npool_size = 2\n'
    )
    monkeypatch.chdir(tmp_path)
    with modeldb.connect(capture_enabled=False) as client, client.start_run("churn", name="first") as run:
        run.log_metric("auc", 0.9)
    return postgres_url


def test_doctor_says_that_all_is_well(configured, command):
    result = command("doctor", "--json")
    found = {item["subject"]: item for item in json.loads(result.out)}
    assert found["store"]["state"] == "ok"
    assert "answers: 1 runs" in found["store"]["text"]
    assert found["store URL"]["text"].startswith(f"postgresql://postgres:{HIDDEN}@127.0.0.1:")
    assert found["clock"]["state"] == "ok"


def test_doctor_notes_that_a_store_can_only_be_read(configured, command):
    result = command("doctor", "--url", f"{configured}?read_only=true")
    assert "can be read but not written" in result.out


def test_doctor_says_what_to_do_about_a_server_that_is_away(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command("doctor", "--url", "postgresql://ann:hunter2@127.0.0.1:1/runs", "--artifact-url", "memory://")
    assert result.code == 1
    assert "no PostgreSQL server listens at 127.0.0.1:1; start it, or check host and port in the URL" in result.out
    assert "hunter2" not in result.out + result.err


def test_config_shows_the_store_without_its_password(configured, command):
    result = command("config")
    assert result.code == 0
    assert "pool_size" in result.out
    assert PASSWORD not in result.out
    assert "secret%20of" not in result.out


def test_runs_are_listed(configured, command):
    result = command("runs")
    assert "first" in result.out
    assert "0.9" in command("show", "first").out
