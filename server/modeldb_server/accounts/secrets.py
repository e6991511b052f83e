"""What is secret, and what is kept of it: tokens are random and kept as digests, passwords as slow hashes (Argon2)."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import OrderedDict

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from modeldb_core.errors import InvalidArgumentError

TOKEN_PREFIX = "mdb_"
"""By which programs that look for secrets recognize a token."""
MIN_PASSWORD = 12
MAX_PASSWORD = 1024
_REMEMBERED = 256
_AT_ONCE = 2
"""So many passwords are checked at a time: each takes 64 MiB of memory for as long as it takes."""


def new_secret() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def new_token() -> str:
    """Return a new token."""
    return TOKEN_PREFIX + new_secret()


def check_password(password: str, *, user: str = "") -> str:
    """Return a password if it may be one.

    Raises:
        InvalidArgumentError: it is too short or too long, or is the name of its user. It is never shown.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        msg = f"the password has {len(password)} characters; expected {MIN_PASSWORD} to {MAX_PASSWORD:,}: several words are easy to remember"
        raise InvalidArgumentError(msg)
    if len(set(password)) < 5 or (user and password.casefold().strip() == user.casefold()):
        msg = "the password is easily guessed: it is the name of its user, or has fewer than five different characters"
        raise InvalidArgumentError(msg)
    return password


class Passwords:
    """Hashes passwords and checks them. An unknown user costs as much time as a wrong password.

    A password that was right is remembered by a keyed digest of it and of its hash, so that a program which shows it with each request does not pay
    for the slow hash each time; another password, or another hash, is another digest.
    """

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._nobody = self._hasher.hash(new_secret())

    def hash(self, password: str) -> str:
        """Return the hash of a password, with its salt and parameters."""
        with self._room:
            return self._hasher.hash(password)

    def is_right(self, password: str, hashed: str | None) -> bool:
        """Return whether a password is the one of a hash; of no hash none is, which takes as long to say."""
        shown = f"{hashed}\0{password}".encode("utf-8", "surrogatepass")
        known = hmac.digest(self._key, shown, "sha256")
        with self._lock:
            if known in self._right:
                self._right.move_to_end(known)
                return True
        try:
            with self._room:
                self._hasher.verify(hashed or self._nobody, password[:MAX_PASSWORD])
        except (VerificationError, InvalidHashError):
            return False
        if hashed is None or len(password) > MAX_PASSWORD:
            return False
        with self._lock:
            self._right[known] = None
            while len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)
        return True
