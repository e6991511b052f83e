"""``modeldb delete``, ``restore``, ``trash`` and ``gc``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from modeldb_core.cli.choosing import Choice, Name, choosing
from modeldb_core.cli.output import echo
from modeldb_core.cli.progress import stages_bar
from modeldb_core.cli.session import Session, examples, with_session, writer_for
from modeldb_core.cli.tables import print_json, print_table, short, short_id, size
from modeldb_core.cli.text import clean
from modeldb_core.commands import removal
from modeldb_core.log.changes import DELETE, RESTORE
from modeldb_core.log.json_documents import entity_document, time_text
from modeldb_core.movement.deletion import deleted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_core.movement.collection import Collected


@click.command(
    epilog=examples(
        "modeldb delete 3f9a1c2e",
        "modeldb delete --filter 'status = \"failed\"' --project churn --dry-run",
        "modeldb delete --project churn --recursive",
    )
)
@choosing
@click.option("-r", "--recursive", is_flag=True, help="With all that it contains: runs of a project, child runs, ...")
@with_session
def delete(session: Session, *, choice: Choice, recursive: bool) -> None:
    """Delete runs, an experiment or a project.

    They go out of sight and can be brought back with `modeldb restore`, until `modeldb gc` erases what was deleted
    longer ago than restore_window_days.
    """
    chosen = choice.entities(session)
    _do(session, choice, DELETE, "deleted", chosen, _removal(session, chosen, recursive=recursive))


@click.command(
    epilog=examples(
        "modeldb restore 3f9a1c2e",
        "modeldb restore --filter 'deleted_at > now - 1h' --yes",
        "modeldb restore --project churn",
    )
)
@choosing
@with_session
def restore(session: Session, *, choice: Choice) -> None:
    """Bring back what was deleted: with it what was deleted with it, and the containers that it lies in."""
    chosen = choice.entities(session, deleted=True)
    _do(session, choice, RESTORE, "restored", chosen, removal.restore(session.store, _names(chosen)))


def _removal(session: Session, chosen: Sequence[Entity], *, recursive: bool) -> Operation:
    window_days = session.settings.restore_window_days
    return removal.delete(session.store, _names(chosen), recursive=recursive, window_days=window_days)


def _names(chosen: Sequence[Entity]) -> list[Name]:
    return [(entity.KIND, entity.entity_id) for entity in chosen]


def _do(
    session: Session, choice: Choice, action: str, deed: str, chosen: Sequence[Entity], operation: Operation
) -> None:
    if choice.confirm(chosen, deed):
        if not choice.dry_run:
            session.execute(operation)
        choice.report(action, deed, [(entry.kind, entry.entity_id) for entry in operation.entries])


@click.command(epilog=examples("modeldb trash", "modeldb trash --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def trash(session: Session, *, as_json: bool) -> None:
    """List what is deleted, and until when it is safe from `modeldb gc`.

    What was deleted with its project, experiment or parent run is not listed: it comes back with that.
    """
    window = timedelta(days=session.settings.restore_window_days)
    found = sorted(deleted(session.store), key=lambda entity: str(entity.deleted_at))
    until = [entity.deleted_at + window for entity in found if entity.deleted_at is not None]
    if as_json:
        pairs = zip(found, until, strict=True)
        print_json([{**entity_document(entity), "safe_until": time_text(time)} for entity, time in pairs])
    elif found:
        rows = [
            [entity.KIND, short_id(entity.entity_id), entity.name, entity.deleted_at, time]
            for entity, time in zip(found, until, strict=True)
        ]
        print_table(["kind", "id", "name", "deleted", "safe until"], rows)
    else:
        echo("Nothing is deleted.", err=True)


@click.command(epilog=examples("modeldb gc --dry-run", "modeldb gc", "modeldb gc --window-days 0"))
@click.option("--dry-run", is_flag=True, help="Only list what would be removed, and how many bytes.")
@click.option("--window-days", type=click.FloatRange(0), help="Instead of the setting restore_window_days.")
@click.option("--grace-days", type=click.FloatRange(0), help="Instead of the setting gc_grace_days.")
@click.option("--artifacts/--no-artifacts", default=True, help="Remove files that nothing names; the default.")
@click.option("--force", is_flag=True, help="Remove files even if the store knows none of those that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def gc(
    session: Session,
    *,
    dry_run: bool,
    window_days: float | None,
    grace_days: float | None,
    artifacts: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Erase what was deleted long ago, and remove files that nothing names any more. This cannot be undone.

    Of what was deleted longer ago than restore_window_days everything that was logged is erased. What is left in the
    record is that it was there, who deleted it and when; every chain still verifies. A file goes if no run or other
    entity names it, nor a tree that one names, and nobody has stored it for gc_grace_days and a day. An artifact store
    must belong to one store only: files that another one names would go.
    """
    from modeldb_core.movement.collection import Collected, erase_deleted, remove_blobs

    settings = session.settings
    window = timedelta(days=settings.restore_window_days if window_days is None else window_days)
    grace = timedelta(days=settings.gc_grace_days if grace_days is None else grace_days)
    done = Collected()
    with writer_for(session.store, session.settings) as writer, stages_bar() as show:
        erase_deleted(writer, window, done, dry_run=dry_run, progress=show)
        if artifacts:
            remove_blobs(
                session.store,
                session.artifacts,
                grace,
                done,
                window=window if dry_run else None,
                dry_run=dry_run,
                force=force,
                progress=show,
            )
    if as_json:
        erased = [{**asdict(entity), "deleted_at": time_text(entity.deleted_at)} for entity in done.erased]
        print_json({"dry_run": dry_run, **asdict(done), "erased": erased})
    else:
        _report(done, dry_run=dry_run, with_artifacts=artifacts)


def _report(done: Collected, *, dry_run: bool, with_artifacts: bool) -> None:
    would = "would be " if dry_run else ""
    for entity in done.erased:
        echo(f"{entity.kind} {clean(entity.name)} ({entity.entity_id}), deleted {short(entity.deleted_at)}")
    if done.entities > len(done.erased):
        echo(f"... and {done.entities - len(done.erased):,} more")
    echo(
        f"{done.entities:,} deleted entities {would}erased: what {done.changes:,} changes said, {size(done.change_bytes)}"
    )
    for line in done.held:
        echo(f"Not erased: {clean(line)}", err=True)
    for line in done.unreadable:
        echo(f"Not whole: {clean(line)}", err=True)
    if with_artifacts:
        spared = [f"{done.young:,} too young to go"] if done.young else []
        spared += [f"{done.ageless:,} of unknown age stay"] if done.ageless else []
        more = f" ({', '.join(spared)})" if spared else ""
        echo(f"{done.blobs:,} files {would}removed: {size(done.blob_bytes)}{more}; {done.kept:,} are in use")
