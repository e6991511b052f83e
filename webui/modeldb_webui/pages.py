"""ModelDB's own pages: a frame each, with the name of the place and of what it shows; scripts fill it from the JSON API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, abort, request

from modeldb_core.model.entities import Project, Run
from modeldb_core.model.schema import shown_kinds
from modeldb_webui.frame import ASSETS, BLUEPRINT, Frame, NavigationEntry, address, framed, register_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.blueprints import BlueprintSetupState

    from modeldb_core.model.schema import KindDeclaration
    from modeldb_webui.assets import Assets

PLACES = {
    "/": Frame(title="Projects", place="projects", kinds=(Run.KIND,)),
    "/projects/<entity_id>": Frame(title="Runs", place="project", kinds=(Run.KIND,), has_charts=True),
    "/runs/<entity_id>": Frame(title="Run", place="run", has_charts=True),
    "/compare": Frame(title="Compare", place="compare", kinds=(Run.KIND,), has_charts=True),
}
"""Every page by its path; those of kinds are beside them."""
ACCOUNT_PLACES = {
    "/account": (Frame(title="Account", place="account", kinds=(Run.KIND,)), "account"),
    "/members/<kind>/<entity_id>": (Frame(title="Members", place="members", kinds=(Run.KIND,)), "members"),
}
"""The pages of a server that has accounts, beside the one on which people sign in."""
_SIGN_IN, _OPENID = "api.sign_in", "api.begin_oidc"
"""The endpoints of the API that a server without accounts, or without an OpenID provider, does not have."""
ACCOUNT_ORDER = 900
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
    asset = _asset(ASSETS)
    asset.modeldb_policy = "public"  # type: ignore[attr-defined]  # they say nothing of what is stored
    blueprint.add_url_rule("/assets/<version>/<path:name>", "asset", asset)
    blueprint.record(_add_account_pages)
    blueprint.app_context_processor(lambda: {"modeldb_address": address})
    return blueprint


def _entry(kind: KindDeclaration, title: str) -> NavigationEntry | None:
    """Return the place of a kind in the navigation: everything that leads to entities which no other list leads to."""
    if not kind.is_own:
        return NavigationEntry(title=title, group="Further kinds", order=KINDS_ORDER)
    if kind.home == "workspace_id" and kind.kind != Project.KIND:
        return NavigationEntry(title=title, group="Data, code, models", order=CONTAINERS_ORDER)
    return None


def _add_account_pages(state: BlueprintSetupState) -> None:
    """Add the pages of accounts, where the server has them."""
    if _SIGN_IN not in state.app.view_functions:
        return
    content = NEEDS_SCRIPTS + ('<template id="openid"></template>' if _OPENID in state.app.view_functions else "")
    sign_in = framed(lambda: content, Frame(title="Sign in", place="sign_in", kinds=(Run.KIND,)))
    sign_in.modeldb_policy = "public"  # type: ignore[attr-defined]
    state.add_url_rule("/sign-in", "sign_in", sign_in)
    for path, (frame, endpoint) in ACCOUNT_PLACES.items():
        entry = None if "<" in path else NavigationEntry(title=frame.title, group="You", order=ACCOUNT_ORDER)
        state.add_url_rule(path, endpoint, framed(_empty, frame, entry))


def _empty(entity_id: str = "", kind: str = "") -> str:
    """Return what a page shows until its script has run."""
    del entity_id, kind
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
