"""projects, runs, show, compare, history, artifacts: in tables, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.cli import program, tables
from modeldb_core.errors import NotFoundError
from modeldb_core.queries import Query
from modeldb_core.stores import Page
from tests.cli.conftest import Command, Scene


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_projects_with_their_experiments_and_counts(command: Command, scene: Scene) -> None:
    result = command("projects")
    assert result.code == 0
    assert lines(result.out)[1][:3] == ["churn", "forest", "2"]
    assert lines(result.out)[2][:3] == ["prices", "linear", "1"]
    data = json.loads(command("projects", "--json").out)
    assert [(item["name"], item["runs"]) for item in data] == [("churn", 2), ("prices", 1)]
    assert data[0]["experiments"][0]["name"] == "forest"


def test_runs_are_listed_newest_first_with_the_columns_that_tell_them_apart(command: Command, scene: Scene) -> None:
    result = command("runs", "--project", "churn")
    head, second, first = result.out.splitlines()[:3]
    assert "metrics.auc" in head
    assert "hyperparameters.max_depth" in head
    assert second.split()[:3] == [scene.second[-8:], "second", "finished"]
    assert first.split()[:3] == [scene.first[-8:], "first", "finished"]


def test_runs_listed_as_any_kind_say_which_project_they_belong_to(command: Command, scene: Scene) -> None:
    assert command("list", "runs").out == command("runs").out
    rows = list(csv.DictReader(io.StringIO(command("list", "runs", "--csv").out)))
    assert [row["project"] for row in rows] == ["prices", "churn", "churn"]


def test_a_table_has_the_columns_of_older_runs_where_a_store_looks_at_the_newest_alone(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (["metrics.auc > 0"], ["--project", "churn", "--experiment", "forest"])
    whole = [command("runs", *each, "--csv").out.splitlines() for each in arguments]
    monkeypatch.setattr("modeldb_core.backends._sql.key_counts.SAMPLE", 1)
    for each, (head, *rows) in zip(arguments, whole, strict=True):
        found = command("runs", *each, "--csv").out.splitlines()
        assert set(head.split(",")) <= set(found[0].split(","))
        assert len(found) == len(rows) + 1


def test_show_says_which_times_nobody_measured(command: Command, scene: Scene) -> None:
    began, ended = datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 13, tzinfo=UTC)
    with modeldb.connect(capture_enabled=False) as client:
        client.start_run("churn", "forest", "imported", started_at=began).finish(finished_at=ended)
    assert "started_at and finished_at, not measured" in " ".join(command("show", "imported").out.split())
    assert "not measured" not in command("show", "second").out


def test_runs_are_filtered_ordered_and_limited(command: Command, scene: Scene) -> None:
    arguments = ("metrics.auc > 0.9", "--order-by", "metrics.auc", "--columns", "name,metrics.auc")
    assert lines(command("runs", *arguments).out) == [["name", "metrics.auc"], ["first", "0.91"], ["second", "0.95"]]
    result = command("runs", *arguments, "--limit", "1")
    assert lines(result.out)[1:] == [["first", "0.91"]]
    assert result.err.startswith("These are the first 1 of 2 runs; --limit 0 shows all.")
    cursor = result.err.split("--cursor ")[1].strip()
    assert lines(command("runs", *arguments, "--cursor", cursor).out)[1:] == [["second", "0.95"]]


def test_columns_are_named_as_in_queries(command: Command, scene: Scene) -> None:
    columns = 'run_id,project,experiment,tags,status,duration,metrics.loss.min,metrics."val loss",hyperparameters.class_weight.1'
    row = next(csv.DictReader(io.StringIO(command("runs", 'name = "first"', "-c", columns, "--csv").out)))
    assert row["run_id"] == scene.first
    assert (row["project"], row["experiment"], row["status"]) == ("churn", "forest", "finished")
    assert json.loads(row["tags"]) == ["baseline"]
    assert float(row["duration"]) >= 0
    assert float(row["metrics.loss.min"]) == pytest.approx(0.00709, rel=1e-3)
    assert row["hyperparameters.class_weight.1"] == "9.5"
    assert row['metrics."val loss"'] == "1.0"


def test_an_unknown_column_is_an_error(command: Command, scene: Scene) -> None:
    result = command("runs", "--columns", "nmae")
    assert result.code == program.USAGE
    assert "did you mean 'name'" in result.err


def test_an_unknown_project_is_an_error(command: Command, scene: Scene) -> None:
    result = command("runs", "--project", "gone")
    assert result.code == program.MISSING
    assert "there is no project 'gone'" in result.err


@pytest.fixture
def many(command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> int:
    """The scene with more runs than a page and a screen have; returns how many there are."""
    from modeldb_core.cli import runs

    monkeypatch.setattr(runs, "_PAGE", 7)
    with modeldb.connect(capture_enabled=False) as client:
        for number in range(27):
            client.start_run("churn", "forest", f"n{number}").finish()
    return 30


def test_into_a_file_all_runs_are_written(command: Command, many: int) -> None:
    rows = list(csv.DictReader(io.StringIO(command("runs", "--csv").out)))
    assert len(rows) == many
    assert "metrics.rmse" in rows[0]  # which only the oldest has
    result = command("runs", "--json")
    data = json.loads(result.out)
    assert (len(data["items"]), data["total"], data["cursor"]) == (many, many, None)
    assert result.err == ""
    assert len(command("runs").out.splitlines()) == many + 1
    assert len(command("runs", "--csv", "--limit", "10").out.splitlines()) == 11
    data = json.loads(command("runs", "--json", "--limit", "10").out)
    rest = json.loads(command("runs", "--json", "--cursor", data["cursor"]).out)
    names = [run["name"] for page in (data, rest) for run in page["items"]]
    assert len(names) == len(set(names)) == many
    assert json.loads(command("runs", "--json", "name = 'gone'").out) == {"items": [], "cursor": None, "total": 0}


def test_on_a_terminal_a_table_says_how_many_runs_it_leaves_out(
    command: Command, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modeldb_core.cli import runs

    monkeypatch.setattr(runs, "is_terminal", lambda: True)
    result = command("runs")
    assert len(result.out.splitlines()) == 21
    assert result.err.startswith(f"These are the first 20 of {many} runs; --limit 0 shows all.")
    result = command("runs", "--limit", "0")
    assert len(result.out.splitlines()) == many + 1
    assert result.err == ""


def test_what_was_logged_comes_first_and_maps_are_taken_apart(command: Command, scene: Scene) -> None:
    import modeldb_core as modeldb

    with modeldb.connect(capture_enabled=False) as client:
        for number in range(2):
            with client.start_run("own", "x", f"n{number}") as run:
                run.log_metrics({"modeldb/epoch_seconds": number, "zeta": number})
                run.log_hyperparameters({"optimizer": {"name": "adam", "lr": number}})
    wanted = ["metrics.zeta", "hyperparameters.optimizer.lr", "hyperparameters.optimizer.name"]
    for option in ((), ("--csv",)):
        head = command("runs", "--project", "own", *option).out.splitlines()[0].replace(",", " ").split()
        assert [name for name in head if "optimizer" in name or "zeta" in name] == wanted
        assert "hyperparameters.optimizer" not in head
        assert head[-1] == "metrics.modeldb/epoch_seconds"
    assert "epoch_seconds" not in command("show", "n1").out
    assert "1 of ModelDB's own measures" in command("show", "n1").out
    assert "epoch_seconds" in command("show", "n1", "--all").out
    compared = [line.split()[0] for line in command("compare", "n0", "n1").out.splitlines() if "metrics." in line]
    assert compared == ["metrics.zeta", "metrics.modeldb/epoch_seconds"]


def test_show_says_why_a_run_failed(command: Command, scene: Scene) -> None:
    import modeldb_core as modeldb

    def fails() -> None:
        msg = "learning rate \x1b[31mtoo high"
        raise ValueError(msg)

    with (
        modeldb.connect(capture_enabled=False) as client,
        pytest.raises(ValueError, match="too high"),
        client.start_run(name="broken"),
    ):
        fails()
    out = command("show", "broken").out
    assert "ValueError" in out
    assert "too high" in out
    assert "in fails" in out
    assert "\x1b" not in out


def test_no_match_is_said_and_is_no_failure(command: Command, scene: Scene) -> None:
    result = command("runs", "metrics.auc > 2")
    assert (result.code, result.out, result.err) == (0, "", "No run matches.\n")


def test_json_keeps_every_value(command: Command, scene: Scene) -> None:
    data = json.loads(command("runs", "--json", "name = 'first'").out)
    (run,) = data["items"]
    assert run["entity_id"] == scene.first
    assert run["attributes"]["nan"] == {"$float": "NaN"}
    assert run["attributes"]["big"] == {"$int": str(2**70)}
    assert run["hyperparameters"]["class_weight"] == {"0": 1.0, "1": 9.5}
    assert run["series"]["loss"]["count"] == 100
    assert (data["total"], data["cursor"]) == (1, None)


def test_json_and_csv_exclude_each_other(command: Command, scene: Scene) -> None:
    assert command("runs", "--json", "--csv").code == program.USAGE
    assert command("history", "first", "loss", "--json", "--table").code == program.USAGE


def test_names_cannot_send_control_codes_to_the_terminal(command: Command, scene: Scene) -> None:
    for arguments in (["runs"], ["show", scene.other], ["compare", scene.other, "first"], ["audit", "log"]):
        result = command(*arguments)
        assert result.code == 0
        assert "\x1b" not in result.out + result.err
        assert "evil" in result.out
    assert "\x1b" not in command("runs", "--json").out


@pytest.mark.parametrize("part", [slice(None), slice(-8, None), slice(-4, None), slice(0, 30)])
def test_a_run_is_found_by_a_part_of_its_identifier(command: Command, scene: Scene, part: slice) -> None:
    assert json.loads(command("show", scene.first[part], "--json").out)["entity_id"] == scene.first


def test_a_run_is_found_by_its_name(command: Command, scene: Scene) -> None:
    assert json.loads(command("show", "second", "--json").out)["entity_id"] == scene.second


def test_an_ambiguous_beginning_lists_the_runs(command: Command, scene: Scene) -> None:
    result = command("show", scene.first[:6])
    assert result.code == program.USAGE
    assert scene.first in result.err
    assert scene.second in result.err
    assert "give more of the identifier" in result.err


def test_an_unknown_run_is_an_error(command: Command, scene: Scene) -> None:
    for reference in ("gone", "ffffffff", "%"):
        result = command("show", reference)
        assert result.code == program.MISSING
        assert f"there is no run {reference!r}" in result.err


def test_show_tells_everything_that_was_logged(command: Command, scene: Scene) -> None:
    out = command("show", "first").out
    for text in (
        "the one to beat",
        "baseline",
        "max_depth",
        "9.5",
        "auc",
        "0.91",
        "val loss",
        "notes/a.txt",
        "6 B",
        "nan",
    ):
        assert text in out


def test_show_prints_the_uncommitted_changes(command: Command, scene: Scene) -> None:
    import modeldb_core as modeldb

    patch = "diff --git a/x b/x\n-\told\n+\tnew \x1b[31m" + "x" * 5000 + "\n"  # long enough to be stored apart
    with modeldb.connect(capture_enabled=False) as client, client.start_run(name="dirty") as run:
        code = {"diff": client.blobs.checked_map({"diff": patch}, "code", limit=2048)["diff"]}
        client.log_change("update", "run", run.run_id, {"put": {"code": code}})
    assert command("show", "dirty", "--diff").out == patch.replace("\x1b", "\N{REPLACEMENT CHARACTER}")


def test_compare_shows_what_differs(command: Command, scene: Scene) -> None:
    out = command("compare", "first", "second").out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert rows["hyperparameters.max_depth"] == ["8", "12"]
    assert rows["metrics.auc"] == ["0.91", "0.95"]
    assert rows["duration"][1::2] in (["ms", "ms"], ["s", "ms"], ["ms", "s"], ["s", "s"]), "with its unit"
    assert rows["hyperparameters.class_weight.1"] == ["9.5"]
    assert "hyperparameters.same" not in rows
    assert "hyperparameters.same" in command("compare", "first", "second", "--all").out
    data = json.loads(command("compare", "first", "second", "--json").out)
    assert data["runs"] == [scene.first, scene.second]
    (row,) = (row for row in data["rows"] if row["key"] == "max_depth")
    assert row == {"section": "hyperparameters", "key": "max_depth", "differs": True, "values": [8, 12]}


def test_compare_needs_two_runs_and_says_when_nothing_differs(command: Command, scene: Scene) -> None:
    assert command("compare", "first").code == program.USAGE
    assert "do not differ" in command("compare", "first", "first").err


def test_history_as_plot_table_json_and_csv(command: Command, scene: Scene) -> None:
    plotted = command("history", "first", "loss").out.splitlines()
    assert plotted[0] == "loss: 100 of 100 points"
    assert plotted[1].split()[0] == "1"
    assert len({line.count("\u2800") for line in plotted}) == 1  # no empty Braille cells, which look like dirt
    table = lines(command("history", "first", "loss", "--table", "--steps", "10:12").out)
    assert [row[0] for row in table] == ["step", "10", "11", "12"]
    data = json.loads(command("history", "first", "loss", "--json", "--steps", "5").out)
    assert data["steps"] == [5]
    assert data["values"] == [pytest.approx(0.7788, rel=1e-3)]
    rows = list(csv.DictReader(io.StringIO(command("history", "first", "loss", "--csv").out)))
    assert len(rows) == 100
    assert rows[0]["time"].endswith("Z")


def test_history_of_an_unknown_key_or_bad_steps(command: Command, scene: Scene) -> None:
    result = command("history", "first", "gone")
    assert result.code == program.MISSING
    assert "has no series 'gone'; it has 'loss', 'val loss'" in result.err
    assert "expected FIRST:LAST" in command("history", "first", "loss", "--steps", "a:b").err


def test_history_of_a_metric_without_steps_gives_its_value(command: Command, scene: Scene) -> None:
    result = command("history", "first", "auc", "--json")
    assert (result.code, result.out) == (program.MISSING, "")
    assert "was logged without a step: it has a value, 0.91, and no history" in result.err
    with modeldb.connect() as client, pytest.raises(NotFoundError, match=r"a value, 0\.91, and no history"):
        client.get_run(scene.first).history("auc")


def test_artifacts_are_listed_and_fetched(command: Command, scene: Scene) -> None:
    assert [row[0] for row in lines(command("artifacts", "list", "first").out)] == [
        "path",
        "notes/a.txt",
        "notes/b.bin",
    ]
    assert json.loads(command("artifacts", "list", "first", "--json").out)["notes/a.txt"]["size_bytes"] == 6
    assert command("artifacts", "get", "first", "notes/a.txt").code == 0
    assert scene.folder.joinpath("a.txt").read_bytes() == b"hello\n"
    assert command("artifacts", "get", "first", "notes", "-o", "copy").code == 0
    assert scene.folder.joinpath("copy/b.bin").read_bytes() == b"\x00\x01"
    assert command("artifacts", "get", "first", "notes/a.txt", "-o", "-").out == "hello\n"
    assert "no artifacts" in command("artifacts", "list", "second").err


def test_a_file_is_only_replaced_on_request(command: Command, scene: Scene) -> None:
    target = scene.folder / "a.txt"
    target.write_text("mine")
    result = command("artifacts", "get", "first", "notes/a.txt")
    assert result.code == program.USAGE
    assert target.read_text() == "mine"
    assert command("artifacts", "get", "first", "notes/a.txt", "--force").code == 0
    assert target.read_text() == "hello\n"


def test_an_unknown_artifact_is_an_error(command: Command, scene: Scene) -> None:
    for arguments in (["gone"], ["gone", "-o", "-"]):
        assert command("artifacts", "get", "first", *arguments).code == program.MISSING


def test_a_damaged_artifact_is_an_error_and_leaves_nothing(command: Command, scene: Scene) -> None:
    digest = json.loads(command("artifacts", "list", "first", "--json").out)["notes/a.txt"]["digest"]
    (blob,) = scene.folder.joinpath("modeldb-artifacts").rglob(digest)
    blob.chmod(0o644)
    blob.write_bytes(b"hullo\n")
    result = command("artifacts", "get", "first", "notes/a.txt")
    assert result.code == program.FOUND
    assert not scene.folder.joinpath("a.txt").exists()


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_table_fits_the_terminal_and_says_what_it_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    names = [f"column-{number:02}" for number in range(20)]
    tables.print_table(names, [["x" * 50] * 20])
    printed = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert max(map(len, printed.splitlines())) <= 60
    assert "column-00" in out.getvalue()
    assert "column-19" in capsys.readouterr().err


def test_what_room_there_is_goes_to_the_narrow_columns_first() -> None:
    assert tables.fit_widths([(4, 8), (4, 8), (4, 300)], 60) == [8, 8, 40]
    assert tables.fit_widths([(4, 8), (20, 5)], 60) == [8, 20]
    assert tables.fit_widths([(3, 90)] * 9, 52) == [16, 16, 16]
    assert tables.fit_widths([(3, 900)], 5) == [5]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0123, "12 ms"),
        (59.94, "59.9 s"),
        (61, "1 m 1 s"),
        (3 * 3600 + 300, "3 h 5 m"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_are_readable(seconds: float | None, text: str) -> None:
    assert tables.duration(seconds) == text


def test_sizes_are_readable() -> None:
    assert [tables.size(number) for number in (0, 1023, 1024, 5 * 2**30)] == ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]


def test_a_store_elsewhere_is_named_by_option(command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere: Path = scene.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert command("runs").code == program.STORE
    assert json.loads(command("runs", "--json", "--url", "sqlite:///../modeldb.db").out)["total"] == 3


def test_projects_are_listed_with_one_question_for_all_experiments(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    find = SQLiteStore.find

    def count(store: SQLiteStore, query: Query) -> Page:
        asked.append(query.kind)
        return find(store, query)

    with modeldb.connect(capture_enabled=False) as client:
        for number in range(3):
            client.start_run(f"more {number}", "forest", f"n{number}").finish()
    monkeypatch.setattr(SQLiteStore, "find", count)
    listed = json.loads(command("projects", "--json").out)
    assert [len(each["experiments"]) for each in listed if each["name"].startswith("more")] == [1, 1, 1]
    assert (asked.count("project"), asked.count("experiment")) == (1, 1)
