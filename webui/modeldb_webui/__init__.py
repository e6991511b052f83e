"""The web pages of ModelDB: projects, runs, a run, and comparisons of runs.

A plugin: the server finds it through its entry point. The pages are frames; what is in them is fetched by the scripts
in ``static/js`` from the JSON API, which is the only part of the server that they know. Pages of other plugins get into the
same frame by :func:`add_page`.

The names are imported when they are first asked for: a training script imports this module too, and must not pay for
Flask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from modeldb_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask import Flask

    from modeldb_webui.frame import add_page as add_page
    from modeldb_webui.frame import address as address

__all__ = ["add_page", "address"]


@hookimpl
def modeldb_register_blueprints(app: Flask) -> None:
    """Add the pages and their assets to the server."""
    from modeldb_webui.pages import create_blueprint

    app.register_blueprint(create_blueprint())


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562) and keep it."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.frame"), name)
    globals()[name] = value
    return value
