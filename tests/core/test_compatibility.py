"""A plugin that was written against an earlier version keeps working: what it may rely on is written down here.

Anyone who adds a hook, an argument, a method or a field finds the place to say so: nothing of an earlier version may go.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from modeldb_core import hookspecs, stores
from modeldb_core.errors import QueryUnsupportedError
from modeldb_core.log.changes import Change, Head
from modeldb_core.log.points import PointGroup, Series
from modeldb_core.queries import Linked, Query

ROOT = Path(__file__).parents[2]
FROZEN = ROOT / "tests" / "assets" / "plugin_of_version_1"
DOCS = (ROOT / "docs" / "plugins.md").read_text("utf-8")

HOOKS_OF_VERSION = {
    1: {
        "modeldb_register_backends": (),
        "modeldb_register_autologgers": (),
        "modeldb_configure": ("settings",),
        "modeldb_run_context": ("settings",),
        "modeldb_run_started": ("run",),
        "modeldb_run_finished": ("run", "status"),
        "modeldb_describe_object": ("obj",),
        "modeldb_dump_model": ("model", "path"),
        "modeldb_load_model": ("path", "model_format", "trusted"),
        "modeldb_register_blueprints": ("app",),
        "modeldb_register_commands": ("group",),
    },
    2: {"modeldb_register_kinds": ()},
    3: {
        "modeldb_anchor_checkpoint": ("content", "settings"),
        "modeldb_verify_anchor": ("anchor", "content", "settings"),
    },
}
"""The hooks, and the arguments that each version brought them. A version is never altered, only a further one added."""

METHODS_OF_VERSION_1 = {
    stores.MetadataStore: {"apply", "close", "find", "find_keys", "get", "heads", "read_changes", "read_series"},
    stores.ArtifactStore: {"close", "delete", "list", "open", "put", "stat"},
}

FIELDS_OF_VERSION_1 = {
    stores.Backend: "scheme kind target extra description",
    stores.BlobInfo: "digest size_bytes",
    stores.Page: "entities cursor total",
    stores.ChangePage: "changes cursor",
    stores.KeyInfo: "section key count value_types",
    Change: "stream_id seq recorded_at actor action kind entity_id payload salt payload_digest previous_hash hash",
    Head: "seq hash recorded_at lease_s closed",
    Query: "kind filter order_by fields limit cursor count within include_deleted",
    PointGroup: "keys steps times values",
    Series: "run_id key steps times values total",
}
"""What plugins make by position, and what they read."""


def arguments_of(hook: str) -> tuple[str, ...]:
    return tuple(inspect.signature(getattr(hookspecs, hook)).parameters)


def test_hooks_and_arguments_are_those_of_the_versions_together() -> None:
    expected: dict[str, set[str]] = {}
    for version in range(1, hookspecs.HOOKS_VERSION + 1):
        for hook, arguments in HOOKS_OF_VERSION[version].items():
            expected.setdefault(hook, set()).update(arguments)
    found = {name: set(arguments_of(name)) for name in vars(hookspecs) if name.startswith("modeldb_")}
    assert found == expected, "raise HOOKS_VERSION, write down here what it brought, and in docs/plugins.md"
    assert max(HOOKS_OF_VERSION) == hookspecs.HOOKS_VERSION


@pytest.mark.parametrize("version", HOOKS_OF_VERSION)
def test_what_a_version_brought_is_documented(version: int) -> None:
    assert f"| {version} |" in DOCS[DOCS.index("## Compatibility") :]


@pytest.mark.parametrize("hook", [name for name in vars(hookspecs) if name.startswith("modeldb_")])
def test_the_page_gives_every_hook_with_its_arguments(hook: str) -> None:
    assert f"#### `{hook}({', '.join(arguments_of(hook))})`" in DOCS


@pytest.mark.parametrize("contract", METHODS_OF_VERSION_1, ids=lambda contract: contract.__name__)
def test_a_method_that_was_added_to_a_contract_has_a_default(contract: type) -> None:
    assert contract.__abstractmethods__ == METHODS_OF_VERSION_1[contract]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", FIELDS_OF_VERSION_1, ids=lambda kind: kind.__name__)
def test_a_field_that_was_added_comes_last_and_has_a_default(kind: type) -> None:
    before = FIELDS_OF_VERSION_1[kind].split()
    fields = dataclasses.fields(kind)
    assert [field.name for field in fields[: len(before)]] == before
    for field in fields[len(before) :]:
        assert field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING, field.name


# The frozen plugin


@pytest.fixture
def run(tmp_path: Path):
    """Returns a function that runs a program with the frozen plugin installed; a warning is an error."""

    def run(program: str, **environment: str) -> str:
        path = os.pathsep.join([str(FROZEN), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "MODELDB_JOURNAL_DIR": str(tmp_path / "journals"), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    return run


def test_a_plugin_of_version_1_is_loaded_and_listed_without_a_warning(run) -> None:
    said = run("""
        from modeldb_core.plugins import list_plugins
        (info,) = [info for info in list_plugins() if info.name == "acme_old"]
        print(info.state, len(info.hooks), [(item.scheme, item.extra, item.description) for item in info.backends])
    """)
    assert said == "loaded 11 [('acme', 'acme-driver', 'of long ago'), ('acme', '', '')]\n"


def test_a_run_is_logged_to_stores_of_version_1_and_its_hooks_are_called(run, tmp_path) -> None:
    (tmp_path / "modeldb.toml").write_text("[plugins.acme]\ncolour = 'red'\n")
    run("""
        import acme_old
        import modeldb_core as modeldb
        from modeldb_core.audit import verify

        class Widget:
            size = 5

        with modeldb.connect("acme://x", artifact_url="acme://y", token="t0ken") as client:
            with client.start_run(project="p", name="first", tags=["a"]) as run:
                run.log_hyperparameters({"lr": 0.1, "long": "x" * 100_000})
                run.log_dataset(Widget(), name="widget")
                run.log_model(Widget())
                for step in range(100):
                    run.log_metrics({"loss": 1 / (step + 1)}, step=step)
            client.flush()
            (found,) = client.search_runs("metrics.loss < 0.1")
            assert found.entity.context["acme"] == "here"
            assert found.entity.attributes["acme"] == "started"
            assert len(found.history("loss", max_points=10)) <= 10
            assert client.resolve(found.entity.hyperparameters["long"]) == "x" * 100_000
            assert found.load_model("model") == 5
            report = verify(client.store, client.artifacts)
            assert report.findings == [] and report.blobs > 0, report
        assert acme_old.CALLS == [
            ("configure", "acme://x", {"colour": "red"}), ("started", "first"), ("finished", "finished")
        ], acme_old.CALLS
    """)


def test_what_a_store_of_version_1_cannot_answer_is_refused_and_not_answered_without_it(run) -> None:
    run("""
        import pytest
        from modeldb_core.errors import QueryUnsupportedError
        from modeldb_core.plugins import open_store
        from modeldb_core.queries import Linked, Query
        from modeldb_core.testing import StreamWriter

        store = open_store("acme://x")
        writer = StreamWriter()
        run = writer.create_run(name="has no children")
        store.apply(writer.changes)
        query = Query("run", linked=Linked("run", run.entity_id, field="parent_id"))
        for ask in (store.find, store.find_keys):
            with pytest.raises(QueryUnsupportedError, match="does not understand 'linked'.*update the plugin"):
                ask(query)
            for within in ((), ("one", "other")):
                with pytest.raises(QueryUnsupportedError, match="does not understand 'within_several'"):
                    ask(Query("run", within=within))
        assert len(store.find(Query("run")).entities) == 1
    """)


def test_a_store_refuses_what_it_does_not_understand_wherever_it_has_its_methods_from() -> None:
    class Questions:
        def find(self, query: Query, *, patience: int = 0) -> tuple[str, int]:
            return query.kind, patience

        def find_keys(self, query: Query) -> str:
            return query.kind

    methods = dict.fromkeys(METHODS_OF_VERSION_1[stores.MetadataStore] - {"find", "find_keys"})
    old = type("Old", (Questions, stores.MetadataStore), {**methods, "url": "old://"})
    older = type("Older", (old,), {"url": "older://"})
    new = type("New", (Questions, stores.MetadataStore), {**methods, "understands": frozenset({"linked"})})
    linked = Query("run", linked=Linked("run", "x"))
    for store in (old(), older()):
        assert store.find(Query("run"), patience=5) == ("run", 5)
        for ask in (store.find, store.find_keys):
            with pytest.raises(QueryUnsupportedError, match="'linked'"):
                ask(linked)
    assert new().find(linked) == ("run", 0)


def test_every_part_that_was_added_to_a_query_is_refused_where_it_is_not_understood() -> None:
    added = {field.name for field in dataclasses.fields(Query)} - set(FIELDS_OF_VERSION_1[Query].split())
    # ``within`` was there, and was one identifier; so was that of ``linked``.
    assert added | {"within_several", "linked_several"} == stores.PARTS_ADDED_TO_QUERY


def test_stores_of_version_1_are_copied_from_and_to(run) -> None:
    run("""
        from modeldb_core.movement.copying import copy
        from modeldb_core.plugins import open_artifacts, open_store
        from modeldb_core.testing import StreamWriter
        import io

        writer = StreamWriter()
        blobs = [open_artifacts(url) for url in ("acme://1", "acme://2", "memory://3")]
        stores = [open_store(url) for url in ("acme://1", "acme://2", "memory://3")]
        digest = blobs[0].put(io.BytesIO(b"content")).digest
        writer.create_run(name="first", artifacts={"a": {"digest": digest, "size_bytes": 7}})
        writer.close()
        stores[0].apply(writer.changes)
        for at in (0, 1):
            copy(stores[at], stores[at + 1], artifacts=(blobs[at], blobs[at + 1]))
            assert stores[at + 1].heads() == stores[0].heads()
            assert blobs[at + 1].open(digest).read() == b"content"
    """)


def test_collecting_garbage_spares_blobs_whose_age_a_store_of_version_1_does_not_tell(run) -> None:
    run("""
        import io
        from datetime import UTC, datetime
        from modeldb_core.plugins import open_artifacts

        store = open_artifacts("acme://x")
        info = store.put(io.BytesIO(b"young or old"))
        assert info.modified_at is None
        assert not store.delete_stale(info.digest, datetime.now(UTC))
        assert store.stat(info.digest) == info
        assert store.url_for(info.digest) is None and not store.is_local
    """)


def test_the_command_line_and_the_server_take_a_plugin_of_version_1(run) -> None:
    assert (
        run("""
        from modeldb_core.cli.program import run
        assert run(["acme"]) == 0
        """)
        == "acme says hello\n"
    )
    run("""
        from flask import Flask
        from modeldb_core.plugins import plugin_manager

        app = Flask("x")
        plugin_manager().call("modeldb_register_blueprints", app=app)
        assert app.test_client().get("/acme").text == "acme"
    """)
