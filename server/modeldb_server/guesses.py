"""Guessing tokens: an address that shows many wrong ones may try another only every few seconds.

What counts is how many *different* wrong tokens come from an address: a program that keeps an old one is refused each
time and slows nobody down. A token that was accepted from an address stays accepted there while others guess, so that
one guest of a proxy or a network cannot shut out the rest (``docs/decisions/0078-guesses-by-address.md``).
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FREE_GUESSES = 20
"""So many different wrong tokens may come from an address at once."""
GUESS_INTERVAL_S = 5.0
"""After those, one more may be tried so often."""
MAX_ADDRESSES = 10_000
MAX_REMEMBERED = 32
"""Of the accepted tokens, and of the wrong ones, of an address: the latest are remembered."""


class Guesses:
    """Counts wrong tokens by address. Thread-safe; the memory is bounded.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def may_try(self, address: str, digest: bytes) -> bool:
        """Say whether a token is looked at: not where it could be a guess, and the address has made too many."""
        with self._lock:
            entry = self._addresses.get(address_group(address))
            return entry is None or digest in entry.known or entry.left(self._clock()) >= 1

    def accept(self, address: str, digest: bytes) -> None:
        """Note that a token is one of the server's."""
        self._remember(address, digest, is_wrong=False)

    def refuse(self, address: str, digest: bytes) -> tuple[bool, int]:
        """Note that a token is wrong; returns whether it is a new one, and how many more may be tried now."""
        return self._remember(address, digest, is_wrong=True)

    def _remember(self, address: str, digest: bytes, *, is_wrong: bool) -> tuple[bool, int]:
        now, key = self._clock(), address_group(address)
        with self._lock:
            entry = self._addresses.setdefault(key, _Address(now))
            self._addresses.move_to_end(key)
            if len(self._addresses) > MAX_ADDRESSES:
                self._addresses.popitem(last=False)
            is_new = entry.known.get(digest) is not is_wrong
            entry.known[digest] = is_wrong
            entry.known.move_to_end(digest)
            alike = [known for known, wrong in entry.known.items() if wrong is is_wrong]
            if len(alike) > MAX_REMEMBERED:
                del entry.known[alike[0]]
            left = entry.left(now)
            if is_wrong and is_new:
                entry.guesses, entry.counted_at, left = left - 1, now, left - 1
            return is_new, max(0, int(left))


@dataclass(slots=True)
class _Address:
    """What is known of an address: its tokens (whether each is wrong), and how many guesses it had left, and when."""

    counted_at: float
    guesses: float = float(FREE_GUESSES)
    known: OrderedDict[bytes, bool] = field(default_factory=OrderedDict)

    def left(self, now: float) -> float:
        return min(float(FREE_GUESSES), self.guesses + (now - self.counted_at) / GUESS_INTERVAL_S)


@lru_cache(maxsize=MAX_ADDRESSES)
def address_group(address: str) -> str:
    """Return what counts as one address: of IPv6 the network of 64 bits, all of which one machine may use."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
