"""A plugin of pytest that switches autologging on for a whole session; ``scripts/sklearn-tests`` says what for."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import modeldb_core as modeldb
from modeldb_core.errors import ModelDBWarning
from modeldb_sklearn import autolog, calls

if TYPE_CHECKING:
    from warnings import WarningMessage

    import pytest


class UnderAutologging:
    """Records every fit of the session in a temporary store, and collects what ModelDB warns of."""

    def __init__(self) -> None:
        self.warnings: dict[str, str] = {}
        self.folder = tempfile.TemporaryDirectory(prefix="modeldb-under-autologging-", ignore_cleanup_errors=True)
        folder = Path(self.folder.name)
        self.client = modeldb.connect(
            f"sqlite:///{folder}/modeldb.db", artifact_url=f"file://{folder}/artifacts", journal_dir=folder / "journals"
        )
        # What scikit-learn checks estimators with counts as a program here: nothing of it would be recorded otherwise.
        calls._TESTING += ("sklearn.utils.estimator_checks",)
        autolog(client=self.client)

    def pytest_warning_recorded(self, warning_message: WarningMessage, nodeid: str) -> None:
        """Keep the first place of each of ModelDB's warnings."""
        if issubclass(warning_message.category, ModelDBWarning):
            self.warnings.setdefault(str(warning_message.message), nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how much was recorded, and with which warnings."""
        self.client.flush(60)
        count = self.client.search_runs(limit=0, count=True).total
        terminalreporter.section("recorded by autologging")
        terminalreporter.line(f"{count} runs; {len(self.warnings)} warnings of ModelDB")
        for text, place in self.warnings.items():
            terminalreporter.line(f"{place}: {text}")

    def pytest_unconfigure(self) -> None:
        """Switch it off again."""
        autolog(disable=True)
        self.client.close()
        self.folder.cleanup()


def pytest_configure(config: pytest.Config) -> None:
    """Switch autologging on, before any test is collected."""
    config.pluginmanager.register(UnderAutologging())
