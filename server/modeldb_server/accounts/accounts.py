"""Who asks, and what they may do: from anything that a request shows to a :class:`Visitor`, and from that to a scope."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from modeldb_core.commands.operation import execute
from modeldb_core.commands.people import update_user
from modeldb_core.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError, StoreUnavailableError
from modeldb_core.model.entities import now_us
from modeldb_core.stores.direct import DirectWriter
from modeldb_server.accounts.credentials import Means
from modeldb_server.accounts.directory import Directories, narrowed_to
from modeldb_server.accounts.secrets import TOKEN_PREFIX, Passwords, check_password
from modeldb_server.accounts.vault import SECOND_US, Vault
from modeldb_server.accounts.visitor import Visitor
from modeldb_server.routes import Policy

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.access import User
    from modeldb_core.stores import MetadataStore
    from modeldb_core.stores.direct import Applies
    from modeldb_core.stores.scoped import Scope
    from modeldb_server.accounts.credentials import Shown
    from modeldb_server.accounts.database import AccountsDatabase
    from modeldb_server.accounts.directory import Directory
    from modeldb_server.accounts.vault import Token

MAX_TOKEN_DAYS = 3660


class Accounts:
    """The users of a server.

    Args:
        store: the whole store, whose log says who is who.
        database: the tables of what is secret; they are there.
        door: takes the changes, where that is not the store.
    """

    def __init__(self, store: MetadataStore, database: AccountsDatabase, door: Applies | None = None) -> None:
        self.store = store
        self.vault = Vault(database)
        self._door = door
        self._passwords = Passwords()
        self._directories = Directories(store)

    def close(self) -> None:
        """Close the database of accounts; the store stays open."""
        self.vault.database.close()

    # Who asks

    def visitor(self, shown: Shown) -> Visitor | None:
        """Return who shows something; ``None`` where it lets nobody in, for whatever reason.

        Raises:
            StoreUnavailableError: the accounts or the store cannot be reached.
        """
        if shown.means is Means.SESSION:
            session, revision = self.vault.find_session(shown.secret)
            return None if session is None else self._let_in(session.user_id, revision, shown.means)
        if shown.means is Means.PROXY:
            revision = self.vault.revision()
            user = self._directories.at(revision).named(shown.name)
            return None if user is None else self._let_in(user.entity_id, revision, shown.means)
        if shown.means is Means.TOKEN or shown.secret.startswith(TOKEN_PREFIX):
            return self._token_visitor(shown)
        return self._password_visitor(shown)

    def expected(self, shown: Shown) -> Visitor | None:
        """Return who probably shows something, as far as one query tells: the loop that reads requests must not wait for more.

        Raises:
            StoreUnavailableError: the accounts cannot be reached, or could not a moment ago.
        """
        if shown.means is Means.PROXY:
            return Visitor(shown.name, Policy.WRITE, means=shown.means)
        if shown.means is Means.PASSWORD and not shown.secret.startswith(TOKEN_PREFIX):
            return Visitor(shown.name, Policy.WRITE, means=shown.means, is_provisional=True)
        with self.vault.database.at_once():
            if shown.means is Means.SESSION:
                session, _ = self.vault.find_session(shown.secret)
                user_id = "" if session is None else session.user_id
            else:
                token, _ = self.vault.find_token(shown.secret)
                user_id = "" if token is None or not token.is_valid(now_us()) else token.user_id
        return Visitor(self._directories.name_of(user_id), Policy.WRITE, means=shown.means) if user_id else None

    def _token_visitor(self, shown: Shown) -> Visitor | None:
        token, revision = self.vault.find_token(shown.secret)
        if token is None or not token.is_valid(now_us()):
            return None
        if shown.name and not shown.is_basic:  # the name beside a token must be that of its user
            named = self._directories.at(revision).named(shown.name)
            if named is None or named.entity_id != token.user_id:
                return None
        visitor = self._let_in(token.user_id, revision, Means.TOKEN, token)
        if visitor is not None:
            with suppress(StoreUnavailableError):  # of a database that may only be read
                self.vault.note_use(token)
        return visitor

    def _password_visitor(self, shown: Shown) -> Visitor | None:
        revision = self.vault.revision()
        user = self._directories.at(revision).named(shown.name)
        hashed = self.vault.find_password(user.entity_id if user is not None else "")
        is_right = self._passwords.is_right(shown.secret, hashed)
        return self._let_in(user.entity_id, revision, Means.PASSWORD) if user is not None and is_right else None

    def _let_in(self, user_id: str, revision: int, means: Means, token: Token | None = None) -> Visitor | None:
        directory = self._directories.at(revision)
        user = directory.users.get(user_id)
        if user is None or user.is_disabled or user.deleted_at is not None:
            return None
        most = Policy(token.allows) if token is not None else Policy.WRITE
        is_whole = token is None or not token.place_id
        is_admin = bool(user.is_admin) and is_whole
        if most is Policy.ERASE and not is_admin:
            most = Policy.WRITE
        visitor = Visitor(user.name, most, user_id, is_admin, means, revision=revision)
        if token is not None:
            visitor = visitor._replace(token_id=token.token_id, place_kind=token.place_kind, place_id=token.place_id)
        if most is Policy.WRITE and not user.is_admin:
            scope = directory.scope_of(user_id)
            if scope.written is not None and not scope.written:
                return visitor._replace(granted=Policy.READ)
        return visitor

    # What they may do

    def directory(self) -> Directory:
        """Return who is who now."""
        return self._directories.at(self.vault.revision())

    def scope_of(self, visitor: Visitor) -> Scope | None:
        """Return what a visitor with an account may see and change; ``None``: everything, for administrators."""
        directory = self._directories.at(visitor.revision)
        user = directory.users.get(visitor.user_id)
        scope = None if user is not None and user.is_admin else directory.scope_of(visitor.user_id)
        if not visitor.place_id:
            return scope
        return narrowed_to(scope, visitor.place_kind, visitor.place_id, self._workspace_of(visitor))

    def _workspace_of(self, visitor: Visitor) -> str:
        try:
            return self.store.get(visitor.place_kind, visitor.place_id).workspace_id
        except NotFoundError:
            return ""

    def may_administer(self, visitor: Visitor, workspace_id: str, project_id: str = "") -> bool:
        """Return whether a visitor may say who may do what on a workspace, or on a project that lies in it."""
        if visitor.is_admin or visitor.place_id:
            return visitor.is_admin
        return self._directories.at(visitor.revision).role_on(visitor.user_id, workspace_id, project_id) == "admin"

    # What is altered

    def execute(self, operation: Operation, actor: str) -> None:
        """Carry out an operation of :mod:`modeldb_core.commands.people`; it counts in all processes when this returns.

        Raises:
            ModelDBError: as :func:`~modeldb_core.commands.operation.execute`.
        """
        writer = DirectWriter(self.store, actor, {"accounts": True}, door=self._door)
        try:
            execute(writer, operation)
            writer.close()
        finally:
            self.vault.raise_revision()

    def set_password(self, user: User, password: str) -> None:
        """Give a user a password; their sessions end.

        Raises:
            InvalidArgumentError: the password is too short, or the user is a service.
        """
        if user.is_service:
            msg = f"{user.name!r} is a service, which has tokens and no password"
            raise InvalidArgumentError(msg)
        self.vault.set_password(user.entity_id, self._passwords.hash(check_password(password, user=user.name)))

    def disable(self, user: User, actor: str) -> None:
        """Let a user in no longer, wherever they are signed in; their tokens do not come back when they are enabled again.

        Raises:
            ModelDBError: the store or the accounts cannot be reached.
        """
        self.execute(update_user(self.store, user.entity_id, is_disabled=True), actor)
        self.vault.end_all(user.entity_id)

    def create_token(
        self,
        user: User,
        *,
        name: str,
        allows: Policy = Policy.WRITE,
        place: tuple[str, str] = ("", ""),
        expires_in_days: float | None = None,
        created_by: str,
    ) -> tuple[str, Token]:
        """Make a token of a user; returns it as it is shown this once, and what is kept of it.

        Raises:
            InvalidArgumentError: the name, what it allows, the place or the time cannot be.
            PermissionDeniedError: it would erase, and the user is no administrator.
            NotFoundError: there is no such place.
        """
        if not name.strip() or len(name) > 256 or not name.isprintable():
            msg = f"the name of a token is {name!r:.80}; expected 1 to 256 characters that say what it is for"
            raise InvalidArgumentError(msg)
        if allows not in (Policy.READ, Policy.WRITE, Policy.ERASE):
            msg = f"a token allows {allows!r:.40}; expected read, write or erase"
            raise InvalidArgumentError(msg)
        if allows is Policy.ERASE and not user.is_admin:
            msg = f"{user.name!r} does not administer the server, so no token of theirs can erase"
            raise PermissionDeniedError(msg)
        if expires_in_days is not None and not 0 < expires_in_days <= MAX_TOKEN_DAYS:
            msg = (
                f"a token that ends after {expires_in_days:g} days; expected more than 0 and at most {MAX_TOKEN_DAYS:,}"
            )
            raise InvalidArgumentError(msg)
        if any(place):
            self.store.get(*place)
        ends = None if expires_in_days is None else now_us() + int(expires_in_days * 86_400 * SECOND_US)
        return self.vault.add_token(
            user.entity_id, name=name.strip(), allows=str(allows), created_by=created_by, place=place, expires_at=ends
        )
