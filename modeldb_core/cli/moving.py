"""``modeldb copy``, ``export`` and ``import``: records on their way between stores and files."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.completion import complete_project, complete_run
from modeldb_core.cli.output import echo, is_terminal
from modeldb_core.cli.parquet import counts_of, export_tables, tell
from modeldb_core.cli.program import FOUND, OK
from modeldb_core.cli.progress import stages_bar
from modeldb_core.cli.session import (
    Session,
    examples,
    missing_store,
    settings_for,
    telling_what_is_settled,
    with_session,
)
from modeldb_core.cli.tables import print_json, size
from modeldb_core.cli.text import clean, runs_in_words
from modeldb_core.log.withholding import Withholding
from modeldb_core.movement.bundle_store import BundleArtifactStore, BundleStore
from modeldb_core.movement.bundle_writer import BundleWriter
from modeldb_core.movement.withholding import needed_with
from modeldb_core.plugins import open_artifacts, open_store
from modeldb_core.provenance.crate import entities_of, make_crate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modeldb_core.config import Settings
    from modeldb_core.movement.copying import Copied
    from modeldb_core.movement.selection import Selection
    from modeldb_core.stores import MetadataStore

_SHOWN = 20  # of a list of things that went wrong


def _selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--project`` and ``--run``."""
    options = (
        click.option(
            "-p",
            "--project",
            "projects",
            metavar="NAME",
            multiple=True,
            shell_complete=complete_project,
            help="Only what touches a project.",
        ),
        click.option(
            "-r",
            "--run",
            "runs",
            metavar="RUN",
            multiple=True,
            shell_complete=complete_run,
            help="Only what touches a run.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    epilog=examples(
        "modeldb copy sqlite:///modeldb.db postgresql://db.example.org/modeldb --to-artifacts s3://bucket/files",
        "modeldb copy bundle:///data/runs.bundle sqlite:///modeldb.db",
        "modeldb copy sqlite:///old.db sqlite:///new.db --dry-run",
    )
)
@click.argument("source_url", metavar="FROM")
@click.argument("target_url", metavar="TO")
@click.option("--from-artifacts", metavar="URL", help="Where the files of FROM are; default: beside it.")
@click.option("--to-artifacts", metavar="URL", help="Where the files of TO go; default: beside it.")
@click.option("--artifacts/--no-artifacts", default=True, help="Copy files and models too; the default.")
@click.option("--all-artifacts", is_flag=True, help="Also copy what is missing of the files of records that TO has.")
@_selecting
@click.option("--allow-erasing", is_flag=True, help="Let FROM erase what TO has, without asking.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def copy(
    *,
    source_url: str,
    target_url: str,
    from_artifacts: str | None,
    to_artifacts: str | None,
    artifacts: bool,
    all_artifacts: bool,
    projects: Sequence[str],
    runs: Sequence[str],
    allow_erasing: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Give TO the records and files that FROM has and TO lacks.

    Identifiers and hashes stay as they are. What TO has is left alone, and both may be in use meanwhile. A copy that
    was interrupted goes on where it was when it is started again. Streams that differ in the two are named, all others
    are copied; the exit code is then 1. What FROM erases of records that TO has is counted, and it asks before.
    """
    from modeldb_core.movement.copying import copy as copy_streams

    source_settings, target_settings = settings_for(source_url, from_artifacts), settings_for(target_url, to_artifacts)
    with ExitStack() as stack:
        source = stack.enter_context(_open(source_settings))
        target = stack.enter_context(_open(target_settings, dry_run=dry_run, create=True))
        if source.url == target.url:
            msg = f"FROM and TO are both {source.url}; name two stores"
            raise click.UsageError(msg)
        selection = _select(source, source_settings, projects, runs)
        blobs = None
        if artifacts:
            blobs = tuple(open_artifacts(each.artifact_url, each) for each in (source_settings, target_settings))
            for store in blobs:
                stack.callback(store.close)
        with telling_what_is_settled(target), stages_bar() as show:
            done = copy_streams(
                source,
                target,
                artifacts=blobs,  # type: ignore[arg-type]  # two of them
                streams=None if selection is None else selection.streams,
                every_blob=all_artifacts,
                dry_run=dry_run,
                may_erase=None if allow_erasing else _ask_to_erase,
                progress=show,
            )
        target_name = target_settings.url if dry_run else target.url
    verb = "to be copied" if dry_run else "copied"
    _report(done, target_name, verb, with_artifacts=artifacts, as_json=as_json, dry_run=dry_run)
    return OK if done.ok else FOUND


@click.command(
    epilog=examples(
        "modeldb export runs.bundle",
        "modeldb export churn.bundle --project churn --no-artifacts",
        "modeldb export s3://bucket/tables --format parquet",
    )
)
@click.argument("path", metavar="FILE")
@_selecting
@click.option(
    "--format",
    "form",
    type=click.Choice(["bundle", "parquet"]),
    default="bundle",
    help="A bundle, the default; or a folder or URL of Parquet, for other engines.",
)
@click.option("--artifacts/--no-artifacts", default=True, help="With files and models; the default.")
@click.option("--withhold-others", is_flag=True, help="Without what the same streams say of anything else.")
@click.option("--ro-crate", "ro_crate", is_flag=True, help="With RO-Crate metadata: unpacked with tar, it is a crate.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def export(
    session: Session,
    *,
    path: str,
    projects: Sequence[str],
    runs: Sequence[str],
    form: str,
    artifacts: bool,
    withhold_others: bool,
    ro_crate: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Write the records and files of the store into one file, a bundle.

    `modeldb import FILE` takes it into another store, `modeldb audit verify FILE` verifies it by itself. With --project
    and --run only those streams of changes go into it that touch what is named. Each of them goes whole, with the other
    runs of the same process, and the command says which. --withhold-others leaves out what they say of those: the chains
    still verify, and the bundle marks what it does not hold. Such a bundle is read where it is, no store takes it in.

    With --format parquet runs and points become tables that DuckDB, polars, Spark and Trino read; FILE is then a folder
    or a URL.
    """
    from modeldb_core.movement.copying import copy as copy_streams

    if form == "parquet":
        if runs or not artifacts or withhold_others or ro_crate or dry_run:
            msg = "--format parquet goes with --project, --force and --json alone: tables hold no files and no streams"
            raise click.UsageError(msg)
        tables = export_tables(session, path, projects, replace=force)
        if as_json:
            print_json(counts_of(tables))
        else:
            tell(tables)
        return OK
    store = session.store
    selection = _select(store, session.settings, projects, runs, withheld=withhold_others)
    if withhold_others and selection is None:
        msg = "--withhold-others is for --project and --run: a whole store has no others"
        raise click.UsageError(msg)
    view = None
    if withhold_others and selection is not None:
        view = Withholding(needed_with(store, selection.wanted))
    if dry_run:
        return _dry_export(session, path, selection, view, artifacts=artifacts, as_json=as_json)
    described = entities_of(store, None if selection is None else selection.wanted) if ro_crate else []
    with BundleWriter(path, replace=force) as writer, stages_bar() as show:
        done = copy_streams(
            store,
            writer,
            artifacts=(session.artifacts, writer) if artifacts else None,
            streams=None if selection is None else selection.streams,
            view=view,
            workers=1,  # in one order, so that the same records make the same file
            progress=show,
        )
        if ro_crate:
            writer.add_crate(make_crate(described, writer.has, Path(path).stem))
        chosen = [] if selection is None else selection.asked
        manifest = writer.finish(has_artifacts=artifacts, absent_blobs=sorted(done.absent), selection=chosen)
    _report(done, path, "written", with_artifacts=artifacts, as_json=as_json, sha256=manifest.digest)
    if not as_json:
        echo(f"SHA-256 of what its manifest says, which covers all of it: {manifest.digest}")
    return OK if done.ok else FOUND


def _dry_export(
    session: Session,
    path: str,
    selection: Selection | None,
    view: Withholding | None,
    *,
    artifacts: bool,
    as_json: bool,
) -> int:
    from modeldb_core.movement.copying import copy as copy_streams

    with open_store("memory://") as nothing, closing(open_artifacts("memory://")) as nowhere:
        done = copy_streams(
            session.store,
            nothing,
            artifacts=(session.artifacts, nowhere) if artifacts else None,
            streams=None if selection is None else selection.streams,
            view=view,
            dry_run=True,
        )
    _report(done, path, "to be written", with_artifacts=artifacts, as_json=as_json, dry_run=True)
    return OK if done.ok else FOUND


@click.command("import", epilog=examples("modeldb import runs.bundle", "modeldb import runs.bundle --dry-run"))
@click.argument("path", metavar="FILE")
@click.option("--artifacts/--no-artifacts", default=True, help="Files and models too; the default.")
@click.option("--allow-erasing", is_flag=True, help="Let it erase what the store has, without asking.")
@click.option("--dry-run", is_flag=True, help="Only say what would be taken in.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def import_(session: Session, *, path: str, artifacts: bool, allow_erasing: bool, dry_run: bool, as_json: bool) -> int:
    """Take the records and files in a bundle into the store: what it lacks of them.

    Everything is verified on the way. An import that was interrupted goes on where it was when it is started again. What
    the bundle erases of records that the store has is counted, and it asks before.
    """
    from modeldb_core.movement.copying import copy as copy_streams

    url = f"bundle://{Path(path).absolute()}"
    with BundleStore(url) as source, closing(BundleArtifactStore(url)) as files:
        with_files = artifacts and source.bundle.manifest.has_artifacts
        with (
            _open(session.settings, dry_run=dry_run, create=True) as target,
            telling_what_is_settled(target),
            stages_bar() as show,
        ):
            done = copy_streams(
                source,
                target,
                artifacts=(files, session.artifacts) if with_files else None,
                dry_run=dry_run,
                may_erase=None if allow_erasing else _ask_to_erase,
                progress=show,
            )
            name = session.settings.url if dry_run else target.url
    verb = "to be taken in" if dry_run else "taken in"
    _report(done, name, verb, with_artifacts=with_files, as_json=as_json, dry_run=dry_run)
    return OK if done.ok else FOUND


def _ask_to_erase(count: int, names: Sequence[str]) -> bool:
    """Ask whether what is there may be erased; where nobody can answer, say how to allow it."""
    for name in names:
        echo(f"Would lose what was logged: {clean(name)}", err=True)
    if not (is_terminal() and sys.stdin.isatty()):
        echo("Look at it with --dry-run; --allow-erasing allows it.", err=True)
        return False
    return click.confirm(f"Erase {count:,} or more payloads of what is there?", err=True)


def _open(settings: Settings, *, dry_run: bool = False, create: bool = False) -> MetadataStore:
    """Open a store. One that does not exist is only made where something is to be written into it."""
    problem = missing_store(settings)
    if problem is not None and not create:
        raise problem
    return open_store("memory://" if problem is not None and dry_run else settings.url, settings)


def _select(
    store: MetadataStore,
    settings: Settings,
    projects: Sequence[str],
    runs: Sequence[str],
    *,
    withheld: bool = False,
) -> Selection | None:
    """Return the streams of what was named, after saying what else is in them."""
    from modeldb_core.movement.selection import select

    if not projects and not runs:
        return None
    session = Session.of(store, settings)
    project_ids = [session.container_id(project, None) or "" for project in projects]
    selection = select(store, projects=project_ids, runs=[session.run(run).entity_id for run in runs])
    if selection.other_runs:
        others = ", ".join(sorted(map(clean, selection.other_projects)))
        deed = "are in the same streams and are withheld" if withheld else "come along, from the same streams"
        counts = f"{runs_in_words(selection.runs)} asked for; {selection.other_runs:,} more {deed}"
        echo(f"{counts} (of {others}):" if others else f"{counts}:", err=True)
        for name in selection.other_names:
            echo(f"  {clean(name)}", err=True)
        if selection.other_runs > len(selection.other_names):
            echo(f"  ... and {selection.other_runs - len(selection.other_names):,} more", err=True)
    return selection


def _report(
    done: Copied,
    where: str,
    verb: str,
    *,
    with_artifacts: bool,
    as_json: bool,
    dry_run: bool = False,
    **more: object,
) -> None:
    if as_json:
        counts = {"changes": done.changes, "streams": done.streams, "present": done.present, "files": done.blobs}
        counts["erased"] = done.erased
        faults = {"refused": done.refused, "missing": done.missing, "damaged": done.damaged}
        print_json(
            {"ok": done.ok, "dry_run": dry_run, "to": where, **counts, "file_bytes": done.blob_bytes, **faults, **more}
        )
        return
    files = f", {done.blobs:,} files ({size(done.blob_bytes)})" if with_artifacts else ""
    there = f"; {done.present:,} were there" if done.present else ""
    echo(f"{done.changes:,} changes in {done.streams:,} streams{files} {verb}: {clean(where)}{there}")
    if done.erased:
        would = "would be" if dry_run else "were"
        names = ", ".join(map(clean, done.erased_names))
        echo(f"{done.erased:,} payloads of what was there {would} erased: {names}", err=True)
    complaints = [f"stream {name}: {reason}" for name, reason in sorted(done.refused.items())]
    complaints += [f"file {digest} of {owner} is not there to be copied" for digest, owner in done.missing.items()]
    complaints += list(done.damaged.values())
    for line in complaints[:_SHOWN]:
        echo(f"Not copied: {clean(line)}", err=True)
    if len(complaints) > _SHOWN:
        echo(f"... and {len(complaints) - _SHOWN:,} more", err=True)
    if done.missing:
        echo("Files may still be with a writer that could not ship them; --no-artifacts leaves all out.", err=True)
