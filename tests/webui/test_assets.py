"""What the pages load: little, from their own origin, nothing inline, and kept by the browser."""

from __future__ import annotations

import gzip
import posixpath
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from modeldb_webui import modeldb_register_blueprints
from modeldb_webui.assets import Assets

BUDGET_BYTES = 120_000
PLACES = {
    "/": "projects",
    "/projects/x": "project",
    "/runs/x": "run",
    "/compare": "compare",
    "/kinds/runs": "entities",
    "/kinds/runs/x": "entity",
}
OWN = [path for path in sorted(Assets().folder.rglob("*")) if path.is_file() and "vendor" not in path.parts]


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("test", static_folder=None)
    modeldb_register_blueprints(app)
    return app.test_client()


def loaded(client: FlaskClient, path: str) -> dict[str, bytes]:
    """Return the compressed bytes of a page and of everything that it names."""
    page = client.get(path).get_data()
    found = {path: gzip.compress(page, 9)}
    for address in re.findall(r'(?:src|href)="((?:\.\./)*assets/[^"]+)"', page.decode()):
        address = posixpath.normpath(posixpath.join(path, "..", address))
        response = client.get(address, headers={"Accept-Encoding": "gzip"})
        assert response.status_code == 200, address
        assert response.headers["Content-Encoding"] == "gzip"
        found[address] = response.get_data()
    return found


@pytest.mark.parametrize("path", PLACES)
def test_a_page_with_all_it_loads_is_small(client: FlaskClient, path: str) -> None:
    assert sum(len(content) for content in loaded(client, path).values()) <= BUDGET_BYTES


@pytest.mark.parametrize("path", PLACES)
def test_a_page_names_every_script_so_that_none_waits_for_another(client: FlaskClient, path: str) -> None:
    assets = Assets()
    named = {address.split("/", 3)[3] for address in loaded(client, path) if address.startswith("/assets/")}
    for name in assets.imports(f"js/pages/{PLACES[path]}.js"):
        assert name in named
        text = assets.files[name].content.decode()
        for imported in re.findall(r'from "(\.[^"]+)"', text):
            assert (assets.folder / name).parent.joinpath(imported).resolve().is_file(), f"{name} imports {imported}"


@pytest.mark.parametrize("path", PLACES)
def test_a_page_has_nothing_inline_and_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    text = client.get(path).get_data(as_text=True)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_own_files_name_no_other_origin(path: Path) -> None:
    text = path.read_text()
    addresses = set(re.findall(r"(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+", text))
    assert addresses <= {"http://www.w3.org"}, "only the name of the SVG namespace looks like an address"


@pytest.mark.parametrize("path", [path for path in OWN if path.suffix == ".js"], ids=lambda path: path.name)
def test_no_script_makes_markup_or_code_from_text(path: Path) -> None:
    text = path.read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|dangerouslySet", text
    )


def test_vendored_libraries_come_with_their_licences() -> None:
    vendor = Assets().folder / "vendor"
    assert {path.name for path in vendor.glob("*.LICENSE.txt")} == {
        "htm.LICENSE.txt",
        "preact.LICENSE.txt",
        "uplot.LICENSE.txt",
    }


def test_a_browser_keeps_assets_for_good_and_sees_a_new_version_at_once(client: FlaskClient, tmp_path: Path) -> None:
    version = Assets().version
    kept = client.get(f"/assets/{version}/js/api.js")
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert kept.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert client.get("/assets/000000000000/js/api.js").headers["Cache-Control"] == "no-store"
    assert client.get("/").headers["Cache-Control"] == "no-cache"
    (tmp_path / "a.js").write_text("1")
    before = Assets(tmp_path).version
    (tmp_path / "a.js").write_text("2")
    assert Assets(tmp_path).version != before


@pytest.mark.parametrize(
    "name", ["js/types.d.ts", "../pages.py", "js/../../pages.py", "js", "js/none.js", "%2e%2e/pages.py"]
)
def test_nothing_but_assets_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/assets/{Assets().version}/{name}").status_code == 404


def test_an_identifier_in_the_address_is_escaped(client: FlaskClient) -> None:
    text = client.get('/runs/"><script>alert(1)</script>').get_data(as_text=True)
    assert "<script>alert" not in text


def test_without_gzip_the_bytes_come_as_they_are(client: FlaskClient) -> None:
    response = client.get(f"/assets/{Assets().version}/icon.svg")
    assert "Content-Encoding" not in response.headers
    assert response.get_data() == Assets().files["icon.svg"].content
