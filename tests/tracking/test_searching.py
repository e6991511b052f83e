"""Answers are whole, or say where they stop; runs are changed by filter."""

from __future__ import annotations

import gc
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import modeldb_core as modeldb
from modeldb_core import tracking
from modeldb_core.commands.declaring import declare
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, MissingDependencyError, StoreUnavailableError
from modeldb_core.model import entities
from modeldb_core.model.entities import derived_id, new_id
from modeldb_core.queries import Query
from modeldb_core.stores import Page
from modeldb_core.tracking import Client, RunHandle, Runs, connections
from modeldb_core.tracking import runs as results
from modeldb_core.tracking.repositories.repository import BranchHandle
from modeldb_core.tracking.silent import SilentRun

COUNT = 300
MANY = 1_005  # more than a page


@pytest.fixture
def many(client: Client) -> Client:
    """Return a client with 300 runs, the first of which is the best."""
    ids = client.container_id("many"), client.container_id("many", "default")
    client.start_run("many", name="first", capture=False, make_current=False).finish()
    for number in range(COUNT - 1):
        fields = {"name": f"run {number}", "project_id": ids[0], "experiment_id": ids[1], "status": "finished"}
        fields["metrics"] = {"auc": number / COUNT}
        client.log_change("create", "run", new_id(), fields)
    best = client.search_runs("name = 'first'")[0]
    client.log_change("update", "run", best.run_id, {"put": {"metrics": {"auc": 1.0}}})
    return client


def test_iterating_tables_and_lengths_come_to_the_end(many: Client) -> None:
    assert many.search_runs(project="many").to_pandas()["metrics.auc"].max() == 1.0
    assert len({run.run_id for run in many.search_runs(project="many")}) == COUNT
    assert len(many.search_runs(project="many")) == COUNT
    assert len(many.search_runs(project="many").entities) == COUNT
    assert many.search_runs(project="many")[-1].name == "first"
    assert many.search_runs(project="many")[COUNT - 1].name == "first"
    assert len(many.search_runs(project="many")[50:250]) == 200
    assert len(many.search_runs(project="many", limit=None)) == COUNT
    assert many.search_runs(project="many").total == COUNT
    found = many.search_runs(project="many")
    assert [run.run_id for run in reversed(found)] == [run.run_id for run in found][::-1]
    with pytest.raises(IndexError):
        found[COUNT]


def test_what_is_shown_says_how_many_there_are(many: Client) -> None:
    assert repr(many.search_runs(project="many")).startswith("<first 100 of 300 runs;")
    assert repr(many.search_runs(project="many", limit=100)) == "<first 100 of 300 runs; as limit says>"
    assert repr(many.search_runs("metrics.auc = 1", project="many")) == "<1 run>"
    whole = many.search_runs(project="many")
    assert len(whole) == COUNT
    assert repr(whole) == "<300 runs>"
    assert "first 50 of 300 runs" in many.search_runs(project="many")._repr_html_()
    assert "first 10 of 300 runs" in many.search_runs(project="many", limit=10)._repr_html_()


def test_a_result_shows_itself_also_while_the_store_is_away(many: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    found = many.search_runs(project="many")

    def away(_: object) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(many.store, "find", away)
    assert repr(found) == "<first 100 runs; the store does not say how many there are>"


def test_a_limit_is_kept_and_goes_on_with_the_next_page(many: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_PAGE", 7)
    top = many.search_runs(project="many", order_by="metrics.auc desc", limit=10)
    assert (len(top), len(list(top)), len(top.to_pandas())) == (10, 10, 10)
    seen, page = [], top
    while page is not None:
        seen += [run.run_id for run in page]
        page = page.next_page()
    assert len(seen) == len(set(seen)) == COUNT
    assert len(list(many.search_runs(project="many"))) == COUNT


@pytest.mark.parametrize("limit", [-1, 1.5, "10", True])
def test_a_limit_that_is_none_is_refused(client: Client, limit: int) -> None:
    with pytest.raises(InvalidArgumentError, match="limit"):
        client.search_runs(limit=limit)


def test_a_limit_of_nothing_still_counts(many: Client) -> None:
    none = many.search_runs(limit=0, count=True)
    assert (len(none), none.total, bool(none)) == (0, COUNT, False)


def test_projects_and_experiments_are_all_there(client: Client) -> None:
    workspace = derived_id("workspace", "", client.settings.workspace)
    for number in range(MANY):
        project_id = client.container_id(f"p{number:04}")
        client.execute(declare("project", project_id, f"p{number:04}", workspace_id=workspace))
        experiment_id = client.container_id("p0000", f"e{number:04}")
        within = {"project_id": client.container_id("p0000")}
        client.execute(declare("experiment", experiment_id, f"e{number:04}", **within))
    assert [project.name for project in modeldb.projects()] == [f"p{number:04}" for number in range(MANY)]
    assert [found.name for found in modeldb.experiments("p0000")] == [f"e{number:04}" for number in range(MANY)]
    assert modeldb.experiments("p0001", client=client) == ()


def test_tables_have_names_users_values_first_and_no_maps(client: Client, tmp_path: Path) -> None:
    with client.start_run("churn", "forest", capture=False) as run:
        run.log_metrics({"modeldb/fit_seconds": 1.0, "auc": 0.9})
        run.log_hyperparameters({"optimizer": {"name": "adam", "betas": [0.9, 0.99]}, "labels": {0: "cat"}})
        run.set_attributes({"empty": {}})
    frame = client.search_runs().to_pandas()
    assert list(frame.columns)[:4] == ["run_id", "name", "project", "experiment"]
    assert (frame["project"][0], frame["experiment"][0]) == ("churn", "forest")
    assert frame["hyperparameters.optimizer.name"][0] == "adam"
    assert frame["hyperparameters.labels.0"][0] == "cat"
    assert frame.columns[-1] == "metrics.modeldb/fit_seconds"
    assert not any(isinstance(value, dict) and value for value in frame.iloc[0])
    shown = client.search_runs()._repr_html_()
    assert shown.index("metrics.auc") < shown.index("modeldb/fit_seconds")
    assert "{" not in shown


def test_times_of_tables_have_a_zone_and_go_to_excel(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with client.start_run(capture=False) as run:
        run.log_metric("loss", 1.0, step=0)
    written: list[pd.DataFrame] = []
    monkeypatch.setattr(pd.DataFrame, "to_excel", lambda frame, *_, **__: written.append(frame))
    frame = client.search_runs().to_pandas()
    assert str(frame["started_at"].dt.tz) == "UTC"
    frame[frame["status"] == "finished"].sort_values("name").to_excel("runs.xlsx")
    run.history("loss").to_pandas().to_excel("loss.xlsx")
    assert [str(table[name].dt.tz) for table, name in zip(written, ("started_at", "time"), strict=True)] == ["None"] * 2
    assert str(frame["started_at"].dt.tz) == "UTC", "as it was"


def test_a_handle_knows_where_its_run_belongs(client: Client) -> None:
    with client.start_run("churn", "forest", name="first", capture=False) as run:
        child = run.start_child("fold")
        assert (run.project, run.experiment, run.parent) == ("churn", "forest", None)
        assert run.started_at is not None
        assert (run.duration or 0) > 0
        assert run.finished_at is None
        child.finish()
    for handle in (run, client.get_run(run.run_id), client.search_runs("name = 'first'")[0]):
        assert (handle.name, handle.project, handle.experiment) == ("first", "churn", "forest")
        assert handle.finished_at is not None
        assert handle.started_at is not None
        assert handle.duration == (handle.finished_at - handle.started_at).total_seconds()
        assert [one.name for one in handle.children()] == ["fold"]
    parent = client.get_run(child.run_id).parent
    assert parent is not None
    assert parent.run_id == run.run_id


def test_runs_are_renamed_described_tagged_and_deleted_by_filter(client: Client) -> None:
    for number in range(4):
        client.start_run("churn", name=f"run {number}", capture=False, make_current=False).finish()
    search: Callable[[], Runs] = lambda: client.search_runs("name startswith 'run'")  # noqa: E731
    assert search().tag("old", "x") == 4
    assert search().untag("x") == 4
    assert search().describe("a trial") == 4
    assert {(run.tags, run.description) for run in search()} == {(("old",), "a trial")}
    assert search().rename(lambda run: f"{run.name} of old") == 4
    assert sorted(run.name for run in search()) == [f"run {number} of old" for number in range(4)]
    found = client.search_runs("tags contains 'old'", limit=3)
    assert found.delete() == 3
    assert len(search()) == 1
    assert client.search_runs("deleted_at exists", include_deleted=True).restore() == 3
    assert len(search()) == 4
    assert client.search_runs("name = 'nobody'").tag("x") == 0


def test_a_run_is_renamed_and_described(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.rename("better")
        assert run.name == "better"
    run.describe("after its end")
    run.tag("a")
    run.set_tags("b", "c")
    found = client.get_run(run.run_id)
    assert (found.name, found.description, found.tags) == ("better", "after its end", ("b", "c"))
    found.set_tags(["d"])
    assert client.get_run(run.run_id).tags == ("d",)
    with pytest.raises(InvalidArgumentError, match="empty"):
        run.rename("")
    with pytest.raises(InvalidTypeError, match="set_attributes"):
        run.set_tags({"a": 1})


@pytest.mark.parametrize("name", ["start_run", "search_runs", "get_run", "projects", "experiments"])
def test_functions_of_the_module_have_the_signature_of_the_method(name: str) -> None:
    function = inspect.signature(getattr(modeldb, name))
    method = inspect.signature(getattr(Client, name))
    (client,) = [parameter for parameter in function.parameters.values() if parameter.name == "client"]
    assert client.kind is inspect.Parameter.KEYWORD_ONLY
    assert [one for one in function.parameters.values() if one.name != "client"] == list(method.parameters.values())[1:]
    assert getattr(connections, name).__doc__


@pytest.mark.parametrize("name", modeldb.__all__)
def test_no_public_function_hides_its_arguments(name: str) -> None:
    value = getattr(modeldb, name)
    if inspect.isfunction(value):
        kinds = {one.kind for one in inspect.signature(value).parameters.values()}
        assert inspect.Parameter.VAR_POSITIONAL not in kinds or name in ("add_tags", "set_tags")
        assert inspect.Parameter.VAR_KEYWORD not in kinds or name == "connect"  # settings, whose names have types
        assert value.__doc__
        is_of_the_run = hasattr(RunHandle, name) and name != "load_model"  # of the registry, without a run
        if value.__module__.startswith("modeldb_core.tracking") and is_of_the_run:
            expected = list(inspect.signature(getattr(RunHandle, name)).parameters.values())[1:]
            assert list(inspect.signature(value).parameters.values()) == expected


def handles() -> list[type]:
    """Return the public classes of the package that users log and read with."""
    names = [one.name for one in pkgutil.walk_packages(tracking.__path__, "modeldb_core.tracking.")]
    modules = [importlib.import_module(name) for name in names]
    found = {one for module in modules for one in vars(module).values() if inspect.isclass(one)}
    return [one for one in found if one.__module__.startswith("modeldb_core.tracking") and one.__name__[0] != "_"]


def test_no_public_method_hides_its_arguments() -> None:
    """A run that records nothing takes whatever a run takes: for checkers of types it is one."""
    found = set(handles())
    assert found >= {Client, RunHandle, BranchHandle}
    for handle in found - {SilentRun}:
        for name, method in inspect.getmembers(handle, inspect.isfunction):
            if name[0] != "_" and method.__module__.startswith("modeldb_core"):
                for argument in inspect.signature(method).parameters.values():
                    is_open = argument.kind is inspect.Parameter.VAR_KEYWORD
                    assert not is_open or str(argument.annotation).startswith("Unpack["), (handle, name)


def test_a_misspelt_argument_is_an_error_for_mypy(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import modeldb_core as modeldb\n"
        'modeldb.start_run(projcet="x")\n'
        'modeldb.search_runs(projcet="x")\n'
        'modeldb.log_metric("loss", 1.0, stpe=1)\n'
        "modeldb.log_params(1, 2, 3)\n"
        'run: int = modeldb.start_run("x")\n'
        'modeldb.start_run("x", tags=["a"]).log_metric("auc", 0.5)\n'
        'modeldb.autolog(projcet="x")\n'
        "import modeldb_sklearn, modeldb_lightning\n"
        'modeldb_sklearn.autolog(projcet="x")\n'
        'modeldb_lightning.autolog(projcet="x")\n'
        'modeldb_sklearn.autolog(project="x", log_models=False)\n'
        'modeldb.log_model(1, nmae="x")\n'
        'modeldb.start_run("x").log_model(1, model_fromat="pickle")\n'
        "from pathlib import Path\n"
        'client = modeldb.connect(tokne="x")\n'
        'modeldb.connect(flush_interval_s="fast")\n'
        'modeldb.connect(Path("a.db"), artifact_url=Path("files"), journal_dir="journals", capture_git=False, project=None)\n'
        'client.repository("x").branch("main").commit("a message", autor="x")\n'
        'client.repository("x").branch("main").merge_into("b", mesage="x")\n'
        + "".join(
            f'@{name}.autolog{call}\ndef {name}_{len(call)}(rows: int) -> str: return ""\n{name}_{len(call)}("five")\n'
            for name in ("modeldb", "modeldb_sklearn", "modeldb_lightning")
            for call in ("", "()")
        )
        + "with modeldb.autolog(client), modeldb_sklearn.autolog(client), modeldb_lightning.autolog(client): pass\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]  # with what the check of types remembers
    checked = subprocess.run(
        [*command, str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert [line.split(":")[1] for line in checked.stdout.splitlines() if " error: " in line] == [
        "2",
        "3",
        "4",
        "5",
        "6",
        "8",
        "10",
        "11",
        "13",
        "14",
        "16",
        "17",
        "19",
        "20",
        *(str(line) for line in range(23, 41, 3)),  # each call of a decorated function
    ]


FEW = 60


@pytest.fixture
def few(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return a client with sixty runs, whose results keep four and read eight at a time."""
    ids = client.container_id("few"), client.container_id("few", "default")
    client.start_run("few", name="run 0", capture=False, make_current=False).finish()
    for number in range(1, FEW):
        fields = {"name": f"run {number}", "project_id": ids[0], "experiment_id": ids[1], "status": "finished"}
        client.log_change("create", "run", new_id(), {**fields, "metrics": {"auc": number / FEW}})
    client.settle()
    monkeypatch.setattr(results, "_PAGE", 8)
    monkeypatch.setattr(results, "FIRST_PAGE", 4)
    monkeypatch.setattr(results, "_KEPT", 4)
    return client


def test_going_through_all_runs_holds_no_more_of_them_than_a_few(few: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    find = few.store.find

    def count(query: Query) -> Page:
        page = find(query)
        if query.kind == "run":
            asked.append((query.limit, _runs_in_memory() - before))
        return page

    before = _runs_in_memory()
    monkeypatch.setattr(few.store, "find", count)
    seen = [run.run_id for run in few.search_runs(project="few")]
    assert len(seen) == len(set(seen)) == FEW
    assert [limit for limit, _ in asked] == [4, *[8] * 7]
    assert max(alive for _, alive in asked) <= 4 + 3 * 8
    asked.clear()
    frame = few.search_runs(project="few").to_pandas()
    assert (len(frame), frame["metrics.auc"].max()) == (FEW, (FEW - 1) / FEW)
    assert [limit for limit, _ in asked] == [4, *[8] * 7]
    assert max(alive for _, alive in asked) <= 4 + 3 * 8
    asked.clear()
    assert len(few.search_runs(project="few", limit=8)) == 8
    assert [limit for limit, _ in asked] == [8], "a page is one question"


def _runs_in_memory() -> int:
    return sum(isinstance(each, entities.Run) for each in gc.get_objects())


def test_a_result_stays_the_same_runs_when_they_match_no_longer(few: Client) -> None:
    found = few.search_runs("metrics.auc < 0.5", project="few", order_by="metrics.auc")
    names = [run.name for run in found]
    assert len(names) == FEW / 2 - 1
    assert found.set_attributes({"seen": True}) == len(names)
    assert found.delete() == len(names)
    assert [run.name for run in found] == names
    assert [found[25].name, found[-1].name, [run.name for run in found[5:29:7]]] == [
        names[25],
        names[-1],
        names[5:29:7],
    ]
    assert not few.search_runs("metrics.auc < 0.5", project="few")
    assert found.restore() == len(names)
    assert all(run.attributes == {"seen": True} for run in few.search_runs("metrics.auc < 0.5", project="few"))


def test_a_further_page_knows_how_many_runs_match_in_all(client: Client) -> None:
    for number in range(3):
        client.start_run("churn", name=f"run {number}", capture=False).finish()
    page = client.search_runs(limit=2).next_page()
    assert page is not None
    assert (len(page), page.cursor, page.total) == (1, None, 3)
    assert repr(page) == "<1 run>"


def test_a_run_that_was_deleted_after_it_was_found_is_read_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_KEPT", 1)
    monkeypatch.setattr(results, "_PAGE", 1)
    monkeypatch.setattr(results, "FIRST_PAGE", 1)
    for number in range(3):
        client.start_run("churn", name=f"run {number}", capture=False).finish()
    found = client.search_runs(order_by="name")
    assert len(found) == 3
    client.get_run(found[1].run_id).delete()
    client.flush(60)
    assert found[2].name == "run 2"  # another page is at hand now
    assert [run.name for run in found.entities] == ["run 0", "run 1", "run 2"]


def test_a_table_without_pandas_says_what_to_install(many: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.delitem(sys.modules, "modeldb_core.log.frames", raising=False)
    with pytest.raises(MissingDependencyError, match="pip install pandas"):
        many.search_runs(project="many", limit=1).to_pandas()
