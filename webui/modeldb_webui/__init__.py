"""The web pages of ModelDB: projects, runs, a run, and comparisons of runs.

A plugin: the server finds it through its entry point. The pages are frames; what is in them is fetched by the scripts
in ``static/js`` from the JSON API, which is the only part of the server that they know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask import Flask


@hookimpl
def modeldb_register_blueprints(app: Flask) -> None:
    """Add the pages and their assets to the server."""
    from modeldb_webui.pages import create_blueprint

    app.register_blueprint(create_blueprint())
