"""The pages: a frame each, with the name of the place and of what it shows; scripts fill it from the JSON API.

The server's guards give every answer its Content-Security-Policy: scripts and styles of the page's own origin, nothing
inline. The template keeps to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, render_template, request

from modeldb_core.model.schema import KINDS
from modeldb_webui.assets import Assets

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES = {
    "projects": ("/", "Projects"),
    "project": ("/projects/<entity_id>", "Runs"),
    "run": ("/runs/<entity_id>", "Run"),
    "compare": ("/compare", "Compare"),
    "entities": ("/kinds/<entity_id>", "Entities"),
}
"""Every place: its path, and its title until the script knows a better one."""

_CHARTS = frozenset({"project", "run", "compare"})
_WORKERS = frozenset({"js/events_worker.js"})
WORKER_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
"""The Content-Security-Policy of workers, which have that of their own script and not that of the page."""
_YEAR_S = 31_536_000


def create_blueprint(assets: Assets | None = None) -> Blueprint:
    """Return the blueprint with the pages and their assets."""
    assets = assets or Assets()
    blueprint = Blueprint("modeldb_webui", __name__, template_folder="templates")
    for place, (path, title) in PLACES.items():
        blueprint.add_url_rule(path, place, _page(place, title, "../" * (path.count("/") - 1), assets))
    blueprint.add_url_rule("/assets/<version>/<path:name>", "asset", _asset(assets))
    return blueprint


def _page(place: str, title: str, up: str, assets: Assets) -> Callable[..., Response]:
    """Return the view of a place. Its addresses are relative: a proxy may serve it below a path that it tells nobody."""

    def show(entity_id: str = "") -> Response:
        text = render_template(
            "modeldb_webui/page.html",
            place=place,
            title=title,
            entity_id=entity_id,
            kinds=" ".join(each.path for each in KINDS.values() if not each.is_own and not each.secret),
            up=up,
            version=assets.version,
            entry=f"js/pages/{place}.js",
            modules=assets.imports(f"js/pages/{place}.js"),
            charts=place in _CHARTS,
        )
        response = Response(text, mimetype="text/html")
        response.headers["Cache-Control"] = "no-cache"
        return response

    return show


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
