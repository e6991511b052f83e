"""Who is let in: by the tokens of the settings, and by the accounts of users.

A program shows its token as ``Authorization: Bearer``, or as clients of version 1 of the API do. Where the server has accounts, people sign in on
its pages, and a cookie says who they are; where it has tokens alone, a browser asks for a name, which may be anything,
and a password, which is the token (HTTP Basic). ``accounts/credentials.py`` finds in a request what it shows.
"""

from __future__ import annotations

import hmac
import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from modeldb_core.errors import ConfigurationError, PermissionDeniedError
from modeldb_core.log.changes import is_name
from modeldb_server.accounts.credentials import Means
from modeldb_server.accounts.digests import digest_of
from modeldb_server.accounts.visitor import Visitor
from modeldb_server.guesses import GUESS_INTERVAL_S, Guesses
from modeldb_server.limits import BusyError
from modeldb_server.routes import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modeldb_server.accounts.accounts import Accounts
    from modeldb_server.accounts.credentials import Shown

logger = logging.getLogger("modeldb_server.tokens")

MIN_TOKEN = 16
"""Characters: fewer could be guessed over the network."""
MAX_TOKEN = 1024
NEW_TOKEN = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
"""A command that prints a token."""

_TOKEN = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # visible ASCII; commas separate tokens in a variable
_REALM = "ModelDB"


def check_token(entry: str, setting: str) -> str:
    """Return an entry such as ``ada:TOKEN``, or ``TOKEN``, if it can be one. It is never shown, also where it cannot.

    Raises:
        ConfigurationError: it is too short or too long, or holds what cannot stand in a header.
    """
    user, token = split_token(entry)
    if ":" in entry and not (user.strip() == user and is_name(user) and user.isprintable()):
        msg = f"{setting} holds a token whose user has no name that can be; expected for example ada:TOKEN"
        raise ConfigurationError(msg)
    if MIN_TOKEN <= len(token) <= MAX_TOKEN and _TOKEN.fullmatch(token):
        return entry
    msg = (
        f"{setting} holds a token of {len(token)} characters that cannot be used; expected {MIN_TOKEN} to"
        f" {MAX_TOKEN:,} letters, digits and signs without spaces and commas: {NEW_TOKEN} makes one"
    )
    raise ConfigurationError(msg)


class NotGrantedError(PermissionDeniedError):
    """Somebody who is known may not do that.

    Attributes:
        visitor: who.
    """

    def __init__(self, message: str, visitor: Visitor) -> None:
        super().__init__(message)
        self.visitor = visitor


class Refusal(NamedTuple):
    """Why somebody was not let in.

    Attributes:
        reason: one of ``metrics.TOKEN_REFUSALS``.
        address: of the client.
        name: of the user whom the request named beside what it showed; nobody has checked it.
        means: what it showed; empty: nothing.
    """

    reason: str
    address: str
    name: str = ""
    means: str = ""


def split_token(entry: str) -> tuple[str, str]:
    """Return the user and the token of an entry such as ``ada:TOKEN``; no user where none is named."""
    user, colon, token = entry.partition(":")
    return (user, token) if colon else ("", entry)


class Gatekeeper:
    """The one door: tells from anything that a request shows who makes it, and slows down those who guess.

    Args:
        tokens: of the settings; with them one may read and write.
        read_tokens: with them one may read.
        on_refusal: called with each refusal.
        guesses: counts wrong tokens and passwords by address.
        erase_tokens: with them one may read, write and erase.
        user: whose token one is that names nobody.
        accounts: the users of the server. Where there are neither accounts nor tokens, everybody may do everything.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        read_tokens: Iterable[str],
        on_refusal: Callable[[Refusal], object] | None = None,
        guesses: Guesses | None = None,
        *,
        erase_tokens: Iterable[str] = (),
        user: str = "",
        accounts: Accounts | None = None,
    ) -> None:
        self._on_refusal = on_refusal or _ignore
        self._guesses = guesses or Guesses()
        self._accounts = accounts
        kinds = ((erase_tokens, Policy.ERASE), (tokens, Policy.WRITE), (read_tokens, Policy.READ))
        self._known: list[tuple[bytes, Visitor]] = []
        for some, policy in kinds:
            for name, token in map(split_token, some):
                self._known.append((digest_of(token), Visitor(name or user, policy)))

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return not self._known and self._accounts is None

    def check(
        self, shown: Shown | None, policy: Policy | None, address: str = "", *, is_trial: bool = False
    ) -> Visitor | None:
        """Let a request pass, or refuse it; return who asks, ``None`` where nobody has to say.

        Args:
            shown: what the request shows, as :func:`~modeldb_server.accounts.credentials.shown_in` finds it.
            policy: that of the route; ``None`` where there is no such route, which is nobody's business either.
            address: of the client.
            is_trial: nothing is counted.

        Raises:
            Unauthorized: nothing was shown, or what lets nobody in.
            BusyError: too many wrong ones came from the address, so this one was not looked at.
            NotGrantedError: who asks may not do that.
            StoreUnavailableError: the accounts cannot be reached.
        """
        if self.is_open or policy is Policy.PUBLIC:
            return None
        visitor = self.identify(shown, address, is_trial=is_trial)
        check_granted(visitor, policy)
        return visitor

    def identify(self, shown: Shown | None, address: str = "", *, is_trial: bool = False) -> Visitor:
        """Return who asks, whatever they may do; see :meth:`check` for arguments and errors."""
        if shown is None:
            self._refuse(Refusal("missing", address), is_trial=is_trial)
            raise self._refusal(is_known=False)
        is_of_name = self._accounts is not None and shown.means is Means.PASSWORD
        guess = digest_of(f"{shown.name}\0{shown.secret}" if is_of_name else shown.secret)
        can_guess = shown.means in (Means.TOKEN, Means.PASSWORD)
        if can_guess and not self._guesses.may_try(address, guess):
            self._refuse(Refusal("too_many", address, shown.name, shown.means), is_trial=is_trial)
            msg = f"too many wrong tokens or passwords came from this address; try again in {GUESS_INTERVAL_S:g} s"
            raise BusyError(msg, status=429)
        visitor = self._of_settings(shown)
        if visitor is None and self._accounts is not None:
            visitor = self._accounts.expected(shown) if is_trial else self._accounts.visitor(shown)
        if visitor is None:
            self._refuse(Refusal("wrong", address, shown.name, shown.means), is_trial=is_trial)
            if can_guess and not is_trial:
                self._note_wrong(address, guess)
            raise self._refusal(is_known=True)
        if can_guess and not is_trial:
            self._guesses.accept(address, guess)
        return visitor

    def _refuse(self, refusal: Refusal, *, is_trial: bool) -> None:
        if not is_trial:
            self._on_refusal(refusal)

    def _note_wrong(self, address: str, guess: bytes) -> None:
        is_new, left = self._guesses.refuse(address, guess)
        if is_new:
            slowed = "" if left else f"; from there one token is tried every {GUESS_INTERVAL_S:g} s from now on"
            logger.warning("a wrong token was shown from %s%s", address or "an unknown address", slowed)

    def _of_settings(self, shown: Shown) -> Visitor | None:
        if shown.means not in (Means.TOKEN, Means.PASSWORD):
            return None
        digest, found = digest_of(shown.secret), None
        for known, visitor in self._known:  # all of them, whichever it is: the time says nothing
            if hmac.compare_digest(known, digest) and found is None:  # the first ones grant most
                found = visitor
        return found

    def _refusal(self, *, is_known: bool) -> Unauthorized:
        """Return the answer to anyone who is not let in: one for all reasons."""
        if self._accounts is not None:
            description = "sign in, or show a token that is valid: this server knows nobody by what the request shows"
            challenges = []  # a browser would ask for a password by itself; the pages do
        else:
            description = _UNKNOWN if is_known else _MISSING
            challenges = [WWWAuthenticate("basic", {"realm": _REALM, "charset": "UTF-8"})]
        return Unauthorized(description, www_authenticate=[*challenges, WWWAuthenticate("bearer", {"realm": _REALM})])


_UNKNOWN = "the token is not one of this server's"
_MISSING = "this server asks for a token: a program sends it as `Authorization: Bearer`, a browser as the password"


def check_granted(visitor: Visitor, policy: Policy | None) -> None:
    """See that somebody may call a route of a policy.

    Raises:
        NotGrantedError: they may not.
    """
    if policy is None or visitor.granted.allows(policy):
        return
    if policy is Policy.ERASE:
        msg = (
            "some of these changes erase what others recorded, which this token does not allow; use one of "
            "server.erase_tokens, or one that allows to erase of a user who administers the server"
        )
    elif visitor.user_id:
        msg = "you may read here, and change nothing: ask an administrator of the workspace, or use a token that allows to write"
    else:
        msg = "this token allows reading only; use one of server.tokens"
    raise NotGrantedError(msg, visitor)


def _ignore(refusal: Refusal) -> None:
    del refusal
