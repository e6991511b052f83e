"""``modeldb repo commit``, ``merge``, ``revert`` and ``cherry-pick``: what makes commits."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.completion import complete_revision
from modeldb_core.cli.output import echo
from modeldb_core.cli.repositories import JSON, NAME, opened, print_commit, repo, revision
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.text import clean
from modeldb_core.errors import InvalidArgumentError, MergeConflictError, NotFoundError
from modeldb_core.model.values import from_json
from modeldb_core.repositories.blobs import CONFIG, Blob, from_plain
from modeldb_core.repositories.merging import Conflict
from modeldb_core.repositories.names import DEFAULT_BRANCH
from modeldb_core.tracking.repositories.ingredients import git_snapshot, python_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BRANCH = click.option(
    "-b",
    "--branch",
    default=DEFAULT_BRANCH,
    show_default=True,
    shell_complete=complete_revision,
    help="On which branch.",
)
_MESSAGE = click.option("-m", "--message", default="", help="Of the commit that is made; default: what is done.")
_MAINLINE = click.option("--mainline", type=click.IntRange(1), help="Of a merge: against which parent, from 1.")


def _resolving(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is to be done about conflicts."""
    for option in (
        click.option("--favour", type=click.Choice(("ours", "theirs")), help="The side to take of every other conflict."),
        click.option("--theirs", multiple=True, metavar="LOCATION[:PART]", help="Take their side there."),
        click.option("--ours", multiple=True, metavar="LOCATION[:PART]", help="Take our side there: that of the branch."),
    ):  # fmt: skip
        function = option(function)
    return function


@repo.command(
    epilog=examples(
        "modeldb repo commit churn -m 'bigger batches' --set config=params.toml",
        "modeldb repo commit churn -m 'new image' --set image=image.json --env env --git code",
        "modeldb repo commit churn -m 'try it' -b try --base main --remove old/config",
    )
)
@NAME
@click.option("-m", "--message", required=True, help="What is changed, and why.")
@_BRANCH
@click.option("--base", shell_complete=complete_revision, help="Where a new branch begins.")
@click.option(
    "--set",
    "files",
    multiple=True,
    metavar="LOCATION=FILE",
    help="Settings from a JSON or TOML file, or a blob as show --json prints it.",
)
@click.option(
    "--env", "environments", multiple=True, metavar="LOCATION", help="The Python environment of this command."
)
@click.option("--git", "snapshots", multiple=True, metavar="LOCATION", help="The git repository of the working folder.")
@click.option("--remove", "removed", multiple=True, metavar="LOCATION", help="Take a location away.")
@click.option("--author", default="", help="Who wrote it; default: you.")
@click.option("--allow-empty", is_flag=True, help="Commit also if nothing changes.")
@click.option("--rebase", is_flag=True, help="Where somebody else moved the branch, put it on the new head.")
@JSON
@with_session
def commit(
    session: Session,
    *,
    name: str,
    message: str,
    branch: str,
    base: str | None,
    files: Sequence[str],
    environments: Sequence[str],
    snapshots: Sequence[str],
    removed: Sequence[str],
    author: str,
    allow_empty: bool,
    rebase: bool,
    as_json: bool,
) -> None:
    """Commit settings, environments and code to a branch."""
    found = opened(session, name)
    draft = found.commit(message, branch=branch, base=base, author=author, allow_empty=allow_empty, rebase=rebase)
    for given in files:
        location, mark, file = given.partition("=")
        if not mark:
            msg = f"--set {given!r:.80} is not written as LOCATION=FILE"
            raise click.UsageError(msg)
        draft[location] = _blob_in(Path(file))
    for location in environments:
        draft[location] = python_environment()
    for location in snapshots:
        draft[location] = git_snapshot()
    for location in removed:
        del draft[location]
    print_commit(draft.save().entity, f"{branch} is at", as_json=as_json)


def _blob_in(path: Path) -> Blob:
    """Return what a file describes: a blob if it says of which kind, else settings.

    Raises:
        NotFoundError, InvalidArgumentError: it cannot be read.
    """
    try:
        text = path.read_text("utf-8")
        found: Any = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise NotFoundError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not {'TOML' if path.suffix == '.toml' else 'JSON'} in UTF-8: {error}"
        raise InvalidArgumentError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} holds {type(found).__name__}; expected a map of settings, or a blob with its kind"
        raise InvalidArgumentError(msg)
    value: Any = found if path.suffix == ".toml" else from_json(found)
    return from_plain(value, str(path)) if "kind" in found else Blob(CONFIG, {"hyperparameters": value})


@repo.command(
    epilog=examples(
        "modeldb repo merge churn try",
        "modeldb repo merge churn try --into main --ours config:lr --theirs data/train",
        "modeldb repo merge churn try --favour theirs -m 'take what was tried'",
    )
)
@NAME
@revision("source", "SOURCE", None)
@click.option(
    "--into",
    default=DEFAULT_BRANCH,
    show_default=True,
    shell_complete=complete_revision,
    help="The branch that is moved.",
)
@_MESSAGE
@_resolving
@click.option("--no-ff", is_flag=True, help="Make a merge commit also where the branch could just be moved.")
@JSON
@with_session
def merge(
    session: Session,
    *,
    name: str,
    source: str,
    into: str,
    message: str,
    ours: Sequence[str],
    theirs: Sequence[str],
    favour: str | None,
    no_ff: bool,
    as_json: bool,
) -> None:
    """Merge a branch or a commit into a branch; what both changed is a conflict, and nothing is done until it is decided."""
    found = opened(session, name)

    def attempt(resolve: dict[Any, Any]) -> Any:  # noqa: ANN401
        return found.merge(source, into, message=message, resolve=resolve, favour=favour or "", fast_forward=not no_ff)

    print_commit(_decided(attempt, ours, theirs).entity, f"{into} is at", as_json=as_json)


@repo.command(epilog=examples("modeldb repo revert churn 3f9a1c2e", "modeldb repo revert churn main --branch main"))
@NAME
@revision("at", "COMMIT", None)
@_BRANCH
@_MESSAGE
@_MAINLINE
@_resolving
@JSON
@with_session
def revert(session: Session, *, name: str, at: str, branch: str, message: str, mainline: int | None, ours: Sequence[str], theirs: Sequence[str], favour: str | None, as_json: bool) -> None:  # fmt: skip
    """Make a commit that takes back what another one changed."""
    found = opened(session, name)

    def attempt(resolve: dict[Any, Any]) -> Any:  # noqa: ANN401
        return found.revert(at, branch, message=message, mainline=mainline, resolve=resolve, favour=favour or "")

    print_commit(_decided(attempt, ours, theirs).entity, f"{branch} is at", as_json=as_json)


@repo.command(
    "cherry-pick",
    epilog=examples("modeldb repo cherry-pick churn try", "modeldb repo cherry-pick churn 3f9a1c2e -b main"),
)
@NAME
@revision("at", "COMMIT", None)
@_BRANCH
@_MESSAGE
@_MAINLINE
@_resolving
@JSON
@with_session
def cherry_pick(session: Session, *, name: str, at: str, branch: str, message: str, mainline: int | None, ours: Sequence[str], theirs: Sequence[str], favour: str | None, as_json: bool) -> None:  # fmt: skip
    """Make a commit on a branch that changes there what another one changed elsewhere."""
    found = opened(session, name)

    def attempt(resolve: dict[Any, Any]) -> Any:  # noqa: ANN401
        return found.cherry_pick(at, branch, message=message, mainline=mainline, resolve=resolve, favour=favour or "")

    print_commit(_decided(attempt, ours, theirs).entity, f"{branch} is at", as_json=as_json)


def _decided(attempt: Callable[[dict[Any, Any]], Any], ours: Sequence[str], theirs: Sequence[str]) -> Any:  # noqa: ANN401
    """Try with what the options decide; list what is left in conflict, one a line."""
    resolve: dict[Any, Any] = {}
    for side, given in (("ours", ours), ("theirs", theirs)):
        for text in given:
            location, mark, part = text.partition(":")
            resolve[(location, part) if mark else location] = side
    try:
        return attempt(resolve)
    except MergeConflictError as error:
        for each in error.conflicts:
            if isinstance(each, Conflict):
                echo(clean(f"conflict: {each}"), err=True)
        msg = f"{len(error.conflicts):,} locations are in conflict, and nothing was done; decide with --ours, --theirs or --favour"
        raise MergeConflictError(msg, error.conflicts) from error
