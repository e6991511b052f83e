"""Tokens: who may read, and who may change, what the server serves.

A program shows its token as ``Authorization: Bearer``; a browser asks its user for a name, which may be anything, and a
password, which is the token (HTTP Basic). There are no sessions and no cookies: every request shows it again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from modeldb_core.errors import ConfigurationError, PermissionDeniedError
from modeldb_core.log.changes import is_name
from modeldb_server.guesses import GUESS_INTERVAL_S, Guesses
from modeldb_server.limits import BusyError
from modeldb_server.routes import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


class Visitor(NamedTuple):
    """Who asks, where the server knows.

    Attributes:
        user: whose token was shown.
        granted: what it allows.
    """

    user: str
    granted: Policy


class NotGrantedError(PermissionDeniedError):
    """Somebody who is known may not do that.

    Attributes:
        visitor: who.
    """

    def __init__(self, message: str, visitor: Visitor) -> None:
        super().__init__(message)
        self.visitor = visitor


def split_token(entry: str) -> tuple[str, str]:
    """Return the user and the token of an entry such as ``ada:TOKEN``; no user where none is named."""
    user, colon, token = entry.partition(":")
    return (user, token) if colon else ("", entry)


class Gatekeeper:
    """Knows the tokens of a server by their digests, and slows down those who guess.

    Args:
        tokens: with them one may read and write.
        read_tokens: with them one may read.
        on_refusal: called with the reason, one of ``metrics.TOKEN_REFUSALS``.
        guesses: counts wrong tokens by address.
        erase_tokens: with them one may read, write and erase. Where there are tokens of no kind, everybody may do
            everything.
        user: whose token one is that names nobody.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        read_tokens: Iterable[str],
        on_refusal: Callable[[str], object] | None = None,
        guesses: Guesses | None = None,
        *,
        erase_tokens: Iterable[str] = (),
        user: str = "",
    ) -> None:
        self._on_refusal = on_refusal or _ignore
        self._guesses = guesses or Guesses()
        kinds = ((erase_tokens, Policy.ERASE), (tokens, Policy.WRITE), (read_tokens, Policy.READ))
        self._known: list[tuple[bytes, Visitor]] = []
        for some, policy in kinds:
            for name, token in map(split_token, some):
                self._known.append((_digest(token.encode()), Visitor(name or user, policy)))

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return not self._known

    def check(
        self, authorization: str | None, policy: Policy | None, address: str = "", *, is_trial: bool = False
    ) -> Visitor | None:
        """Let a request pass, or refuse it; return who asks, ``None`` where nobody has to say.

        Args:
            authorization: the header of that name.
            policy: that of the route; ``None`` where there is no such route, which is nobody's business either.
            address: of the client.
            is_trial: nothing is counted.

        Raises:
            Unauthorized: no token was shown, or an unknown one.
            BusyError: too many unknown ones came from the address, so this one was not looked at.
            PermissionDeniedError: the token does not allow that.
        """
        if self.is_open or policy is Policy.PUBLIC:
            return None
        refuse = _ignore if is_trial else self._on_refusal
        shown = shown_token(authorization)
        if shown is None:
            refuse("missing")
            raise _refusal(is_known=False)
        digest = _digest(shown)
        if not self._guesses.may_try(address, digest):
            refuse("too_many")
            msg = f"too many wrong tokens came from this address; try again in {GUESS_INTERVAL_S:g} s"
            raise BusyError(msg, status=429)
        visitor = self._known_as(digest)
        if visitor is None:
            refuse("wrong")
            if not is_trial:
                self._note_wrong(address, digest)
            raise _refusal(is_known=True)
        if not is_trial:
            self._guesses.accept(address, digest)
        _check_granted(visitor, policy)
        return visitor

    def _note_wrong(self, address: str, digest: bytes) -> None:
        is_new, left = self._guesses.refuse(address, digest)
        if is_new:
            slowed = "" if left else f"; from there one token is tried every {GUESS_INTERVAL_S:g} s from now on"
            logger.warning("a wrong token was shown from %s%s", address or "an unknown address", slowed)

    def _known_as(self, digest: bytes) -> Visitor | None:
        found = None
        for known, visitor in self._known:  # all of them, whichever it is: the time says nothing
            if hmac.compare_digest(known, digest) and found is None:  # the first ones grant most
                found = visitor
        return found


def shown_token(authorization: str | None) -> bytes | None:
    """Return the token in an ``Authorization`` header; ``None`` where there is none."""
    scheme, _, rest = (authorization or "").partition(" ")
    rest = rest.strip()
    if not rest:
        return None
    if scheme.lower() == "bearer":
        return rest.encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return None


def _ignore(reason: str) -> None:
    del reason


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _refusal(*, is_known: bool) -> Unauthorized:
    description = (
        "the token is not one of this server's"
        if is_known
        else "this server asks for a token: a program sends it as `Authorization: Bearer`, a browser as the password"
    )
    challenges = [WWWAuthenticate("basic", {"realm": _REALM, "charset": "UTF-8"})]
    challenges.append(WWWAuthenticate("bearer", {"realm": _REALM}))
    return Unauthorized(description, www_authenticate=challenges)


def _check_granted(visitor: Visitor, policy: Policy | None) -> None:
    if policy is None or visitor.granted.allows(policy):
        return
    msg = "this token allows reading only; use one of server.tokens"
    if policy is Policy.ERASE:
        msg = (
            "some of these changes erase what others recorded, which this token does not allow; use one of "
            "server.erase_tokens"
        )
    raise NotGrantedError(msg, visitor)
