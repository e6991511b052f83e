"""Lineage as people meet it: filled in by logging, walked in Python and on the command line, and written for other programs."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any, ClassVar

import prov.model
import pydot
import pytest
from openlineage.client import event_v2
from openlineage.client.facet_v2 import dataset_version_dataset, parent_run

import modeldb_core as modeldb
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.cli import program
from modeldb_core.commands.containers import create
from modeldb_core.commands.lineage import add_lineage
from modeldb_core.commands.operation import execute
from modeldb_core.errors import (
    ConflictError,
    CycleError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
)
from modeldb_core.model import schema
from modeldb_core.model.entities import Entity, made_from, new_id
from modeldb_core.model.kinds import problem_of
from modeldb_core.model.schema import KindDeclaration, reference, text
from modeldb_core.plugins import open_store
from modeldb_core.provenance.walk import walk
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing.scene import Scene
from modeldb_core.tracking import Client

HOSTILE = 'evil"; digraph { \\N \x1b[31m\u202e <b> \n end\\'


@pytest.fixture
def trained(client: Client) -> dict[str, str]:
    """A run that read data, a child of it, a run that used a file of the child, and a model made from that one."""
    with client.start_run("churn", "forest", HOSTILE) as search:
        version = search.log_dataset([1.0, 2.0, 3.0], "train", name="customers")
        with search.start_child("best") as best:
            best.log_artifact(b"weights", "model/weights.bin")
            best.log_artifact(b"{}", "model/config.json")
    with client.start_run("churn", "deploy", "export") as export:
        export.log_artifact(export.use_artifact(best, "model/weights.bin"), "model/exported.bin")
    model = modeldb.register_model("churn", run=export)
    modeldb.registered_model("churn").promote(1, stage="production", alias="champion", reason="the first")
    with client.start_run("churn", "deploy", "score") as score:
        score.use_model("churn@champion")
    client.flush()
    return {
        "search": search.run_id,
        "best": best.run_id,
        "export": export.run_id,
        "version": version,
        "model": model.entity.entity_id,
        "score": score.run_id,
    }


def test_logging_fills_in_what_made_a_model(trained: dict[str, str]) -> None:
    graph = modeldb.lineage("churn@v1", "upstream")
    names = {entity_id: name for name, entity_id in trained.items()}
    assert [names[key.entity_id] for key in graph.nodes] == ["model", "export", "best", "search", "version"]
    down = modeldb.lineage(f"dataset_version:{trained['version']}", "downstream")
    assert [names[key.entity_id] for key in down.nodes] == ["version", "search", "best", "export", "model", "score"]
    assert modeldb.lineage("churn@champion").roots == modeldb.lineage("churn@production").roots == graph.roots
    (used,) = [edge for edge in graph.edges if edge.field == "inputs"]
    assert [edge.label for edge in down.inputs_of(("run", trained["score"]))] == ["churn@champion"]
    assert (used.label, used.entry["size_bytes"], len(used.entry["digest"])) == ("model/weights.bin", 7, 64)


def test_a_used_artifact_is_fetched_verified_and_fetched_again_when_it_was_altered(
    client: Client, trained: dict[str, str], tmp_path: Path
) -> None:
    with client.start_run("churn") as run:
        path = run.use_artifact(trained["best"], "model/weights.bin")
        assert path.read_bytes() == b"weights"
        path.write_bytes(b"altered")
        assert modeldb.use_artifact(trained["best"], "model/weights.bin").read_bytes() == b"weights"
        folder = run.use_artifact(client.get_run(trained["best"]), "model", to=tmp_path / "copy")
        assert sorted(file.name for file in folder.iterdir()) == ["config.json", "weights.bin"]
        cached = run.use_artifact(trained["best"], "model")
        (cached / "extra.py").write_text("")
        with pytest.raises(IntegrityError, match=r"extra\.py"):
            run.use_artifact(trained["best"], "model")
        with pytest.raises(NotFoundError, match=r"no artifact 'nothing'.*weights"):
            run.use_artifact(trained["best"], "nothing")
        with pytest.raises(InvalidArgumentError, match="file of its own"):
            run.use_artifact(run, "model")
    client.get_run(trained["best"]).delete()
    client.flush()
    with client.start_run("churn") as late, pytest.raises(ConflictError, match="is deleted"):
        late.use_artifact(trained["best"], "model")
    assert {entry["path"] for entry in run.refresh().entity.inputs.values()} == {
        "model/weights.bin",
        "model/config.json",
    }
    gone = modeldb.lineage(run, "upstream", depth=1)
    assert [node.state for node in gone.nodes.values()] == ["present", "deleted"]


def test_people_add_edges_and_take_them_back(client: Client, trained: dict[str, str]) -> None:
    version = f"dataset_version:{trained['version']}"
    with pytest.raises(CycleError, match="customers"):
        modeldb.add_lineage("churn@v1", version)
    with client.start_run("churn", name="labels") as labels:
        pass
    modeldb.add_lineage([labels, trained["export"]], "churn@v1", note="labels by hand")
    assert modeldb.lineage("churn@v1", "upstream", depth=1).edges[-1].label == "labels by hand"
    (project,) = client.projects()
    for inputs, outputs, error in (
        ([], version, InvalidArgumentError),
        (labels, project, InvalidArgumentError),
        (labels, "nothing at all", NotFoundError),
        (labels, labels, CycleError),
    ):
        with pytest.raises(error):
            modeldb.add_lineage(inputs, outputs)
    modeldb.delete_lineage(labels, "churn@v1")
    with pytest.raises(NotFoundError, match="nobody has said"):
        modeldb.delete_lineage(labels, "churn@v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Entity):
    """What a plugin knows: a judgement of a version of a model, which makes a version of a data set."""

    KIND: ClassVar[str] = "evaluation"

    project_id: str = reference("project", container=True)
    model_version_id: str = reference("model_version", lineage="input")
    report_id: str = reference("dataset_version", lineage="output")
    inputs: Mapping[str, Any] = made_from()


def test_a_plugin_s_kind_takes_part_by_its_declaration() -> None:
    schema.declare(KindDeclaration(Evaluation))
    try:
        scene = Scene(open_store("memory://"))
        writer, ids = scene.writer, {name: new_id() for name in ("model", "evaluation", "report", "by hand")}
        writer.create("model_version", ids["model"], name="model", registered_model_id=new_id(), version=1)
        writer.create("dataset_version", ids["report"], name="report", dataset_id=new_id(), version=1)
        said = {"project_id": scene.project_id, "model_version_id": ids["model"], "report_id": ids["report"]}
        writer.create("evaluation", ids["evaluation"], name="judged", **said)
        ids["by hand"] = scene.run("by hand")
        scene.ship()
        with DirectWriter(scene.store, "ada") as direct:
            execute(direct, add_lineage(scene.store, [("run", ids["by hand"])], [("evaluation", ids["evaluation"])]))
        names = {entity_id: name for name, entity_id in ids.items()}
        for kind, name, direction, expected in (
            ("model_version", "model", "downstream", ["model", "evaluation", "report"]),
            ("dataset_version", "report", "upstream", ["report", "evaluation", "model", "by hand"]),
            ("evaluation", "evaluation", "both", ["evaluation", "model", "by hand", "report"]),
        ):
            graph = walk(scene.store, [(kind, ids[name])], direction)  # type: ignore[arg-type]
            assert [names[key.entity_id] for key in graph.nodes] == expected
        with pytest.raises(CycleError, match="judged"):
            add_lineage(scene.store, [("dataset_version", ids["report"])], [("evaluation", ids["evaluation"])])
        wrong = KindDeclaration(
            make_dataclass("Wrong", [("color", str, text(lineage="input"))], bases=(Evaluation,), **_FORM)
        )
        assert "names no entity" in problem_of(wrong, ())
    finally:
        schema.forget("evaluation")


_FORM = {"frozen": True, "slots": True, "kw_only": True}


@pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning")  # pydot, of pyparsing
def test_lineage_is_written_for_other_programs(trained: dict[str, str]) -> None:
    del trained
    graph = modeldb.lineage("churn@v1")
    (drawn,) = pydot.graph_from_dot_data(graph.to_dot())
    assert len(drawn.get_edges()) == len(graph.edges)
    assert {node.get_name() for node in drawn.get_nodes()} - {"node"} == {
        f'"{kind}:{one}"' for kind, one in graph.nodes
    }
    document = prov.model.ProvDocument.deserialize(content=json.dumps(graph.to_prov()), format="json")
    kinds = Counter(record.get_type().localpart for record in document.get_records())
    assert (kinds["Activity"], kinds["Entity"], kinds["Generation"], kinds["Communication"]) == (4, 3, 2, 1)
    assert prov.model.ProvDocument.deserialize(content=document.serialize(format="json"), format="json") == document
    events = [_openlineage(event) for event in graph.to_openlineage()]
    assert {event.run.runId for event in events} == {key.entity_id for key in graph.nodes if key.kind == "run"}
    read = [dataset.name for event in events for dataset in event.inputs]
    assert "dataset_version/customers" in read
    assert any(name.endswith("model/weights.bin") for name in read)


def _openlineage(data: dict) -> event_v2.RunEvent:
    """Return an event as the reference library builds it: its classes follow from the published schema, and check it."""

    def dataset(cls: type, given: dict) -> object:
        version = given["facets"]["version"]
        facet = dataset_version_dataset.DatasetVersionDatasetFacet(
            version["datasetVersion"], producer=version["_producer"]
        )
        assert facet._schemaURL == version["_schemaURL"]
        return cls(given["namespace"], given["name"], facets={"version": facet})

    facets = {}
    if parent := data["run"]["facets"].get("parent"):
        runs = parent_run.Run(parent["run"]["runId"]), parent_run.Job(**parent["job"])
        facets["parent"] = parent_run.ParentRunFacet(*runs, producer=parent["_producer"])
        assert facets["parent"]._schemaURL == parent["_schemaURL"]
    event = event_v2.RunEvent(
        eventTime=data["eventTime"],
        run=event_v2.Run(data["run"]["runId"], facets=facets),
        job=event_v2.Job(**data["job"]),
        eventType=event_v2.RunState[data["eventType"]],
        inputs=[dataset(event_v2.InputDataset, one) for one in data["inputs"]],
        outputs=[dataset(event_v2.OutputDataset, one) for one in data["outputs"]],
        producer=data["producer"],
    )
    assert event.schemaURL == data["schemaURL"]
    return event


def test_the_command_draws_a_tree_and_harms_no_terminal(
    client: Client, trained: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    url = ("--url", client.settings.url)

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert program.run(["lineage", *arguments, *url]) == code
        out, err = capsys.readouterr()
        assert not set(out + err) & {"\x1b", "\u202e"}
        return out + err

    drawn = run("churn@v1", "--upstream")
    assert [word for word in ("churn@v1", "export", "best", "customers", "evil") if word not in drawn] == []
    assert "there is more upstream than 1 link away" in run("churn@v1", "--depth", "1")
    assert json.loads(run("churn@v1", "--json"))["complete"]
    for form in ("dot", "prov", "openlineage"):
        text = run("churn@v1", "--format", form)
        if form == "openlineage":
            events = [json.loads(line) for line in text.splitlines()]
            jobs = {event["job"]["name"].rpartition("/")[2] for event in events}
            assert jobs == {"deploy", "forest"}  # the experiments
        else:
            assert "evil" in text
    assert "(by hand)" in run("churn@v1", "--add-input", f"run:{trained['search']}", "--note", "by hand")
    assert "would be made from itself" in run(trained["search"], "--add-input", "churn@v1", code=1)
    assert "(by hand)" not in run("churn@v1", "--remove-input", f"run:{trained['search']}")
    assert "nothing called" in run("nothing", code=4)


def test_of_a_circle_that_many_close_at_once_one_edge_is_refused(tmp_path: Path) -> None:
    size = 5
    with open_store(f"sqlite:///{tmp_path}/ring.db") as store:
        scene = Scene(store)
        runs = [("run", scene.run(f"run {number}")) for number in range(size)]
        scene.ship()
        together = threading.Barrier(size)

        def link(number: int) -> str:
            together.wait(60)
            for _ in range(100):
                try:
                    edge = add_lineage(store, [runs[number]], [runs[(number + 1) % size]])
                    with DirectWriter(store, f"user {number}") as writer:
                        execute(writer, edge)
                except PreconditionError:
                    continue  # somebody else said something above it: look again
                except CycleError:
                    return "refused"
                return "made"
            return "refused again and again"

        with ThreadPoolExecutor(size) as pool:
            assert Counter(pool.map(link, range(size))) == {"made": size - 1, "refused": 1}
        assert len(walk(store, [runs[0]]).edges) == size - 1


def test_a_circle_through_a_long_history_is_refused_at_both_ends() -> None:
    store = MemoryStore()
    scene = Scene(store)
    runs = [("run", scene.run(f"run {number}")) for number in range(1500)]
    wide = {f"run:{run_id}": {"kind": "run", "entity_id": run_id} for _, run_id in runs[:-1]}
    scene.writer.write("update", *runs[-1], {"put": {"inputs": wide}})
    target = ("run", scene.run("target"))
    scene.ship()
    edge = add_lineage(store, [runs[-1]], [target])
    writer = DirectWriter(store, "ada")
    execute(
        writer, add_lineage(store, [target], [runs[1400]])
    )  # the other half, at the far end of the first one's history
    with pytest.raises(PreconditionError):
        execute(writer, edge)
    with pytest.raises(CycleError):
        add_lineage(store, [runs[-1]], [target])


def test_entities_that_are_created_by_the_general_route_make_no_circle() -> None:
    store = MemoryStore()
    scene = Scene(store)
    dataset = scene.writer.write("create", "dataset", new_id(), {"name": "rows"}).entity_id
    scene.ship()
    first, second = new_id(), new_id()

    def made(entity_id: str, source: str) -> None:
        inputs = {"labels": {"kind": "dataset_version", "entity_id": source}}
        fields = {"dataset_id": dataset, "inputs": inputs}
        execute(DirectWriter(store, "ada"), create(store, "dataset_version", fields, entity_id=entity_id))

    with pytest.raises(CycleError, match="made from itself"):
        made(first, first)
    made(first, second)  # which is not there yet
    with pytest.raises(CycleError, match="made from itself"):
        made(second, first)
