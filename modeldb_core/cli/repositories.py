"""``modeldb repo``: repositories in git's words; what is read, and what names commits."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modeldb_core.cli.completion import complete_repository, complete_revision
from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json, print_pairs, print_table, short, shown_time
from modeldb_core.cli.text import clean, clean_lines
from modeldb_core.repositories.checkout import checkout as write
from modeldb_core.repositories.documents import (
    blob_document,
    commit_document,
    difference_document,
    origin_document,
)
from modeldb_core.repositories.names import DEFAULT_BRANCH
from modeldb_core.tracking.repositories.opening import open_repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.model.entities import Commit
    from modeldb_core.repositories.differences import Difference
    from modeldb_core.tracking.repositories.repository import RepositoryHandle

Command = TypeVar("Command", bound="Callable[..., Any]")
SHORT_DIGEST = 12
_SCREENFUL = 20
_MARKS = {"added": "+", "removed": "-", "changed": "~"}

NAME = click.argument("name", metavar="REPOSITORY", shell_complete=complete_repository)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def revision(parameter: str, metavar: str, default: str | None = DEFAULT_BRANCH) -> Callable[[Command], Command]:
    """Return the argument that names a commit; one in square brackets may be left out."""
    is_required = not metavar.startswith("[")
    return click.argument(
        parameter, metavar=metavar, required=is_required, default=default, shell_complete=complete_revision
    )


def opened(session: Session, name: str, *, create: bool = False) -> RepositoryHandle:
    """Return a repository by its name, in the name of this user."""
    if create:
        session.store_to_write()
    return open_repository(session, name, create=create)


def print_commit(commit: Commit, done: str, *, as_json: bool) -> None:
    """Say which commit there is now."""
    if as_json:
        print_json(commit_document(commit))
    else:
        echo(clean(f"{done} {commit.digest[:SHORT_DIGEST]} {commit.name}"))


@click.group()
def repo() -> None:
    """Version data, code, settings and environments in repositories, in git's words.

    A commit is named by a branch, a tag, its digest or the beginning of that; main~2 is the second one before, v1^2 the second
    parent.
    """


@repo.command(epilog=examples("modeldb repo init churn"))
@NAME
@JSON
@with_session
def init(session: Session, *, name: str, as_json: bool) -> None:
    """Make a repository; one that is there is left as it is."""
    found = opened(session, name, create=True)
    if as_json:
        print_json({"repository_id": found.repository_id, "name": found.name})
    else:
        echo(clean(f"Repository {found.name} ({found.repository_id}) in {session.store.url}"))


@repo.command(epilog=examples("modeldb repo log churn", "modeldb repo log churn try config -n 5"))
@NAME
@revision("at", "[REVISION]")
@click.argument("location", required=False, default="")
@click.option("-n", "--limit", type=click.IntRange(1), default=_SCREENFUL, show_default=True, help="At most this many.")
@JSON
@with_session
def log(session: Session, *, name: str, at: str, location: str, limit: int, as_json: bool) -> None:
    """List a commit and those before it, the newest first; with LOCATION, those that changed it."""
    found = opened(session, name)
    listed = [each.entity for each in islice(found.log(at, location), limit)]
    if as_json:
        print_json([commit_document(each) for each in listed])
        return
    names: dict[str, list[str]] = {}
    for named in (found.reader.branches, found.reader.tags):
        for label, commit_id in sorted(named.items()):
            names.setdefault(commit_id, []).append(label)
    rows = [
        [
            *(each.digest[:SHORT_DIGEST], each.name, each.author),
            *(
                "" if each.authored_at is None else shown_time(each.authored_at),
                ", ".join(names.get(each.entity_id, [])),
            ),
        ]
        for each in listed
    ]
    print_table(["commit", "message", "author", "written", "branches and tags"], rows)


@repo.command(
    epilog=examples(
        "modeldb repo show churn", "modeldb repo show churn v1.0 config", "modeldb repo show churn main data/ --json"
    )
)
@NAME
@revision("at", "[REVISION]")
@click.argument("location", required=False, default="")
@JSON
@with_session
def show(session: Session, *, name: str, at: str, location: str, as_json: bool) -> None:
    """Show a commit and what it holds; with LOCATION what is there, or what lies in the folder FOLDER/."""
    commit = opened(session, name).get(at)
    if location and not location.endswith("/"):
        blob = commit[location]
        if as_json:
            print_json(blob_document(blob))
        else:
            print_pairs(location, [(key, value) for key, value in blob.plain().items()])
        return
    listed = [
        {"location": each, "kind": str(entry.get("kind", ""))}
        for each, entry in commit.reader.tree(commit.entity).tree.items(location)
    ]
    if as_json:
        print_json({**commit_document(commit.entity), "locations": listed})
        return
    entity = commit.entity
    echo(clean(f"commit {entity.digest}"))
    for parent in commit.parents:
        echo(clean(f"parent {parent.digest}"))
    written = "" if entity.authored_at is None else shown_time(entity.authored_at)
    echo(clean(f"author {entity.author}  {written}"))
    echo(clean_lines(f"\n{entity.message}\n"))
    print_table(["location", "kind"], [[each["location"], each["kind"]] for each in listed])


@repo.command(
    epilog=examples(
        "modeldb repo diff churn main~", "modeldb repo diff churn v1.0 main", "modeldb repo diff churn main try config"
    )
)
@NAME
@revision("before", "[FROM]", None)
@revision("after", "[TO]")
@click.argument("location", required=False, default="")
@JSON
@with_session
def diff(session: Session, *, name: str, before: str | None, after: str, location: str, as_json: bool) -> None:
    """Show what differs from one commit to another: which settings, which packages, which files.

    Without FROM and TO: what the last commit of main changed; the first one of all is compared with nothing.
    """
    found = opened(session, name)
    differences = found.get(after).diff(before, location)
    if as_json:
        print_json([difference_document(each) for each in differences])
        return
    for each in differences:
        _print_difference(each)
    if not differences:
        echo("No difference.", err=True)


def _print_difference(found: Difference) -> None:
    echo(clean(f"{_MARKS[found.status]} {found.location} ({found.kind})"))
    for part in found.parts:
        if part.status == "changed":
            text = f"{short(part.before)} -> {short(part.after)}"
        else:
            text = short(part.after if part.status == "added" else part.before)
        echo(clean(f"    {_MARKS[part.status]} {part.name}: {text}"))


@repo.command(epilog=examples("modeldb repo blame churn config", "modeldb repo blame churn env v1.0"))
@NAME
@click.argument("location")
@revision("at", "[REVISION]")
@JSON
@with_session
def blame(session: Session, *, name: str, location: str, at: str, as_json: bool) -> None:
    """Show for each part of LOCATION, such as a setting, which commit gave it its value."""
    origins = opened(session, name).get(at).blame(location)
    if as_json:
        print_json([origin_document(each) for each in origins])
        return
    rows = [
        [each.commit.digest[:SHORT_DIGEST], each.commit.author, each.name, each.value, each.commit.name]
        for each in origins
    ]
    print_table(["commit", "author", "part", "value", "message"], rows)


@repo.command(
    epilog=examples(
        "modeldb repo branch churn", "modeldb repo branch churn try", "modeldb repo branch churn try v1.0 --force",
        "modeldb repo branch churn try --delete",
    )
)  # fmt: skip
@NAME
@click.argument("branch_name", metavar="[BRANCH]", required=False, shell_complete=complete_revision)
@revision("at", "[REVISION]")
@click.option("-d", "--delete", is_flag=True, help="Remove BRANCH; its commits stay.")
@click.option("-f", "--force", is_flag=True, help="Move a branch that is there; remove one whose commits no other has.")
@JSON
@with_session
def branch(
    session: Session, *, name: str, branch_name: str | None, at: str, delete: bool, force: bool, as_json: bool
) -> None:
    """List branches; with BRANCH, make it at a commit (default: the head of main), move or remove it."""
    found = opened(session, name)
    if branch_name is not None:
        handle = found.branch(branch_name)
        if delete:
            handle.delete(force=force)
        elif force and branch_name in found.reader.branches:
            handle.move(at)
        else:
            found.create_branch(branch_name, at)
    elif delete or force:
        msg = "name the branch that is meant"
        raise click.UsageError(msg)
    _print_names({each: handle.head.entity for each, handle in found.branches.items()}, "branch", as_json=as_json)


@repo.command(
    epilog=examples("modeldb repo tag churn", "modeldb repo tag churn v1.0", "modeldb repo tag churn v1.0 --delete")
)
@NAME
@click.argument("tag_name", metavar="[TAG]", required=False, shell_complete=complete_revision)
@revision("at", "[REVISION]")
@click.option("-d", "--delete", is_flag=True, help="Remove TAG; the commit stays.")
@JSON
@with_session
def tag(session: Session, *, name: str, tag_name: str | None, at: str, delete: bool, as_json: bool) -> None:
    """List tags; with TAG, give it to a commit (default: the head of main), or remove it."""
    found = opened(session, name)
    if tag_name is not None and delete:
        found.delete_tag(tag_name)
    elif tag_name is not None:
        found.tag(tag_name, at)
    elif delete:
        msg = "name the tag that is meant"
        raise click.UsageError(msg)
    _print_names({each: commit.entity for each, commit in found.tags.items()}, "tag", as_json=as_json)


def _print_names(named: dict[str, Commit], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({each: commit_document(commit) for each, commit in named.items()})
    elif named:
        rows = [[each, commit.digest[:SHORT_DIGEST], commit.name] for each, commit in named.items()]
        print_table([what, "commit", "message"], rows)
    else:
        echo(f"The repository has no {what} yet.", err=True)


@repo.command(
    epilog=examples("modeldb repo checkout churn v1.0 work/", "modeldb repo checkout churn main work/ --force")
)
@NAME
@revision("at", "REVISION", None)
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--force", is_flag=True, help="Replace files that are in the way.")
@JSON
@with_session
def checkout(session: Session, *, name: str, at: str, folder: str, force: bool, as_json: bool) -> None:
    """Write what a commit holds into FOLDER, or bring a folder that was checked out to it."""
    commit = opened(session, name).get(at)
    path, plan = write(commit.reader, commit.entity, folder, force=force)
    if as_json:
        print_json({**commit_document(commit.entity), "path": str(path), "written": sorted(plan.write), "removed": sorted(plan.remove)})  # fmt: skip
    else:
        echo(
            clean(
                f"{path}: {commit.digest[:SHORT_DIGEST]}, {len(plan.write):,} files written, {len(plan.remove):,} removed"
            )
        )
