"""Finders that are kept: pages ask the same questions again and again, and building a statement costs more than running it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql.find import Finder
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from modeldb_core.backends._sql.database import Transaction
    from modeldb_core.backends._sql.find import Found
    from modeldb_core.queries import Query

_KEPT = 32
_LONGEST = 2_000  # characters of a filter and an order


class Finders:
    """Answers queries, with what was built for an earlier one that differs in the cursor alone. Any thread may ask.

    A finder serves one thread at a time: it is taken out while it answers.
    """

    def __init__(self) -> None:
        self._kept: dict[Any, Finder] = {}
        self._lock = threading.Lock()

    def find(self, transaction: Transaction, query: Query, now: int) -> Found:
        """Return one page of what a query matches."""
        if query.linked is not None or len(query.filter) + len(query.order_by) > _LONGEST:
            return Finder(transaction, query, now).find()
        key = (replace(query, cursor=None), KINDS[query.kind])
        with self._lock:
            finder = self._kept.pop(key, None)
        if finder is None or not finder.renew(transaction, query, now):
            finder = Finder(transaction, query, now)
        found = finder.find()
        if finder.is_lasting:
            with self._lock:
                self._kept[key] = finder  # the newest last
                if len(self._kept) > _KEPT:
                    del self._kept[next(iter(self._kept))]
        return found
