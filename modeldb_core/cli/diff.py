"""``modeldb diff``."""

from __future__ import annotations

from pathlib import Path

import click

from modeldb_core.cli.completion import complete_run
from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json, print_table, short_id
from modeldb_core.cli.terminal import print_line, styled
from modeldb_core.cli.text import clean
from modeldb_core.reproduction.differences import Section, compare_runs, text_rows
from modeldb_core.reproduction.repository import files_between
from modeldb_core.reproduction.versions import Versions


@click.command(epilog=examples("modeldb diff 3f9a1c2e 77b0d4aa", "modeldb diff first second --json"))
@click.argument("first", metavar="RUN1", shell_complete=complete_run)
@click.argument("second", metavar="RUN2", shell_complete=complete_run)
@click.option(
    "--repository",
    metavar="FOLDER",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=".",
    help="A folder of the git repository that has the commits of both. Default: the working folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def diff(session: Session, *, first: str, second: str, repository: Path, as_json: bool) -> None:
    """Explain how two runs differ: code, data, environment, hyperparameters, results."""
    runs = (session.run(first), session.run(second))
    versions = Versions(session.store, session.artifacts)
    found = compare_runs(*runs, session.resolve, versions, files_between(repository))
    if as_json:
        print_json(found.document())
        return
    for section in found:
        print_section(
            section, [f"{run.name or 'run'} {short_id(run.entity_id)}" for run in (found.first, found.second)]
        )
    if not found.differs:
        echo("The runs do not differ in anything that was recorded.", err=True)


def print_section(section: Section, names: list[str]) -> None:
    """Print what differs of one section; nothing where nothing does and nothing is to be said."""
    if section.changes or section.note:
        count = f"  {section.same:,} the same" if section.same else ""
        print_line(f"\n{styled(section.title, bold=True)}{styled(count, dim=True)}")
    if section.changes:
        has_numbers = any(each.difference is not None for each in section.changes)
        rows = [[*row, each.difference] for row, each in zip(text_rows(section), section.changes, strict=True)]
        head = ["", "", *names, *(["difference"] if has_numbers else [])]
        print_table(head, [row[: len(head)] for row in rows])
    if section.note:
        print_line(styled(clean(section.note), dim=True))
