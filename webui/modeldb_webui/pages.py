"""ModelDB's own pages: a frame each, with the name of the place and of what it shows; scripts fill it from the JSON API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, request

from modeldb_core.model.schema import shown_kinds
from modeldb_webui.frame import ASSETS, BLUEPRINT, Frame, NavigationEntry, address, register_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_webui.assets import Assets

PLACES = {
    "/": Frame(title="Projects", place="projects"),
    "/projects/<entity_id>": Frame(title="Runs", place="project", has_charts=True),
    "/runs/<entity_id>": Frame(title="Run", place="run", has_charts=True),
    "/compare": Frame(title="Compare", place="compare", has_charts=True),
}
"""Every page by its path; those of kinds are beside them."""
KINDS_ORDER = 500
"""Where the kinds that plugins declare stand in the navigation."""

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
        frame = Frame(title=title, place="entities", identifier=kind.path, kind=kind.kind)
        entry = None if kind.is_own else NavigationEntry(title=title, group="Further kinds", order=KINDS_ORDER)
        register_page(blueprint, f"/kinds/{kind.path}", f"kind {kind.path}", _empty, frame, entry)
    blueprint.add_url_rule("/assets/<version>/<path:name>", "asset", _asset(ASSETS))
    blueprint.app_context_processor(lambda: {"modeldb_address": address})
    return blueprint


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
