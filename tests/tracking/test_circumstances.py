"""What plugins say of the circumstances of a run: one that says nonsense is named, and spoils nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest

from modeldb_core.commands import edits, runs
from modeldb_core.errors import InvalidArgumentError, ModelDBWarning
from modeldb_core.hookspecs import hookimpl
from modeldb_core.model.entities import new_id
from modeldb_core.plugins import PluginManager, load_settings, plugin_manager
from modeldb_core.stores import BlobInfo
from modeldb_core.tracking import Client, circumstances


class Says:
    def __init__(self, sections: object) -> None:
        self.sections = sections

    @hookimpl
    def modeldb_run_context(self) -> Any:
        return self.sections


@pytest.fixture
def manager() -> Iterator[PluginManager]:
    """The plugins of this process; those that a test adds are taken away again."""
    found = plugin_manager()
    before = set(found.infos)
    yield found
    for name in set(found.infos) - before:
        found.unregister(name=name)
        del found.infos[name]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"hardware": {"fans": 4}},
            r"plugin 'acme' returned in modeldb_run_context the section 'hardware', which no run has, and it is left out; "
            r"known: code, environment, context\. Put the values .* run\.set_attributes",
        ),
        ({"enviroment": {"a": 1}}, r"'enviroment', which no run has \(did you mean 'environment'\?\)"),
        ({"metrics": {"a": 1}}, r"'metrics', which is not for the circumstances"),
        ({7: {"a": 1}}, r"the section 7, which no run has"),
        (["code"], r"plugin 'acme' returned a list in modeldb_run_context"),
        ({"context": {"fans": object()}}, r"plugin 'acme' gave .* context\.fans is of type object"),
        ({"context": "four fans"}, r"plugin 'acme' gave .* context is of type str"),
    ],
)
def test_what_no_run_has_is_named_and_left_out_and_the_rest_is_kept(
    client: Client, manager: PluginManager, sections: object, said: str
) -> None:
    manager.add(Says(sections), "acme")
    manager.add(Says({"environment": {"python": "4.0", "cluster": "blue"}}), "other")
    with pytest.warns(ModelDBWarning, match=said) as warned:
        for _ in range(2):
            client.start_run("p").finish()
            client.flush()
    assert len(warned) == 1, "once, and not for every run"
    for run in client.search_runs():
        assert {"hardware", "enviroment", "7"}.isdisjoint(run.entity.document)
        assert run.entity.environment["cluster"] == "blue"
        assert run.entity.environment["python"] == "4.0", "of two plugins the later one counts"
        assert run.entity.environment["packages"]
        assert "a" not in run.entity.metrics


def test_a_wrapper_is_around_what_every_plugin_says(client: Client, manager: PluginManager) -> None:
    class Strips:
        @hookimpl(wrapper=True)
        def modeldb_run_context(self) -> Any:
            given = yield
            return [{key: values for key, values in each.items() if key != "environment"} for each in given]

    manager.add(Says({"environment": {"secret": "x"}, "context": {"cluster": "blue"}}), "acme")
    manager.add(Strips(), "strips")
    client.start_run("p").finish()
    client.flush()
    (run,) = client.search_runs()
    assert not run.entity.environment
    assert run.entity.context["cluster"] == "blue"


def test_a_plugin_with_two_implementations_is_asked_once(manager: PluginManager) -> None:
    class Twice:
        @hookimpl
        def modeldb_run_context(self) -> Any:
            return {"context": {"a": 1}}

        @hookimpl(specname="modeldb_run_context")
        def modeldb_more_context(self) -> Any:
            return {"context": {"b": 2}}

    manager.add(Says({"context": {"c": 3}}), "acme")
    manager.add(Twice(), "twice")
    found = {info.name: given for info, given in manager.call_each("modeldb_run_context", settings=load_settings())}
    assert found["acme"] == [{"context": {"c": 3}}]
    assert sorted(map(str, found["twice"])) == ["{'context': {'a': 1}}", "{'context': {'b': 2}}"]


def test_a_command_refuses_a_section_that_no_entity_has(client: Client) -> None:
    said = (
        r"a run has no field 'atributes'; did you mean 'attributes'\? Its sections are .*hyperparameters.* attributes"
    )
    with pytest.raises(InvalidArgumentError, match=said):
        edits.put_values("run", "r", "atributes", {"a": 1})
    with pytest.raises(InvalidArgumentError, match="a project has no field 'metrics'"):
        edits.put_values("project", "p", "metrics", {"a": 1})
    with pytest.raises(InvalidArgumentError, match="'hardware'"):
        runs.start(new_id(), {}, sections={"hardware": {"fans": 4}})


def test_runs_that_start_together_have_their_circumstances_stored_once(
    client: Client, manager: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.add(Says({"environment": {"cluster": list(range(5_000))}}), "acme")
    monkeypatch.setattr(circumstances, "LIFE_S", 1e9)
    put, stored = client.blobs.put, []

    def note(stream: BinaryIO) -> BlobInfo:
        info = put(stream)
        stored.append(info.digest)
        return info

    monkeypatch.setattr(client.blobs, "put", note)
    together = [client.start_run() for _ in range(3)]
    for run in together:
        run.finish()
    client.flush()
    assert [client.resolve(run.entity.environment["cluster"]) for run in together] == [list(range(5_000))] * 3
    assert len(stored) == len(set(stored)) > 0
