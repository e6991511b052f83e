"""``modeldb reproduce``."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.choosing import is_answered
from modeldb_core.cli.completion import complete_run
from modeldb_core.cli.diff import print_section
from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json, print_table
from modeldb_core.errors import InvalidArgumentError, ReproductionError
from modeldb_core.reproduction.reproduce import Options, Plan, Reproduction, carry_out, plan, record_repetition
from modeldb_core.reproduction.values import ABSENT
from modeldb_core.reproduction.versions import Versions
from modeldb_core.tracking.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modeldb_core.log.points import Series

SAME, DIFFERS = 0, 1
_FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--record", is_flag=True, help="Log the repeated run beside the original one, linked to it."),
        click.option(
            "--tolerance",
            type=click.FloatRange(0),
            default=0.0,
            metavar="NUMBER",
            help="So small a difference counts as the same: relative, absolute around zero. Default: 0, exactly the same.",
        ),
        click.option("--changed-data", is_flag=True, help="Go on with data that is not what it was."),
        click.option(
            "--copy",
            metavar="PATH",
            multiple=True,
            help="Also a file or folder beside the code that no record mentions, as it is now; may be repeated.",
        ),
        click.option("--data", type=_FOLDER, help="Where the data lies that lay beside the code."),
        click.option(
            "--allow-builds", is_flag=True, help="Also install packages without a wheel: building runs their code."
        ),
        click.option(
            "--allow-urls", is_flag=True, help="Also install packages that came from no index, from where they came."
        ),
        click.option("--offline", is_flag=True, help="Install from the cache and --find-links only."),
        click.option(
            "--index-url", metavar="URL", help="The package index. Default: that of UV_DEFAULT_INDEX, or PyPI."
        ),
        click.option(
            "--find-links", metavar="PLACE", multiple=True, help="A folder or page of wheels; may be repeated."
        ),
        click.option(
            "--environment",
            type=click.Choice(["auto", "here", "new"]),
            default="auto",
            help="auto: this one where it has every package in its recorded version, else a new one.",
        ),
        click.option(
            "--fetch", is_flag=True, help="Fetch the commit from the recorded address if no repository here has it."
        ),
        click.option("--repository", type=_FOLDER, help="A folder of the git repository that has the commit."),
        click.option(
            "--folder",
            type=click.Path(path_type=Path),
            help="A new folder for code, environment and store, which is kept. Default: one that is removed at the end.",
        ),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
    ):
        command = option(command)
    return command


@click.command(
    epilog=examples(
        "modeldb reproduce 3f9a1c2e --dry-run",
        "modeldb reproduce 3f9a1c2e --yes --tolerance 1e-9",
        "modeldb reproduce 3f9a1c2e --environment here -- train.py --epochs 3",
    )
)
@click.argument("reference", metavar="RUN", shell_complete=complete_run)
@click.argument("command", metavar="[-- COMMAND]...", nargs=-1)
@_options
@with_session
def reproduce(
    session: Session,
    *,
    reference: str,
    command: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    folder: Path | None,
    index_url: str | None,
    find_links: tuple[str, ...],
    offline: bool,
    record: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - those of Options
) -> int:
    """Repeat a run: its environment, its code with uncommitted changes, its data and its command; and compare the metrics.

    What would be fetched, installed and run is shown and asked for first. COMMAND replaces the recorded command: a script or
    -m and a module, with arguments.
    """
    links = [word for place in find_links for word in ("--find-links", _place(place))]
    index = ["--default-index", index_url] if index_url else []
    uv_options = (*index, *links, *(["--offline"] if offline else []))
    run = session.run(reference)
    planned = plan(run, session.resolve, Options(command=command, uv_options=uv_options, **options))
    if not _agreed(planned, yes=yes, dry_run=dry_run, quiet=as_json):
        return SAME
    with ExitStack() as stack:
        client = stack.enter_context(Client(session.settings)) if record else None
        recorded: list[str] = []

        def log(found: Reproduction, series: Mapping[str, Series]) -> None:
            if client is not None:
                recorded.append(record_repetition(client, found, series))

        place = _own_folder(folder, stack)
        versions = Versions(session.store, session.artifacts)
        found = carry_out(planned, place, versions, lambda line: echo(line, err=True), log)
    _report(found, recorded, as_json=as_json)
    return SAME if found.is_same else DIFFERS


def _place(text: str) -> str:
    """Return a place of wheels as uv, which runs in another folder, understands it."""
    return text if "://" in text else str(Path(text).absolute())


def _agreed(planned: Plan, *, yes: bool, dry_run: bool, quiet: bool) -> bool:
    """Show what is to be done and return whether to do it.

    Raises:
        ReproductionError: nobody can be asked, or the answer is no.
    """
    for line in planned.lines():
        echo(line, err=quiet)
    if dry_run:
        return False
    if yes:
        return True
    if not is_answered():
        msg = "there is no terminal to confirm on, so nothing was run; read the above (--dry-run shows it again) and pass --yes"
        raise ReproductionError(msg)
    if not click.confirm("\nThis runs the code of the record with your rights. Go on?", err=True):
        msg = "nothing was run"
        raise ReproductionError(msg)
    return True


def _own_folder(folder: Path | None, stack: ExitStack) -> Path:
    if folder is None:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="modeldb-reproduce-", ignore_cleanup_errors=True))
        return Path(made).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} is there already and not an empty folder; name one that is new"
        raise InvalidArgumentError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _report(found: Reproduction, recorded: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({**found.document(), "recorded_as": recorded[0] if recorded else None})
        return
    rows = [
        [
            each.key,
            each.verdict,
            *("" if value is ABSENT else value for value in (each.recorded, each.repeated)),
            each.difference,
            f"{each.different_points:,} of {each.points:,} differ" if each.points else "",
        ]
        for each in found.results
    ]
    if rows:
        echo("")
        print_table(["metric", "", "recorded", "repeated", "difference", "points"], rows)
    if found.data.changes:
        print_section(found.data, ["recorded", "repeated"])
    for title, lines in (("Environment differs", found.environment), ("Not exact", found.gaps)):
        if lines:
            echo("\n".join((f"\n{title}:", *(f"  {line}" for line in lines))))
    good = sum(each.is_good for each in found.results)
    how = "exactly" if not found.tolerance else f"within {found.tolerance:g}"
    echo(f"\n{good:,} of {len(found.results):,} metrics are the same, {how}.")
    if recorded:
        echo(f"Recorded as run {recorded[0]}.")
