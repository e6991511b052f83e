"""``modeldb audit log``: who changed what, who was refused, and who read which file."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.completion import complete_kind, complete_project, complete_run
from modeldb_core.cli.output import echo, is_terminal
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_csv, print_json_list, print_table, short, short_id
from modeldb_core.cli.text import clean
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.changes import APPEND
from modeldb_core.log.erasures import follow, target_of
from modeldb_core.log.json_documents import change_document
from modeldb_core.model.schema import KINDS
from modeldb_core.queries import Query, parse_time
from modeldb_core.stores.references import find_entity_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modeldb_core.log.changes import Change

_PAGE, _SCREENFUL = 1000, 50
_SUMMARY_LENGTH = 200
_CSV = ("time", "actor", "action", "kind", "entity_id", "stream_id", "seq", "data", "hash")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which changes are wanted; all where nothing is said."""

    who: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None
    entity_id: str | None = None
    stream_id: str | None = None
    project: frozenset[str] | None = None

    @property
    def is_everything(self) -> bool:
        """Whether a page of the log needs no second look."""
        return self == Wanted(entity_id=self.entity_id, stream_id=self.stream_id)

    def takes(self, change: Change) -> bool:
        """Return whether a change is wanted."""
        return (
            (not self.who or change.actor in self.who)
            and (not self.kinds or change.kind in self.kinds)
            and (not self.actions or change.action in self.actions)
            and (self.since is None or change.recorded_at >= self.since)
            and (self.until is None or change.recorded_at < self.until)
            and self.entity_id in (None, change.entity_id)
            and self.stream_id in (None, change.stream_id)
            and (self.project is None or self._is_inside(change))
        )

    def _is_inside(self, change: Change) -> bool:
        assert self.project is not None
        return change.entity_id in self.project or (
            not change.withheld and change.action != APPEND and change.data().get("project_id") in self.project
        )


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--entity", metavar="ID", help="Only of this entity, of any kind."),
        click.option("--stream", metavar="ID", help="Only of this stream."),
        click.option("--who", metavar="NAME", multiple=True, help="Only of this user; repeatable."),
        click.option(
            "--kind",
            "kinds",
            metavar="KIND",
            multiple=True,
            shell_complete=complete_kind,
            help="Only this; repeatable.",
        ),
        click.option(
            "--action", "actions", metavar="ACTION", multiple=True, help="Such as delete, refuse or read; repeatable."
        ),
        click.option(
            "--project", metavar="PROJECT", shell_complete=complete_project, help="Only what is in this project now."
        ),
        click.option("--since", metavar="TIME", help="Only from then on, such as 2026-11-01 or 2026-11-01T12:00:00Z."),
        click.option("--until", metavar="TIME", help="Only before then."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    "log",
    epilog=examples(
        "modeldb audit log",
        "modeldb audit log 3f9a1c2e",
        "modeldb audit log --after 0 --limit 1000 --json",
        "modeldb audit log --log access --action refuse --who ada --since 2026-11-01 --csv",
    ),
)
@click.argument("reference", metavar="[RUN]", required=False, shell_complete=complete_run)
@click.option(
    "--log",
    "which",
    type=click.Choice(["changes", "access", "all"]),
    default="changes",
    help="The changes; what the server on this machine recorded of refusals, sign-ins and reads; or both: changes in the order of their arrival, and accesses between them by time.",
)
@click.option("--after", metavar="CURSOR", type=click.IntRange(0), help="Go forward from here; 0: from the beginning.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(0, 1_000_000),
    help="At most this many; 0: all. Default: 50 on a terminal, else all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@_filters
@with_session
def log(
    session: Session,
    *,
    reference: str | None,
    which: str,
    after: int | None,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    **filters: Any,  # noqa: ANN401 - the options of _filters
) -> None:
    """Show who changed what, and when: the latest changes, the oldest of them first.

    With RUN, only the changes of that run. With --after, the changes from there on. With --log access, who was refused,
    who signed in and who read files.
    """
    if as_json and as_csv:
        msg = "only one of --json and --csv can be used"
        raise click.UsageError(msg)
    if after is not None and which != "changes":
        msg = "--after goes through the log of changes; leave out --log"
        raise click.UsageError(msg)
    wanted = _wanted(session, reference, **filters)
    if limit is None:
        limit = _SCREENFUL if is_terminal() and not as_csv else 0
    found: Iterable[Change]
    cursor, left_out = None, 0
    if not limit:
        found = _all(session, which, wanted, after or 0)
    elif after is not None:
        found, cursor = _page(session, wanted, after, limit)
    else:
        latest = deque(enumerate(_all(session, which, wanted)), limit)
        found, left_out = [change for _, change in latest], latest[0][0] if latest else 0
    if as_json:
        print_json_list("changes", map(change_document, found), lambda: {"cursor": cursor})
    elif as_csv:
        print_csv(_CSV, map(_row, found))
    else:
        _print_changes(session, list(found))
        if cursor is not None:
            echo(f"Go on with --after {cursor}", err=True)
    if left_out:
        total = f"{left_out + limit:,}"
        echo(f"These are the latest {limit:,} of {total} changes; --limit 0 shows all.", err=True)


def _wanted(
    session: Session,
    reference: str | None,
    *,
    entity: str | None,
    stream: str | None,
    who: tuple[str, ...],
    kinds: tuple[str, ...],
    actions: tuple[str, ...],
    project: str | None,
    since: str | None,
    until: str | None,
) -> Wanted:
    if reference is not None and entity is not None:
        msg = "name a run or an entity, not both"
        raise click.UsageError(msg)
    entity_id = session.run(reference).entity_id if reference else entity and find_entity_id(session.store, entity)
    return Wanted(
        who=frozenset(who),
        kinds=frozenset(kinds),
        actions=frozenset(actions),
        since=_moment(since),
        until=_moment(until),
        entity_id=entity_id or None,
        stream_id=stream,
        project=None if project is None else frozenset(_inside(session, project)),
    )


def _moment(text: str | None) -> int | None:
    """Return a time in microseconds since 1970-01-01 UTC; one without an offset is of the zone of this machine."""
    if text is None:
        return None
    try:
        return parse_time(text, local=True).first
    except (ValueError, OverflowError) as error:
        msg = f"{text!r:.60} is not a time; expected for example 2026-11-01 or 2026-11-01T12:00:00+01:00"
        raise InvalidArgumentError(msg) from error


def _inside(session: Session, project: str) -> Iterator[str]:
    """Iterate over the identifiers of a project and of all that is in it, also of what was deleted."""
    project_id = session.container_id(project, None)
    assert project_id is not None
    yield project_id
    for kind in KINDS:
        cursor = None
        while True:
            query = Query(
                kind,
                order_by="entity_id",
                fields=(),
                limit=_PAGE,
                within=project_id,
                include_deleted=True,
                cursor=cursor,
            )
            page = session.store.find(query)
            yield from (entity.entity_id for entity in page.entities)
            cursor = page.cursor
            if cursor is None:
                break


def _all(session: Session, which: str, wanted: Wanted, after: int = 0) -> Iterator[Change]:
    logs: list[Iterable[Change]] = []
    if which != "access":
        logs.append(filter(wanted.takes, _all_changes(session, wanted.entity_id, wanted.stream_id, after)))
    if which != "changes":
        logs.append(filter(wanted.takes, _accesses(session)))
    for _, change in heapq.merge(*map(_with_times, logs), key=itemgetter(0)):
        yield change


def _with_times(changes: Iterable[Change]) -> Iterator[tuple[int, Change]]:
    """Iterate over changes in their order, each with the latest time so far: what arrived late stays where it arrived."""
    latest = 0
    for change in changes:
        latest = max(latest, change.recorded_at)
        yield latest, change


def _accesses(session: Session) -> Iterator[Change]:
    """Iterate over what the access log of the servers of this store says, by time."""
    from modeldb_core.audit.access import AccessReader, access_folder

    settings = session.settings
    with AccessReader(access_folder(settings.server_access_log_dir, settings.url)) as reader:
        yield from reader.by_time()
        for subject, message in reader.damages.items():
            echo(clean(f"The access log is damaged: {subject}: {message}"), err=True)


def _page(session: Session, wanted: Wanted, after: int, limit: int) -> tuple[list[Change], int]:
    """Return the next changes that are wanted, and where the log goes on behind them."""
    found: list[Change] = []
    while len(found) < limit:
        page = session.store.read_changes(
            after=after, limit=limit - len(found), entity_id=wanted.entity_id, stream_id=wanted.stream_id
        )
        after = page.cursor
        found += filter(wanted.takes, page.changes)
        if not page.changes or wanted.is_everything:
            break
    return found, after


def _all_changes(session: Session, entity_id: str | None, stream_id: str | None, after: int = 0) -> Iterator[Change]:
    while True:
        page = session.store.read_changes(after=after, limit=_PAGE, entity_id=entity_id, stream_id=stream_id)
        yield from page.changes
        if not page.changes:
            return
        after = page.cursor


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
        entity = change.entity_id if change.kind == "route" else short_id(change.entity_id)
        rows.append([change.time, change.actor, change.action, change.kind, entity, what])
    if rows:
        print_table(["time", "actor", "action", "kind", "entity", "what"], rows)
    else:
        echo("No changes.", err=True)


def _row(change: Change) -> list[object]:
    data = change_document(change)["data"]
    where = [change.kind, change.entity_id, change.stream_id, change.seq]
    return [change.time, change.actor, change.action, *where, data, change.hash.hex()]


def _summary(change: Change) -> str:
    """Return in a few words what a change did."""
    if change.payload is None:
        return "(erased)"
    if change.action == APPEND:
        data = change_document(change)["data"]
        return f"{data['points']:,} points of {short(data['keys'])}"
    text = short(change.data()).removeprefix("{").removesuffix("}")
    return text if len(text) <= _SUMMARY_LENGTH else text[: _SUMMARY_LENGTH - 1] + "…"
