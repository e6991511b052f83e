"""What programs call: ``modeldb.diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.reproduction.differences import compare_runs
from modeldb_core.reproduction.repository import files_between
from modeldb_core.reproduction.values import resolving
from modeldb_core.reproduction.versions import Versions
from modeldb_core.stores.references import find_run
from modeldb_core.tracking.connections import default_client

if TYPE_CHECKING:
    import os

    from modeldb_core.reproduction.differences import RunDiff
    from modeldb_core.tracking.client import Client
    from modeldb_core.tracking.reader import RunReader


def diff(
    run1: RunReader | str,
    run2: RunReader | str,
    *,
    repository: str | os.PathLike[str] | None = None,
    client: Client | None = None,
) -> RunDiff:
    """Explain how a run differs from another one: code, data, environment, hyperparameters, results.

    Args:
        run1: the run to compare with: a handle, an identifier, the beginning or end of one, or a name.
        run2: the other run.
        repository: a folder of a git repository that has the commits of both; default: the working folder.
        client: reads the runs; default: the one that the functions of this module use.

    Returns:
        The differences, section by section: ``diff(a, b)["hyperparameters"].changes``.

    Raises:
        NotFoundError: there is no such run.
        InvalidArgumentError: several runs are meant.
    """
    client = client or default_client()
    client.settle()
    first, second = (find_run(client.store, run if isinstance(run, str) else run.run_id) for run in (run1, run2))
    versions = Versions(client.store, client.blobs)
    return compare_runs(first, second, resolving(client.blobs.open), versions, files_between(Path(repository or ".")))
