"""The integration that ``docs/integrations.md`` builds works as it stands there."""

from __future__ import annotations

import ast
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


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            private = (name.name for name in node.names if name.name.startswith("_"))
            found.update({node.module, *(f"{node.module}.{name}" for name in private)})
    return {name for name in found if name.partition(".")[0] == "modeldb_core"}


def private_uses(path: Path) -> list[str]:
    """Return the private attributes that a module reads of what is called ``run`` or ``client``."""
    attributes = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute))
    return [
        ast.unparse(node)
        for node in attributes
        if node.attr.startswith("_") and not node.attr.startswith("__")
        if ast.unparse(node.value).rpartition(".")[2] in ("run", "client", "parent", "child")
    ]


def test_the_built_in_integrations_use_the_public_modules_that_the_page_lists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("## Public modules") : text.index("## From nothing")]
    rows = re.findall(r"^\| (`modeldb_core.*?) \|", table, re.MULTILINE)
    exact = {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    whole = {name for row in rows if "and its modules" in row for name in re.findall(r"`([\w.]+)`", row)}
    assert "modeldb_core.autologging" in whole
    modules = sorted((PAGE.parents[1] / "integrations").glob("*/modeldb_*/*.py"))
    assert len(modules) > 20
    for module in modules:
        others = {
            name
            for name in imports_of(module) - exact
            if "._" in name or not name.startswith(tuple(f"{door}." for door in whole))
        }
        assert not others, f"{module.name} uses what is not public"
        assert not private_uses(module), module.name
