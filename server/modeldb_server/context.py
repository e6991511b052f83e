"""What every handler is given: the stores, the settings, and the parts that outlive a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app, g, has_request_context

from modeldb_core.errors import PermissionDeniedError
from modeldb_core.model.entities import derived_id, new_id
from modeldb_server.repeats import stream_of_request
from modeldb_server.routes import Policy

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.stores import ArtifactStore, MetadataStore
    from modeldb_core.stores.scoped import Scope
    from modeldb_server.access import AccessNotes
    from modeldb_server.accounts.accounts import Accounts
    from modeldb_server.accounts.oidc import OpenID
    from modeldb_server.accounts.visitor import Visitor
    from modeldb_server.binding import BoundStreams
    from modeldb_server.events import EventHub
    from modeldb_server.grouping import GroupedWrites
    from modeldb_server.metrics import ServerMetrics
    from modeldb_server.rates import Rates
    from modeldb_server.readiness import Readiness
    from modeldb_server.scopes import NarrowedStores, ScopeOf
    from modeldb_server.settings import ServerSettings
    from modeldb_server.tokens import Gatekeeper
    from modeldb_server.writing import Writers

EXTENSION = "modeldb_server"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """The parts of one application. Nothing in it remembers a caller: any number of servers may share a store."""

    whole_store: MetadataStore
    """All that there is. What a request is answered with comes from :attr:`store`."""
    artifacts: ArtifactStore
    settings: ServerSettings
    gatekeeper: Gatekeeper
    events: EventHub
    writers: Writers
    writes: GroupedWrites
    bound: BoundStreams
    metrics: ServerMetrics
    access: AccessNotes
    narrowed: NarrowedStores
    scope_of: ScopeOf
    rates: Rates
    readiness: Readiness
    accounts: Accounts | None = None
    """The users of the server; ``None`` where it has none."""
    openid: OpenID | None = None
    """The provider through which they may sign in."""

    @property
    def store(self) -> MetadataStore:
        """The store as who asks may see and change it: the one door through which a request gets to it.

        Raises:
            PermissionDeniedError: the route is public, and nobody has said who asks.
        """
        if self.is_anonymous:
            msg = "nobody has said who asks, so nothing that is stored is shown; a public route has no store: give it the policy 'read'"
            raise PermissionDeniedError(msg)
        scope = self.scope
        return self.whole_store if scope is None else self.narrowed.of(scope)

    @property
    def scope(self) -> Scope | None:
        """What who asks may see and change; ``None``: everything. Outside of a request nobody asks."""
        visitor = self.visitor if has_request_context() else None
        if visitor is None:
            return None
        if "modeldb_scope" not in g:
            g.modeldb_scope = self.scope_of_visitor(visitor)
        scope: Scope | None = g.modeldb_scope
        return scope

    def scope_of_visitor(self, visitor: Visitor | None) -> Scope | None:
        """Return what somebody may see and change; ``None``: everything."""
        if visitor is None:
            return None
        accounts = self.accounts if visitor.user_id else None
        return self.scope_of(visitor.user) if accounts is None else accounts.scope_of(visitor)

    @property
    def is_anonymous(self) -> bool:
        """Whether the current request has not said who makes it, on a server that asks: it came to a public route."""
        return has_request_context() and not self.gatekeeper.is_open and self.visitor is None

    @property
    def actor(self) -> str:
        """In whose name the current request changes something."""
        visitor = self.visitor
        return self.writers.actor if visitor is None else visitor.user

    @property
    def visitor(self) -> Visitor | None:
        """Who makes the current request; ``None`` where the server asks nobody who they are."""
        visitor: Visitor | None = g.get("modeldb_visitor")
        return visitor

    def may(self, policy: Policy) -> bool:
        """Say whether who asks may call a route of ``policy``: also what a page need not offer to them."""
        if self.is_anonymous:
            return policy is Policy.PUBLIC
        if policy in (Policy.WRITE, Policy.ERASE) and self.settings.read_only:
            return False
        visitor = self.visitor
        return visitor is None or visitor.granted.allows(policy)

    def execute(self, operation: Operation) -> None:
        """Carry out what the current request asks for, in the name of who asks; durable when this returns."""
        stream_id, digest = stream_of_request()
        self.writers.execute(operation, self.actor, store=self.store, stream_id=stream_id, request=digest)

    def new_id(self, kind: str) -> str:
        """Return an identifier for what the current request creates; a repetition of it has the same one."""
        stream_id, _ = stream_of_request()
        return derived_id(kind, stream_id, "") if stream_id else new_id()

    def close(self) -> None:
        """End the event streams, and seal the stream of changes and that of the access log. The stores belong to the caller and stay open."""
        self.events.close()
        self.writers.close()
        self.access.close()
        if self.accounts is not None:
            self.accounts.close()


def server_context() -> ServerContext:
    """Return the context of the application that answers the current request."""
    context = current_app.extensions[EXTENSION]
    assert isinstance(context, ServerContext)
    return context
