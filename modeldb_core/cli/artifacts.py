"""``modeldb artifacts``: list and fetch the files of a run."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.completion import complete_run
from modeldb_core.cli.output import echo
from modeldb_core.cli.progress import progress_bar
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json, print_table, short_id, size
from modeldb_core.cli.text import clean, clean_lines
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.log.json_documents import json_value
from modeldb_core.runtime.notices import listing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.model.entities import Run

_SHOWN = 5


@click.group()
def artifacts() -> None:
    """List and fetch the files of a run."""


@artifacts.command("list", epilog=examples("modeldb artifacts list 3f9a1c2e"))
@click.argument("reference", metavar="RUN", shell_complete=complete_run)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def list_(session: Session, *, reference: str, as_json: bool) -> None:
    """List the files of a run, with size, type and digest."""
    from modeldb_core.tracking.artifacts import files_of

    run = session.run(reference)
    if as_json:
        print_json(json_value(run.artifacts))
    elif files := files_of(run.artifacts):
        rows = [
            [path, size(entry.get("size_bytes", 0)), entry.get("media_type", ""), str(entry.get("digest", ""))[:12]]
            for path, entry in sorted(files.items())
        ]
        print_table(["path", "size", "type", "digest"], rows, right=["size"])
    else:
        echo("The run has no artifacts.", err=True)


@artifacts.command(
    epilog=examples(
        "modeldb artifacts get 3f9a1c2e confusion.png",
        "modeldb artifacts get 3f9a1c2e model -o model/",
        "modeldb artifacts get 3f9a1c2e notes.txt -o -",
    )
)
@click.argument("reference", metavar="RUN", shell_complete=complete_run)
@click.argument("path")
@click.option(
    "-o", "--output", metavar="PATH", help="Where to write it, - for standard output; default: the name, here."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def get(session: Session, *, reference: str, path: str, output: str | None, force: bool, as_json: bool) -> None:
    """Fetch a file, or all files under a folder's name, and check them against their digests."""
    from modeldb_core.tracking.artifacts import download

    run = session.run(reference)
    wanted, name = _wanted(session, run, path)
    if output == "-":
        if as_json:
            msg = "--json and --output - both print to standard output; choose one"
            raise click.UsageError(msg)
        _print_file(session, wanted, name)
        return
    target = Path(output) if output else Path(name.rpartition("/")[2])
    existing = target / name.rpartition("/")[2] if name in wanted and target.is_dir() else target
    if existing.exists() and not force:
        msg = f"{existing} exists; choose another place with --output, or --force to replace it"
        raise click.UsageError(msg)
    total = sum(entry.get("size_bytes", 0) for entry in wanted.values())
    with progress_bar("Fetching", total) as advance:
        written = download(wanted, name, target, session.artifacts, advance)
    if as_json:
        print_json({"path": str(written), "files": sorted(wanted), "size_bytes": total})
        return
    echo(f"{clean(str(written))}: {len(wanted):,} {'file' if len(wanted) == 1 else 'files'}, {size(total)}", err=True)


def _wanted(session: Session, run: Run, path: str) -> tuple[dict[str, Any], str]:
    """Return the artifacts that a path means, and the name that they are under: a file's, or else a folder's.

    Where there are both, a slash at the end means the folder. A file also goes by the name that it was logged by.
    """
    from modeldb_core.tracking.artifacts import files_of, find_path

    name, files = path.rstrip("/"), files_of(run.artifacts)
    below = {key: entry for key, entry in files.items() if name and key.startswith(f"{name}/")}
    file = find_path(files, path)
    if name == path and file in files:
        if below:
            echo(clean(f"{path} is a folder too: {path}/ fetches the {len(below):,} files in it"), err=True)
        return {file: files[file]}, file
    if not below:
        hint = listing(f"artifacts list {short_id(run.entity_id)}", session.store.url, "it has")
        msg = f"run {run.entity_id} has no artifact {path!r}; {hint}"
        raise NotFoundError(msg)
    return below, name


def _print_file(session: Session, wanted: Mapping[str, dict[str, str]], name: str) -> None:
    if name not in wanted:
        msg = f"{name} is a folder; name one of its files: {', '.join(sorted(wanted)[:_SHOWN])}"
        raise InvalidArgumentError(msg)
    with session.artifacts.open(wanted[name]["digest"]) as stream:
        if sys.stdout.isatty():  # a terminal would obey what is in it
            for line in io.TextIOWrapper(stream, "utf-8", "replace", newline=""):
                echo(clean_lines(line), nl=False)
            return
        out = sys.stdout.buffer
        while chunk := stream.read(1 << 20):
            out.write(chunk)
        out.flush()
