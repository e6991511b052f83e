"""What is kept of secrets: rows of the database of accounts. Nothing in it can be shown to sign in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, delete, insert, or_, select, update

from modeldb_core.model.entities import new_id, now_us
from modeldb_server.accounts.digests import digest_of
from modeldb_server.accounts.secrets import new_secret, new_token
from modeldb_server.accounts.tables import identities, passwords, revisions, sessions, sign_ins, tokens

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from modeldb_server.accounts.database import AccountsDatabase

SECOND_US = 1_000_000
USE_NOTED_US = 60 * SECOND_US
"""The last use of a token is noted at most so often."""
SIGN_IN_US = 600 * SECOND_US
"""So long a sign-in with an identity provider may take."""
_PEOPLE = "people"


class Token(NamedTuple):
    """What is kept of a token; times are microseconds since 1970-01-01 UTC.

    Attributes:
        allows: read, write or erase.
        place_kind: ``project`` or ``workspace`` where it is for one alone, with ``place_id``; empty: for all that its user may.
    """

    token_id: str
    user_id: str
    name: str
    allows: str
    place_kind: str
    place_id: str
    created_at: int
    created_by: str
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None

    def is_valid(self, at: int) -> bool:
        """Return whether it lets in at a time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


class Session(NamedTuple):
    """What is kept of a session of a browser."""

    user_id: str
    expires_at: int


class SignIn(NamedTuple):
    """What is kept of a sign-in that has gone to the identity provider: nonce, PKCE verifier, and where it leads."""

    nonce: str
    verifier: str
    target: str


_token_columns = [tokens.c[name] for name in Token._fields]


class Vault:
    """Passwords, tokens, sessions and identities, by the digests of what is secret.

    Args:
        database: where they are kept; its tables are there.
    """

    def __init__(self, database: AccountsDatabase) -> None:
        self.database = database
        self._noted: dict[str, int] = {}
        self._lock = threading.Lock()

    # What a request shows

    def find_token(self, shown: str) -> tuple[Token | None, int]:
        """Return the token that was shown, valid or not, and the revision of who is who; in one query."""
        with self.database.transaction() as connection:
            columns = [revisions.c.number, *_token_columns]
            matching = revisions.outerjoin(tokens, tokens.c.digest == digest_of(shown))
            row = connection.execute(select(*columns).select_from(matching).where(_of_people())).one()
        return (None if row[1] is None else Token(*row[1:])), row[0]

    def find_session(self, shown: str) -> tuple[Session | None, int]:
        """Return the session that was shown, if it has not ended, and the revision of who is who."""
        with self.database.transaction() as connection:
            same = and_(sessions.c.digest == digest_of(shown), sessions.c.expires_at > now_us())
            columns = [revisions.c.number, sessions.c.user_id, sessions.c.expires_at]
            row = connection.execute(
                select(*columns).select_from(revisions.outerjoin(sessions, same)).where(_of_people())
            ).one()
        return (None if row[1] is None else Session(row[1], row[2])), row[0]

    def find_password(self, user_id: str) -> str | None:
        """Return the hash of the password of a user; ``None`` where they have none."""
        with self.database.transaction() as connection:
            return connection.execute(select(passwords.c.hash).where(passwords.c.user_id == user_id)).scalar()

    def revision(self) -> int:
        """Return the revision of who is who."""
        with self.database.transaction() as connection:
            return int(connection.execute(select(revisions.c.number).where(_of_people())).scalar_one())

    def raise_revision(self) -> None:
        """Tell all processes that who is who has changed."""
        with self.database.writing() as connection:
            connection.execute(update(revisions).where(_of_people()).values(number=revisions.c.number + 1))

    # Tokens

    def add_token(
        self,
        user_id: str,
        *,
        name: str,
        allows: str,
        created_by: str,
        place: tuple[str, str] = ("", ""),
        expires_at: int | None = None,
    ) -> tuple[str, Token]:
        """Make a token; returns it as it is shown this once, and what is kept of it."""
        shown = new_token()
        token = Token(new_id(), user_id, name, allows, *place, now_us(), created_by, expires_at, None, None)
        with self.database.writing() as connection:
            connection.execute(insert(tokens).values(**token._asdict(), digest=digest_of(shown)))
        return shown, token

    def tokens_of(self, user_id: str | None = None) -> list[Token]:
        """Return the tokens of a user, or all of them, the newest first."""
        query = select(*_token_columns).order_by(tokens.c.token_id.desc())
        with self.database.transaction() as connection:
            rows = connection.execute(query if user_id is None else query.where(tokens.c.user_id == user_id))
            return [Token(*row) for row in rows]

    def revoke_token(self, token_id: str, user_id: str | None = None) -> bool:
        """End a token, at once and for good; returns whether there was one that was valid (of that user)."""
        same = and_(tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None))
        if user_id is not None:
            same = and_(same, tokens.c.user_id == user_id)
        with self.database.writing() as connection:
            return bool(connection.execute(update(tokens).where(same).values(revoked_at=now_us())).rowcount)

    def note_use(self, token: Token) -> None:
        """Note that a token was used, unless that was noted a short while ago."""
        now = now_us()
        with self._lock:
            before = max(self._noted.get(token.token_id, 0), token.last_used_at or 0)
            if now - before < USE_NOTED_US:
                return
            if len(self._noted) > 10_000:
                self._noted.clear()
            self._noted[token.token_id] = now
        older = or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < now)
        with self.database.writing() as connection:
            same = and_(tokens.c.token_id == token.token_id, older)
            connection.execute(update(tokens).where(same).values(last_used_at=now))

    # Passwords and sessions

    def set_password(self, user_id: str, hashed: str) -> None:
        """Keep the hash of a password in place of the one before; all sessions of the user end."""
        with self.database.writing() as connection:
            connection.execute(delete(passwords).where(passwords.c.user_id == user_id))
            connection.execute(insert(passwords).values(user_id=user_id, hash=hashed, changed_at=now_us()))
            connection.execute(delete(sessions).where(sessions.c.user_id == user_id))

    def add_session(self, user_id: str, lifetime_s: float) -> str:
        """Begin a session; returns what its cookie holds. Those that have ended are forgotten."""
        shown, now = new_secret(), now_us()
        ends = now + int(lifetime_s * SECOND_US)
        with self.database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            kept = {"digest": digest_of(shown), "user_id": user_id, "created_at": now, "expires_at": ends}
            connection.execute(insert(sessions).values(**kept))
        return shown

    def end_session(self, shown: str) -> None:
        """End a session."""
        with self.database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.digest == digest_of(shown)))

    def end_all(self, user_id: str) -> None:
        """End all sessions of a user and revoke all their tokens: what was disabled does not come back by itself."""
        with self.database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
            living = and_(tokens.c.user_id == user_id, tokens.c.revoked_at.is_(None))
            connection.execute(update(tokens).where(living).values(revoked_at=now_us()))

    # Identity providers

    def begin_sign_in(self, state: str, sign_in: SignIn) -> None:
        """Keep what a sign-in is compared with when it comes back; those that never did are forgotten."""
        now = now_us()
        with self.database.writing() as connection:
            connection.execute(delete(sign_ins).where(sign_ins.c.expires_at <= now))
            kept = {"digest": digest_of(state), "expires_at": now + SIGN_IN_US}
            connection.execute(insert(sign_ins).values(**kept, **sign_in._asdict()))

    def take_sign_in(self, state: str) -> SignIn | None:
        """Return what was kept of a sign-in, once."""
        same = sign_ins.c.digest == digest_of(state)
        with self.database.writing() as connection:
            columns = [sign_ins.c[name] for name in ("expires_at", *SignIn._fields)]
            row = connection.execute(select(*columns).where(same)).one_or_none()
            if row is None or not connection.execute(delete(sign_ins).where(same)).rowcount or row[0] <= now_us():
                return None
        return SignIn(*row[1:])

    def user_of_identity(self, issuer: str, subject: str) -> str | None:
        """Return the user whom a provider knows by a subject; ``None`` where nobody signed in so."""
        same = and_(identities.c.issuer == issuer, identities.c.subject == subject)
        with self.database.transaction() as connection:
            return connection.execute(select(identities.c.user_id).where(same)).scalar()

    def has_identity(self, issuer: str, user_id: str) -> bool:
        """Return whether a user has signed in through a provider before."""
        same = and_(identities.c.issuer == issuer, identities.c.user_id == user_id)
        with self.database.transaction() as connection:
            return connection.execute(select(identities.c.subject).where(same).limit(1)).scalar() is not None

    def add_identity(self, issuer: str, subject: str, user_id: str) -> None:
        """Keep whom a provider knows by a subject."""
        with self.database.writing() as connection:
            connection.execute(insert(identities).values(issuer=issuer, subject=subject, user_id=user_id))


def _of_people() -> ColumnElement[bool]:
    return revisions.c.name == _PEOPLE
