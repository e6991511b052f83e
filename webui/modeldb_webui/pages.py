"""ModelDB's own pages: a frame each, with the name of the place and of what it shows; scripts fill it from the JSON API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, request

from modeldb_core.model.entities import Project, Run
from modeldb_core.model.schema import shown_kinds
from modeldb_webui.frame import ASSETS, BLUEPRINT, Frame, NavigationEntry, address, register_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.model.schema import KindDeclaration
    from modeldb_webui.assets import Assets

PLACES = {
    "/": Frame(title="Projects", place="projects", kinds=(Run.KIND,)),
    "/projects/<entity_id>": Frame(title="Runs", place="project", kinds=(Run.KIND,), has_charts=True),
    "/runs/<entity_id>": Frame(title="Run", place="run", has_charts=True),
    "/compare": Frame(title="Compare", place="compare", kinds=(Run.KIND,), has_charts=True),
}
"""Every page by its path; those of kinds are beside them."""
CONTAINERS_ORDER, KINDS_ORDER = 400, 500
"""Where the navigation has what lies in a workspace beside projects, such as data sets, and the kinds that plugins declare."""

NEEDS_SCRIPTS = (
    "<noscript>ModelDB shows its data with scripts: allow them for this page, or use the <code>modeldb</code> command."
    "</noscript>"
)
_WORKERS = frozenset({"js/events_worker.js"})
WORKER_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
"""The Content-Security-Policy of workers, which have that of their own script and not that of the page."""
_YEAR_S = 31_536_000


def create_blueprint() -> Blueprint:
    """Return the blueprint with the pages and their assets."""
    blueprint = Blueprint(BLUEPRINT, __name__, template_folder="templates")
    for path, frame in PLACES.items():
        register_page(blueprint, path, frame.place, _empty, frame)
    for kind in shown_kinds():
        title = kind.path.capitalize().replace("-", " ")
        path = f"/kinds/{kind.path}"
        every = Frame(title=title, place="entities", kind=kind.kind)
        one = Frame(title=kind.words.capitalize(), place="entity", kind=kind.kind)
        register_page(blueprint, path, f"kind {kind.path}", _empty, every, _entry(kind, title))
        register_page(blueprint, f"{path}/<entity_id>", f"one {kind.kind}", _empty, one)
    blueprint.add_url_rule("/assets/<version>/<path:name>", "asset", _asset(ASSETS))
    blueprint.app_context_processor(lambda: {"modeldb_address": address})
    return blueprint


def _entry(kind: KindDeclaration, title: str) -> NavigationEntry | None:
    """Return the place of a kind in the navigation: everything that leads to entities which no other list leads to."""
    if not kind.is_own:
        return NavigationEntry(title=title, group="Further kinds", order=KINDS_ORDER)
    if kind.home == "workspace_id" and kind.kind != Project.KIND:
        return NavigationEntry(title=title, group="Data, code, models", order=CONTAINERS_ORDER)
    return None


def _empty(entity_id: str = "") -> str:
    """Return what a page shows until its script has run."""
    del entity_id
    return NEEDS_SCRIPTS


def _asset(assets: Assets) -> Callable[..., Response]:
    def serve(version: str, name: str) -> Response:
        asset = assets.files.get(name)
        if asset is None:
            abort(404)
        compressed = "gzip" in request.headers.get("Accept-Encoding", "")
        response = Response(asset.compressed if compressed else asset.content, content_type=asset.media_type)
        if compressed:
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        if name in _WORKERS:
            response.headers["Content-Security-Policy"] = WORKER_POLICY
        # A page that was open during an upgrade asks for the old version: it gets the new bytes, but may not keep them.
        keep = version == assets.version
        response.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable" if keep else "no-store"
        return response

    return serve
