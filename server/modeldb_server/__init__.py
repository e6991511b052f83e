"""The server: a JSON API on a metadata store and an artifact store, and the place where the web pages live.

The names are imported when they are first asked for: this module is a plugin's entry point, so a training script may
import it, and must not pay for Flask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeldb_server.app import create_app as create_app
    from modeldb_server.context import ServerContext as ServerContext
    from modeldb_server.context import server_context as server_context
    from modeldb_server.routes import Policy as Policy
    from modeldb_server.serving import Server as Server
    from modeldb_server.serving import serve as serve
    from modeldb_server.settings import ServerSettings as ServerSettings

_MODULES = {
    "Policy": "routes",
    "Server": "serving",
    "ServerContext": "context",
    "ServerSettings": "settings",
    "create_app": "app",
    "serve": "serving",
    "server_context": "context",
}

__all__ = ["Policy", "Server", "ServerContext", "ServerSettings", "create_app", "serve", "server_context"]


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562) and keep it."""
    try:
        module = _MODULES[name]
    except KeyError:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg) from None
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
