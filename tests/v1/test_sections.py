"""What calls alter is what the next one shows, of every kind that has them."""

from __future__ import annotations

from typing import Any

import pytest

from modeldb_v1.kinds import DATASET, DATASET_VERSION, EXPERIMENT, PROJECT, RUN, V1_KINDS, V1Kind
from modeldb_v1.schema import CALLS
from tests.v1.wire import Wire

NOT_FOUND = 5


class Thing:
    """An entity, and the calls that its kind has."""

    def __init__(self, wire: Wire, kind: V1Kind, entity_id: str) -> None:
        self.wire, self.kind, self.id = wire, kind, entity_id

    def __call__(self, method: str, **fields: Any) -> Any:
        return self.wire(f"{self.kind.service}.{method}", {"id": self.id, **fields})

    def has(self, method: str) -> bool:
        return f"{self.kind.service}.{method}" in CALLS

    @property
    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self(f"get{self.kind.message}ById")[self.kind.field]
        return found


class Maker:
    """Makes entities of any kind."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self.count = wire, 0
        self.above = {
            "project_id": self(PROJECT).id,
            "dataset_id": self(DATASET).id,
        }
        self.above["experiment_id"] = self(EXPERIMENT).id

    def __call__(self, kind: V1Kind) -> Thing:
        self.count += 1
        request: dict[str, Any] = {"name": f"thing {self.count}"}
        if kind is DATASET_VERSION:
            request = {"raw_dataset_version_info": {"num_records": str(self.count)}}
        for name in ("project_id", "experiment_id", "dataset_id"):
            if name == kind.parent or (kind is RUN and name == "project_id"):
                request[name] = self.above[name]
        made = self.wire(f"{kind.service}.create{kind.message}", request)
        return Thing(self.wire, kind, made[kind.field]["id"])


@pytest.fixture(scope="module")
def make(wire: Wire) -> Maker:
    return Maker(wire)


def values_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in answer.get("attributes", ())}


each_kind = pytest.mark.parametrize("kind", V1_KINDS.values(), ids=V1_KINDS)


@each_kind
def test_name_and_description_are_those_that_were_given_last(make: Maker, kind: V1Kind) -> None:
    thing, name = make(kind), kind.message
    thing(f"update{name}Description", description="what it is")
    assert thing.shown["description"] == "what it is"
    if thing.has(f"update{name}Name"):
        thing(f"update{name}Name", name="renamed")
        assert thing.shown["name"] == "renamed"
    if kind is EXPERIMENT:
        thing("updateExperimentNameOrDescription", name="again", description="once more")
        assert (thing.shown["name"], thing.shown["description"]) == ("again", "once more")


@each_kind
def test_tags_are_added_and_taken_away(make: Maker, kind: V1Kind) -> None:
    thing, name = make(kind), kind.message
    thing(f"add{name}Tags", tags=["x", "x", "y", "z"])
    assert thing.shown["tags"] == thing(f"get{name}Tags")["tags"] == ["x", "y", "z"]
    thing(f"delete{name}Tags", tags=["y", "never"])
    assert thing.shown["tags"] == ["x", "z"]
    if thing.has(f"add{name}Tag"):
        thing(f"add{name}Tag", tag="w")
        thing(f"delete{name}Tag", tag="x")
        assert thing.shown["tags"] == ["z", "w"]
    thing(f"delete{name}Tags", delete_all=True)
    assert "tags" not in thing.shown


@each_kind
def test_attributes_are_added_altered_and_taken_away(make: Maker, kind: V1Kind) -> None:
    thing, name = make(kind), kind.message
    thing(f"add{name}Attributes", attributes=[{"key": key, "value": key * 2} for key in "abcd"])
    assert values_of(thing.shown) == {"a": "aa", "b": "bb", "c": "cc", "d": "dd"}
    if thing.has(f"update{name}Attributes"):
        thing(f"update{name}Attributes", attribute={"key": "a", "value": [1, None]})
        assert values_of(thing.shown)["a"] == [1, None]
    thing(f"delete{name}Attributes", attribute_keys=["a", "c", "never"])
    assert values_of(thing.shown) == {"b": "bb", "d": "dd"}
    assert values_of(thing(f"get{name}Attributes", attribute_keys=["d", "never"])) == {"d": "dd"}
    assert values_of(thing(f"get{name}Attributes", get_all=True)) == {"b": "bb", "d": "dd"}
    thing(f"delete{name}Attributes", delete_all=True)
    assert values_of(thing.shown) == {}


@each_kind
def test_what_is_deleted_is_gone_and_nothing_else(make: Maker, kind: V1Kind) -> None:
    one, other, third, fourth = (make(kind) for _ in range(4))
    make.wire(f"{kind.service}.delete{kind.message}", {"id": one.id})
    make.wire(f"{kind.service}.delete{kind.message}s", {"ids": [other.id, third.id]})
    for each in (one, other, third):
        assert make.wire.code(f"{kind.service}.get{kind.message}ById", {"id": each.id}) == NOT_FOUND
    assert fourth.shown["id"] == fourth.id


@pytest.mark.parametrize("kind", [PROJECT, DATASET, DATASET_VERSION], ids=lambda kind: kind.kind)
def test_who_may_see_it_is_said_and_taken_back(make: Maker, kind: V1Kind) -> None:
    thing, field = make(kind), f"{kind.kind}_visibility"
    assert field not in thing.shown
    thing(f"set{kind.message}Visibility", **{field: 1})
    assert thing.shown[field] == "PUBLIC"
    if kind is PROJECT:
        public = make.wire("ProjectService.getPublicProjects")["projects"]
        assert [each["id"] for each in public] == [thing.id]
    thing(f"set{kind.message}Visibility", **{field: 0})
    assert field not in thing.shown


@pytest.mark.parametrize("kind", [PROJECT, DATASET], ids=lambda kind: kind.kind)
def test_a_workspace_takes_what_has_a_name_of_its_own(make: Maker, kind: V1Kind) -> None:
    thing, other = make(kind), make(kind)
    list_all = {PROJECT: "getProjects", DATASET: "getAllDatasets"}[kind]
    place = {"workspace_name": f"of {kind.many}"}
    thing(f"set{kind.message}Workspace", **place)
    assert thing.shown["workspace_type"] == "ORGANIZATION"
    found = make.wire(f"{kind.service}.{list_all}", place)[kind.many]
    assert [each["id"] for each in found] == [thing.id]
    other(f"update{kind.message}Name", name=thing.shown["name"])
    assert make.wire.code(f"{kind.service}.set{kind.message}Workspace", {"id": other.id, **place}) == 6
    assert "workspace_id" not in other.shown


def test_a_project_has_a_readme_and_a_short_name(make: Maker) -> None:
    project = make(PROJECT)
    project("setProjectReadme", readme_text="# hello")
    assert project("getProjectReadme") == {"readme_text": "# hello"}
    assert project("getProjectShortName")["short_name"] == project.shown["name"].replace(" ", "-")
    project("setProjectShortName", short_name="short")
    assert project("getProjectShortName") == {"short_name": "short"}
    assert (project.shown["readme_text"], project.shown["short_name"]) == ("# hello", "short")
    assert make.wire.code("ProjectService.setProjectShortName", {"id": project.id, "short_name": "not short"}) == 3


def test_a_run_has_a_job_parts_and_comments(make: Maker) -> None:
    run, part, other = (make(RUN) for _ in range(3))
    run("logJobId", job_id="job 7")
    assert run("getJobId") == {"job_id": "job 7"}
    make.wire("ExperimentRunService.setParentExperimentRunId", {"experiment_run_id": part.id, "parent_id": run.id})
    parts = make.wire("ExperimentRunService.getChildrenExperimentRuns", {"experiment_run_id": run.id})
    assert [each["id"] for each in parts["experiment_runs"]] == [part.id]
    above = {"experiment_run_id": run.id, "parent_id": part.id}
    assert make.wire.code("ExperimentRunService.setParentExperimentRunId", above) == 3
    for word in ("well", "hm"):
        make.wire("CommentService.addExperimentRunComment", {"entity_id": run.id, "message": word})
    first, second = make.wire("CommentService.getExperimentRunComments", {"entity_id": run.id})["comments"]
    assert (first["message"], second["message"]) == ("well", "hm")
    changed = {"id": first["id"], "entity_id": run.id, "message": "better"}
    make.wire("CommentService.updateExperimentRunComment", changed)
    of_another = {"id": first["id"], "entity_id": other.id}
    assert make.wire.code("CommentService.deleteExperimentRunComment", of_another) == NOT_FOUND
    make.wire("CommentService.deleteExperimentRunComment", {"id": second["id"], "entity_id": run.id})
    (left,) = make.wire("CommentService.getExperimentRunComments", {"entity_id": run.id})["comments"]
    assert (left["id"], left["message"]) == (first["id"], "better")
