"""``modeldb audit log``, ``verify --access`` and ``checkpoint``: what an auditor asks of both logs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.audit.access import Access, AccessLog, access_folder
from modeldb_core.cli import program
from modeldb_core.log.changes import OPEN, STREAM, UPDATE
from modeldb_core.log.stream import Entry, StreamWriter
from modeldb_core.model.entities import new_id
from modeldb_core.plugins import load_settings, open_store
from tests.cli.conftest import Command, Scene

AT = 1_700_000_000_000_000  # 2023-11-14T22:13:20Z


@pytest.fixture
def folder(scene: Scene) -> Path:
    """The folder of an access log of the store, with three entries an hour apart."""
    settings = load_settings()
    found = access_folder(settings.server_access_log_dir, settings.url)
    log = AccessLog(found)
    data: dict[str, Any] = {"status": 403, "address": "10.1.2.3"}
    log.record(Access(AT, "ada", "refuse", "route", "/api/v2/runs", data))
    log.record(Access(AT + 3_600_000_000, "eve", "read", "run", scene.first, {"digest": "ab", "bytes": 6}))
    log.record(Access(AT + 7_200_000_000, "eve", "read", "run", scene.other, {"digest": "cd", "bytes": 7}))
    log.close()
    return found


def listed(command: Command, *arguments: str) -> list[dict[str, Any]]:
    result = command("audit", "log", "--json", *arguments)
    assert result.code == 0, result.err
    found: list[dict[str, Any]] = json.loads(result.out)["changes"]
    return found


def test_each_filter_chooses_from_the_log_of_changes(command: Command, scene: Scene) -> None:
    everything = listed(command)
    actor = everything[0]["actor"]
    for arguments, test in (
        (["--who", actor], lambda change: True),
        (["--who", "nobody"], lambda change: False),
        (["--kind", "run"], lambda change: change["kind"] == "run"),
        (["--kind", "run", "--kind", "project"], lambda change: change["kind"] in ("run", "project")),
        (["--action", "append"], lambda change: change["action"] == "append"),
        (["--entity", scene.first], lambda change: change["entity_id"] == scene.first),
        (["--since", "2000-01-01"], lambda change: True),
        (["--until", "2000-01-01"], lambda change: False),
        (["--since", everything[5]["recorded_at"]], lambda c: c["recorded_at"] >= everything[5]["recorded_at"]),
        (["--kind", "run", "--action", "create"], lambda c: (c["kind"], c["action"]) == ("run", "create")),
    ):
        assert listed(command, *arguments) == list(filter(test, everything)), arguments
    inside = listed(command, "--project", "prices")
    assert {change["entity_id"] for change in inside if change["kind"] == "run"} == {scene.other}
    assert {change["kind"] for change in inside} >= {"run", "project", "experiment"}
    assert len(inside) < len(everything)
    paged, cursor = [], 0
    while True:
        page = json.loads(command("audit", "log", "--json", "--kind", "run", "-n", "3", "--after", str(cursor)).out)
        if not page["changes"]:
            break
        paged, cursor = paged + page["changes"], page["cursor"]
    assert paged == listed(command, "--kind", "run")


def test_the_access_log_is_chosen_from_in_the_same_way_and_both_are_merged_by_time(
    command: Command, scene: Scene, folder: Path
) -> None:
    access = [change for change in listed(command, "--log", "access") if change["kind"] != "stream"]
    assert [change["action"] for change in access] == ["refuse", "read", "read"]
    assert access[0]["data"] == {"status": 403, "address": "10.1.2.3"}
    assert access[0]["recorded_at"].startswith("2023-11-14T22:13:20")
    assert listed(command, "--log", "access", "--who", "ada") == access[:1]
    assert listed(command, "--log", "access", "--action", "read") == access[1:]
    assert listed(command, "--log", "access", "--entity", scene.first) == access[1:2]
    assert listed(command, "--log", "access", "--project", "prices") == access[2:]
    assert listed(command, "--log", "access", "--until", "2023-11-15T00:00:00+01:00", "--kind", "route") == access[:1]
    assert listed(command, "--log", "access", "--until", "2023-11-14T22:13:20+00:00") == []
    merged = listed(command, "--log", "all")
    assert len(merged) == len(listed(command)) + len(access) + 2
    assert merged[:3] == access
    table = command("audit", "log", "--log", "access").out
    assert "/api/v2/runs" in table
    assert "status: 403" in table


def test_changes_that_arrive_late_stay_in_the_order_of_the_log_beside_accesses(
    command: Command, scene: Scene, folder: Path
) -> None:
    late = StreamWriter(new_id(), "offline")
    changes = [late.write(Entry(OPEN, STREAM, late.stream_id, {}), AT + 1_800_000_000)]
    changes += [late.write(Entry(UPDATE, "run", scene.first, {"set": {"description": "late"}}), AT + 5_400_000_000)]
    with open_store(load_settings().url) as store:
        store.apply(changes)
    merged, access = listed(command, "--log", "all"), listed(command, "--log", "access")
    assert [change for change in merged if change not in access] == listed(command)
    assert [change for change in merged if change in access] == access


def test_a_list_in_csv_has_times_with_their_zone(command: Command, scene: Scene, folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(command("audit", "log", "--log", "access", "--csv").out)))
    (refused,) = [row for row in rows if row["action"] == "refuse"]
    assert refused["time"] == "2023-11-14T22:13:20.000000Z"
    assert (refused["actor"], refused["entity_id"]) == ("ada", "/api/v2/runs")
    assert json.loads(refused["data"])["status"] == 403
    assert len(refused["hash"]) == 64


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["log", "--since", "yesterday"], "'yesterday' is not a time"),
        (["log", "--json", "--csv"], "only one of"),
        (["log", "--log", "access", "--after", "0"], "--after goes"),
        (["log", "--log", "access"], "there is no access log"),
        (["log", "--project", "nothing"], "there is no project 'nothing'"),
        (["verify", "--access"], "there is no access log"),
        (["verify", "--access", "--artifacts"], "--access verifies"),
    ],
)
def test_what_cannot_be_asked_is_said(command: Command, scene: Scene, arguments: list[str], said: str) -> None:
    result = command("audit", *arguments)
    assert result.code in (program.USAGE, program.FOUND, program.MISSING)
    assert said in result.err


def test_verify_finds_what_was_altered_in_the_access_log(command: Command, scene: Scene, folder: Path) -> None:
    result = command("audit", "verify", "--access")
    assert result.code == program.OK, result.out
    assert "everything verifies" in result.out
    (path,) = folder.rglob("*.access")
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    result = command("audit", "verify", "--access")
    assert result.code == program.FOUND
    assert "WRONG" in result.out
