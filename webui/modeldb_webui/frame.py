"""The frame of every page: the bar on top, the navigation, the theme; and how a page gets into it.

Pages of plugins come in by :func:`add_page`, which is also how ModelDB's own get there. The server's guards give every
answer its Content-Security-Policy: scripts and styles of the page's own origin, nothing inline. The template keeps to that.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, render_template, request
from markupsafe import Markup

from modeldb_core.errors import ConfigurationError, InvalidArgumentError, InvalidTypeError
from modeldb_core.log.json_documents import kind_document
from modeldb_core.model.schema import shown_kinds
from modeldb_webui.assets import Assets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Blueprint, Flask
    from flask.blueprints import BlueprintSetupState

BLUEPRINT = "modeldb_webui"
_PLACE = "modeldb_navigation"
"""The attribute of a view function that holds its place in the navigation."""
_MAX_TITLE = 60
ASSETS = Assets()


@dataclass(frozen=True, slots=True, kw_only=True)
class NavigationEntry:
    """A link that every page shows.

    Attributes:
        title: what it says.
        group: the heading that it stands under.
        order: where it stands, smaller ones first; the groups likewise, each by its first entry.
        path: where it leads, below the address of the server; known once its blueprint is registered.
    """

    title: str
    group: str
    order: int
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the template needs to know of a page, apart from what is in it.

    Attributes:
        title: of the page, until a script knows a better one.
        place: the script of ModelDB's own that starts the page, one of ``static/js/pages``.
        kind: of the entities that it shows, where that is not in its script.
        kinds: those that the script is sent the declarations of, with the kinds of what contains them; default: all.
        has_charts: whether the script draws charts.
        scripts: further ones, JavaScript modules, by their paths below the address of the server.
        styles: further style sheets, likewise.
    """

    title: str
    place: str = "page"
    kind: str = ""
    kinds: Sequence[str] = ()
    has_charts: bool = False
    scripts: Sequence[str] = ()
    styles: Sequence[str] = ()

    def render(self, content: str) -> str:
        """Return the page around ``content``, which is HTML."""
        return render_template(
            "modeldb_webui/page.html",
            frame=self,
            identifier=(request.view_args or {}).get("entity_id", ""),
            content=Markup(content),
            navigation=[
                {"title": entry.title, "group": entry.group, "path": entry.path.lstrip("/")}
                for entry in navigation(current_app)
            ],
            kinds=_declared(self.kinds),
            address=address,
            version=ASSETS.version,
            modules=ASSETS.imports(f"js/pages/{self.place}.js"),
        )


def _declared(kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Return what is declared of some kinds and of what contains their entities, as far as it is shown; of none: of all."""
    shown = {each.kind: each for each in shown_kinds()}
    wanted = dict.fromkeys(kinds or shown)
    wanted.update(dict.fromkeys(each.refers_to for kind in kinds for each in shown[kind].container_names.values()))
    return [_document(shown[kind]) for kind in wanted if kind in shown]


_document = functools.cache(kind_document)


def add_page(
    blueprint: Blueprint,
    path: str,
    title: str,
    view: Callable[..., Any],
    *,
    order: int | None = None,
    group: str = "Pages",
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> None:
    """Add a page within the frame of ModelDB's pages, and a place in their navigation.

    For plugins, from ``modeldb_register_blueprints``, before the blueprint is registered with the application. The page may
    be read by who may see what is stored.

    Args:
        blueprint: of the plugin.
        path: of the page, as for Flask's ``add_url_rule``; it may have variables.
        title: in the navigation, in the bar on top, and of the window; up to 60 characters.
        view: the view function; its name is the endpoint. It returns what stands in the page, as HTML: use Flask's templates,
            which escape values. What it returns of another type, or with a status that leads elsewhere, is sent as it is.
        order: the place in the navigation, smaller ones first (ModelDB's own begin at 500); ``None``: it has none.
        group: the heading that it stands under in the navigation.
        scripts: JavaScript modules that the page loads, as paths below the address of the server, such as
            ``"/acme/board.js"``. Inline scripts, and those of other origins, are not run.
        styles: style sheets, likewise.

    Raises:
        InvalidTypeError: an argument is of a wrong type.
        InvalidArgumentError: a path, the title or the group cannot be that, or a page with variables in its path is to have
            a place in the navigation.
    """
    texts: dict[str, object] = {"title": title, "group": group}
    for name, text in texts.items():
        if not isinstance(text, str) or not 0 < len(text.strip()) <= _MAX_TITLE or not text.isprintable():
            msg = f"{name} {text!r:.200} is not a text of 1 to {_MAX_TITLE} characters that can be shown"
            raise InvalidArgumentError(msg)
    if isinstance(scripts, str) or isinstance(styles, str):
        msg = "scripts and styles are lists of paths; expected for example ['/acme/board.js']"
        raise InvalidTypeError(msg)
    paths: list[object] = [path, *scripts, *styles]
    for each in paths:
        if not isinstance(each, str) or not each.startswith("/") or each.startswith("//"):
            msg = f"{each!r} is not a path below the address of the server; expected one such as '/acme/board'"
            raise InvalidArgumentError(msg)
    entry = None if order is None else NavigationEntry(title=title, group=group, order=_checked_order(order, path))
    frame = Frame(title=title, scripts=tuple(scripts), styles=tuple(styles))
    register_page(blueprint, path, view.__name__, view, frame, entry)


def _checked_order(order: object, path: str) -> int:
    if isinstance(order, bool) or not isinstance(order, int):
        msg = f"order {order!r} is of type {type(order).__name__}; expected an integer, or None"
        raise InvalidTypeError(msg)
    if "<" in path:
        msg = f"the path {path!r} has variables, so no link leads to it; leave out order, or the variables"
        raise InvalidArgumentError(msg)
    return order


def register_page(
    blueprint: Blueprint,
    path: str,
    endpoint: str,
    view: Callable[..., Any],
    frame: Frame,
    entry: NavigationEntry | None = None,
) -> None:
    """Add a page to a blueprint, and a place in the navigation where there is an entry for one."""
    blueprint.record(_check_frame)
    blueprint.add_url_rule(path, endpoint, framed(view, frame, entry))


def framed(view: Callable[..., Any], frame: Frame, entry: NavigationEntry | None = None) -> Callable[..., Response]:
    """Return a view function that shows in a frame what another one returns."""

    @functools.wraps(view)
    def show(**variables: object) -> Response:
        answer = current_app.make_response(view(**variables))
        if answer.direct_passthrough or answer.mimetype != "text/html" or 300 <= answer.status_code < 400:
            return answer
        answer.set_data(frame.render(answer.get_data(as_text=True)))
        answer.headers.setdefault("Cache-Control", "no-cache")
        return answer

    if entry is not None:
        setattr(show, _PLACE, entry)
    return show


def _check_frame(state: BlueprintSetupState) -> None:
    if BLUEPRINT not in state.app.blueprints:
        msg = f"{state.blueprint.name} has pages, and the pages of ModelDB ({BLUEPRINT}) are disabled; enable them"
        raise ConfigurationError(msg)


def navigation(app: Flask) -> list[NavigationEntry]:
    """Return the places in the navigation, in their order: those of pages that are served."""
    found = []
    for rule in app.url_map.iter_rules():
        entry: NavigationEntry | None = getattr(app.view_functions[rule.endpoint], _PLACE, None)
        if entry is not None and not rule.arguments:
            found.append(replace(entry, path=rule.rule))
    return sorted(found, key=lambda entry: (entry.order, entry.title))


def address(path: str) -> str:
    """Return the address of ``path``, such as ``"/runs/…"``, as a page writes it: relative to the page that is shown.

    So it holds also where a proxy serves everything below a path that it tells nobody. In templates it is
    ``modeldb_address``.
    """
    return "../" * (request.path.count("/") - 1) + path.lstrip("/") or "./"
