"""How two runs differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from modeldb_core.model.entities import Run
from modeldb_core.reproduction.differences import compare_runs
from modeldb_core.reproduction.values import resolving
from modeldb_core.reproduction.versions import Versions
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_server.context import ServerContext


def diff_runs(context: ServerContext, *, run_id: str, other: str) -> Response:
    """Return how a run differs from another one, section by section."""
    check_id(Run.KIND, run_id)
    check_id(Run.KIND, other)
    first, second = (cast("Run", context.store.get(Run.KIND, each)) for each in (run_id, other))
    versions = Versions(context.store, context.artifacts)
    return json_response(compare_runs(first, second, resolving(context.artifacts.open), versions).document())
