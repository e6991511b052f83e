"""``modeldb projects`` and ``modeldb runs``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import click

from modeldb_core.cli.columns import RunColumns
from modeldb_core.cli.completion import complete_experiment, complete_project
from modeldb_core.cli.output import echo, is_terminal
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import duration, print_csv, print_json, print_json_list, print_table
from modeldb_core.log.display import is_own, telling_keys
from modeldb_core.log.json_documents import entity_document
from modeldb_core.queries import MAX_LIMIT, Query, field_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.model.entities import Run
    from modeldb_core.stores import MetadataStore

_SECTIONS = ("metrics", "hyperparameters", "attributes")
_SCREENFUL, _PAGE = 20, 500


@click.command(epilog=examples("modeldb projects", "modeldb projects --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def projects(session: Session, *, as_json: bool) -> None:
    """List projects and their experiments, with the number of runs in each."""

    def count_of(within: str) -> int:
        return session.store.find(Query(kind="run", within=within, limit=0, count=True)).total or 0

    rows, documents = [], []
    for project in session.store.find(Query(kind="project", order_by="name", limit=MAX_LIMIT)).entities:
        found = session.store.find(
            Query(kind="experiment", within=project.entity_id, order_by="name", limit=MAX_LIMIT)
        ).entities
        document = {**entity_document(project), "runs": count_of(project.entity_id), "experiments": []}
        documents.append(document)
        if not found:
            rows.append([project.name, "", 0, project.updated_at])
        for number, experiment in enumerate(found):
            runs_in = count_of(experiment.entity_id)
            document["experiments"].append({**entity_document(experiment), "runs": runs_in})
            rows.append([project.name if number == 0 else "", experiment.name, runs_in, experiment.created_at])
    if as_json:
        print_json(documents)
    elif rows:
        print_table(["project", "experiment", "runs", "since"], rows, right=["runs"])
    else:
        echo(f"There are no projects in {session.store.url} yet.", err=True)


@click.command(
    epilog=examples(
        "modeldb runs",
        "modeldb runs 'metrics.auc > 0.9 and tags contains \"best\"' --project churn --order-by 'metrics.auc desc'",
        "modeldb runs --columns run,name,metrics.loss.min --csv",
    )
)
@click.argument("filter_text", metavar="[FILTER]", default="")
@click.option("-p", "--project", metavar="NAME", shell_complete=complete_project, help="Only runs of this project.")
@click.option(
    "-e", "--experiment", metavar="NAME", shell_complete=complete_experiment, help="Only runs of this experiment."
)
@click.option("-c", "--columns", metavar="NAMES", help="Columns, by comma: name, status, tags, metrics.auc, ...")
@click.option("-o", "--order-by", metavar="ORDER", default="", help="Such as 'metrics.auc desc, name'.")
@click.option(
    "-n", "--limit", type=click.IntRange(0), help="At most so many, 0: all. Default: 20 on a terminal, else all."
)
@click.option("--cursor", metavar="TEXT", help="Go on where a page ended; it says with what.")
@click.option("--deleted", is_flag=True, help="Deleted runs too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@with_session
def runs(
    session: Session,
    *,
    filter_text: str,
    project: str | None,
    experiment: str | None,
    columns: str | None,
    order_by: str,
    limit: int | None,
    cursor: str | None,
    deleted: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List runs, the newest first.

    FILTER is a condition on what was logged, such as "metrics.auc > 0.9"; docs/queries.md describes the language.
    """
    if as_json and as_csv:
        msg = "--json and --csv cannot be used together"
        raise click.UsageError(msg)
    if limit is None:
        limit = _SCREENFUL if is_terminal() else 0
    chosen = RunColumns(session.store, [name.strip() for name in columns.split(",")]) if columns else None
    query = Query(
        filter=filter_text,
        order_by=order_by,
        fields=None if chosen is None else chosen.query_fields(),
        cursor=cursor,
        count=True,
        within=session.container_id(project, experiment),
        include_deleted=deleted,
    )
    found = _Listing(session.store, query, limit)
    if as_json:
        print_json_list(
            "items", (_document(run) for run in found), lambda: {"cursor": found.cursor, "total": found.total}
        )
    elif as_csv:
        chosen = chosen or RunColumns(session.store, _all_columns(session.store, query, with_project=project is None))
        print_csv(chosen.names, (chosen.row(run) for run in found))
    else:
        listed = list(found)
        _print(listed, chosen or RunColumns(session.store, _telling_columns(listed, with_project=project is None)))
    found.say_where_it_ended(is_first=cursor is None)


class _Listing:
    """The runs that a query finds, page by page.

    Attributes:
        shown: how many there were so far.
        total: how many match in all.
        cursor: where to go on after the end; ``None`` where nothing is left.
    """

    def __init__(self, store: MetadataStore, query: Query, limit: int) -> None:
        self._store, self._query, self._limit = store, query, limit
        self.shown = 0
        self.total: int | None = None
        self.cursor: str | None = query.cursor

    def __iter__(self) -> Iterator[Run]:
        query = self._query
        while True:
            left = self._limit - self.shown if self._limit else _PAGE
            page = self._store.find(replace(query, limit=min(left, _PAGE)))
            self.total = page.total if self.total is None else self.total
            self.shown += len(page.entities)
            self.cursor = page.cursor
            yield from (cast("Run", entity) for entity in page.entities)
            if page.cursor is None or self.shown == self._limit:
                return
            query = replace(query, cursor=page.cursor, count=False)

    def say_where_it_ended(self, *, is_first: bool) -> None:
        if not self.shown:
            echo("No run matches.", err=True)
        elif self.cursor is not None:
            word = "the first " if is_first else ""
            echo(f"These are {word}{self.shown:,} of {self.total or 0:,} runs; --limit 0 shows all.", err=True)
            echo(f"The next page: --cursor {self.cursor}", err=True)


def _document(run: Run) -> dict[str, Any]:
    return entity_document(run)


def _print(found: list[Run], columns: RunColumns) -> None:
    rows = [columns.row(run) for run in found]
    shown = [
        [duration(cell) if name == "duration" else cell for name, cell in zip(columns.names, row, strict=True)]
        for row in rows
    ]
    if rows:
        print_table(columns.names, shown, right=columns.numeric(rows))


def _telling_columns(found: list[Run], *, with_project: bool) -> list[str]:
    """Return the columns that tell these runs apart: what differs first."""
    return _ordered(telling_keys(found), with_project=with_project)


def _all_columns(store: MetadataStore, query: Query, *, with_project: bool) -> list[str]:
    """Return a column for every key that any of the matching runs has, without looking at the runs."""
    found = store.find_keys(replace(query, cursor=None, count=False, limit=MAX_LIMIT))
    keys = {(info.section, info.key): info for info in found if info.section in _SECTIONS}
    inner = {(section, key[:at]) for section, key in keys for at in range(len(key)) if key[at] == "."}
    maps = {name for name in inner & keys.keys() if set(keys[name].value_types) <= {"json"}}
    names = sorted(keys.keys() - maps, key=lambda name: (_SECTIONS.index(name[0]), -keys[name].count, name[1]))
    columns = _ordered(names, with_project=with_project)
    columns.insert(columns.index("status") + 1, "tags")
    return columns


def _ordered(keys: list[tuple[str, str]], *, with_project: bool) -> list[str]:
    """Return columns: which run it is, what users logged, when it was, and last what ModelDB measured by itself."""
    leading = ["run", "name", "project", "status"] if with_project else ["run", "name", "status"]
    logged, own = ([field_name(*name) for name in keys if is_own(name[1]) == which] for which in (False, True))
    return [*leading, *logged, "started_at", "duration", *own]
