"""Committing to a repository, and moving its branches and tags: each is one batch under conditions, or nothing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.edits import check_living, put_values
from modeldb_core.commands.operation import Operation
from modeldb_core.errors import (
    AlreadyExistsError,
    BranchMovedError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
)
from modeldb_core.log.changes import CREATE, UPDATE
from modeldb_core.log.conditions import Unset, ValueIs
from modeldb_core.log.stream import Entry
from modeldb_core.model.decisions import saw
from modeldb_core.model.entities import Commit, Repository, derived_id, from_datetime, now_us
from modeldb_core.model.values import MAX_NAME_LENGTH, check_key, check_text, encode
from modeldb_core.repositories.blobs import Blob, to_entry
from modeldb_core.repositories.names import check_location, check_reference, normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modeldb_core.log.conditions import Condition
    from modeldb_core.repositories.blobs import Entry as TreeEntry
    from modeldb_core.repositories.reading import RepositoryReader

BRANCHES, TAGS = "branches", "commit_tags"
MAX_MESSAGE = 1 << 16
_COMMIT, _REPOSITORY = Commit.KIND, Repository.KIND


def commit(
    repository: RepositoryReader,
    tree: str,
    parents: Iterable[Commit],
    *,
    branch: str | None,
    message: str,
    author: str,
    authored_at: int | None = None,
    is_new: bool = False,
) -> Operation:
    """Make a commit and move a branch to it, which must still be at the first of its parents, or not be there yet.

    Args:
        repository: in which.
        tree: the root of its tree.
        parents: the commits before it, the head of the branch first; none where the branch is new.
        branch: the name of the branch; ``None``: none is moved, and the commit is named by its digest until one is set.
        message: what was changed, and why.
        author: who wrote that.
        authored_at: when, in microseconds since 1970-01-01 UTC; default: now.
        is_new: whether the branch begins with this commit.

    Raises:
        InvalidArgumentError: the message is empty or too long, or no branch can be called so.
        ConflictError: the repository or a parent is deleted.
    """
    check_living(repository.repository)
    before = list(parents)
    for each in before:
        check_living(each)
    repository_id = repository.repository.entity_id
    name = None if branch is None else check_reference(branch)
    text = check_message(message)
    fields: dict[str, Any] = {
        "message": text,
        "author": check_text(author, "author")[:MAX_NAME_LENGTH],
        "authored_at": now_us() if authored_at is None else authored_at,
        "tree": tree,
    }
    digest = digest_of([each.digest for each in before], **fields)
    commit_id = derived_id(_COMMIT, repository_id, digest)
    fields |= {"repository_id": repository_id, "parent_ids": [each.entity_id for each in before]}
    fields |= {"digest": digest, "generation": 1 + max((each.generation for each in before), default=0)}
    fields["name"] = text.partition("\n")[0][:MAX_NAME_LENGTH]
    made: list[Entry] = [Entry(CREATE, _COMMIT, commit_id, fields)]
    at: list[Condition] = []
    if name is not None:
        made.append(_put(repository, BRANCHES, name, commit_id))
        at.append(_is_at(repository_id, BRANCHES, name, before[0].entity_id if before and not is_new else None))
    return Operation(
        tuple(made),
        (
            *at,
            Unset(_REPOSITORY, repository_id, "deleted_at"),
            *(Unset(_COMMIT, each.entity_id, "deleted_at") for each in before),
        ),
        commit_id,
    )


def digest_of(parents: list[str], *, message: str, author: str, authored_at: int, tree: str) -> str:
    """Return the digest of a commit: SHA-256 of its content and of the digests of its parents, and so of all before it."""
    said = {"parents": parents, "message": message, "author": author, "authored_at": authored_at, "tree": tree}
    return hashlib.sha256(encode(said)).hexdigest()  # type: ignore[arg-type]


def check_message(message: object) -> str:
    """Return the message of a commit, without space around it.

    Raises:
        InvalidTypeError: it is not a text; InvalidArgumentError: it is empty or too long.
    """
    text = check_text(message, "the message of a commit").strip()
    if not text or len(text) > MAX_MESSAGE:
        msg = f"the message of a commit has {len(text):,} characters; expected 1 to {MAX_MESSAGE:,} that say what was changed"
        raise InvalidArgumentError(msg)
    return text


def edit_tree(
    repository: RepositoryReader,
    base: Commit | None,
    edits: Mapping[str, Blob | TreeEntry | None],
    *,
    is_checked: bool = True,
) -> str:
    """Write the tree that a commit is to have; return its root.

    Args:
        repository: in which.
        base: the commit whose tree is altered; of none, the tree begins empty.
        edits: what is to stand at locations: blobs, entries of other trees, ``None`` where something is removed.
        is_checked: whether to refuse the removal of what is not there.

    Raises:
        NotFoundError: there is nothing at a location that is to be removed.
        InvalidArgumentError: a location cannot be, or is to be a blob and a folder.
    """
    tree = repository.tree(base).tree
    puts: dict[str, Any] = {}
    removed: list[str] = []
    for given, value in edits.items():
        location = check_location(given)
        if value is not None:
            puts[location] = to_entry(value, repository.artifacts.put) if isinstance(value, Blob) else value
        elif not is_checked or tree.get(location) is not None:
            removed.append(location)
        else:
            msg = f"there is nothing at {location!r:.200} that could be removed"
            raise NotFoundError(msg)
    return (repository.trees.build(puts) if base is None else tree.edit(puts, remove=removed)).root


def beginning(repository: RepositoryReader, branch: str, base: Commit | None) -> tuple[Commit | None, bool]:
    """Return on what a commit to a branch is built, none in an empty repository, and whether the branch is new.

    Args:
        repository: in which.
        branch: its name.
        base: where it begins, if it is new.

    Raises:
        NotFoundError: there is no such branch, and no ``base``, although there are commits.
        InvalidArgumentError: there is such a branch and a ``base``.
    """
    head = repository.branches.get(branch)
    if head is not None and base is not None:
        msg = f"there is a branch {branch!r} already, so a commit on it begins at its head; leave out base, or choose another branch"
        raise InvalidArgumentError(msg)
    if head is not None:
        return repository.history.commit(head), False
    return (head_of(repository, branch) if base is None and repository.branches else base), True


# -- branches and tags ------------------------------------------------------------------------------------------------


def create_branch(repository: RepositoryReader, name: str, at: Commit) -> Operation:
    """Make a branch that does not exist yet.

    Raises:
        AlreadyExistsError: it does; InvalidArgumentError: no branch can be called so.
    """
    return _create(repository, BRANCHES, check_reference(name), at)


def create_tag(repository: RepositoryReader, name: str, at: Commit) -> Operation:
    """Give a commit a tag that does not exist yet: a tag is not moved.

    Raises:
        AlreadyExistsError: it does; InvalidArgumentError: no tag can be called so.
    """
    return _create(repository, TAGS, check_reference(name, "tag"), at)


def _create(repository: RepositoryReader, field: str, name: str, at: Commit) -> Operation:
    check_living(repository.repository)
    check_living(at)
    if name in (repository.branches if field == BRANCHES else repository.tags):
        word, more = _words(field)
        msg = f"there is a {word} {name!r} already; {more}"
        raise AlreadyExistsError(msg)
    repository_id = repository.repository.entity_id
    return Operation(
        (_put(repository, field, name, at.entity_id),),
        (_is_at(repository_id, field, name, None), Unset(_COMMIT, at.entity_id, "deleted_at")),
        repository_id,
    )


def _words(field: str) -> tuple[str, str]:
    if field == BRANCHES:
        return "branch", "choose another name, or move it"
    return "tag", "choose another name, or delete it first: a tag is not moved"


def move_branch(repository: RepositoryReader, name: str, to: Commit) -> Operation:
    """Move a branch to another commit, wherever that lies; it must still be where ``repository`` has it.

    Raises:
        NotFoundError: there is no such branch.
    """
    check_living(repository.repository)
    check_living(to)
    name = normalized(name)
    head = head_of(repository, name)
    repository_id = repository.repository.entity_id
    return Operation(
        (_put(repository, BRANCHES, name, to.entity_id),),
        (_is_at(repository_id, BRANCHES, name, head.entity_id), Unset(_COMMIT, to.entity_id, "deleted_at")),
        repository_id,
    )


def delete_branch(repository: RepositoryReader, name: str, *, force: bool = False) -> Operation:
    """Remove a branch; its commits stay, and can be named by their digests.

    Raises:
        NotFoundError: there is no such branch.
        InvalidArgumentError: no other branch and no tag has its commits, and ``force`` is not set.
    """
    name = normalized(name)
    head = head_of(repository, name)
    others = {each for key, each in repository.branches.items() if key != name} | set(repository.tags.values())
    if not force and not repository.history.is_before_any(head.entity_id, others):
        msg = f"branch {name!r} has commits that no other branch or tag has ({head.digest[:12]}); merge it first, or force it"
        raise InvalidArgumentError(msg)
    return _remove(repository, BRANCHES, name, head.entity_id)


def delete_tag(repository: RepositoryReader, name: str) -> Operation:
    """Remove a tag.

    Raises:
        NotFoundError: there is no such tag.
    """
    name = normalized(name)
    if name not in repository.tags:
        msg = f"there is no tag {name!r:.80} in repository {repository.repository.name!r:.80}"
        raise NotFoundError(msg)
    return _remove(repository, TAGS, name, repository.tags[name])


def head_of(repository: RepositoryReader, branch: str) -> Commit:
    """Return the last commit of a branch.

    Raises:
        NotFoundError: there is no such branch.
    """
    branch = normalized(branch)
    if branch not in repository.branches:
        known = ", ".join(sorted(repository.branches)[:8]) or "none"
        msg = f"there is no branch {branch!r:.80} in repository {repository.repository.name!r:.80}; there are: {known}"
        raise NotFoundError(msg)
    return repository.history.commit(repository.branches[branch])


def carry_out(repository: RepositoryReader, operation: Operation, execute: Callable[[Operation], object]) -> None:
    """Carry out an operation on branches and tags, and say who was faster where one was moved.

    Raises:
        BranchMovedError: a branch is not where it was; nothing was done.
        AlreadyExistsError: a branch or tag that is to be made is there.
        PreconditionError: something was deleted meanwhile.
        ConditionsUnsupportedError: the store cannot decide who is first.
    """
    try:
        execute(operation)
    except PreconditionError as error:
        condition = error.condition
        if not isinstance(condition, (ValueIs, Unset)) or condition.field not in (BRANCHES, TAGS) or not condition.key:
            raise
        raise _moved(repository, condition, error) from error
    finally:
        repository.refresh()


def _moved(repository: RepositoryReader, condition: ValueIs | Unset, error: PreconditionError) -> Exception:
    name, found = condition.key or "", error.found
    word, more = _words(condition.field)
    if condition.field == TAGS and isinstance(condition, Unset):
        return AlreadyExistsError(f"there is a tag {name!r} already; {more}")
    where = "it was deleted"
    if isinstance(found, str):
        try:
            head = repository.history.commit(found)
            at = f" at {head.created_at:%Y-%m-%d %H:%M:%S} UTC" if head.created_at else ""
            where = f"it is at {head.digest[:12]} ({head.name!r:.60}), made by {head.owner!r:.60}{at}"
        except NotFoundError:
            where = f"it is at {found!r:.60}"
    msg = f"{word} {name!r} was moved meanwhile: {where}. Nothing was done; build on that and try again"
    return BranchMovedError(msg, condition, found)


def _is_at(repository_id: str, field: str, name: str, commit_id: str | None) -> Condition:
    if commit_id is None:
        return Unset(_REPOSITORY, repository_id, field, name)
    return ValueIs(_REPOSITORY, repository_id, field, commit_id, name)


def _put(repository: RepositoryReader, field: str, name: str, commit_id: str) -> Entry:
    return _moving(repository, {"put": {field: {name: commit_id}}})


def _moving(repository: RepositoryReader, data: dict[str, Any]) -> Entry:
    entity = repository.repository
    return Entry(UPDATE, _REPOSITORY, entity.entity_id, saw(_REPOSITORY, entity.document, data))


def _remove(repository: RepositoryReader, field: str, name: str, commit_id: str) -> Operation:
    repository_id = repository.repository.entity_id
    entry = _moving(repository, {"remove": {field: [name]}})
    return Operation((entry,), (_is_at(repository_id, field, name, commit_id),), repository_id)


def authored(commit: Commit) -> int | None:
    """Return when a commit was written, as :func:`commit` takes it."""
    return None if commit.authored_at is None else from_datetime(commit.authored_at)


def log_commit(repository: RepositoryReader, run_id: str, commit: Commit, locations: Mapping[str, str]) -> Operation:
    """Record that a run was given a commit.

    Args:
        repository: of the commit.
        run_id: which run.
        commit: which commit; one of the same repository that was recorded before is replaced.
        locations: those of its tree that the run uses, by what the run calls them.

    Raises:
        NotFoundError: the commit has nothing at one of them.
    """
    entry = commit_entry(repository, commit, locations)
    return put_values("run", check_key(run_id, "run_id"), "commits", {repository.repository.name: entry})


def commit_entry(repository: RepositoryReader, commit: Commit, locations: Mapping[str, str]) -> dict[str, Any]:
    """Return what a run records of a commit that it was given; arguments and errors are those of :func:`log_commit`."""
    tree = repository.tree(commit)
    checked = {check_key(key, "a key of locations"): check_location(each) for key, each in locations.items()}
    for location in checked.values():
        if tree.get(location) is None:
            msg = f"commit {commit.digest[:12]} has nothing at {location!r:.200}, so the run cannot have used it"
            raise NotFoundError(msg)
    return {
        "repository_id": repository.repository.entity_id,
        "commit_id": commit.entity_id,
        "digest": commit.digest,
        "message": commit.name,
        **({"locations": checked} if checked else {}),
    }
