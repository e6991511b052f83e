"""What the shell offers: commands, runs, projects, experiments; and never an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from modeldb_core.cli import program
from tests.cli.conftest import Command, Scene


def offered(words: str, incomplete: str = "") -> list[str]:
    completion = ShellComplete(program.cli, {}, program.PROGRAM, program.COMPLETION_VARIABLE)
    return [item.value for item in completion.get_completions(words.split(), incomplete)]


def test_runs_are_offered_by_short_identifier_and_by_name(scene: Scene) -> None:
    newest_first = [run_id[-8:] for run_id in (scene.other, scene.second, scene.first)]
    for words in ("show", "compare first", "history", "artifacts get", "audit log", "delete", "tag", "export --run"):
        assert offered(words) == newest_first, words
    assert offered("show", "fir") == ["first"]
    assert offered("show", scene.second[-8:-2]) == [scene.second[-8:]]
    assert offered("show", "evil") == []  # its name would do something to the terminal
    assert offered("show first --url sqlite:///gone.db") == []
    assert offered("tag first") == offered("rename --project churn") == []  # a value comes next, not a run


def test_what_is_deleted_is_offered_to_be_restored(command: Command, scene: Scene) -> None:
    command("delete", "first")
    assert offered("restore") == [scene.first[-8:]]
    assert scene.first[-8:] not in offered("show")


def test_projects_and_experiments_are_offered_by_name(scene: Scene) -> None:
    assert offered("runs --project") == ["churn", "prices"]
    assert offered("copy a b --project", "p") == ["prices"]
    assert offered("runs --experiment") == ["forest", "linear"]
    assert offered("runs --project prices --experiment") == ["linear"]
    assert offered("list", "dataset") == ["datasets", "dataset-versions"]


def test_without_a_store_nothing_is_offered_and_nothing_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert offered("show") == offered("runs --project") == []
    (tmp_path / "modeldb.toml").write_text("nonsense")
    assert offered("show") == []
    assert [path.name for path in tmp_path.iterdir()] == ["modeldb.toml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_is_told_how_to_ask(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    assert f"_MODELDB_COMPLETE={shell}_source modeldb" in text
    monkeypatch.setenv("_MODELDB_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "modeldb show fir")
    monkeypatch.setenv("COMP_CWORD", "2" if shell != "fish" else "fir")
    assert "first" in command().out
