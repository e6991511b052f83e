"""Every command that reports something reports it as JSON, too."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from modeldb_core.cli import program
from tests.cli.conftest import Command, Scene

SERVES = {"server", "ui"}
"""Commands that report nothing: they go on until they are stopped."""


def every_command() -> list[tuple[str, click.Command]]:
    context = click.Context(program.cli)

    def walk(name: str, command: click.Command | None) -> list[tuple[str, click.Command]]:
        assert command is not None
        if isinstance(command, click.Group):
            return [found for inner, each in command.commands.items() for found in walk(f"{name} {inner}", each)]
        return [(name, command)]

    return [found for name in program._COMMANDS for found in walk(name, program.cli.get_command(context, name))]


@pytest.mark.parametrize(
    ("name", "command"), every_command(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_that_reports_something_takes_json(name: str, command: click.Command) -> None:
    options = {text for option in command.params for text in option.opts}
    assert ("--json" in options) != (name in SERVES)


@pytest.mark.parametrize("form", ["--json", "--csv"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "nosuch = 1"],
        ["runs", "--order-by", "tags"],
        ["runs", "--cursor", "nosuch"],
        ["list", "runs", "name ="],
        ["list", "projects", "status = 'failed'"],
        ["history", "first", "nosuch"],
        ["audit", "log", "--log", "all"],
        ["audit", "log", "--log", "access"],
    ],
    ids=" ".join,
)
def test_what_is_refused_leaves_no_half_of_an_answer_behind(
    command: Command, scene: Scene, arguments: list[str], form: str
) -> None:
    result = command(*arguments, form)
    assert result.code in (program.USAGE, program.MISSING)
    assert (result.out, result.err != "") == ("", True)


def test_what_commands_did_is_told_as_json(command: Command, scene: Scene) -> None:
    def told(*arguments: str) -> Any:
        result = command(*arguments, "--json")
        assert result.code == program.OK, arguments
        return json.loads(result.out)

    assert told("artifacts", "get", "first", "notes", "-o", "x")["files"] == ["notes/a.txt", "notes/b.bin"]
    exported = told("export", "all.bundle")
    assert (exported["ok"], exported["files"], len(exported["sha256"])) == (True, 2, 64)
    taken = told("import", "all.bundle", "--url", "sqlite:///other.db")
    assert (taken["changes"], taken["refused"]) == (exported["changes"], {})
    assert told("copy", "sqlite:///modeldb.db", "sqlite:///other.db")["present"] == exported["changes"]
    assert told("audit", "checkpoint", "c.json")["streams"] == exported["streams"]
    assert told("delete", "first", "--dry-run")["changed"] == [{"kind": "run", "entity_id": scene.first}]
    command("delete", "first")
    collected = told("gc", "--window-days", "0", "--dry-run")
    assert (collected["dry_run"], collected["entities"], collected["erased"][0]["name"]) == (True, 1, "first")
    assert told("restore", "first")["action"] == "restore"
    shipped = told("sync")
    assert (shipped["streams"], shipped["changes"], shipped["for_other_stores"]) == ([], 0, [])
    assert told("sync", "--dry-run") == {"waiting": [], "left_alone": []}
    assert told("db", "upgrade")["pending"] == []


def test_conformance_counts_its_tests_in_json(capfd: pytest.CaptureFixture[str]) -> None:
    code = program.run(
        ["conformance", "sqlite:///{tmp_path}/modeldb.db", "-k", "test_keys_are_listed_by_frequency", "--json"]
    )
    assert code == program.OK
    counts = json.loads(capfd.readouterr().out)
    assert counts == {"ok": True, "tests": 1, "failures": 0, "errors": 0, "skipped": 0}
