"""The table of the API's routes. ``docs/api.md`` explains them with examples."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from modeldb_core.model.schema import KINDS
from modeldb_server.account_routes import account_routes
from modeldb_server.blob_routes import BLOB_ROUTES
from modeldb_server.dataset_routes import DATASET_ROUTES
from modeldb_server.edit_routes import edit_routes
from modeldb_server.entity_routes import MAX_LIMIT, PREFIX, entity_routes, limit_of, served_kinds
from modeldb_server.handlers import artifacts, audit, comparing, live, series, status
from modeldb_server.lineage_routes import LINEAGE_ROUTES
from modeldb_server.metrics import CONTENT_TYPE
from modeldb_server.model_routes import MODEL_ROUTES
from modeldb_server.repository_routes import REPOSITORY_ROUTES
from modeldb_server.responses import json_response
from modeldb_server.routes import Parameter, Policy, Route
from modeldb_server.store_routes import STORE_ROUTES
from modeldb_server.tree_routes import tree_routes
from modeldb_server.write_routes import write_routes

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.model.schema import KindDeclaration
    from modeldb_server.context import ServerContext

_of_series, _of_artifacts, _of_changes, _of_server = (
    partial(Route, policy=Policy.READ, tag=tag) for tag in ("series", "artifacts", "changes", "server")
)
_FIRST = Parameter(name="first_step", type="integer", description="only points from this step on")
_LAST = Parameter(name="last_step", type="integer", description="only points up to this step")
_PATH = Parameter(name="path", type="text", required=True, max_length=4096, description="under which it was logged")

_SERIES = (
    _of_series(
        "GET",
        f"{PREFIX}/runs/<run_id>/series",
        series.read_series,
        "Read the points of a series",
        description="Thinned out to max_points, every extreme is kept, so a spike is never hidden; shown says how many points"
        f" came of total. Without max_points all come, up to {series.MAX_POINTS:,}.",
        parameters=(
            Parameter(name="key", type="text", required=True, description="of the metric"),
            _FIRST,
            _LAST,
            Parameter(
                name="max_points",
                type="integer",
                minimum=1,
                maximum=series.MAX_POINTS,
                description="at most this many points, chosen to look like all of them; 4 for each pixel are enough",
            ),
        ),
        answer="Series",
        errors=(400, 404),
    ),
    _of_series(
        "POST",
        f"{PREFIX}/series",
        series.read_many_series,
        "Read many series for drawing",
        description="The points themselves where all of the range fit (two for each column), else for each pixel column mean,"
        " minimum, maximum, last, count, and how many were NaN or infinite. Counts are of all points of the range. A"
        " series that cannot be read has an error in its place; the others come all the same.",
        body=(
            Parameter(
                name="series",
                type="objects",
                required=True,
                max_items=500,
                description="which series",
                items=(
                    Parameter(name="run_id", type="text", required=True, max_length=256, description="of the run"),
                    Parameter(name="key", type="text", required=True, description="of the metric"),
                    Parameter(name="first", type="integer", description="only points from this x on"),
                    Parameter(name="last", type="integer", description="only points up to this x"),
                    Parameter(
                        name="origin",
                        type="integer",
                        default=0,
                        minimum=-(2**61),
                        maximum=2**61,
                        description="what times are counted from, in microseconds since 1970-01-01 UTC",
                    ),
                ),
            ),
            Parameter(
                name="axis",
                type="text",
                default="step",
                choices=("step", "time"),
                description="what x is: the step, or the time in microseconds since the origin",
            ),
            Parameter(
                name="scale",
                type="text",
                default="linear",
                choices=("linear", "log"),
                description="how x is laid out; log leaves out, and counts, what is at 0 or less",
            ),
            Parameter(
                name="columns",
                type="integer",
                default=series.DEFAULT_COLUMNS,
                minimum=1,
                maximum=20_000,
                description="pixel columns that each series is drawn in",
            ),
        ),
        answer="ManySeries",
        errors=(400,),
    ),
)

_ARTIFACTS = (
    _of_artifacts(
        "GET",
        f"{PREFIX}/runs/<run_id>/artifacts",
        artifacts.read_artifact,
        "Read the bytes of an artifact",
        description="Everything but pictures comes as an attachment, and only harmless types keep theirs; the rest is"
        " application/octet-stream. A range may be asked for. What reaches the end of the artifact was checked"
        " against its digest: where that fails the connection ends early.",
        parameters=(
            _PATH,
            Parameter(name="download", type="flag", default=False, description="as an attachment, pictures too"),
        ),
        errors=(206, 304, 400, 404, 416),
    ),
    _of_artifacts(
        "GET",
        f"{PREFIX}/runs/<run_id>/artifacts/index",
        artifacts.list_artifacts,
        "List the artifacts of a run",
        parameters=(
            Parameter(name="prefix", type="text", default="", max_length=4096, description="that the paths begin with"),
            Parameter(name="after", type="text", default="", max_length=4096, description="cursor of the page before"),
            Parameter(
                name="limit",
                type="integer",
                default=artifacts.MAX_LIST,
                minimum=1,
                maximum=artifacts.MAX_LIST,
                description="at most this many artifacts",
            ),
        ),
        answer="ArtifactPage",
        errors=(400, 404),
    ),
    _of_artifacts(
        "GET",
        f"{PREFIX}/runs/<run_id>/artifacts/preview",
        artifacts.preview_artifact,
        "Read the beginning of an artifact as data",
        description="Texts and tables come as JSON, so that no page needs to show an uploaded file as it is.",
        parameters=(
            _PATH,
            Parameter(
                name="max_bytes",
                type="integer",
                default=artifacts.PREVIEW_BYTES,
                minimum=1,
                maximum=artifacts.MAX_PREVIEW_BYTES,
                description="how much of it is read",
            ),
            Parameter(
                name="max_rows", type="integer", default=100, minimum=1, maximum=1000, description="rows of a table"
            ),
        ),
        answer="Preview",
        errors=(400, 404),
    ),
)

_CHANGES = (
    _of_changes(
        "GET",
        f"{PREFIX}/changes",
        audit.read_changes,
        "Read changes in the order of their arrival: the audit log",
        description="A page may be shorter than its limit where payloads are large: go on from its cursor until it is empty.",
        parameters=(
            Parameter(name="after", type="integer", default=0, minimum=0, description="cursor; 0 for the beginning"),
            limit_of("changes", 100),
            Parameter(name="entity_id", type="text", max_length=256, description="only changes of this entity"),
            Parameter(name="stream_id", type="text", max_length=256, description="only changes of this stream"),
        ),
        answer="ChangePage",
        errors=(400,),
    ),
    _of_changes(
        "GET",
        f"{PREFIX}/events",
        live.follow_changes,
        "Follow changes as server-sent events",
        description="An event ready says where the stream begins; events changes hold the cursor and which entities changed,"
        " about once a second. truncated says that there was too much to list: look again at everything. Answers"
        " 503 (busy) when too many streams are open.",
        parameters=(
            Parameter(
                name="after", type="integer", minimum=0, description="cursor to begin after; from now on without"
            ),
        ),
        answer="text/event-stream",
        errors=(400, 503),
    ),
)


_COMPARING = (
    Route(
        "GET",
        f"{PREFIX}/runs/<run_id>/diff",
        comparing.diff_runs,
        "Explain how two runs differ: code, data, environment, hyperparameters, results",
        policy=Policy.READ,
        description="A section for each aspect, with what differs and how many keys do not.",
        parameters=(
            Parameter(
                name="other", type="text", required=True, max_length=256, description="identifier of the other run"
            ),
        ),
        answer="RunDiff",
        errors=(400, 404),
    ),
)


def _status_routes() -> tuple[Route, ...]:
    return (
        _of_server(
            "GET",
            f"{PREFIX}/server",
            status.describe_server,
            "Describe the server: version, abilities, limits, and the newest cursor",
            answer="Server",
            fixed={
                "kinds": tuple(served_kinds()),
                "limits": {"page": MAX_LIMIT, "series": 500, "points": series.MAX_POINTS},
            },
        ),
        _of_server(
            "GET",
            f"{PREFIX}/kinds",
            status.describe_kinds,
            "Describe the kinds of entities: their fields, and by what filters find them",
            answer="Kinds",
        ),
        _of_server("GET", f"{PREFIX}/openapi.json", get_openapi, "Get this description of the API", answer="OpenAPI"),
        Route(
            "GET",
            "/health",
            status.get_health,
            "Say that the process of the server answers",
            policy=Policy.PUBLIC,
            answer="Health",
            tag="server",
        ),
        Route(
            "GET",
            "/ready",
            status.get_readiness,
            "Say whether the server should be sent requests",
            policy=Policy.PUBLIC,
            description="It has a store that answers and whose tables it may use, room on its disk, and is not told to stop.",
            answer="Readiness",
            errors=(503,),
            tag="server",
        ),
        _of_server(
            "GET",
            "/metrics",
            status.get_metrics,
            "Get counts and durations for Prometheus",
            whole=True,
            answer=CONTENT_TYPE,
        ),
    )


def get_openapi(context: ServerContext) -> Response:
    """Return the description of this API in OpenAPI 3.1."""
    return json_response(
        api_document(with_accounts=context.accounts is not None, with_openid=context.openid is not None)
    )


def api_document(*, with_accounts: bool = False, with_openid: bool = False) -> dict[str, Any]:
    """Return that description, for the kinds that there are, of a server that has such :func:`routes`."""
    return _document(tuple(KINDS.values()), with_accounts, with_openid)


@cache
def _document(_kinds: tuple[KindDeclaration, ...], with_accounts: bool, with_openid: bool) -> dict[str, Any]:
    from modeldb_server.openapi import describe_api  # when somebody asks: a server starts without it

    return describe_api(routes(with_accounts=with_accounts, with_openid=with_openid))


def routes(*, with_accounts: bool = False, with_openid: bool = False) -> tuple[Route, ...]:
    """Return every route of the server but those of the pages, for the kinds that there are.

    Args:
        with_accounts: whether the server has accounts.
        with_openid: whether their users may sign in through an OpenID provider.
    """
    of_accounts = account_routes(with_openid=with_openid) if with_accounts else ()
    return (*_routes(tuple(KINDS.values())), *of_accounts)


@cache
def _routes(_kinds: tuple[KindDeclaration, ...]) -> tuple[Route, ...]:
    return (
        *entity_routes(),
        *_SERIES,
        *_ARTIFACTS,
        *_CHANGES,
        *_COMPARING,
        *LINEAGE_ROUTES,
        *MODEL_ROUTES,
        *REPOSITORY_ROUTES,
        *tree_routes(),
        *DATASET_ROUTES,
        *edit_routes(),
        *write_routes(),
        *_status_routes(),
        *STORE_ROUTES,
        *BLOB_ROUTES,
    )
