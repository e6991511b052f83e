"""What all tests share: none of them may see, or leave anything in, the configuration and state of the user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Times are not asserted: the machine that runs the tests may be busy. A run tries the same cases as the one before it,
# so that a change alone can turn it red; `tox -e fuzz` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("fuzz" if os.environ.get("MODELDB_TEST_FUZZ") else "repeatable")


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home: Path = tmp_path_factory.mktemp("home")
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(home / variable.lower()))
    for variable in list(os.environ):
        if variable.startswith("MODELDB_") and not variable.startswith("MODELDB_TEST_"):
            monkeypatch.delenv(variable)
