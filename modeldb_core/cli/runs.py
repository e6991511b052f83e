"""``modeldb projects`` and ``modeldb runs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import duration, print_csv, print_json, print_table

if TYPE_CHECKING:
    from modeldb_core.entities import Run

_LEADING = ("run", "name", "status", "started_at", "duration")


@click.command(epilog=examples("modeldb projects", "modeldb projects --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def projects(session: Session, *, as_json: bool) -> None:
    """List projects and their experiments, with the number of runs in each."""
    from modeldb_core.documents import entity_document
    from modeldb_core.queries import MAX_LIMIT, Query

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
@click.option("-p", "--project", metavar="NAME", help="Only runs of this project.")
@click.option("-e", "--experiment", metavar="NAME", help="Only runs of this experiment.")
@click.option("-c", "--columns", metavar="NAMES", help="Columns, by comma: name, status, tags, metrics.auc, ...")
@click.option("-o", "--order-by", metavar="ORDER", default="", help="Such as 'metrics.auc desc, name'.")
@click.option("-n", "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many.")
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
    limit: int,
    cursor: str | None,
    deleted: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List runs, the newest first.

    FILTER is a condition on what was logged, such as "metrics.auc > 0.9"; docs/queries.md describes the language.
    """
    from modeldb_core.cli.columns import RunColumns
    from modeldb_core.documents import entity_document
    from modeldb_core.queries import Query

    if as_json and as_csv:
        msg = "--json and --csv cannot be used together"
        raise click.UsageError(msg)
    chosen = RunColumns(session.store, [name.strip() for name in columns.split(",")]) if columns else None
    query = Query(
        filter=filter_text,
        order_by=order_by,
        fields=None if chosen is None else chosen.query_fields(),
        limit=limit,
        cursor=cursor,
        count=True,
        within=session.container_id(project, experiment),
        include_deleted=deleted,
    )
    page = session.store.find(query)
    found = [cast("Run", entity) for entity in page.entities]
    if as_json:
        items = [entity_document(run) for run in found]
        print_json({"items": items, "cursor": page.cursor, "total": page.total})
        return
    if chosen is None:
        chosen = RunColumns(session.store, _telling_columns(found, with_project=project is None))
    rows = [chosen.row(run) for run in found]
    if as_csv:
        print_csv(chosen.names, rows)
    elif rows:
        right = chosen.numeric(rows)
        shown = [
            [duration(cell) if name == "duration" else cell for name, cell in zip(chosen.names, row, strict=True)]
            for row in rows
        ]
        print_table(chosen.names, shown, right=right)
    _say_where_it_ends(len(found), page.total, page.cursor)


def _telling_columns(found: list[Run], *, with_project: bool) -> list[str]:
    """Return the columns that tell these runs apart: what differs first."""
    from modeldb_core.display import telling_keys
    from modeldb_core.queries import field_name

    names = [*_LEADING[:2], "project", *_LEADING[2:]] if with_project else list(_LEADING)
    return names + [field_name(section, key) for section, key in telling_keys(found)]


def _say_where_it_ends(shown: int, total: int | None, cursor: str | None) -> None:
    if not shown:
        echo("No run matches.", err=True)
    elif cursor is not None:
        echo(f"{shown:,} of {total or 0:,} runs. The next page: --cursor {cursor}", err=True)
