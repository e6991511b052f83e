"""Hashing beside other work: it needs no interpreter while it runs, so another core does it while content is written."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from modeldb_core.runtime.workers import Workers

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Iterator

_LONG_BYTES = 1 << 18
"""What is shorter is hashed sooner than a thread is woken."""
_workers = Workers(4, "modeldb-hash")


@contextmanager
def hashing(sha: hashlib._Hash, content: bytes | memoryview) -> Iterator[None]:
    """Hash content while the block runs; in the end it is hashed, and not looked at any more."""
    if len(content) < _LONG_BYTES:
        sha.update(content)
        yield
        return
    pending = _workers.submit(partial(sha.update, content))
    try:
        yield
    finally:
        pending.result()
