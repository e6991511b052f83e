"""``modeldb audit``: read and verify the record of all changes."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from modeldb_core.cli.completion import complete_run
from modeldb_core.cli.output import echo, is_terminal
from modeldb_core.cli.program import FOUND, OK
from modeldb_core.cli.progress import stages_bar
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json, print_json_list, print_table, short, short_id
from modeldb_core.cli.text import clean
from modeldb_core.log.changes import APPEND
from modeldb_core.log.erasures import follow, target_of
from modeldb_core.log.json_documents import change_document
from modeldb_core.movement.bundles import Bundle
from modeldb_core.stores.references import find_entity_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modeldb_core.log.changes import Change

_PAGE, _SCREENFUL = 1000, 50
_SUMMARY_LENGTH = 200


@click.group()
def audit() -> None:
    """Read and verify the record of all changes."""


@audit.command(
    "log",
    epilog=examples(
        "modeldb audit log", "modeldb audit log 3f9a1c2e", "modeldb audit log --after 0 --limit 1000 --json"
    ),
)
@click.argument("reference", metavar="[RUN]", required=False, shell_complete=complete_run)
@click.option("--entity", metavar="ID", help="Only changes of this entity, of any kind.")
@click.option("--stream", metavar="ID", help="Only changes of this stream.")
@click.option("--after", metavar="CURSOR", type=click.IntRange(0), help="Go forward from here; 0: from the beginning.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(0, 1_000_000),
    help="At most this many; 0: all. Default: 50 on a terminal, else all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def log(
    session: Session,
    *,
    reference: str | None,
    entity: str | None,
    stream: str | None,
    after: int | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show who changed what, and when: the latest changes, the oldest of them first.

    With RUN, only the changes of that run. With --after, the changes from there on.
    """
    if reference is not None and entity is not None:
        msg = "name a run or an entity, not both"
        raise click.UsageError(msg)
    entity_id = session.run(reference).entity_id if reference else entity and find_entity_id(session.store, entity)
    if limit is None:
        limit = _SCREENFUL if is_terminal() else 0
    found: Iterable[Change]
    cursor, left_out = None, 0
    if not limit:
        found = _all_changes(session, entity_id, stream, after or 0)
    elif after is not None:
        page = session.store.read_changes(after=after, limit=limit, entity_id=entity_id, stream_id=stream)
        found, cursor = page.changes, page.cursor
    else:
        latest = deque(enumerate(_all_changes(session, entity_id, stream)), limit)
        found, left_out = [change for _, change in latest], latest[0][0] if latest else 0
    if as_json:
        print_json_list("changes", map(change_document, found), lambda: {"cursor": cursor})
    else:
        _print_changes(session, list(found))
        if cursor is not None:
            echo(f"Go on with --after {cursor}", err=True)
    if left_out:
        total = f"{left_out + limit:,}"
        echo(f"These are the latest {limit:,} of {total} changes; --limit 0 shows all.", err=True)


def _print_changes(session: Session, changes: list[Change]) -> None:
    erased = {  # of each entity of which somebody erased something
        entity_id: follow(_all_changes(session, entity_id, None))
        for entity_id in {change.entity_id for change in changes if target_of(change)}
    }
    rows = []
    for change in changes:
        what = "(withheld)" if change.withheld else _summary(change)
        if target := target_of(change):
            has_effect = target in erased[change.entity_id][change.kind, change.entity_id].erased
            what = f"change {target.seq} of stream {target.stream_id}" + ("" if has_effect else " (had no effect)")
        rows.append([change.time, change.actor, change.action, change.kind, short_id(change.entity_id), what])
    if rows:
        print_table(["time", "actor", "action", "kind", "entity", "what"], rows)
    else:
        echo("No changes.", err=True)


@audit.command(
    epilog=examples(
        "modeldb audit verify",
        "modeldb audit verify --artifacts --checkpoint 2026-11-01.json",
        "modeldb audit verify runs.bundle",
    )
)
@click.argument("bundle_path", metavar="[BUNDLE]", required=False)
@click.option("--checkpoint", "checkpoint_path", metavar="FILE", help="Compare the store with this checkpoint.")
@click.option("--artifacts", "with_artifacts", is_flag=True, help="Read and check every stored file as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def verify(
    session: Session, *, bundle_path: str | None, checkpoint_path: str | None, with_artifacts: bool, as_json: bool
) -> int:
    """Check that nothing in the store was altered, dropped or added outside of ModelDB.

    Every chain of changes is verified, and everything that answers questions is compared with a replay of the
    changes. Exits with 1 if anything does not match, and names it.

    With BUNDLE, a file that `modeldb export` wrote is verified by itself: its chains, its files and its manifest.
    """
    from modeldb_core import audit as auditing

    checkpoint = auditing.Checkpoint.read(checkpoint_path) if checkpoint_path else None
    with stages_bar() as show:
        if bundle_path is not None:
            from modeldb_core.movement.bundle_audit import verify_bundle

            with Bundle(bundle_path) as bundle:
                report = verify_bundle(bundle, show, checkpoint=checkpoint)
        else:
            artifacts = session.artifacts if with_artifacts else None
            report = auditing.verify(session.store, artifacts, show, checkpoint=checkpoint)
    if as_json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        for line in str(report).splitlines():
            echo(clean(line))
    return OK if report.ok else FOUND


@audit.command("checkpoint", epilog=examples("modeldb audit checkpoint 2026-11-01.json"))
@click.argument("path", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def write_checkpoint(session: Session, *, path: str, as_json: bool) -> None:
    """Write down how far every stream of changes has come.

    Keep FILE where those who can alter the store cannot: `audit verify --checkpoint` then shows changes that were
    dropped from the end, and streams that are missing as a whole.
    """
    from modeldb_core.audit import Checkpoint

    checkpoint = Checkpoint.of(session.store)
    checkpoint.write(path)
    if as_json:
        print_json({"path": path, "streams": len(checkpoint.streams), "sha256": checkpoint.digest})
        return
    echo(f"{clean(path)}: {len(checkpoint.streams):,} streams, SHA-256 {checkpoint.digest}")


def _all_changes(session: Session, entity_id: str | None, stream_id: str | None, after: int = 0) -> Iterator[Change]:
    while True:
        page = session.store.read_changes(after=after, limit=_PAGE, entity_id=entity_id, stream_id=stream_id)
        yield from page.changes
        if not page.changes:
            return
        after = page.cursor


def _summary(change: Change) -> str:
    """Return in a few words what a change did."""
    if change.payload is None:
        return "(erased)"
    if change.action == APPEND:
        data = change_document(change)["data"]
        return f"{data['points']:,} points of {short(data['keys'])}"
    text = short(change.data()).removeprefix("{").removesuffix("}")
    return text if len(text) <= _SUMMARY_LENGTH else text[: _SUMMARY_LENGTH - 1] + "…"
