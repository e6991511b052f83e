"""``modeldb projects``, ``modeldb runs`` and ``modeldb list``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.columns import EntityColumns
from modeldb_core.cli.completion import complete_experiment, complete_kind, complete_project
from modeldb_core.cli.output import echo, is_terminal
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import duration, print_csv, print_json, print_json_list, print_table
from modeldb_core.log.display import is_own, telling_keys
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.schema import KINDS, shown_kinds
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import MAX_LIMIT, Query, field_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore

_SCREENFUL, _PAGE = 20, 1_000  # a server sends no more at once


@click.command(epilog=examples("modeldb projects", "modeldb projects --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def projects(session: Session, *, as_json: bool) -> None:
    """List projects and their experiments, with the number of runs in each."""

    def count_of(within: str) -> int:
        return session.store.find(Query(kind="run", within=within, limit=0, count=True)).total or 0

    rows, documents = [], []
    experiments: dict[str, list[Entity]] = {}  # by project
    for each in pages(session.store, Query(kind="experiment", order_by="name"), _PAGE):
        experiments.setdefault(each.project_id, []).append(each)
    for project in pages(session.store, Query(kind="project", order_by="name"), _PAGE):
        found = experiments.get(project.entity_id, [])
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


def _listing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a listing."""
    for option in (
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--deleted", is_flag=True, help="Deleted ones too."),
        click.option("--cursor", metavar="TEXT", help="Continue after a page, with the cursor that it printed."),
        click.option(
            "-n",
            "--limit",
            type=click.IntRange(0),
            help="At most this many; 0: all. Default: 20 on a terminal, else all.",
        ),
        click.option("-o", "--order-by", metavar="ORDER", default="", help="Such as 'metrics.auc desc, name'."),
        click.option(
            "-c", "--columns", metavar="NAMES", help="Columns, by comma: name, status, tags, metrics.auc, ..."
        ),
    ):
        command = option(command)
    return command


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
@_listing_options
@with_session
def runs(session: Session, *, filter_text: str, project: str | None, experiment: str | None, **options: Any) -> None:  # noqa: ANN401 - of a listing
    """List runs, the newest first.

    FILTER is a condition on what was logged, such as "metrics.auc > 0.9"; docs/queries.md describes the language.
    """
    within = session.container_id(project, experiment)
    _list(session.store, "run", filter_text, within, ["project"] if project is None else [], **options)


@click.command(
    "list",
    epilog=examples("modeldb list experiments", "modeldb list dataset-versions 'version > 2' --columns name,digest"),
)
@click.argument("kind", shell_complete=complete_kind)
@click.argument("filter_text", metavar="[FILTER]", default="")
@_listing_options
@with_session
def list_(session: Session, *, kind: str, filter_text: str, **options: Any) -> None:  # noqa: ANN401 - of a listing
    """List entities of any kind, also of one that a plugin declares, the newest first.

    KIND is its name, such as experiment, or experiments. FILTER is as for runs.
    """
    names = {name: each.kind for each in shown_kinds() for name in (each.kind, each.path)}
    if kind not in names:
        msg = f"there is no kind {kind!r}; known: {', '.join(dict.fromkeys(names.values()))}"
        raise click.UsageError(msg)
    declaration = KINDS[names[kind]]
    own = [name for name in declaration.compared if name not in declaration.common]
    leading = [name for name in ("project",) if name in declaration.columns] if declaration.has_points else own
    _list(session.store, declaration.kind, filter_text, None, leading, **options)


def _list(
    store: MetadataStore,
    kind: str,
    filter_text: str,
    within: str | None,
    leading: list[str],
    *,
    columns: str | None,
    order_by: str,
    limit: int | None,
    cursor: str | None,
    deleted: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    if as_json and as_csv:
        msg = "--json and --csv cannot be used together"
        raise click.UsageError(msg)
    if limit is None:
        limit = _SCREENFUL if is_terminal() else 0
    chosen = EntityColumns(store, kind, [name.strip() for name in columns.split(",")]) if columns else None
    query = Query(
        kind=kind,
        filter=filter_text,
        order_by=order_by,
        fields=None if chosen is None else chosen.query_fields(),
        cursor=cursor,
        count=True,
        within=within,
        include_deleted=deleted,
    )
    found = _Listing(store, query, limit)
    if as_json:
        print_json_list("items", map(entity_document, found), lambda: {"cursor": found.cursor, "total": found.total})
    elif as_csv:
        chosen = chosen or EntityColumns(store, kind, _all_columns(store, query, leading))
        print_csv(chosen.names, (chosen.row(entity) for entity in found))
    else:
        listed = list(found)
        _print(listed, chosen or EntityColumns(store, kind, _ordered(kind, telling_keys(listed), leading)))
    found.say_where_it_ended(is_first=cursor is None)


class _Listing:
    """The entities that a query finds, page by page.

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

    def __iter__(self) -> Iterator[Entity]:
        query = self._query
        while True:
            left = self._limit - self.shown if self._limit else _PAGE
            page = self._store.find(replace(query, limit=min(left, _PAGE)))
            self.total = page.total if self.total is None else self.total
            self.shown += len(page.entities)
            self.cursor = page.cursor
            yield from page.entities
            if page.cursor is None or self.shown == self._limit:
                return
            query = replace(query, cursor=page.cursor, count=False)

    def say_where_it_ended(self, *, is_first: bool) -> None:
        declaration = KINDS[self._query.kind]
        if not self.shown:
            echo(f"No {declaration.words} matches.", err=True)
        elif self.cursor is not None:
            word = "the first " if is_first else ""
            echo(
                f"These are {word}{self.shown:,} of {self.total or 0:,} {declaration.path.replace('-', ' ')}; --limit 0 shows all.",
                err=True,
            )
            echo(f"The next page: --cursor {self.cursor}", err=True)


def _print(found: list[Entity], columns: EntityColumns) -> None:
    rows = [columns.row(entity) for entity in found]
    shown = [
        [duration(cell) if name == "duration" else cell for name, cell in zip(columns.names, row, strict=True)]
        for row in rows
    ]
    if rows:
        print_table(columns.names, shown, right=columns.numeric(rows))


def _all_columns(store: MetadataStore, query: Query, leading: list[str]) -> list[str]:
    """Return a column for every key that any of the matching entities has, without looking at them."""
    sections = KINDS[query.kind].listed
    query = replace(query, cursor=None, count=False, limit=MAX_LIMIT)
    found = store.find_keys(query)
    for wider in (replace(query, filter=""), replace(query, filter="", within=None)):
        if not any(info.sample for info in found):
            break
        # Only the newest runs were sampled, and older ones may have more keys: an empty column is better than a missing one.
        found = store.find_keys(wider)
    keys = {(info.section, info.key): info for info in found if info.section in sections}
    inner = {(section, key[:at]) for section, key in keys for at in range(len(key)) if key[at] == "."}
    maps = {name for name in inner & keys.keys() if set(keys[name].value_types) <= {"json"}}
    names = sorted(keys.keys() - maps, key=lambda name: (sections.index(name[0]), -keys[name].count, name[1]))
    return _ordered(query.kind, names, leading, with_tags=True)


def _ordered(kind: str, keys: list[tuple[str, str]], leading: list[str], *, with_tags: bool = False) -> list[str]:
    """Return columns: which one it is, what users logged, when it was, and last what ModelDB measured by itself.

    Args:
        kind: of the entities.
        keys: what was logged, by section and key.
        leading: columns that stand first after the name.
        with_tags: whether labels have a column.
    """
    logged, own = ([field_name(*name) for name in keys if is_own(name[1]) == which] for which in (False, True))
    tags = ["tags"] if with_tags else []
    if not KINDS[kind].has_points:
        return [kind, "name", *leading, *tags, *logged, "created_at"]
    return [kind, "name", *leading, "status", *tags, *logged, "started_at", "duration", *own]
