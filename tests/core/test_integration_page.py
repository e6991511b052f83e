"""The integration that ``docs/integrations.md`` builds works as it stands there."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"


class Booster:
    """What the imagined framework brings."""

    def __init__(self) -> None:
        self.params = {"rate": 0.1}
        self.losses: list[float] = []

    def train(self, rounds: int) -> Booster:
        if rounds < 0:
            raise ValueError("rounds")
        self.losses = [1.0 / (step + 1) for step in range(rounds)]
        return self


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Any:
    framework = types.ModuleType("acme")
    framework.Booster = Booster  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme", framework)
    (source,) = re.findall(r"```python\n(# acme_modeldb\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    plugin = types.ModuleType("acme_modeldb")
    exec(compile(source, "acme_modeldb.py", "exec"), vars(plugin))
    yield plugin
    plugin.autolog(disable=True)


def test_the_integration_of_the_page_records_children_failures_and_undoes_itself(acme: Any, tmp_path: Path):
    original = Booster.__dict__["train"]
    with modeldb.connect(
        f"sqlite:///{tmp_path}/modeldb.db", journal_dir=str(tmp_path / "journals"), capture_enabled=False
    ) as client:
        acme.autolog(project="boosting")
        Booster().train(3)
        with modeldb.start_run(project="mine") as run:
            Booster().train(2)
        with pytest.raises(ValueError, match="rounds"):
            Booster().train(-1)
        acme.autolog(disable=True)
        Booster().train(5)
        first, _, child, failed = (found.entity for found in client.search_runs(order_by="created_at"))
    assert first.hyperparameters == {"rate": 0.1}
    assert first.series["loss"].count == 3
    assert child.parent_id == run.run_id
    assert failed.status == "failed"
    assert Booster.__dict__["train"] is original
