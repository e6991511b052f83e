"""``modeldb repo``: repositories in git's words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from modeldb_core.cli import program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_branch_and_a_merge_of_settings(command: Command, folder: Path) -> None:
    def repo(*arguments: str, code: int = program.OK) -> Any:
        result = command("repo", *arguments, "--json")
        assert result.code == code, result.err
        return json.loads(result.out) if result.out else result.err

    assert command("repo", "init", "churn").code == program.OK
    params, image = folder / "params.json", folder / "image.json"
    params.write_text('{"lr": 0.1, "optimizer": {"name": "sgd"}}')
    image.write_text('{"kind": "environment", "type": "docker", "repository": "python", "tag": "3.12"}')
    first = repo(
        "commit", "churn", "-m", "first", "--set", f"config={params}", "--set", f"image={image}", "--env", "env"
    )
    assert [(each["location"], each["status"]) for each in repo("diff", "churn")] == [
        ("config", "added"),
        ("env", "added"),
        ("image", "added"),
    ]
    assert f"{first['digest'][:12]} is a first commit" in repo("diff", "churn", "main~", code=program.MISSING)
    (folder / "params.toml").write_text('lr = 0.2\n[optimizer]\nname = "sgd"\n')
    repo("commit", "churn", "-m", "faster", "-b", "try", "--base", "main", "--set", "config=params.toml")
    params.write_text('{"lr": 0.3, "optimizer": {"name": "adam"}}')
    repo("commit", "churn", "-m", "on main", "--set", f"config={params}", "--remove", "env")
    said = command("repo", "merge", "churn", "try")
    assert said.code == program.FOUND
    assert "conflict: config (lr): both changed it" in said.err
    merged = repo("merge", "churn", "try", "--theirs", "config:lr")
    assert repo("show", "churn", "main", "config")["hyperparameters"] == {"lr": 0.2, "optimizer": {"name": "adam"}}
    assert [each["location"] for each in repo("show", "churn")["locations"]] == ["config", "image"]
    assert [each["message"] for each in repo("log", "churn", "main", "config")][-1] == "first"
    (changed,) = repo("diff", "churn", "main~", "main")
    assert changed["parts"] == [{"part": ["lr"], "status": "changed", "before": 0.3, "after": 0.2}]
    assert {each["name"]: each["commit"]["message"] for each in repo("blame", "churn", "config")} == {
        "lr": "faster",
        "optimizer.name": "on main",
    }
    assert repo("tag", "churn", "v1.0")["v1.0"]["digest"] == merged["digest"]
    assert sorted(repo("branch", "churn", "old", first["digest"][:10])) == ["main", "old", "try"]
    assert repo("branch", "churn", "old", "main", "--force")["old"]["digest"] == merged["digest"]
    assert sorted(repo("branch", "churn", "old", "--delete")) == ["main", "try"]
    out = repo("checkout", "churn", "v1.0", "work")
    assert (out["written"], json.loads((folder / "work" / "config").read_text())["hyperparameters"]["lr"]) == (
        ["config", "image"],
        0.2,
    )
    assert repo("revert", "churn", "main", "--mainline", "1")["message"].startswith("Revert")
    assert repo("cherry-pick", "churn", "try", "--favour", "ours", code=program.USAGE)
    assert "faster" in command("repo", "log", "churn").out
    assert "~ config (config)\n    ~ lr: 0.3 -> 0.2\n" in command("repo", "diff", "churn", "v1.0~", "v1.0").out
    assert "optimizer.name" in command("repo", "blame", "churn", "config").out
    assert repo("tag", "churn", "v1.0", "--delete") == {}


def test_what_is_wrong_is_told_in_a_sentence(command: Command, folder: Path) -> None:
    assert command("repo", "log", "churn").code == program.STORE
    command("repo", "init", "churn")
    (folder / "list.json").write_text("[1]")
    (folder / "broken.toml").write_text("a = ")
    for arguments, code in (
        (("log", "nowhere"), program.MISSING),
        (("log", "churn"), program.MISSING),
        (("commit", "churn", "-m", "x"), program.USAGE),
        (("commit", "churn", "-m", "x", "--set", "config"), program.USAGE),
        (("commit", "churn", "-m", "x", "--set", "config=nowhere.json"), program.MISSING),
        (("commit", "churn", "-m", "x", "--set", "config=list.json"), program.USAGE),
        (("commit", "churn", "-m", "x", "--set", "config=broken.toml"), program.USAGE),
        (("commit", "churn", "-m", "x", "-b", "a b", "--env", "env"), program.USAGE),
        (("branch", "churn", "--delete"), program.USAGE),
        (("merge", "churn", "nowhere"), program.MISSING),
    ):
        result = command("repo", *arguments)
        assert result.code == code, (arguments, result.err)
        assert result.err
