"""Pages of plugins: in the frame, in the navigation of every page, with the store of who asks; broken ones left out."""

from __future__ import annotations

import json
import os
import re
import threading
import types
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, redirect, send_file

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.errors import ModelDBWarning
from modeldb_core.hookspecs import hookimpl
from modeldb_core.plugins import PluginManager, open_store
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore
from modeldb_core.testing import StreamWriter
from modeldb_server import Policy, Server, ServerSettings, create_app, server_context
from modeldb_webui import add_page

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
TOKEN, READ_TOKEN = "w" * 32, "r" * 32
BASE = "http://localhost"


def page_of_the_docs() -> types.ModuleType:
    """Return the plugin that ``docs/plugins.md`` shows."""
    (source,) = re.findall(r"```python\n(# acme_board\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    plugin = types.ModuleType("acme_board")
    exec(compile(source, "acme_board.py", "exec"), vars(plugin))
    return plugin


class Broken:
    """Registers a page, and then fails."""

    @hookimpl
    def modeldb_register_blueprints(self, app: Flask) -> None:
        blueprint = Blueprint("broken", __name__)
        add_page(blueprint, "/broken", "Broken page", lambda: "never seen", order=1)
        app.register_blueprint(blueprint)
        raise RuntimeError("the drivers are gone")


Build = Callable[..., Flask]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetadataStore]:
    """A store with two runs that have an AUC."""
    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        writer = StreamWriter()
        ids = writer.create_containers("churn", "default")
        for name, auc in {"worse": 0.5, "<b>best</b>": 0.75}.items():
            writer.create_run(name=name, metrics={"auc": auc}, **ids)
        store.apply(writer.changes)
        yield store


@pytest.fixture
def build(store: MetadataStore, tmp_path: Path) -> Iterator[Build]:
    """Build applications with some plugins beside the installed ones."""
    apps: list[Flask] = []

    def make(*plugins: object, **settings: Any) -> Flask:
        manager = PluginManager()
        manager.load_entry_points()
        for plugin in plugins:
            manager.add(plugin, getattr(plugin, "__name__", type(plugin).__name__))
        artifacts = FsspecArtifactStore(f"file://{tmp_path}/blobs")
        apps.append(create_app(store, artifacts, ServerSettings(port=0, **settings), plugins=manager))
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["modeldb_server"].close()


@pytest.mark.browser
def test_the_page_of_the_docs_stands_in_the_frame_and_in_the_navigation(chromium: Any, build: Build) -> None:
    with pytest.warns(ModelDBWarning, match=r"plugin 'Broken' failed in modeldb_register_blueprints.*drivers are gone"):
        app = build(page_of_the_docs(), Broken(), actor="grace")
    server = Server(app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with chromium.new_context(viewport={"width": 1200, "height": 600}, color_scheme="light") as context:
            page = context.new_page()
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            page.goto(server.url)  # drawn by a script of ModelDB's own
            page.wait_for_selector(".rail-head:has-text('Pages')")
            assert page.locator(".rail a:has-text('Broken')").count() == 0
            page.click(".rail a:has-text('Leaderboard')")
            page.wait_for_selector("h1[data-rows='2']")  # its own script has run
            page.wait_for_selector(".rail a[aria-current=page]:has-text('Leaderboard')")
            assert page.text_content(".crumbs li:last-child") == "Leaderboard"
            assert "Asked by grace, who may change things." in page.text_content("main").replace("\n", " ")
            assert page.locator("tbody td.main").all_text_contents() == ["<b>best</b>", "worse"]
            if folder := os.environ.get("MODELDB_TEST_SCREENSHOTS"):
                page.screenshot(path=Path(folder) / "plugin-page.png")
            page.keyboard.press("Control+k")
            page.keyboard.type("leader")
            page.wait_for_selector("[role=option]:has-text('Leaderboard')")
            page.keyboard.press("Escape")
            page.click("tbody a >> nth=0")
            page.wait_for_selector(".run-head h1:has-text('<b>best</b>')")
            assert complaints == []
    finally:
        server.stop()
        thread.join(30)


def test_a_page_knows_who_asks_and_what_they_may(build: Build) -> None:
    app = build(page_of_the_docs(), tokens=(f"ada:{TOKEN}",), read_tokens=(f"bob:{READ_TOKEN}",))
    client = app.test_client()
    assert client.get("/acme/board", base_url=BASE).status_code == 401
    for token, said in {TOKEN: "<b>ada</b>, who may change", READ_TOKEN: "<b>bob</b>, who may only read"}.items():
        answer = client.get("/acme/board", base_url=BASE, headers={"Authorization": f"Bearer {token}"})
        assert said in answer.text
        assert "default-src 'none'; script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert (
        "may only read"
        in build(page_of_the_docs(), read_only=True).test_client().get("/acme/board", base_url=BASE).text
    )


def test_a_public_route_is_given_no_store_on_a_server_that_asks_who_one_is(build: Build) -> None:
    def register(blueprint: Blueprint) -> None:
        blueprint.add_url_rule("/acme/count", view_func=count)
        blueprint.add_url_rule("/acme/rights", view_func=rights)

    def count() -> str:
        return str(len(server_context().store.find(Query("run")).entities))

    def rights() -> list[str]:
        return [each for each in Policy if server_context().may(each)]

    for view in (count, rights):
        view.modeldb_policy = "public"  # type: ignore[attr-defined]
    client = build(Pages(register), tokens=(f"ada:{TOKEN}",)).test_client()
    assert client.get("/acme/count", base_url=BASE).status_code == 403
    assert client.get("/acme/rights", base_url=BASE).json == ["public"]
    assert client.get("/health", base_url=BASE).status_code == 200
    assert build(Pages(register)).test_client().get("/acme/count", base_url=BASE).text == "2"


class Pages:
    """Registers what a function says."""

    def __init__(self, register: Callable[[Blueprint], object]) -> None:
        self._register = register

    @hookimpl
    def modeldb_register_blueprints(self, app: Flask) -> None:
        blueprint = Blueprint("acme", __name__)
        self._register(blueprint)
        app.register_blueprint(blueprint)


def _view(**variables: object) -> str:
    return f"<p>{variables}</p>"


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (lambda blueprint: add_page(blueprint, "/", "Mine", _view), r"its route GET / is taken by .*projects"),
        (
            lambda blueprint: add_page(blueprint, "/runs/<name>", "Mine", _view),
            r"its route GET /runs/<name> is taken by that of modeldb_webui.run",
        ),
        (
            lambda blueprint: add_page(blueprint, "/api/v2/runs", "Mine", _view),
            r"/api/v2/runs is taken by that of api.find_runs",
        ),
        (lambda blueprint: add_page(blueprint, "/acme/<a>", "Mine", _view, order=1), r"has variables"),
        (lambda blueprint: add_page(blueprint, "/acme", "", _view), r"title '' is not a text"),
        (lambda blueprint: add_page(blueprint, "/acme", "A", _view, order="1"), r"order '1' is of type str"),
        (lambda blueprint: add_page(blueprint, "acme", "A", _view), r"'acme' is not a path"),
        (lambda blueprint: add_page(blueprint, "/acme", "A", _view, scripts="/a.js"), r"are lists of paths"),
        (
            lambda blueprint: add_page(blueprint, "/acme", "A", _view, scripts=["https://example.org/a.js"]),
            r"'https://example.org/a.js' is not a path",
        ),
    ],
)
def test_a_page_that_cannot_be_is_named_and_left_out(build: Build, register: Any, said: str) -> None:
    with pytest.warns(ModelDBWarning, match=rf"plugin 'Pages' .*{said}"):
        client = build(Pages(register)).test_client()
    assert client.get("/acme", base_url=BASE).status_code == 404
    assert 'data-place="projects"' in client.get("/", base_url=BASE).text
    assert 'data-place="run"' in client.get("/runs/x", base_url=BASE).text
    assert client.get("/api/v2/runs", base_url=BASE).json["items"]


def test_pages_stand_in_the_navigation_by_their_order_and_bring_their_styles(build: Build, tmp_path: Path) -> None:
    (tmp_path / "whole.html").write_text("<p>by itself</p>")
    blueprint = Blueprint("acme", __name__)

    def page(path: str, view: Callable[[], Any], **place: Any) -> None:
        view.__name__ = path[1:]
        add_page(blueprint, path, path[1:].capitalize(), view, **place)

    page("/late", lambda: "late", order=30, group="Acme")
    page("/early", lambda: "early", order=10, group="Acme", styles=["/acme.css"])
    page("/middle", lambda: "middle", order=20, group="Other")
    page("/away", lambda: redirect("/elsewhere"))
    page("/file", lambda: send_file(tmp_path / "whole.html"))

    class Acme:
        @hookimpl
        def modeldb_register_blueprints(self, app: Flask) -> None:
            app.register_blueprint(blueprint)

    client = build(Acme()).test_client()
    early = client.get("/early", base_url=BASE).text
    assert '<link rel="stylesheet" href="acme.css">' in early
    places = [(each["group"], each["title"]) for each in json.loads(unescape(_navigation(early)))]
    assert [each for each in places if each[0] in ("Acme", "Other")] == [
        ("Acme", "Early"),
        ("Other", "Middle"),
        ("Acme", "Late"),
    ]
    away = client.get("/away", base_url=BASE)
    assert (away.status_code, away.headers["Location"]) == (302, "/elsewhere")
    assert "data-navigation" not in away.text
    with client.get("/file", base_url=BASE) as file:
        assert file.text == "<p>by itself</p>"


def _navigation(page: str) -> str:
    found = re.search(r"data-navigation='([^']*)'", page)
    assert found is not None
    return found[1]


def test_pages_without_the_web_ui_are_left_out(store: MetadataStore, tmp_path: Path) -> None:
    plugins = PluginManager()
    plugins.load_entry_points(["modeldb_webui"])
    plugins.add(Pages(lambda blueprint: add_page(blueprint, "/acme", "A", _view)), "acme")
    with pytest.warns(ModelDBWarning, match=r"plugin 'acme' .*the pages of ModelDB \(modeldb_webui\) are disabled"):
        app = create_app(store, FsspecArtifactStore(f"file://{tmp_path}/b"), ServerSettings(port=0), plugins=plugins)
    assert app.test_client().get("/acme", base_url=BASE).status_code == 404
    app.extensions["modeldb_server"].close()


def test_a_page_below_others_finds_its_files_and_what_is_no_page_is_sent_as_it_is(build: Build, tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.js").write_text("1")

    def register(blueprint: Blueprint) -> None:
        blueprint.static_folder, blueprint.static_url_path = str(tmp_path / "static"), "/acme/static"
        add_page(blueprint, "/acme/deep/<entity_id>", "Deep", _view, scripts=["/acme/static/a.js"])
        add_page(blueprint, "/acme/data", "Data", data)

    def data() -> dict[str, int]:
        return {"a": 1}

    client = build(Pages(register)).test_client()
    text = client.get("/acme/deep/x", base_url=BASE).text
    assert '<script type="module" src="../../acme/static/a.js">' in text
    assert "<p>{'entity_id': 'x'}</p>" in text
    with client.get("/acme/static/a.js", base_url=BASE) as script:
        assert (script.text, script.headers["X-Content-Type-Options"]) == ("1", "nosniff")
    assert client.get("/acme/static/../../modeldb.db", base_url=BASE).status_code == 404
    assert client.get("/acme/data", base_url=BASE).json == {"a": 1}
