"""The Flask application: the API on two stores, what plugins add to it, and the guards around both."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from flask import Blueprint, Flask, request

from modeldb_core.audit.access import AccessLog
from modeldb_core.config import Settings
from modeldb_core.errors import ConfigurationError, ModelDBError
from modeldb_core.plugins import plugin_manager
from modeldb_core.runtime.notices import warn
from modeldb_core.runtime.time_limits import no_limit
from modeldb_core.runtime.users import login_name
from modeldb_server.access import AccessNotes, note_hidden
from modeldb_server.accounts.oidc import OpenID, Provider
from modeldb_server.accounts.opening import accounts_url, open_accounts
from modeldb_server.api import routes
from modeldb_server.arguments import read_arguments
from modeldb_server.binding import BoundStreams
from modeldb_server.compression import register_compression
from modeldb_server.context import EXTENSION, ServerContext, server_context
from modeldb_server.errors import register_error_handlers
from modeldb_server.events import EventHub
from modeldb_server.grouping import GroupedWrites
from modeldb_server.metrics import ServerMetrics
from modeldb_server.plugged import add_plugins
from modeldb_server.rates import Rates
from modeldb_server.readiness import Readiness
from modeldb_server.repeats import earlier_answer, note_key
from modeldb_server.request_ids import register_request_ids
from modeldb_server.scopes import ConfiguredScopes, NarrowedStores
from modeldb_server.security import complete_policies, register_guards
from modeldb_server.settings import server_settings
from modeldb_server.short_way import SHORT_WAY, ShortWay
from modeldb_server.tokens import Gatekeeper
from modeldb_server.writing import Writers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from werkzeug.wrappers import Response

    from modeldb_core.plugins import PluginManager
    from modeldb_core.stores import ArtifactStore, MetadataStore
    from modeldb_server.accounts.accounts import Accounts
    from modeldb_server.routes import Route
    from modeldb_server.scopes import ScopeOf
    from modeldb_server.security import Policies
    from modeldb_server.settings import ServerSettings

API = "api"


def create_app(
    store: MetadataStore,
    artifacts: ArtifactStore,
    settings: Settings | ServerSettings | None = None,
    *,
    plugins: PluginManager | None = None,
    scope_of: ScopeOf | None = None,
) -> Flask:
    """Return a WSGI application that serves ``store`` and ``artifacts``.

    It keeps nothing of its own that a second server on the same stores would miss. The stores stay open when it ends;
    ``app.extensions["modeldb_server"].close()`` ends the event streams and seals the stream of changes.

    Args:
        store: where runs are kept.
        artifacts: where files are kept.
        settings: those of ModelDB, or of the server alone; by default the server's defaults.
        plugins: whose blueprints are added, such as those of the web pages; by default every installed plugin's.
        scope_of: returns what a user, of whom a token was shown, may see and change: a
            :class:`~modeldb_core.stores.scoped.Scope`, or ``None`` for everything. It is asked with each request. By
            default it is what ``settings.scopes`` says.

    Raises:
        ConfigurationError: a plugin adds a route that changes something and says not who may call it.
    """
    chosen = server_settings(settings)
    manager = _plugin_manager(plugins, settings)  # loaded first: plugins declare kinds, and every kind has routes
    app = _new_app(chosen)
    if not chosen.read_only:
        try:
            store.refresh_rows()
        except ModelDBError as error:  # the store says so again to anyone who asks it something
            warn(f"the rows of {store.url} cannot be brought up to date: {error}")
    context = _new_context(
        store,
        artifacts,
        chosen,
        scope_of or ConfiguredScopes(store, chosen.scopes),
        accounts_url(store, settings, chosen.accounts),
    )
    try:
        _set_up(app, context, manager)
    except BaseException:
        context.close()
        raise
    return app


def _set_up(app: Flask, context: ServerContext, plugins: PluginManager) -> None:
    app.extensions[EXTENSION] = context
    register_request_ids(app)
    context.access.register(app)
    context.metrics.register(app)
    policies: Policies = {}
    table = routes(with_accounts=context.accounts is not None, with_openid=context.openid is not None)
    register_guards(app, policies, {f"{API}.{route.name}": route for route in table})
    register_compression(app)
    register_error_handlers(app)
    app.context_processor(
        lambda: {
            "modeldb_cursor": lambda: "" if context.is_anonymous else _text_of(context.events.cursor(context.store))
        }
    )
    app.register_blueprint(create_api(policies, table))
    # It passes by no hook of a plugin, and what a plugin wraps the application in sees all requests.
    app.wsgi_app = app.extensions[SHORT_WAY] = ShortWay(app, context)  # type: ignore[method-assign]
    add_plugins(app, plugins, policies)
    complete_policies(app, policies)


def _new_app(settings: ServerSettings) -> Flask:
    app = Flask("modeldb_server", static_folder=None, template_folder=None)
    app.config.update(
        DEBUG=False,
        TESTING=False,
        PROPAGATE_EXCEPTIONS=False,
        SECRET_KEY=None,  # no session is kept in a cookie: it holds a random text, and the accounts the rest
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        MAX_FORM_MEMORY_SIZE=0,
        MAX_FORM_PARTS=0,
        TRUSTED_HOSTS=None,  # security.py looks at every request, with a message that helps
    )
    app.wsgi_app = _without_limit(app.wsgi_app)  # type: ignore[method-assign,assignment]
    app.url_map.merge_slashes = False  # a path is taken as it comes, and never redirected to a cleaned one
    return app


def _without_limit(answer: WSGIApplication) -> WSGIApplication:
    """Return an application that ends the time limit of a request with it: its thread answers others."""

    def limited(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with no_limit():
            return answer(environ, start_response)

    return limited


def _new_context(
    store: MetadataStore, artifacts: ArtifactStore, settings: ServerSettings, scope_of: ScopeOf, accounts_at: str
) -> ServerContext:
    hub = EventHub(
        store,
        max_streams=settings.max_event_streams,
        interval_s=settings.poll_interval_s,
        heartbeat_s=settings.heartbeat_s,
    )
    metrics = ServerMetrics(lambda: hub.streams)
    writes = GroupedWrites(store)
    accounts = open_accounts(store, accounts_at, door=writes)
    try:
        openid, access_log = _openid(accounts, settings), _access_log(settings, metrics)
    except ModelDBError:
        if accounts is not None:
            accounts.close()
        raise
    return ServerContext(
        whole_store=store,
        artifacts=artifacts,
        settings=settings,
        gatekeeper=Gatekeeper(
            settings.tokens,
            settings.read_tokens,
            lambda refusal: metrics.token_refusals.labels(refusal.reason).inc(),
            erase_tokens=settings.erase_tokens,
            user=settings.actor or login_name(),
            accounts=accounts,
        ),
        events=hub,
        writes=writes,
        bound=BoundStreams(store),
        writers=Writers(
            store, writes, actor=settings.actor, read_only=settings.read_only, on_written=metrics.writes.inc
        ),
        metrics=metrics,
        access=AccessNotes(access_log),
        narrowed=NarrowedStores(store, writes, on_hidden=note_hidden),
        scope_of=scope_of,
        rates=Rates(settings.rate_limit),
        readiness=Readiness(store, to_write=not settings.read_only),
        accounts=accounts,
        openid=openid,
    )


def _openid(accounts: Accounts | None, settings: ServerSettings) -> OpenID | None:
    if not settings.oidc_issuer:
        return None
    if accounts is None:
        msg = "server.oidc_issuer lets users sign in, and this server has no users: make the first one with modeldb admin create, or set server.accounts = 'on'"
        raise ConfigurationError(msg)
    secret = settings.oidc_client_secret
    provider = Provider(settings.oidc_issuer, settings.oidc_client_id, secret, settings.oidc_create_users)
    return OpenID(accounts, provider)


def _access_log(settings: ServerSettings, metrics: ServerMetrics) -> AccessLog | None:
    if settings.access_log_dir is None:
        return None
    try:
        return AccessLog(
            settings.access_log_dir, max_bytes=settings.access_log_bytes, on_lost=metrics.access_entries_lost.inc
        )
    except OSError as error:
        msg = (
            f"the access log cannot be written in {settings.access_log_dir}: {error.strerror or error}; name another folder"
            " (server.access_log_dir), or write none (server.access_log_mb = 0)"
        )
        if settings.access_log_required:
            raise ConfigurationError(msg) from error
        warn(msg)
        return None


def _text_of(cursor: int | None) -> str:
    return "" if cursor is None else str(cursor)


def create_api(policies: Policies, table: Iterable[Route]) -> Blueprint:
    """Return the blueprint with every route of the table, and note the policy of each in ``policies``."""
    blueprint = Blueprint(API, __name__)
    for route in table:
        blueprint.add_url_rule(route.path, route.name, _view(route), methods=[route.method])
        policies[f"{API}.{route.name}"] = route.policy
    return blueprint


def _view(route: Route) -> Callable[..., Response]:
    def view(**variables: str) -> Response:
        context = server_context()
        note_key(route, context.actor)
        if route.once and (answer := earlier_answer(context.store, route)) is not None:
            return answer
        try:
            return route.handler(context, **route.fixed, **variables, **read_arguments(route, request))
        except ModelDBError:
            if route.once and (answer := earlier_answer(context.store, route)) is not None:  # carried out meanwhile
                return answer
            raise

    view.__doc__ = inspect.cleandoc(f"{route.summary}.\n\n{route.description}").strip()
    return view


def _plugin_manager(plugins: PluginManager | None, settings: Settings | ServerSettings | None) -> PluginManager:
    if plugins is not None:
        return plugins
    return plugin_manager(settings if isinstance(settings, Settings) else None)
