"""What the command prints to, and what it prints of others: any encoding, full disks, closed pipes, hostile texts."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.cli import program
from modeldb_core.cli.tables import shown_time
from modeldb_core.cli.text import clean, csv_text
from tests.cli.conftest import Command, Scene

NAME = "é→日本 𝄞"


@pytest.fixture
def foreign(scene: Scene) -> Scene:
    """The scene, and a run with a name that few encodings have."""
    with modeldb.connect(capture_enabled=False) as client, client.start_run("churn", "forest", NAME) as run:
        for step in range(3):
            run.log_metrics({"löss→": step}, step=step)
    return scene


def printed(encoding: str, *arguments: str) -> str:
    """Run a command whose output has an encoding; return what it prints."""
    before, out = sys.stdout, io.TextIOWrapper(io.BytesIO(), encoding)
    sys.stdout = out
    try:
        code = program.run(arguments)
        out.flush()
    finally:
        sys.stdout = before
    assert code == program.OK
    return out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_output_that_lacks_characters_gets_escapes(foreign: Scene, encoding: str) -> None:
    wanted = NAME.encode(encoding, "backslashreplace").decode(encoding)
    for arguments in (["runs"], ["runs", "--csv"], ["show", NAME], ["audit", "log"], ["compare", NAME, "first"]):
        assert wanted in printed(encoding, *arguments), arguments
    assert json.loads(printed(encoding, "runs", "--json"))["items"][0]["name"] == NAME
    assert json.loads(printed(encoding, "show", NAME, "--json"))["name"] == NAME
    plotted = printed(encoding, "history", NAME, "löss→")
    assert "*" in plotted
    assert "\\u28" not in plotted


def test_wide_characters_are_not_cut_where_nothing_is_to_be_cut(command: Command, foreign: Scene) -> None:
    assert NAME in command("runs").out


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "modeldb": f"{sys.executable} -m modeldb_core.cli"}
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", ["runs", "artifacts get first notes/a.txt -o -"])
def test_an_output_that_is_full_is_one_sentence(scene: Scene, arguments: str) -> None:
    done = shell(f"$modeldb {arguments} > /dev/full", scene.folder)
    assert done.stderr == "Error: the output cannot be written: No space left on device\n"
    assert done.returncode == program.FOUND


@pytest.mark.parametrize("arguments", ["runs", "runs --json"])
def test_an_output_that_nobody_reads_is_no_error(scene: Scene, arguments: str) -> None:
    # The reader is gone before anything is written: that is waited for, not hoped for.
    script = f"mkfifo pipe; sleep 0 < pipe & exec 3> pipe; wait $!; $modeldb {arguments} >&3"
    done = shell(script, scene.folder)
    assert (done.returncode, done.stderr) == (program.OK, "")


def test_closed_outputs_are_no_error(scene: Scene) -> None:
    assert shell("$modeldb runs --csv >&-", scene.folder).returncode == program.OK
    done = shell("$modeldb show nosuch 2>&-", scene.folder)
    assert (done.returncode, done.stderr) == (program.MISSING, "")


def test_a_deleted_working_folder_is_no_fault_of_modeldb(scene: Scene) -> None:
    away = "mkdir away; cd away; rmdir ../away; "
    done = shell(f"{away} $modeldb runs", scene.folder)
    assert done.returncode == program.STORE
    assert done.stderr.startswith(f"Error: there is no store at {scene.folder}/away/modeldb.db")
    done = shell(f"{away} $modeldb runs --csv --url sqlite:///{scene.folder}/modeldb.db", scene.folder)
    assert (done.returncode, done.stderr) == (program.OK, "")
    done = shell(f"{away} $modeldb export x.bundle --url sqlite:///{scene.folder}/modeldb.db", scene.folder)
    assert done.returncode == program.FOUND
    assert done.stderr == "Error: the working folder does not exist any more; change to another one with cd\n"


def test_a_file_that_cannot_be_written_is_named(command: Command, scene: Scene) -> None:
    scene.folder.joinpath("file").write_text("")
    for arguments in (
        ["audit", "checkpoint", "file/x.json"],
        ["export", "file/x.bundle"],
        ["artifacts", "get", "first", "notes/a.txt", "-o", "file/x"],
    ):
        result = command(*arguments)
        assert result.code not in (program.OK, program.INTERNAL), arguments
        assert "file" in result.err
        assert "fault in ModelDB" not in result.err


def test_the_place_of_a_mistake_is_shown_once(command: Command, scene: Scene) -> None:
    result = command("runs", "metrics.auc >> 0.9")
    assert result.code == program.USAGE
    assert result.err.count("^") == 1
    assert result.err.count("metrics.auc >> 0.9") == 1


@pytest.mark.parametrize(
    "arguments",
    [["show", "\udcff"], ["history", "\udcff", "a"], ["runs", "--project", "\udcff"]],
    ids=["run", "key", "project"],
)
def test_an_argument_that_is_not_text_is_no_fault_of_the_store(
    command: Command, scene: Scene, arguments: list[str]
) -> None:
    result = command(*arguments)
    assert result.code == program.USAGE
    assert "'\\udcff'" in result.err
    assert "not Unicode text" in result.err
    assert "audit verify" not in result.err


@pytest.mark.parametrize("columns", ["nosuch", "name,nosuch", "nosuch.key", "name desc", "metrics", "a b"])
def test_an_unknown_column_is_not_reported_as_an_order(command: Command, scene: Scene, columns: str) -> None:
    for option in ((), ("--csv",), ("--json",)):
        result = command("runs", "--columns", columns, *option)
        assert result.code == program.USAGE
        assert "order" not in result.err
        assert "^" not in result.err


def test_times_are_shown_with_their_offset_and_a_filter_takes_them(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Kathmandu")  # UTC+05:45
    time.tzset()
    try:
        out = command("runs", "name = 'second'", "--columns", "started_at").out
        shown = out.splitlines()[1].strip()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+05:45", shown)
        found = json.loads(command("runs", f'name = "second" and started_at >= "{shown}"', "--json").out)
        assert found["total"] == 1
        for operator, total in (("=", 1), ("!=", 0), ("<", 0), ("<=", 1), (">", 0)):
            found = json.loads(command("runs", f'name = "second" and started_at {operator} "{shown}"', "--json").out)
            assert found["total"] == total, operator
        to_the_minute = shown[:16] + shown[-6:]  # as notebooks show it
        assert json.loads(command("runs", f'started_at = "{to_the_minute}"', "--json").out)["total"] >= 1
        command("delete", "second")
        assert command("trash").out.count("+05:45") == 2
        assert "+05:45" in command("gc", "--window-days", "0", "--no-artifacts", "--dry-run").out
        with modeldb.connect() as client:
            assert client.search_runs()._repr_html_().count("+05:45") == 2
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("zone", [":garbage99", "UTC+99", "AAA-25"])
def test_a_zone_that_is_none_is_taken_for_utc(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        shown = command("runs", "name = 'second'", "--columns", "started_at").out.splitlines()[1].strip()
        found = json.loads(command("runs", f'name = "second" and started_at >= "{shown}"', "--json").out)
        assert (shown[-6:], found["total"]) == ("+00:00", 1)
        with modeldb.connect() as client:
            assert client.search_runs()._repr_html_().count("+00:00") == 3
        assert command("audit", "log", "--since", "2026-01-01T00:00", "--until", shown).code == program.OK
    finally:
        monkeypatch.undo()
        time.tzset()


def test_short_identifiers_are_taken_wherever_a_run_is_named(command: Command, scene: Scene) -> None:
    short = scene.first[-8:]
    for arguments in (
        ["show", short],
        ["compare", short, scene.second[-8:]],
        ["history", short, "loss"],
        ["artifacts", "list", short],
        ["audit", "log", short],
        ["audit", "log", "--entity", short],
        ["export", "x.bundle", "--run", short],
        ["copy", "sqlite:///modeldb.db", "sqlite:///other.db", "--run", short, "--dry-run"],
        ["delete", short],
        ["restore", short],
    ):
        result = command(*arguments)
        assert result.code == program.OK, arguments
        assert "No changes" not in result.err
    with modeldb.connect() as client:
        assert client.get_run(short).run_id == scene.first
        assert client.get_run("second").run_id == scene.second
        with pytest.raises(ValueError, match=f"(?s){scene.first}.*{scene.second}|{scene.second}.*{scene.first}"):
            client.get_run(scene.first[:6])


def test_a_name_of_several_kinds_is_answered_with_a_form_that_names_one(command: Command, scene: Scene) -> None:
    command("rename", "second", "churn")  # as its project is called
    refused = command("lineage", "churn")
    assert refused.code == program.USAGE
    (form,) = re.findall(r"such as (\S+),", refused.err)
    assert form == "run:churn"
    assert scene.second[-8:] in command("lineage", form).out


def test_a_data_set_that_is_not_there_is_said_not_to_be(command: Command, scene: Scene) -> None:
    for arguments in (("show", "nosuch"), ("show", "nosuch@v1"), ("diff", "nosuch", "v1")):
        result = command("dataset", *arguments)
        assert (result.code, "there is no data set 'nosuch'" in result.err) == (program.MISSING, True), result


def test_a_name_that_is_also_a_part_of_an_identifier_is_ambiguous(command: Command, scene: Scene) -> None:
    with modeldb.connect(capture_enabled=False) as client, client.start_run(name=scene.first[-8:]) as run:
        pass
    result = command("show", scene.first[-8:])
    assert result.code == program.USAGE
    assert scene.first in result.err
    assert run.run_id in result.err


def test_a_folder_and_a_file_of_one_name_are_fetched_apart(command: Command, scene: Scene) -> None:
    with modeldb.connect(capture_enabled=False) as client, client.start_run(name="both") as run:
        run.log_artifact(b"file", name="out")
        run.log_artifact(b"within", name="out/x")
    result = command("artifacts", "get", "both", "out", "-o", "fetched")
    assert result.code == program.OK
    assert "1 file, 4 B" in result.err
    assert "out/ fetches the 1 files in it" in result.err
    assert scene.folder.joinpath("fetched").read_bytes() == b"file"
    assert "1 file, 6 B" in command("artifacts", "get", "both", "out/", "-o", "folder").err
    assert scene.folder.joinpath("folder/x").read_bytes() == b"within"


def test_a_file_is_fetched_by_the_name_that_it_was_logged_by(command: Command, scene: Scene) -> None:
    with modeldb.connect(capture_enabled=False) as client, client.start_run(name="named") as run:
        run.log_artifact({"lr": 0.1}, name="config")
        run.log_artifact({"lr": 0.2}, name="two.json")
    assert command("artifacts", "get", "named", "config").code == program.OK
    assert json.loads(scene.folder.joinpath("config.json").read_text()) == {"lr": 0.1}
    assert json.loads(command("artifacts", "get", "named", "config", "-o", "-").out) == {"lr": 0.1}
    assert command("artifacts", "get", "named", "conf").code == program.MISSING


@pytest.mark.parametrize(
    ("value", "shown"), [("0", False), ("", False), ("false", False), ("OFF", False), ("1", True), ("yes", True)]
)
def test_debugging_is_switched_on_by_a_word_that_means_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scene: Scene, value: str, shown: bool
) -> None:
    monkeypatch.setenv("MODELDB_DEBUG", value)
    program.run(["show", "nosuch"])
    assert ("Traceback" in capsys.readouterr().err) == shown


HOSTILE = "\x1b]0;mine\x07\x9b31m\u202egnp.exe\u2066\u200b\x85 end"


def test_nothing_that_was_logged_is_obeyed_by_a_terminal(command: Command, scene: Scene) -> None:
    with modeldb.connect(capture_enabled=False) as client, client.start_run(HOSTILE, HOSTILE, f"x{HOSTILE}") as run:
        run.log_hyperparameters({f"k{HOSTILE}": HOSTILE, "inner": {HOSTILE: [HOSTILE]}})
        run.add_tags(HOSTILE)
        run.set_description(HOSTILE)
        run.log_artifact(HOSTILE.encode(), name="a.txt")
    for arguments in (
        *(["projects"], ["runs"], ["runs", "--csv"], ["runs", "--json"], ["show", run.run_id], ["audit", "log"]),
        *(["show", run.run_id, "--json"], ["compare", run.run_id, "first"], ["artifacts", "list", run.run_id]),
        *(["runs", "--project", HOSTILE + "no"], ["show", HOSTILE + "no"], ["runs", HOSTILE], ["runs", "-c", HOSTILE]),
    ):
        result = command(*arguments)
        assert result.code != program.INTERNAL
        harmful = set(re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\u2066]", result.out + result.err))
        assert not harmful, arguments
    assert json.loads(command("show", run.run_id, "--json").out)["name"] == f"x{HOSTILE}"


def test_no_text_in_csv_is_a_formula(command: Command, scene: Scene) -> None:
    formulas = ["=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1"]
    with modeldb.connect(capture_enabled=False) as client, client.start_run(name="=1+1") as run:
        run.log_hyperparameters({**{str(at): text for at, text in enumerate(formulas)}, "n": -5, "digits": "-5"})
        columns = ",".join(f"hyperparameters.{key}" for key in run.hyperparameters)
    out = command("runs", f"run_id = '{run.run_id}'", "--csv", "--columns", f"name,{columns}").out
    row = list(csv.reader(io.StringIO(out)))[1]
    assert all(cell.startswith("'") for cell in row[:-2])
    assert row[-2:] == ["-5", "-5"]


def test_harmless_texts_are_left_alone() -> None:
    assert clean("Grüße, 日本, 👩‍🔬, ن‌م") == "Grüße, 日本, 👩‍🔬, ن‌م"
    assert csv_text("a = b\nc") == "a = b\nc"


def test_a_time_is_shown_in_seconds() -> None:
    from datetime import UTC, datetime

    assert datetime.fromisoformat(shown_time(datetime(2026, 11, 28, 21, 0, 0, 999, UTC))) == datetime(
        2026, 11, 28, 21, tzinfo=UTC
    )
