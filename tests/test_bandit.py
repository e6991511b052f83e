"""What bandit says of the code: nothing but what is argued here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("modeldb_core", "server", "webui", "integrations")
EVERYWHERE = {
    "B101": "asserts are for the type checker: python -O changes nothing that a user could do",
    "B311": "random numbers spread retries; secrets come from the module of that name",
    "B403": "the module names pickle to read its opcodes, or where the user trusts a model by name",
    "B404": "a module that starts programs is looked at where it does",
    "B405": "likewise of XML",
    "B603": "a list of arguments, without a shell; the program is ours, git, or what the user asks to repeat",
}
ARGUED = {
    ("B104", "modeldb_core/tracking/session.py"): "compares with the address that means all",
    ("B104", "server/modeldb_server/serving.py"): "likewise; what may be bound, settings.py decides",
    ("B105", "modeldb_core/backends/_fsspec.py"): "names of options of a driver",
    ("B105", "modeldb_core/testing/erasing.py"): "a value of a test",
    ("B105", "modeldb_core/testing/lasting.py"): "likewise",
    ("B105", "server/modeldb_server/accounts/credentials.py"): "kinds of credentials, and none",
    ("B105", "server/modeldb_server/accounts/secrets.py"): "how tokens begin",
    ("B105", "server/modeldb_server/tokens.py"): "a command that makes a token",
    ("B301", "modeldb_core/tracking/description/model_formats.py"): "only with trust='pickle', which the user writes",
    ("B310", "modeldb_core/testing/artifacts.py"): "an address that the store under test made",
    ("B314", "modeldb_core/cli/conformance.py"): "the report of pytest, which this command has just started",
    ("B608", "modeldb_core/backends/_sql/joins.py"): "names of tables and columns of our own schema",
    ("B608", "modeldb_core/backends/_sql/postgres.py"): "likewise; values are bound",
    ("B608", "modeldb_core/backends/_sql/postgres_schema.py"): "likewise",
    ("B608", "modeldb_core/plugins/isolation.py"): "a sentence, not SQL",
    ("B608", "modeldb_core/tracking/data/cache.py"): "question marks for values that are bound",
    ("B704", "webui/modeldb_webui/frame.py"): "markup that the package's own templates made",
}


pytestmark = [pytest.mark.thorough, pytest.mark.slow]  # half a minute for what changes seldom


@pytest.fixture(scope="module")
def found() -> set[tuple[str, str]]:
    command = [sys.executable, "-m", "bandit", "-q", "-r", *PACKAGES, "-f", "json", "-s", ",".join(EVERYWHERE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    results = json.loads(done.stdout)
    assert not results["errors"]
    return {(each["test_id"], Path(each["filename"]).as_posix().removeprefix("./")) for each in results["results"]}


def test_bandit_finds_nothing_that_is_not_argued(found: set[tuple[str, str]]) -> None:
    assert sorted(found - set(ARGUED)) == []


def test_every_argument_is_needed(found: set[tuple[str, str]]) -> None:
    assert sorted(set(ARGUED) - found) == []
