"""Kinds that plugins declare: a file that declares one is all that it takes, and who does not know it carries it."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

import modeldb_core as modeldb
from modeldb_core import hookimpl
from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.cli.program import run as run_command
from modeldb_core.errors import InvalidArgumentError, ModelDBWarning, QuerySyntaxError
from modeldb_core.log.stream import Entry
from modeldb_core.model import schema
from modeldb_core.model.entities import Entity, Run, new_id
from modeldb_core.model.schema import (
    KINDS,
    KindDeclaration,
    forget,
    mapping,
    number,
    reference,
    references,
    text,
    texts,
)
from modeldb_core.model.tables import columns_table, kinds_table
from modeldb_core.movement.bundle_audit import verify_bundle
from modeldb_core.movement.collection import Collected, remove_blobs
from modeldb_core.movement.copying import copy
from modeldb_core.movement.deletion import deleted, to_delete, to_restore
from modeldb_core.plugins import PluginManager, open_store
from modeldb_core.queries import Linked, Query
from modeldb_core.stores import MetadataStore
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing import StreamWriter
from tests.services.server import serving

PLUGIN = Path(__file__).parents[1] / "assets" / "plugin_of_kinds" / "acme_gauges.py"
NOON = int(datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp() * 1e6)


def load_plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("acme_gauges", PLUGIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["acme_gauges"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gauges() -> Iterator[Callable[..., None]]:
    """Returns a function that installs the plugin in this process, in place of what was installed of it before."""

    def install(version: str = "new") -> None:
        forget("gauge")
        if version != "none":
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("ACME_GAUGES", version)
                PluginManager().add(load_plugin(), "acme_gauges")

    yield install
    forget("gauge")
    sys.modules.pop("acme_gauges", None)


@dataclass
class Written:
    """A project with a run and two gauges on it."""

    writer: StreamWriter
    project_id: str
    run_id: str
    low: str
    high: str

    @classmethod
    def to(cls, store: MetadataStore, name: str = "churn") -> Written:
        writer = StreamWriter()
        writer.open()
        ids = writer.create_containers(name, "experiment")
        run_id = writer.create_run(name="run", **ids).entity_id
        low, high = new_id(), new_id()
        fields = {"project_id": ids["project_id"], "run_id": run_id, "unit": "loss"}
        writer.create(
            "gauge",
            low,
            name="low",
            limit=0.5,
            checked_at=NOON,
            armed=True,
            options={"mode": {"kind": "max"}},
            **fields,
        )
        writer.create(
            "gauge", high, name="high", limit=2, armed=False, attributes={"maker": "acme"}, tags=["loud"], **fields
        )
        store.apply(writer.changes)
        return cls(writer, ids["project_id"], run_id, low, high)


def found(store: MetadataStore, filter: str = "", order_by: str = "name", **options: Any) -> list[str]:
    return [gauge.name for gauge in store.find(Query("gauge", filter, order_by, **options)).entities]


def is_found(store: MetadataStore, written: Written) -> None:
    """See that the gauges are found by every field, link and order."""
    assert found(store, "limit > 1") == ["high"]
    assert found(store, "unit = 'loss' and checked_at = '2026-11-29T12:00:00Z'") == ["low"]
    assert found(store, "options.mode.kind = 'max'") == ["low"]
    assert [found(store, f"armed {said}") for said in ("= true", "!= true", "in (false)", "is null")] == [
        ["low"], ["high"], ["high"], [],
    ]  # fmt: skip
    assert found(store, "armed exists", "armed, name") == ["high", "low"]
    assert found(store, "armed exists", "armed desc", limit=1) == ["low"]
    with pytest.raises(QuerySyntaxError, match="armed is a boolean; compare it with true or false, not 1"):
        found(store, "armed = 1")
    assert found(store, "project = 'churn'", "limit desc") == ["high", "low"]
    assert found(store, "gauge_id = ?".replace("?", repr(written.low))) == ["low"]
    assert found(store, within=written.project_id) == ["high", "low"]
    workspace_id = store.get("project", written.project_id).workspace_id
    assert found(store, within=(workspace_id, new_id())) == found(store, f"workspace_id = '{workspace_id}'")
    assert found(store, linked=Linked("run", written.run_id)) == ["high", "low"]
    assert found(store, linked=Linked("project", written.project_id, field="run_id")) == []
    runs = store.find(Query("run", linked=Linked("gauge", written.low, "from"))).entities
    assert [run.entity_id for run in runs] == [written.run_id]
    keys = {(info.section, info.key) for info in store.find_keys(Query("gauge"))}
    assert {("options", "mode.kind"), ("tags", "loud")} <= keys
    gauge: Any = store.get("gauge", written.low)
    assert (gauge.workspace_id, gauge.project_id) == (workspace_id, written.project_id)
    assert (gauge.limit, gauge.armed, gauge.unit, gauge.checked_at) == (
        0.5,
        True,
        "loss",
        datetime(2026, 11, 29, 12, tzinfo=UTC),
    )


@pytest.fixture(params=["memory", "sqlite", "bucket", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path, gauges: Callable[..., None]) -> Iterator[MetadataStore]:
    gauges()
    urls = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/modeldb.db",
        "bucket": f"file://{tmp_path}/bucket?cache_dir={tmp_path}/cache",
    }
    with ExitStack() as stack:
        if request.param == "server":
            served = stack.enter_context(open_store(urls["sqlite"]))
            artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
            urls["server"] = stack.enter_context(serving(served, artifacts))
        yield stack.enter_context(open_store(urls[request.param]))


def test_a_kind_of_a_plugin_is_stored_found_and_linked(store: MetadataStore) -> None:
    written = Written.to(store)
    is_found(store, written)
    assert verify(store).findings == []
    with pytest.raises(QuerySyntaxError, match=r"'color' is not a field of a gauge.* checked_at.*options\.KEY"):
        store.find(Query("gauge", "color = 'red'"))


def test_a_name_that_must_be_unique_is_settled(store: MetadataStore) -> None:
    written = Written.to(store)
    other = StreamWriter()
    other.open()
    late = new_id()
    other.create("gauge", late, name="low", project_id=written.project_id)
    store.apply(other.changes)
    assert store.get("gauge", written.low).name == "low"
    assert store.get("gauge", late).name.startswith("low (")
    assert verify(store).findings == []


def test_a_kind_of_a_plugin_is_deleted_with_its_container_and_restored(store: MetadataStore) -> None:
    written = Written.to(store)
    with DirectWriter(store, "tester") as writer:
        with pytest.raises(InvalidArgumentError, match="2 gauges"):
            to_delete(store, "project", written.project_id)
        names = to_delete(store, "project", written.project_id, recursive=True)
        assert ("gauge", written.low) in names
        writer.apply([Entry("delete", *name, {}) for name in names])
        assert found(store) == []
        assert [entity.KIND for entity in deleted(store)] == ["project"]
        writer.apply([Entry("restore", *name, {}) for name in to_restore(store, "gauge", written.low)])
        assert found(store) == ["low"]
        writer.apply([Entry("restore", *name, {}) for name in to_restore(store, "project", written.project_id)])
    assert store.get("project", written.project_id).deleted_at is None
    assert verify(store).findings == []


def test_a_kind_of_a_plugin_is_copied_and_bundled(store: MetadataStore, tmp_path: Path) -> None:
    from modeldb_core.movement.bundle_writer import BundleWriter
    from modeldb_core.movement.bundles import Bundle
    from modeldb_core.movement.selection import select

    written = Written.to(store)
    with open_store(f"sqlite:///{tmp_path}/copy.db") as target:
        copy(store, target)
        is_found(target, written)
        assert verify(target).findings == []
    selection = select(store, projects=[written.project_id])
    assert {("gauge", written.low), ("gauge", written.high)} <= selection.wanted
    with BundleWriter(tmp_path / "bundle.tar") as bundle:
        copy(store, bundle, streams=selection.streams)
        bundle.finish()
    with Bundle(tmp_path / "bundle.tar") as bundled, open_store("memory://") as target:
        assert verify_bundle(bundled).findings == []
        copy(bundled, target)
        is_found(target, written)


# -- a store that was written before ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["none", "old"])
@pytest.mark.parametrize("kind", ["sqlite", "bucket", "postgresql"])
def test_what_was_written_before_a_declaration_is_found_after_it(
    gauges: Callable[..., None], tmp_path: Path, before: str, kind: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/modeldb.db" if kind == "sqlite" else f"file://{tmp_path}/b?cache_dir={tmp_path}/cache"
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else url
    gauges(before)
    with open_store(url) as store:
        written = Written.to(store)
        assert verify(store).findings == []
        if before == "old":
            assert found(store, "unit = 'loss'") == ["high", "low"]
            with pytest.raises(QuerySyntaxError):
                found(store, "limit > 1")
    gauges("new")
    if kind == "postgresql":  # others may read it: so it is not altered by reading
        with open_store(url) as store:
            with pytest.warns(ModelDBWarning, match="knew less of gauge"):
                assert verify(store).findings == []
            run = StreamWriter()
            run.open()
            store.apply(run.changes)  # the next that writes makes the rows again
    with open_store(url) as store:
        assert verify(store).findings == []
        is_found(store, written)
        report = verify(store)
        assert (report.findings, report.outdated, report.carried) == ([], 0, 0)


def test_reading_a_shared_store_changes_nothing_and_says_what_it_may_miss(
    gauges: Callable[..., None], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/modeldb.db"
    gauges("old")
    with open_store(url) as store:
        written = Written.to(store)
    gauges("new")
    content = (tmp_path / "modeldb.db").read_bytes()
    with open_store(f"{url}?read_only=true") as store:
        with pytest.warns(ModelDBWarning, match=r"knew less of gauge.* db upgrade"):
            assert found(store, "unit = 'loss'") == ["high", "low"]
        assert found(store, "limit > 1") == []
        report = verify(store)
        assert (report.findings, report.outdated) == ([], 2)
        assert "made by another declaration" in str(report)
    assert (tmp_path / "modeldb.db").read_bytes() == content
    with open_store(url) as store:
        assert store.refresh_rows() == 2
        is_found(store, written)


def test_an_upgrade_makes_the_rows_again_that_older_code_made(
    gauges: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/modeldb.db"

    def upgrade(*options: str) -> str:
        assert run_command(["db", "upgrade", "--url", url, *options]) == 0
        return capsys.readouterr().out

    gauges("none")
    with open_store(url) as store:
        Written.to(store)
    assert "nothing to do" in upgrade(), "what nobody here knows waits for who does"
    gauges("new")
    content = (tmp_path / "modeldb.db").read_bytes()
    assert "to be done: the rows of 2 entities" in upgrade("--dry-run")
    assert json.loads(upgrade("--dry-run", "--json"))["outdated"] == 2
    assert (tmp_path / "modeldb.db").read_bytes() == content
    assert "The rows of 2 entities were made again" in upgrade()
    assert "nothing to do" in upgrade()
    with open_store(f"{url}?read_only=true") as store:
        assert found(store, "limit > 1") == ["high"]


def test_two_processes_with_two_declarations_do_not_take_turns(gauges: Callable[..., None], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/modeldb.db"
    gauges("old")
    with open_store(url) as older:
        first = Written.to(older)
        gauges("new")
        with open_store(url) as newer:
            assert newer.refresh_rows() == 2
            gauges("old")
            second = Written.to(older, "other")  # its rows are noted as outdated, and it takes nothing over
            assert verify(older).findings == []
            gauges("new")
            assert newer.refresh_rows() == 2
            is_found_in_both = found(newer, "limit > 1", within=second.project_id)
            assert is_found_in_both == ["high"]
            assert found(newer, "limit > 1", within=first.project_id) == ["high"]
            assert verify(newer).findings == []


def test_rows_that_were_altered_are_found_out_once_they_are_made_again(
    gauges: Callable[..., None], tmp_path: Path
) -> None:
    import sqlite3

    url = f"sqlite:///{tmp_path}/modeldb.db"
    gauges("new")
    with open_store(url) as store:
        Written.to(store)
        with closing(sqlite3.connect(tmp_path / "modeldb.db")) as database:
            database.execute("DELETE FROM links")
            database.commit()
        assert any("links and its changes disagree" in str(finding) for finding in verify(store).findings)


def test_names_that_clashed_unseen_are_settled_once_the_kind_is_known(
    gauges: Callable[..., None], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/modeldb.db"
    gauges("none")
    with open_store(url) as store:
        written = Written.to(store)
        other = StreamWriter()
        other.open()
        late = new_id()
        other.create("gauge", late, name="low", project_id=written.project_id)
        store.apply(other.changes)
    gauges("new")
    with open_store(url) as store, open_store("memory://") as target:
        assert found(store, "name = 'low'") == ["low"]
        assert store.get("gauge", late).name.startswith("low (")
        assert verify(store).findings == []
        copy(store, target)
        assert target.get("gauge", late) == store.get("gauge", late)


def test_files_of_a_kind_that_is_not_known_are_no_garbage(store: MetadataStore, tmp_path: Path) -> None:
    artifacts = FsspecArtifactStore(f"file://{tmp_path}/files")
    kept, _ = (artifacts.put(io.BytesIO(content)).digest for content in (b"a drawing", b"garbage"))
    writer = StreamWriter()
    writer.open()
    writer.create("drawing", new_id(), name="drawn", sheets={"first": {"digest": kept}})
    store.apply(writer.changes)
    for path in (tmp_path / "files").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    done = Collected()
    assert store.carries()
    remove_blobs(store, artifacts, timedelta(0), done)
    assert [info.digest for info in artifacts.list()] == [kept]


# -- a client that knows more than its server ------------------------------------------------------------------------------

CLIENT = """
import sys
import modeldb_core as modeldb
from modeldb_core import hookimpl
from modeldb_core.queries import Linked, Query

with modeldb.connect(sys.argv[1], journal_dir=sys.argv[2]) as client:
    with client.start_run("churn", "e", "one") as run:
        for name in ("a", "b"):
            fields = {"name": name, "run_id": run.run_id, "limit": 1.5, "project_id": run.container_ids[0], "pin": "1234"}
            client.log_change("create", "gauge", "gauge-" + name, fields)
            client.log_change("update", "gauge", "gauge-" + name, {"set": {"pin": "5678"}})
        run.log_metrics({"loss": 1.0}, step=0)
"""


def python(program: str, *arguments: str, plugin: Path | None) -> str:
    path = os.pathsep.join([str(plugin), *sys.path]) if plugin else os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_server_shows_a_kind_after_its_upgrade_that_it_only_carried_before(
    gauges: Callable[..., None], tmp_path: Path
) -> None:
    """The client has the plugin installed and the server does not; then the server has it too."""
    from modeldb_server import create_app

    installed = tmp_path / "installed"
    (installed / "acme_gauges-1.0.dist-info").mkdir(parents=True)
    (installed / "acme_gauges.py").write_text(PLUGIN.read_text())
    (installed / "acme_gauges-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-gauges\nVersion: 1.0\n"
    )
    (installed / "acme_gauges-1.0.dist-info" / "entry_points.txt").write_text("[modeldb]\nacme_gauges = acme_gauges\n")
    artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        with serving(store, artifacts) as url:
            python(CLIENT, url, str(tmp_path / "journals"), plugin=installed)
            page = create_app(store, artifacts, plugins=PluginManager()).test_client()
            assert page.get("/api/v2/gauges").status_code == 404
            carried = page.get("/api/v2/changes?entity_id=gauge-a").json["changes"]
            assert [change["data"] for change in carried] == [None, None], "it may be secret"
            assert page.get("/api/v2/runs").json["items"][0]["status"] == "finished"
    gauges("new")
    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        app = create_app(store, artifacts, plugins=PluginManager())
        page = app.test_client()
        listed = page.get("/api/v2/gauges?filter=limit%20%3E%201&order_by=name").json
        assert [item["name"] for item in listed["items"]] == ["a", "b"]
        run_id = listed["items"][0]["run_id"]
        linked = page.get(f"/api/v2/gauges?linked=run:{run_id}&link_field=run_id&count=1").json
        assert linked["total"] == 2
        back = page.get("/api/v2/runs?linked=gauge:gauge-a&direction=from").json
        assert [item["entity_id"] for item in back["items"]] == [run_id]
        assert page.get("/api/v2/gauges?linked=gauge-a").status_code == 400
        assert page.get("/api/v2/gauges?depth=3").status_code == 400
        assert page.get("/api/v2/gauges/gauge-a").json["limit"] == 1.5
        assert "limit" in page.get("/api/v2/changes?entity_id=gauge-a").json["changes"][0]["data"]
        for path in ("/gauges/gauge-a", "/changes?entity_id=gauge-a", "/openapi.json", "/kinds"):
            text = page.get(f"/api/v2{path}").get_data(as_text=True)
            assert not any(secret in text for secret in ("1234", "5678", '"pin"')), path
        assert page.get("/api/v2/gauges?filter=pin%20%3D%20%271234%27").status_code == 400
        described = page.get("/api/v2/openapi.json").json
        properties = described["components"]["schemas"]["Gauge"]["properties"]
        assert properties["limit"]["description"] == "when it gives an alarm"
        assert {"/api/v2/gauges", "/api/v2/gauges/{entity_id}", "/api/v2/gauges/{entity_id}/values"} <= described[
            "paths"
        ].keys()
        kind = next(each for each in page.get("/api/v2/kinds").json["kinds"] if each["kind"] == "gauge")
        limit = {"name": "limit", "type": "number", "title": "Limit", "choices": [], "fields": ["limit"]}
        assert limit in kind["columns"]
        assert page.get("/api/v2/keys?kind=gauge").status_code == 200
        headers = {"X-ModelDB": "1"}
        assert (
            page.delete("/api/v2/gauges/gauge-a", headers=headers, content_type="application/json").status_code == 200
        )
        assert [item["name"] for item in page.get("/api/v2/gauges").json["items"]] == ["b"]
        fields = {"name": "c", "project_id": listed["items"][0]["project_id"]}
        refused = page.post("/api/v2/gauges", json={**fields, "armed": "yes"}, headers=headers)
        assert "armed is of the wrong type; expected true or false" in refused.json["error"]["message"]
        assert page.post("/api/v2/gauges", json={**fields, "armed": False}, headers=headers).json["armed"] is False
        assert properties["armed"]["oneOf"][0] == {"type": "boolean"}
        assert (
            page.post("/api/v2/gauges/gauge-a/restore", headers=headers, content_type="application/json").status_code
            == 200
        )
        renamed = page.patch("/api/v2/gauges/gauge-a", json={"name": "b"}, headers=headers)
        assert renamed.status_code == 409
        assert verify(store).findings == []


# -- what follows from a declaration: no list of ours names a kind of a plugin, or a new field ----------------------------------


@pytest.fixture
def more_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have two more fields than ModelDB declares."""

    @dataclass(frozen=True, kw_only=True)
    class MoreOfRun(Run):
        rig: str = text("where it stood", searchable=True, choices=("north", "south"))
        sensors: Mapping[str, Any] = mapping("what was measured around it", searchable=True, listed=True, since=2)

    monkeypatch.setitem(schema._declarations, "run", KindDeclaration(MoreOfRun, is_own=True))


def write_more_of_runs(store: MetadataStore) -> list[str]:
    """Write two runs with the further fields; return their identifiers."""
    writer = StreamWriter()
    writer.open()
    ids = writer.create_containers("rigs", "first")
    made = [
        writer.create_run(name=name, **ids, rig=rig, sensors={"pt100": degrees, "bench": {"lamp": True}}).entity_id
        for name, rig, degrees in (("one", "north", 20.5), ("two", "south", 21))
    ]
    store.apply(writer.changes)
    return made


def test_the_command_line_shows_what_is_declared(
    gauges: Callable[..., None], more_of_runs: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gauges("new")
    url = f"sqlite:///{tmp_path}/modeldb.db"
    with open_store(url) as store:
        Written.to(store)
        write_more_of_runs(store)
        runs = store.find(
            Query("run", "rig = 'north' and sensors.pt100 < 21", fields=("rig", "sensors.pt100"))
        ).entities
        assert [(run.name, run.rig, dict(run.sensors)) for run in runs] == [("one", "north", {"pt100": 20.5})]

    with modeldb.connect(url, journal_dir=str(tmp_path / "journals")) as client:
        frame = client.search_runs("rig exists", order_by="name").to_pandas()
    assert frame[["name", "rig", "sensors.pt100"]].values.tolist() == [["one", "north", 20.5], ["two", "south", 21]]

    def said(*arguments: str) -> str:
        assert run_command([*arguments, "--url", url]) == 0
        return capsys.readouterr().out

    table = said("list", "gauges", "limit > 1", "-c", "name,armed,limit,project")
    assert [line.split() for line in table.splitlines()] == [
        ["name", "armed", "limit", "project"],
        ["high", "false", "2", "churn"],
    ]
    head, *rows = said("list", "gauge", "--csv", "-o", "name").splitlines()
    assert {"gauge", "name", "unit", "limit", "armed", "checked_at", "project", "tags"} <= set(head.split(","))
    assert len(rows) == 2
    assert {"1234", "pin"}.isdisjoint(head.split(","))
    assert run_command(["list", "nothings", "--url", url]) == 2
    assert "there is no kind 'nothings'; known: workspace, project, " in capsys.readouterr().err
    head = said("runs", "--project", "rigs", "--csv").splitlines()[0]
    assert {"sensors.pt100", "sensors.bench.lamp"} <= set(head.split(","))
    compared = [line.split() for line in said("compare", "one", "two").splitlines()]
    assert [line for line in compared if line[0] not in ("run", "started_at", "duration")][1:] == [
        ["rig", "north", "south"],
        ["sensors.pt100", "20.5", "21"],
    ]
    shown = said("show", "one")
    assert "rig" in shown.partition("Sensors")[0]
    assert "pt100" in shown.partition("Sensors")[2]


def test_a_container_of_a_kind_that_nobody_declares_is_shown_by_its_identifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from modeldb_server import create_app

    plugin: Any = ModuleType("acme_things")
    kind = KindDeclaration(declared(KIND="thing", rack_id=schema.reference("rack", container=True)))
    plugin.modeldb_register_kinds = hookimpl(lambda: [kind])
    plugin.modeldb_register_kinds.__name__ = "modeldb_register_kinds"
    url = f"sqlite:///{tmp_path}/modeldb.db"
    try:
        PluginManager().add(plugin, "acme_things")
        with open_store(url) as store:
            writer = StreamWriter()
            writer.create("thing", new_id(), name="lamp", rack_id="rack-7")
            store.apply(writer.changes)
            app = create_app(store, FsspecArtifactStore(f"file://{tmp_path}/blobs"))
            page = app.test_client().get("/kinds/things")
            assert (page.status_code, "rack_id" in page.text) == (200, True)
        assert run_command(["list", "things", "--url", url]) == 0
        assert capsys.readouterr().out.splitlines()[1].split()[1:3] == ["lamp", "rack-7"]
    finally:
        forget("thing")


def test_the_api_writes_what_is_declared(more_of_runs: None, tmp_path: Path) -> None:
    from modeldb_server import create_app

    artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    with open_store("memory://") as store:
        client = create_app(store, artifacts, plugins=PluginManager()).test_client()
        headers = {"X-ModelDB": "1"}
        begun = {"project": "rigs", "sensors": {"pt100": 20.5}}
        run = client.post("/api/v2/runs", json=begun, headers=headers).json
        assert run["sensors"] == {"pt100": 20.5}
        more = {"values": {"lamp": True}}
        said = client.post(f"/api/v2/runs/{run['entity_id']}/sensors", json=more, headers=headers)
        assert (said.status_code, said.json) == (200, {"changed": 1})
        found = client.get("/api/v2/runs?filter=sensors.lamp = true and sensors.pt100 > 20").json["items"]
        assert [each["entity_id"] for each in found] == [run["entity_id"]]


# -- declarations that cannot be --------------------------------------------------------------------------------------------


def declared(**fields: Any) -> type[Entity]:
    names = {name: fields.pop(name) for name in ("KIND",) if name in fields}
    body = {"__annotations__": {"KIND": "ClassVar[str]", **dict.fromkeys(fields, Any)}, **names, **fields}
    body["__module__"] = __name__
    cls = type("Thing", (Entity,), body)
    return dataclass(frozen=True, kw_only=True)(cls)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"KIND": "run"}, "has declared it already"),
        ({"KIND": "Big Thing"}, "small letters"),
        ({"KIND": "stream"}, "means something else"),
        ({"KIND": "thing", "plain": 5}, "'plain' says nothing of itself"),
        ({"KIND": "thing", "kind": text()}, "cannot be called 'kind'"),
        ({"KIND": "thing", "size": number(unique_within="")}, "only texts and integers"),
        ({"KIND": "thing", "serial": text(unique_within="box_id")}, "'box_id', which is not a field"),
        ({"KIND": "thing", "box": text(container=True)}, "refers to no kind"),
        ({"KIND": "thing", "boxes": references("box", container=True)}, "reference\\(KIND, container=True\\)"),
        ({"KIND": "thing", "project_id": text()}, "where it lies"),
        ({"KIND": "thing", "workspace_id": reference("project", container=True)}, "where it lies"),
        ({"KIND": "thing", "thing_id": reference("thing")}, "cannot be called 'thing_id'"),
        ({"KIND": "thing", "home": schema.home("project", "its project")}, "no store knows how"),
        ({"KIND": "thing", "words": texts(searchable=True)}, "cannot be searched"),
        ({"KIND": "thing", "pin": text(searchable=True, secret=True)}, "a filter would tell"),
        ({"KIND": "thing", "losses": schema.series()}, "only runs have points"),
    ],
)
def test_a_declaration_that_cannot_be_is_named_and_left_out(fields: dict[str, Any], message: str) -> None:
    plugin: Any = ModuleType("acme_things")

    plugin.modeldb_register_kinds = hookimpl(lambda: [KindDeclaration(declared(**fields))])
    plugin.modeldb_register_kinds.__name__ = "modeldb_register_kinds"
    before = dict(KINDS)
    with pytest.warns(ModelDBWarning, match=f"acme_things.*is left out.*{message}"):
        PluginManager().add(plugin, "acme_things")
    assert dict(KINDS) == before


def test_every_kind_of_modeldb_says_what_it_is() -> None:
    for declaration in KINDS.values():
        assert declaration.summary.endswith(".") or declaration.summary, declaration.kind
        for field in declaration.fields.values():
            assert field.description or field.container or field.name == "email", f"{declaration.kind}.{field.name}"
    json.dumps([dict(declaration.columns) for declaration in KINDS.values()])


def test_the_pages_show_the_schema() -> None:
    docs = Path(__file__).parents[2] / "docs"
    for name, mark, table in (("queries", "columns", columns_table), ("kinds", "kinds", kinds_table)):
        page = (docs / f"{name}.md").read_text("utf-8")
        shown = page.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0].strip()
        assert shown == table(), f"put what modeldb_core.model.tables.{table.__name__}() returns there"
    for name in ("text", "number", "integer", "boolean", "moment", "reference", "references", "mapping", "texts"):
        assert f"`{name}" in page
        assert callable(getattr(schema, name))


def test_a_kind_is_declared_once(gauges: Callable[..., None]) -> None:
    class Other(Entity):
        KIND: ClassVar[str] = "gauge"

    gauges("new")
    with pytest.raises(InvalidArgumentError, match="has declared it already"):
        schema.declare(KindDeclaration(Other))


@pytest.mark.interpreter
@pytest.mark.parametrize("option", ["-B", "-OO"])
def test_the_api_describes_its_answers_whatever_python_does_with_docstrings(option: str) -> None:
    program = (
        "from modeldb_server.schemas import component_schemas; field = component_schemas()['Field']['properties']; "
        "print(sorted(name for name in field if not field[name]['description']) if __debug__ else [], len(field) > 5)"
    )
    done = subprocess.run([sys.executable, option, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "[] True\n", done.stderr
