"""The ModelDB v1 API: what the original server answered, on the commands and stores of this one.

``schema/`` holds every message, service and call as data; ``calls.py`` is the table of what answers them. Clients reach
them over HTTP (``http.py``). The modules that answer are listed in ``services.py``; ``sections.py`` has what kinds have alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask import Flask


@hookimpl
def modeldb_register_blueprints(app: Flask) -> None:
    """Add the v1 API to the server: its paths, and gRPC beside them."""
    from modeldb_v1 import http
    from modeldb_v1.rpc import routes

    http.register(app)
    routes.register(app)
