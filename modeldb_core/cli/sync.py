"""``modeldb sync``: ship what processes that died had logged."""

from __future__ import annotations

from collections import Counter

import click

from modeldb_core.cli.journals import orphaned_journals
from modeldb_core.cli.program import FOUND, OK, STORE
from modeldb_core.cli.progress import progress_bar
from modeldb_core.cli.session import Session, examples, with_session


@click.command(epilog=examples("modeldb sync", "modeldb sync --url sqlite:////data/modeldb.db"))
@with_session
def sync(session: Session) -> int:
    """Ship what processes that died had logged, and put their runs right.

    Every process that logs to the store does the same in the background; this does it at once. It exits with 1 where
    a journal is damaged: what could be read of it has been shipped, and it is kept. It exits with 3 where a newer version
    of ModelDB wrote one, which is left alone.
    """
    from modeldb_core.plugins import open_artifacts, open_store
    from modeldb_core.recovery import recover

    settings = session.settings
    waiting = orphaned_journals(settings.journal_dir)
    with open_store(settings.url, settings) as store:
        ours = [orphan for orphan in waiting if orphan.store_url in (store.url, "")]
        artifacts = []

        def opened() -> object:
            artifacts.append(open_artifacts(settings.artifact_url, settings))
            return artifacts[-1]

        shipped: dict[str, int] = {}
        try:
            with progress_bar("Shipping", sum(orphan.size_bytes for orphan in ours)) as advance:

                def progress(stream_id: str, done: int, _: int) -> None:
                    advance(done - shipped.get(stream_id, 0))
                    shipped[stream_id] = done

                result = recover(settings.journal_dir, store.url, store, opened, progress)  # type: ignore[arg-type]
        finally:
            for opened_store in artifacts:
                opened_store.close()
        click.echo(
            f"{_count(len(result.streams), 'journal')} shipped to {store.url}: {_count(result.changes, 'change')}, "
            f"{_count(len(result.runs), 'run')} put right."
        )
    for run_id in result.runs:
        click.echo(f"  {run_id}")
    for url, number in Counter(orphan.store_url for orphan in waiting if orphan not in ours).items():
        click.echo(f"{_count(number, 'journal')} for another store: modeldb sync --url {url}", err=True)
    for path in result.damaged:
        click.echo(f"Damaged, kept aside: {path}", err=True)
    for path in result.newer:
        click.echo(f"Left for the newer ModelDB that wrote it: {path}", err=True)
    return FOUND if result.damaged else STORE if result.newer else OK


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
