"""``modeldb show`` and ``modeldb compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.columns import EntityColumns
from modeldb_core.cli.completion import complete_run
from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import duration, print_json, print_pairs, print_table, short_id, size
from modeldb_core.cli.terminal import print_line, styled
from modeldb_core.cli.text import clean, clean_lines
from modeldb_core.log.display import is_own
from modeldb_core.log.json_documents import entity_document, json_value
from modeldb_core.model.schema import KINDS, METRICS
from modeldb_core.reproduction.values import ABSENT, compare_maps, differ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.model.entities import Run

_HEADING = frozenset({"entity_id", "name", "status", "description"})
"""What stands above the facts of a run."""
_UNTRACKED = 10
"""Files outside of version control: so many are named."""


@click.command(epilog=examples("modeldb show 3f9a1c2e", "modeldb show 3f9a1c2e --json", "modeldb show 3f9a1c2e --diff"))
@click.argument("reference", metavar="RUN", shell_complete=complete_run)
@click.option("--all", "show_all", is_flag=True, help="Also what ModelDB measured by itself (modeldb/...).")
@click.option("--diff", "only_diff", is_flag=True, help="Print only the uncommitted changes of the code, as a patch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def show(session: Session, *, reference: str, show_all: bool, only_diff: bool, as_json: bool) -> None:
    """Show everything that was logged to a run.

    RUN is its identifier, or the beginning or end of it, or its name where only one run has it.
    """
    run = session.run(reference)
    if as_json:
        print_json(entity_document(run))
    elif only_diff:
        echo(_diff_text(session.resolve(run.code.get("diff", ""))), nl=False)
    else:
        _print_run(session, run, show_all=show_all)


@click.command(epilog=examples("modeldb compare 3f9a1c2e 77b0d4aa", "modeldb compare first second --all"))
@click.argument("references", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=complete_run)
@click.option("--all", "show_all", is_flag=True, help="Also what does not differ.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def compare(session: Session, *, references: tuple[str, ...], show_all: bool, as_json: bool) -> None:
    """Show what differs between runs: a row for each key, a column for each run."""
    if len(references) < 2:
        msg = "compare needs at least two runs"
        raise click.UsageError(msg)
    found = [session.run(reference) for reference in references]
    rows = [
        (section, key, values, differs)
        for section, key, values, differs in _compared(session, found)
        if (differs or show_all) and key != "diff"
    ]
    if as_json:
        listed = [
            {
                "section": section,
                "key": key,
                "differs": differs,
                "values": [None if value is ABSENT else json_value(value) for value in values],
            }
            for section, key, values, differs in rows
        ]
        print_json({"runs": [run.entity_id for run in found], "rows": listed})
        return
    head = ["", *(f"{run.name or 'run'} {short_id(run.entity_id)}" for run in found)]
    cells = [
        [f"{section}.{key}" if section else key, *(_cell(section or key, value) for value in values)]
        for section, key, values, _ in rows
    ]
    if cells:
        print_table(head, cells)
    else:
        echo("The runs do not differ in anything that was logged.", err=True)


def _cell(name: str, value: object) -> object:
    return "" if value is ABSENT else duration(value) if name == "duration" and isinstance(value, float) else value


def _print_run(session: Session, run: Run, *, show_all: bool) -> None:
    print_line(f"{styled(f'{clean(run.name)}  {run.entity_id}  ', bold=True)}{run.status}")
    if run.description:
        print_line(clean(run.description))
    shown = EntityColumns(session.store, run.KIND, [name for name in KINDS[run.KIND].shown if name not in _HEADING])
    facts = [*zip(shown.names, shown.row(run), strict=True), ("tags", run.tags)]
    if run.reported_times:
        facts.append(("reported", f"{' and '.join(run.reported_times)}, not measured"))
    print_pairs("Run", ((name, duration(value) if name == "duration" else value) for name, value in facts if value))
    print_pairs("Notes", (("-", note) for note in run.notes))
    if run.failure:
        failure = {key: session.resolve(value) for key, value in run.failure.items()}
        traceback = clean_lines(str(failure.pop("traceback", ""))).rstrip()
        print_pairs("Failure", failure.items())
        if traceback:
            print_line(f"\n{traceback}")
    for name in KINDS[run.KIND].maps:
        if name == METRICS:
            _print_metrics(run, show_all=show_all)
        elif name != "failure":
            print_pairs(KINDS[run.KIND].fields[name].title, _pairs(session, name, getattr(run, name)))


def _print_metrics(run: Run, *, show_all: bool) -> None:
    own = [key for key in dict.fromkeys((*run.metrics, *run.series)) if is_own(key)]
    hidden = set() if show_all else set(own)
    print_pairs("Metrics", (item for item in _own_last(run.metrics) if item[0] not in run.series.keys() | hidden))
    rows = [
        [key, item.last, item.minimum, item.maximum, item.mean, item.count, item.last_step]
        for key, item in _own_last(run.series)
        if key not in hidden
    ]
    if rows:
        print_line()
        columns = ["series", "last", "min", "max", "mean", "points", "last step"]
        print_table(columns, rows, right=columns[1:])
    if hidden:
        print_line("\n" + styled(f"{len(own):,} of ModelDB's own measures; --all shows them", dim=True))


def _pairs(session: Session, name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Iterate over what is shown of a map of a run."""
    if name == "code":
        yield from _code_pairs(session, values)
        return
    is_of_files = KINDS["run"].fields[name].names_blobs
    for key, value in values.items():
        packages = session.resolve(value) if (name, key) == ("environment", "packages") else None
        if isinstance(packages, dict) and packages:
            yield key, f"{len(packages)}; modeldb compare shows those that differ"
        elif packages is None:
            yield key, _artifact_text(value) if is_of_files else value


def _own_last(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(values.items(), key=lambda item: is_own(item[0]))


def _code_pairs(session: Session, code: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in code.items():
        if key == "diff":
            yield key, f"{len(_diff_text(session.resolve(value)).splitlines()):,} lines; --diff prints it"
        elif key == "source":
            yield key, f"{len(_diff_text(session.resolve(value)).splitlines()):,} lines; --json prints it"
        elif key == "untracked":
            names = list(value) if isinstance(value, (list, tuple)) else [value]
            more = [f"and {len(names) - _UNTRACKED:,} more; --json lists all"] if len(names) > _UNTRACKED else []
            yield key, names[:_UNTRACKED] + more
        else:
            yield key, value


def _artifact_text(entry: Mapping[str, Any]) -> str:
    return f"{size(entry.get('size_bytes', 0))}  {entry.get('media_type', '')}"


def _diff_text(value: object) -> str:
    """Return a patch as it may be printed: with its lines, but without other control characters."""
    return clean_lines(value) if isinstance(value, str) else ""


def _compared(session: Session, runs: list[Run]) -> Iterator[tuple[str, str, list[Any], bool]]:
    """Iterate over (section, key, value of each run, whether they differ)."""
    declaration = KINDS[runs[0].KIND]
    shown = EntityColumns(session.store, declaration.kind, (*declaration.compared, "tags"))
    for name, values in zip(shown.names, zip(*map(shown.row, runs), strict=True), strict=True):
        if any(values):
            yield "", name, list(values), differ(values)
    for row in compare_maps(runs, session.resolve):
        is_of_files = declaration.fields[row.section].names_blobs
        shown_values = [value[:12] if is_of_files and isinstance(value, str) else value for value in row.values]
        yield row.section, row.key, shown_values, row.differs
