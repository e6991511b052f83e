"""What ``modeldb export --format parquet`` and ``modeldb db compact --parquet`` do: tables for other engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.cli.output import echo
from modeldb_core.cli.progress import stages_bar
from modeldb_core.cli.tables import size
from modeldb_core.cli.text import clean
from modeldb_core.movement.tables import Written, write_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.cli.session import Session


def export_tables(session: Session, url: str, projects: Sequence[str], *, replace: bool) -> Written:
    """Write tables of a store, or of the projects that are named."""
    chosen = [session.container_id(project, None) or "" for project in projects] or None
    with stages_bar() as show:
        return write_tables(session.store, url, projects=chosen, replace=replace, progress=show)


def counts_of(done: Written) -> dict[str, Any]:
    """Return what was written, for JSON."""
    counts = {"rows": done.rows, "files": done.files, "size_bytes": done.size_bytes, "left_out_runs": done.left_out}
    return {"to": done.url, **counts, "sha256": done.sha256}


def tell(done: Written) -> None:
    """Say what was written."""
    rows = ", ".join(f"{count:,} {table}" for table, count in done.rows.items())
    echo(f"{rows} written in {done.files:,} files ({size(done.size_bytes)}): {clean(done.url)}")
    if done.left_out:
        echo(f"{done.left_out:,} runs are left out: their project has not arrived in the store yet.", err=True)
