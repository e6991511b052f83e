"""``modeldb dataset``."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from modeldb_core.cli.completion import complete_dataset
from modeldb_core.cli.datasets import dataset
from tests.cli.conftest import Command, Scene


def test_versions_of_a_data_set_from_the_command_line(command: Command, scene: Scene) -> None:
    folder = scene.folder / "train"
    folder.mkdir()
    (folder / "a.csv").write_text("a")
    (folder / "b.csv").write_text("b")

    def json_of(*arguments: str) -> Any:
        result = command("dataset", *arguments, "--json")
        assert result.code == 0, result.err
        return json.loads(result.out)

    added = command(
        "dataset", "add", "churn/train", "train", "--keep", "-m", "of May", "--tag", "raw", "--exclude", "*.tmp"
    )
    assert (added.code, added.out) == (0, "churn/train@v1 added: 2 files, 2 B; 2 of them read.\n")
    again = json_of("add", "churn/train", "train")
    assert (again["is_new"], again["version"], again["description"], again["tags"]) == (False, 1, "of May", ["raw"])
    (folder / "b.csv").write_text("bb")
    assert json_of("add", "churn/train", "train")["version"] == 2
    assert [each["version"] for each in json_of("versions", "churn/train")["versions"]] == [2, 1]
    listed = {each["name"]: each["latest_version"] for each in json_of("list")["datasets"]}
    assert listed["churn/train"] == 2
    shown = json_of("show", "churn/train@v1", "--files")
    assert (shown["is_kept"], sorted(shown["files"])) == (True, ["a.csv", "b.csv"])
    assert json_of("diff", "churn/train", "v1")["files"]["changed"] == {"b.csv": {"before": 1, "after": 2}}
    assert "~ b.csv  1 B -> 2 B" in command("dataset", "diff", "churn/train", "v1", "v2").out
    assert "same content" in command("dataset", "diff", "churn/train", "v1", "v1").out
    assert json_of("checkout", "churn/train@v1", "out")["version"] == 1
    assert (scene.folder / "out" / "b.csv").read_text() == "b"
    for text in ("v1", "of May", "train", "a.csv"):
        assert text in command("dataset", "show", "churn/train@v1", "--files").out
    assert "churn/train" in command("dataset", "list").out
    assert "yes" in command("dataset", "versions", "churn/train").out

    for arguments, code in (
        (("checkout", "churn/train@v1", "out"), 1),
        (("checkout", "churn/train@v2", "new"), 4),
        (("show", "churn/train@v7"), 4),
        (("show", "churn/train@"), 2),
        (("versions", "nobody"), 4),
        (("add", "churn/train", "missing"), 4),
    ):
        result = command("dataset", *arguments)
        assert result.code != 0, arguments
        assert result.err.startswith("Error: ")
        assert result.code == code, (arguments, result)
    offered = [item.value for item in complete_dataset(click.Context(dataset), dataset, "churn/train@")]  # type: ignore[arg-type]
    assert offered == ["churn/train@latest", "churn/train@v2", "churn/train@v1"]


@pytest.mark.parametrize("name", sorted(dataset.commands))
def test_every_command_prints_json(name: str) -> None:
    assert any(parameter.name == "as_json" for parameter in dataset.commands[name].params)
