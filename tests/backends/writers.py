"""What tests of stores need that several processes write at once."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.stores import MetadataStore


def a_run(name: str = "run") -> tuple[StreamWriter, str]:
    """Return a writer with the changes that make a run, and the run's identifier."""
    writer = StreamWriter()
    return writer, writer.create_run(name=name).entity_id


def in_children(count: int, work: Callable[[], object]) -> None:
    """Fork processes that call ``work`` at the same time, and wait until all have ended well."""
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * count


def write_runs(store: MetadataStore, count: int) -> None:
    """Apply runs with points, each in two batches."""
    for _ in range(count):
        writer, run_id = a_run()
        store.apply(writer.changes)
        writer.append(run_id, {"loss": [1.0, 2.0, 3.0]}, steps=[0, 1, 2])
        store.apply(writer.changes)


def assert_all_there(store: MetadataStore, count: int) -> None:
    """Check that so many runs are in a store, each whole and once."""
    page = store.find(Query(limit=100_000, count=True))
    assert page.total == count
    assert all(run.series["loss"].count == 3 for run in page.entities)
    heads = store.heads()
    assert len(heads) == count
    assert all(head.seq == 2 for head in heads.values())
