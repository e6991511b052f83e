"""Anyone runs the suites against a URL with one command."""

from __future__ import annotations

import subprocess
import sys


def run(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "modeldb_core.testing"]
    result = subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    return result.returncode, result.stdout + result.stderr


def test_a_metadata_store_is_proved_by_its_url(tmp_path):
    code, output = run(
        tmp_path, "--modeldb-store", "sqlite:///{tmp_path}/x.db", "-k", "TestMetadataStore and another_handle"
    )
    assert code == 0, output
    assert "1 passed" in output


def test_an_artifact_store_is_proved_by_its_url(tmp_path):
    code, output = run(tmp_path, "--modeldb-artifacts", "file://{tmp_path}/x", "-k", "TestArtifactStore and position")
    assert code == 0, output
    assert "1 passed" in output


def test_a_run_that_names_no_store_fails(tmp_path):
    code, output = run(tmp_path, "-k", "closing_twice or was_named")
    assert code == 1, output
    assert "--modeldb-store URL" in output
    assert "2 skipped" in output


def test_a_store_that_does_not_exist_fails(tmp_path):
    code, output = run(tmp_path, "--modeldb-store", "gopher://nowhere", "-k", "TestMetadataStore and closing_twice")
    assert code == 1, output
    assert "UnknownSchemeError" in output
