"""rename, describe, tag, untag, delete and restore: one by one and by filter, shown and asked for."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from modeldb_core.cli import choosing, program
from tests.cli.conftest import Command, Scene


def run_of(command: Command, reference: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("show", reference, "--json").out)
    return found


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What somebody at the terminal answers, the next answer last; nobody is there without it."""
    given: list[bool] = []

    def answer(text: str, **_: object) -> bool:
        assert "Go on?" in text
        return given.pop()

    monkeypatch.setattr(choosing, "is_answered", lambda: True)
    monkeypatch.setattr(click, "confirm", answer)
    return given


def test_a_run_is_renamed_described_and_tagged(command: Command, scene: Scene) -> None:
    assert command("rename", "first", " baseline ").code == program.OK
    assert command("describe", scene.first[-8:], "the old one").code == program.OK
    assert command("tag", "baseline", "good", "new").out == "1 run tagged 'good', 'new'.\n"
    assert command("tag", "baseline", "good").out == "Nothing tagged 'good'.\n"
    assert command("untag", "baseline", "baseline", "new", "absent").code == program.OK
    run = run_of(command, scene.first)
    assert (run["name"], run["description"], run["tags"]) == ("baseline", "the old one", ["good"])
    assert command("audit", "verify").code == program.OK


def test_projects_and_experiments_are_renamed_unless_another_has_the_name(command: Command, scene: Scene) -> None:
    assert command("rename", "--project", "churn", "prices").code == program.FOUND
    assert command("rename", "--project", "churn", "leavers").out == "1 project renamed to 'leavers'.\n"
    assert command("rename", "-p", "leavers", "-e", "forest", "trees").code == program.OK
    assert command("tag", "-p", "leavers", "old").code == program.OK
    (project, _) = json.loads(command("projects", "--json").out)
    assert (project["name"], project["experiments"][0]["name"], project["tags"]) == ("leavers", "trees", ["old"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rename", "first", "x" * 257], "at most 256"),
        (["rename", "first", " "], "empty"),
        (["tag", "first", ""], "empty"),
        (["tag", "gone", "x"], "there is no run 'gone'"),
        (["rename", "x"], "expected modeldb rename RUN NAME; got 'x'"),
        (["rename", "first", "new", "name"], "expected modeldb rename RUN NAME; got 'first' 'new' 'name'"),
        (["rename"], "expected modeldb rename RUN NAME"),
        (["describe", "first", "two", "words"], "expected modeldb describe RUN TEXT; got"),
        (["tag", "first"], "expected modeldb tag RUN TAG...; got 'first'"),
        (["tag", "first", "--filter", "name = 'first'", "x"], "expected modeldb tag --filter FILTER TAG; got"),
        (["tag", "first", "good", "--project", "churn"], "expected modeldb tag --project PROJECT TAG; got"),
        (["untag", "-p", "churn"], "expected modeldb untag --project PROJECT TAG"),
        (["delete"], "name runs, or --filter"),
        (["tag", "--filter", "nosuch = 1", "x"], "not a field"),
        (["delete", "--filter", "", "--yes"], "--filter is empty"),
        (["tag", "--filter", " ", "x", "--yes"], "--filter is empty"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_altered(
    command: Command, scene: Scene, arguments: list[str], says: str
) -> None:
    before = command("audit", "log", "--json").out
    result = command(*arguments)
    assert result.code in (program.USAGE, program.MISSING)
    assert says in result.err
    assert command("audit", "log", "--json").out == before


def test_a_second_run_is_not_taken_for_a_tag(command: Command, scene: Scene) -> None:
    for reference in (scene.second, scene.second[-8:]):
        result = command("tag", "first", reference, "good")
        assert (result.code, "is an identifier, not a tag" in result.err) == (program.USAGE, True)
    assert command("tag", "first", "20261130", "deadbeef", "second").code == program.OK
    assert set(run_of(command, scene.first)["tags"]) >= {"20261130", "deadbeef", "second"}


BY_FILTER = [
    ["rename", "--filter", "project = 'churn'", "same"],
    ["describe", "--filter", "project = 'churn'", "text"],
    ["tag", "--filter", "project = 'churn'", "new"],
    ["untag", "--filter", "project = 'churn'", "baseline"],
    ["delete", "--filter", "project = 'churn'"],
]


@pytest.mark.parametrize("arguments", BY_FILTER, ids=lambda arguments: arguments[0])
def test_what_a_filter_chose_is_shown_and_asked_for(
    command: Command, scene: Scene, answers: list[bool], arguments: list[str]
) -> None:
    before = command("audit", "log", "--json").out
    looked = command(*arguments, "--dry-run")
    answers.append(False)
    refused = command(*arguments)
    for result in (looked, refused):
        assert result.code == program.OK
        assert "first" in result.out
        assert "second" in result.out
        assert "evil" not in result.out
    assert "Nothing was altered" in looked.out
    assert command("audit", "log", "--json").out == before
    answers.append(True)
    assert "2 runs" in command(*arguments).out
    assert command("audit", "log", "--json").out != before
    assert not answers


@pytest.mark.parametrize("arguments", BY_FILTER, ids=lambda arguments: arguments[0])
def test_where_nobody_can_be_asked_a_filter_needs_yes(command: Command, scene: Scene, arguments: list[str]) -> None:
    result = command(*arguments)
    assert result.code == program.USAGE
    assert "pass --yes" in result.err
    done = json.loads(command(*arguments, "--yes", "--json").out)
    assert (done["action"], done["dry_run"], len(done["changed"])) == (arguments[0], False, 2)


def test_runs_are_restored_by_filter(command: Command, scene: Scene) -> None:
    command("delete", "first", "second")
    assert command("restore", "--filter", "", "--project", "churn", "--dry-run").out.endswith("altered.\n")
    result = command("restore", "--filter", "metrics.auc > 0.93", "--yes")
    assert "1 run restored." in result.out
    assert "deleted_at" not in run_of(command, scene.second)
    assert "deleted_at" in run_of(command, scene.first)
    assert command("restore", "--filter", "name = 'second'", "--yes").err == "No run matches.\n"


def test_a_filter_that_matches_nothing_does_nothing(command: Command, scene: Scene) -> None:
    for arguments in (["delete"], ["tag", "x"]):
        result = command(*arguments[:1], "--filter", "name = 'gone'", "--yes", *arguments[1:])
        assert (result.code, result.err) == (program.OK, "No run matches.\n")


def test_a_parent_and_its_children_are_deleted_together_where_all_are_chosen(command: Command, scene: Scene) -> None:
    import modeldb_core as modeldb

    with (
        modeldb.connect(capture_enabled=False) as client,
        client.start_run("nest", name="parent") as parent,
        client.start_run("nest", name="child", parent=parent),
    ):
        pass
    assert "--recursive" in command("delete", "parent").err
    assert "2 runs deleted." in command("delete", "--filter", "", "--project", "nest", "--yes").out


def test_a_deleted_run_is_not_edited(command: Command, scene: Scene) -> None:
    command("delete", "first")
    assert "restore it first" in command("tag", "first", "x").err
