"""``modeldb sync``: ship what processes that died had logged."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modeldb_core.cli.journals import left_alone, orphaned_journals, written_at
from modeldb_core.cli.output import echo
from modeldb_core.cli.program import FOUND, OK, STORE
from modeldb_core.cli.progress import progress_bar
from modeldb_core.cli.session import Session, examples, missing_store, telling_what_is_settled, with_session
from modeldb_core.cli.tables import print_json, print_table, size
from modeldb_core.cli.text import clean
from modeldb_core.log.json_documents import time_text
from modeldb_core.plugins import open_store
from modeldb_core.runtime.notices import as_typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.journal.journal_folders import LeftAlone, Orphan
    from modeldb_core.journal.recovery import Recovered
    from modeldb_core.stores import MetadataStore


@click.command(
    epilog=examples(
        "modeldb sync",
        "modeldb sync --dry-run",
        "modeldb sync --journal-dir /media/laptop/journals --journal-dir /scratch/journals",
    )
)
@click.option(
    "-j",
    "--journal-dir",
    "folders",
    metavar="DIR",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of journals, such as one of another machine; may be given again. Default: the configured one.",
)
@click.option("--dry-run", is_flag=True, help="Only list what waits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def sync(session: Session, *, folders: Sequence[Path], dry_run: bool, as_json: bool) -> int:
    """Ship what processes that died had logged, and correct the status of their runs.

    Every process that logs to the store does the same in the background; this does it at once. It exits with 1 where
    a journal is damaged, or cannot be shipped: what could be read of it has been shipped, and it is kept. It exits with 3
    where a newer version of ModelDB wrote one, which is left alone. What is not a journal of this user is named.
    """
    settings = session.settings
    folders = [folder.absolute() for folder in folders] or [settings.journal_dir]
    waiting = [orphan for folder in folders for orphan in orphaned_journals(folder)]
    unshipped = [found for folder in folders for found in left_alone(folder)]
    if as_json and dry_run:
        print_json({"waiting": [_document(orphan) for orphan in waiting], "left_alone": _reasons(unshipped)})
        return OK
    if dry_run:
        _list(waiting)
        _say(unshipped)
        return OK
    if not waiting and missing_store(settings) is not None:
        if as_json:
            print_json(_shipped([], [], unshipped))
        else:
            echo("Nothing waits.")
            _say(unshipped)
        return _code([], unshipped)
    with open_store(settings.url, settings) as store:
        ours = [orphan for orphan in waiting if orphan.store_url in (store.url, "")]
        with telling_what_is_settled(store):
            results = _recover(session, store, folders, sum(orphan.size_bytes for orphan in ours))
        store_url = store.url
    others = [orphan for orphan in waiting if orphan not in ours]
    damaged = [path for result in results for path in result.damaged]
    unshipped = [found for result in results for found in result.left_alone]
    if as_json:
        print_json(_shipped(results, others, unshipped))
    else:
        _report(results, store_url, others, damaged)
        _say(unshipped)
    return _code(damaged, unshipped)


def _report(results: Sequence[Recovered], store_url: str, others: Sequence[Orphan], damaged: Sequence[Path]) -> None:
    runs = [run_id for result in results for run_id in result.runs]
    echo(
        f"{_count(sum(len(result.streams) for result in results), 'journal')} shipped to {store_url}: "
        f"{_count(sum(result.changes for result in results), 'change')}, {_count(len(runs), 'run')} corrected."
    )
    for run_id in runs:
        echo(f"  {clean(run_id)}")
    for url, number in Counter(orphan.store_url for orphan in others).items():
        echo(as_typed(f"{_count(number, 'journal')} for another store: modeldb sync --url {clean(url)}"), err=True)
    for path in damaged:
        echo(f"Damaged, kept aside: {clean(str(path))}", err=True)


def _say(unshipped: Sequence[LeftAlone]) -> None:
    for found in unshipped:
        if found.is_newer:
            echo(f"Left for the newer ModelDB that wrote it: {clean(str(found.path))}", err=True)
        else:
            echo(clean(str(found)), err=True)


def _code(damaged: Sequence[Path], unshipped: Sequence[LeftAlone]) -> int:
    if damaged or any(found.is_pending and not found.is_newer for found in unshipped):
        return FOUND
    return STORE if any(found.is_newer for found in unshipped) else OK


def _reasons(unshipped: Sequence[LeftAlone]) -> list[dict[str, str]]:
    return [{"path": str(found.path), "reason": found.reason} for found in unshipped]


def _shipped(
    results: Sequence[Recovered], others: Sequence[Orphan], unshipped: Sequence[LeftAlone]
) -> dict[str, object]:
    return {
        "streams": [stream_id for result in results for stream_id in result.streams],
        "changes": sum(result.changes for result in results),
        "runs": [run_id for result in results for run_id in result.runs],
        "damaged": [str(path) for result in results for path in result.damaged],
        "newer": [str(found.path) for found in unshipped if found.is_newer],
        "left_alone": _reasons(unshipped),
        "for_other_stores": [_document(orphan) for orphan in others],
    }


def _document(orphan: Orphan) -> dict[str, object]:
    return {
        "journal": str(orphan.path),
        "store": orphan.store_url,
        "size_bytes": orphan.size_bytes,
        "files": len(orphan.files),
        "written_at": time_text(written_at(orphan)),
    }


def _recover(session: Session, store: MetadataStore, folders: Sequence[Path], total: int) -> list[Recovered]:
    from modeldb_core.journal.recovery import recover

    shipped: dict[str, int] = {}
    lock = threading.Lock()
    with progress_bar("Shipping", total) as advance:

        def progress(stream_id: str, done: int, _: int) -> None:
            with lock:
                advance(done - shipped.get(stream_id, 0))
                shipped[stream_id] = done

        return [recover(folder, store.url, store, lambda: session.artifacts, progress) for folder in folders]


def _list(waiting: Sequence[Orphan]) -> None:
    rows = [
        [
            orphan.path.name,
            size(orphan.size_bytes),
            len(orphan.files),
            written_at(orphan),
            orphan.store_url or "(nothing written)",
        ]
        for orphan in waiting
    ]
    if rows:
        print_table(["journal", "size", "files", "last written", "store"], rows, right=["size", "files"])
    echo(f"{_count(len(rows), 'journal')} of processes that died; nothing was shipped.")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
