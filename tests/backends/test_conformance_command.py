"""Anyone proves a store by its URL with one command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SQLITE = "sqlite:///{tmp_path}/x.db"


def run(folder, *command):
    result = subprocess.run(
        [sys.executable, "-m", *command],
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


def run_pytest(folder, *arguments):
    return run(folder, "pytest", "-p", "no:cacheprovider", "--pyargs", "modeldb_core.testing", *arguments)


def prove(folder, *arguments):
    return run(folder, "modeldb_core.cli", "conformance", *arguments)


@pytest.fixture
def empty(tmp_path):
    """An empty folder, and afterwards still one."""
    folder = tmp_path / "empty"
    folder.mkdir()
    yield folder
    assert os.listdir(folder) == []


# With pytest


def test_a_metadata_store_is_proved_by_its_url(empty):
    code, output = run_pytest(empty, "--modeldb-store", SQLITE, "-k", "TestMetadataStore and another_handle")
    assert code == 0, output
    assert "1 passed" in output


def test_an_artifact_store_is_proved_by_its_url(tmp_path):
    code, output = run_pytest(
        tmp_path, "--modeldb-artifacts", "file://{tmp_path}/x", "-k", "TestArtifactStore and position"
    )
    assert code == 0, output
    assert "1 passed" in output


def test_a_run_that_names_no_store_fails(tmp_path):
    code, output = run_pytest(tmp_path, "-k", "closing_twice or was_named")
    assert code == 1, output
    assert "--modeldb-store URL" in output
    assert "1 failed" in output
    assert "passed" not in output


# With the command


def test_one_command_proves_both_stores_and_leaves_nothing(empty):
    code, output = prove(
        empty,
        SQLITE,
        "--artifacts",
        "file://{tmp_path}/b",
        "--examples",
        "2",
        "-k",
        "killed or random or position",
        "-v",
    )
    assert code == 0, output
    assert "test_processes_that_write_at_once_and_one_that_is_killed PASSED" in output
    assert "test_random_changes_and_questions_give_equal_answers PASSED" in output
    assert "test_a_stream_is_read_from_its_position PASSED" in output
    assert "SQLiteStore; options: none" in output


def test_a_store_in_use_is_proved_without_a_look_at_what_others_wrote(tmp_path):
    for _ in range(2):
        code, output = prove(tmp_path, "sqlite:///used.db", "--examples", "2", "-k", "random or alternate or follower")
        assert code == 0, output
        assert "3 passed" in output


@pytest.mark.thorough
def test_options_of_the_settings_reach_the_store_and_are_shown(tmp_path):
    (tmp_path / "modeldb.toml").write_text("[stores.sqlite]\nbusy_timeout_s = 5\ndurability = 'fsync'\n")
    code, output = prove(tmp_path, SQLITE, "-k", "closing_twice")
    assert code == 0, output
    assert "busy_timeout_s=5, durability=fsync" in output
    (tmp_path / "modeldb.toml").write_text("[stores.sqlite]\nread_only = true\n")
    code, output = prove(tmp_path, SQLITE, "-k", "closing_twice")
    assert code == 3, output
    assert "does not exist" in output


def test_secrets_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELDB_URL", "sqlite:///unused.db")
    code, output = run_pytest(tmp_path, "--modeldb-store", "gopher://me:s3cr3t@nowhere/x", "-k", "closing_twice")
    assert code == 1
    assert "modeldb metadata store: gopher://me:***@nowhere/x: no store for 'gopher'" in output
    assert "s3cr3t" not in output


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 2, "no store is named"),
        (("gopher://nowhere",), 5, "no store for 'gopher'"),
        (("sqlite:///",), 5, "does not name a SQLite file"),
        (("--artifacts", "gopher://nowhere"), 5, "no artifact store for 'gopher'"),
    ],
)
def test_what_cannot_be_proved_is_one_sentence(tmp_path, arguments, code, sentence):
    found, output = prove(tmp_path, *arguments)
    assert (found, len(output.splitlines())) == (code, 1), output
    assert sentence in output


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    from modeldb_core.cli import conformance, program

    monkeypatch.setattr(conformance, "find_spec", lambda name: None if name == "hypothesis" else name)
    said = []
    monkeypatch.setattr(program.click, "echo", lambda text, **_: said.append(text))
    assert program.run(["conformance", SQLITE]) == program.CONFIGURATION
    assert said == ["Error: proving a store needs hypothesis; pip install hypothesis"]


def test_a_store_that_fails_is_found_out(tmp_path, monkeypatch):
    """A plugin on the path of both processes provides a store with one fault."""
    (tmp_path / "faulty.py").write_text(
        "from modeldb_core import hookimpl\nfrom modeldb_core.backends.memory import MemoryStore\n"
        "from modeldb_core.stores import Backend\n\n"
        "@hookimpl\ndef modeldb_register_backends():\n    return [Backend('faulty', 'metadata', 'faulty:Store')]\n\n"
        "class Store(MemoryStore):\n    def heads(self):\n        return {}\n"
    )
    info = tmp_path / "faulty-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[modeldb]\nfaulty = faulty\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    code, output = prove(tmp_path, "faulty://x", "-k", "heads_say")
    assert code == 1, output
    assert "What the contract says: MetadataStore.apply" in output
