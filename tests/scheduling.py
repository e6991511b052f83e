"""Which worker runs which tests."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

GROUPS = (
    "tests/backends/test_suite_catches.py::",
    "tests/backends/test_artifact_pairs.py::",
    "tests/test_packaging.py::",
)
"""Where all tests share what takes long to make: the output of one run over broken stores, servers over servers, the wheel.

Not the browser with its site: it leaves an event loop that counts as running to whatever the worker runs afterwards, so its
tests come last, on every worker.
"""


class GroupScheduling(LoadScopeScheduling):
    """Gives each group to one worker, the largest first, and every other test to whichever worker is free.

    xdist's own scheduler reads groups from identifiers, which pytest 9.2 does not let it alter: there, the mark
    ``xdist_group`` does nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((group for group in GROUPS if nodeid.startswith(group)), nodeid)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        # xdist keeps them and counts them all again after each test, which takes longer the more there were.
        self.assigned_work[node] = {
            scope: unit for scope, unit in self.assigned_work[node].items() if not all(unit.values())
        }
