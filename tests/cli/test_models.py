"""``modeldb model``: register, promote, approve, and look back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from modeldb_core.cli import program
from tests.cli.conftest import Command, Scene


@pytest.fixture
def told(command: Command, scene: Scene) -> Any:
    """Run a command that must do, and return what it says as JSON."""

    def tell(*arguments: str) -> Any:
        result = command("model", *arguments, "--json")
        assert result.code == program.OK, result.err
        return json.loads(result.out)

    return tell


def test_a_model_goes_its_way_on_the_command_line(command: Command, told: Any, scene: Scene) -> None:
    first = told("register", "churn", "--run", scene.first, "--artifact", "notes", "--tag", "good")
    assert (first["version"], first["stage"], first["tags"]) == (1, "development", ["good"])
    assert told("register", "churn", "--files", "modeldb.db")["version"] == 2
    promoted = told("promote", "churn@v1", "--stage", "production", "--alias", "champion", "--reason", "the first")
    assert promoted["stage"] == "production"
    assert told("stages", "churn", "--need", "production=1")["approvals_needed"] == {"production": 1}
    refused = command("model", "promote", "churn@v2", "--stage", "production", "--reason", "now")
    assert refused.code == program.FOUND
    assert "approved by nobody" in refused.err
    said = told("approve", "churn@v2", "--stage", "production", "--reason", "looks fine")
    assert (said["verdict"], said["author"]) == ("approved", said["owner"])
    told("promote", "churn@v2", "--stage", "production", "--reason", "better")
    told("alias", "churn@v2", "challenger", "--reason", "to be compared")
    told("alias", "churn@v2", "challenger", "--remove", "--reason", "done")
    moves = told("history", "churn")["moves"]
    assert [move["reason"] for move in moves] == ["the first", "better", "to be compared", "done"]
    assert moves[1]["stages"]["production"]["before"]["number"] == 1
    (then,) = told("at", moves[0]["at"])["models"]
    assert (then["stages"]["production"]["number"], then["aliases"]["champion"]["number"]) == (1, 1)
    shown = command("model", "history", "churn").out.splitlines()[-1][:25]  # to the second, as a table shows it
    for time in (shown, shown.replace("+", " +")):
        (then,) = told("at", time)["models"]
        assert then["stages"]["production"]["number"] == 2
    (now,) = told("at", "now", "churn", "--stage", "production")["models"]
    assert now["stages"]["production"]["number"] == 2
    assert [each["stage"] for each in told("show", "churn")["versions"]] == ["production", "archived"]
    assert told("show", "churn@champion")["aliases"] == ["champion"]
    (listed,) = told("list")["models"]
    assert (listed["name"], listed["last_version"]) == ("churn", 2)
    assert told("card", "churn@v1", "-o", "CARD.md")["card"] == Path("CARD.md").read_text("utf-8")
    assert Path(told("download", "churn@v1", "-o", "back")["path"], "a.txt").read_bytes() == b"hello\n"
    for arguments in (("list",), ("show", "churn"), ("show", "churn@v2"), ("history", "churn"), ("at", "now")):
        assert "production" in command("model", *arguments).out, arguments
    offered = ShellComplete(program.cli, {}, program.PROGRAM, "").get_completions(["model", "card"], "churn@c")
    assert [item.value for item in offered] == ["churn@champion"]


def test_what_cannot_be_says_why(command: Command, told: Any, scene: Scene) -> None:
    told("register", "churn", "--files", "modeldb.db")
    for arguments, code, text in (
        (("register", "churn"), program.USAGE, "--run or --files"),
        (("register", "churn", "--run", scene.first), program.MISSING, "has no artifact 'model'"),
        (("register", "x" * 300, "--files", "modeldb.db"), program.USAGE, "at most 256"),
        (("promote", "churn@v1", "--stage", "live", "--reason", "x"), program.USAGE, "has no stage 'live'"),
        (("promote", "churn@v9", "--stage", "staging", "--reason", "x"), program.MISSING, "no version 'v9'"),
        (("promote", "churn", "--stage", "staging", "--reason", "x"), program.USAGE, "names no version"),
        (("stages", "churn", "--need", "production"), program.USAGE, "STAGE=COUNT"),
        (("stages", "churn", "one"), program.USAGE, "at least two"),
        (("at", "yesterday"), program.USAGE, "is not a time"),
        (("alias", "churn@v1", "none", "--remove", "--reason", "x"), program.MISSING, "does not have the alias"),
        (("show", "else"), program.MISSING, "there are: 'churn'"),
    ):
        result = command("model", *arguments)
        assert (result.code, text in result.err) == (code, True), result
    assert told("history", "churn")["moves"] == []
