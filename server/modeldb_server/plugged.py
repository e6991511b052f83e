"""What plugins add to the application: each by itself, so that the routes of a broken one are left out, all of them.

A plugin whose hook raises, or that claims a path which is taken, is named in a warning; what it had registered until
then answers 404 and is not a place in any page's navigation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask import abort

from modeldb_core.runtime.notices import warn
from modeldb_server.routes import Policy

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import Rule

    from modeldb_core.plugins import PluginManager
    from modeldb_server.security import Policies

HOOK = "modeldb_register_blueprints"
_VARIABLE = re.compile(r"<[^>]*>")
_OF_EVERY_RULE = frozenset({"HEAD", "OPTIONS"})


def add_plugins(app: Flask, plugins: PluginManager, policies: Policies) -> None:
    """Let every plugin register its blueprints with ``app``, ModelDB's own first; leave out those that fail."""
    known = set(app.view_functions)
    for info, _ in plugins.call_each(HOOK, app=app):
        added = set(app.view_functions) - known
        problem = _clash(app, added)
        if problem:
            warn(f"plugin {info} is left out of the server: {problem}")
        if problem or HOOK in info.failed_in:
            for endpoint in added:
                app.view_functions[endpoint] = _left_out
                policies[endpoint] = Policy.READ
        known |= added


def _clash(app: Flask, added: set[str]) -> str:
    """Say which of the routes that were added has the path of another; "" if none has."""
    taken: dict[tuple[str, str], Rule] = {}
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: rule.endpoint in added)  # stable: the older ones first
    for rule in rules:
        for method in (rule.methods or set()) - _OF_EVERY_RULE:
            other = taken.setdefault((_VARIABLE.sub("<>", rule.rule), method), rule)
            if other is not rule and rule.endpoint in added:
                return f"its route {method} {rule.rule} is taken by that of {other.endpoint}"
    return ""


def _left_out(**variables: object) -> str:
    del variables
    abort(404)
