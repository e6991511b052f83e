"""The conformance suites notice what is broken: each of some fifty stores with one fault fails the test that is about it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends.broken_stores import BROKEN_ARTIFACTS, BROKEN_STORES, Dictionary

SUITES = Path(__file__).with_name("broken_stores.py")
ROOT = Path(__file__).parents[2]
EXPECTED = {store.__name__: test for store, test in (BROKEN_STORES | BROKEN_ARTIFACTS).items()}


@pytest.fixture(scope="module")
def output():
    """What pytest says of every broken store and its test, and of the sound artifact store."""
    tests = [f"{SUITES}::Test{store}::{test}" for store, test in EXPECTED.items()]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, f"--rootdir={ROOT}", *tests, f"{SUITES}::Test{Dictionary.__name__}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("store", EXPECTED)
def test_a_broken_store_is_caught(output, store):
    failed = set(re.findall(rf"^FAILED \S+::Test{store}::(\w+)", output, re.MULTILINE))
    assert failed == {EXPECTED[store]}


def test_the_sound_store_passes(output):
    assert not re.search(r"^(FAILED|ERROR) \S+::TestDictionary::", output, re.MULTILINE)
    assert re.search(r"^PASSED \S+::TestDictionary::", output, re.MULTILINE)


def test_a_failure_shows_what_the_contract_says(output):
    assert "What the contract says: MetadataStore.read_series" in output
    assert "only points with first <= step <= last" in output
    assert "What the contract says: ArtifactStore.put" in output
