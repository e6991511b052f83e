"""What all tests share: none of them may see, or leave anything in, the configuration and state of the user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Times are not asserted: the machine that runs the tests may be busy.
settings.register_profile("modeldb", deadline=None)
settings.load_profile("modeldb")


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home: Path = tmp_path_factory.mktemp("home")
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(home / variable.lower()))
    for variable in list(os.environ):
        if variable.startswith("MODELDB_") and not variable.startswith("MODELDB_TEST_"):
            monkeypatch.delenv(variable)
