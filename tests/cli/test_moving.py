"""copy, export and import in the terminal: what is said before, and what is left out."""

from __future__ import annotations

import json

from modeldb_core.cli import program
from tests.cli.conftest import Command, Scene


def test_an_export_of_a_run_names_the_runs_that_come_along(command: Command, scene: Scene) -> None:
    result = command("export", "x.bundle", "--run", scene.first[-8:], "--dry-run")
    assert result.code == program.OK
    assert "1 run asked for; 2 more come along, from the same streams (of churn, prices):" in result.err
    assert f"second ({scene.second})" in result.err
    assert not scene.folder.joinpath("x.bundle").exists()


def test_what_a_run_has_nothing_to_do_with_can_be_withheld(command: Command, scene: Scene) -> None:
    assert command("export", "x.bundle", "--withhold-others").code == program.USAGE
    result = command("export", "x.bundle", "--run", scene.first[-8:], "--withhold-others")
    assert result.code == program.OK
    assert "2 more are in the same streams and are withheld (of churn, prices):" in result.err
    content = scene.folder.joinpath("x.bundle").read_bytes()
    assert b"rmse" not in content
    verified = command("audit", "verify", "x.bundle")
    assert verified.code == program.OK
    assert "payloads were withheld" in verified.out
    assert "erased" not in verified.out
    url = f"bundle://{scene.folder}/x.bundle"
    assert json.loads(command("runs", "--json", "--url", url).out)["total"] == 1
    shown = json.loads(command("show", "first", "--json", "--url", url).out)
    assert shown == json.loads(command("show", "first", "--json").out)
    log = command("audit", "log", "--url", url).out
    assert "(withheld)" in log
    assert "(erased)" not in log
    changes = json.loads(command("audit", "log", "--json", "--url", url).out)["changes"]
    assert any(change["withheld"] and change["data"] is None for change in changes)
    assert not any(change["erased"] for change in changes)
    assert command("show", scene.second, "--url", url).code == program.MISSING
    refused = command("import", "x.bundle", "--url", "sqlite:///other.db")
    assert refused.code == program.USAGE
    assert "no store takes it in" in refused.err
