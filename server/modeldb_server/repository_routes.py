"""The routes of repositories: history, what commits hold, commits, merges, branches and tags."""

from __future__ import annotations

from functools import partial

from modeldb_core.commands.commits import MAX_MESSAGE
from modeldb_core.repositories.merging import SIDES
from modeldb_core.repositories.names import DEFAULT_BRANCH, MAX_REFERENCE
from modeldb_core.repositories.reading import MAX_LOOKED
from modeldb_server.entity_routes import PREFIX, limit_of
from modeldb_server.handlers import repositories
from modeldb_server.routes import MAX_NAME, Parameter, Policy, Route

_PATH = f"{PREFIX}/repositories/<entity_id>"
_MAX_EDITS = 500
_read = partial(Route, policy=Policy.READ, errors=(400, 404), tag="repositories")
_edit = partial(Route, policy=Policy.WRITE, errors=(400, 403, 404, 409, 412, 413, 415), tag="repositories")


def _text(name: str, description: str, *, default: str | None = None, required: bool = False, most: int = MAX_NAME) -> Parameter:  # fmt: skip
    return Parameter(
        name=name, type="text", default=default, required=required, max_length=most, description=description
    )


_REVISION = _text(
    "revision", "a branch, a tag, or a digest or its beginning; main~2 and v1^2 go back", default=DEFAULT_BRANCH
)
_PATH_IN = _text("path", "the location of what it holds, such as data/train", required=True)
_BRANCH = _text("branch", "which branch is moved", default=DEFAULT_BRANCH, most=MAX_REFERENCE)
_NAME = _text("name", "its name, as git takes it", required=True, most=MAX_REFERENCE)
_AT = _text("at", "the commit, by a branch, a tag or a digest", default=DEFAULT_BRANCH)
_MESSAGE = _text("message", "of the commit; made where it is empty", default="", most=MAX_MESSAGE)
_DECIDED = (
    Parameter(name="favour", type="text", choices=SIDES, description="the side to take of every other conflict"),
    Parameter(
        name="resolve",
        type="objects",
        default=(),
        max_items=_MAX_EDITS,
        items=(
            _text("path", "the location where both changed something", required=True),
            _text("part", "of what is there, such as optimizer.lr; all of it without one"),
            Parameter(name="take", type="text", required=True, choices=SIDES, description="whose is to stand"),
        ),
        description="what is to be done about conflicts; ours is the branch",
    ),
)
_OF_ANOTHER = (
    _text("commit", "which one", required=True),
    _BRANCH,
    _MESSAGE,
    Parameter(name="mainline", type="integer", minimum=1, maximum=100, description="of a merge: against which parent"),
    *_DECIDED,
)

REPOSITORY_ROUTES = (
    _read(
        "GET",
        f"{_PATH}/log",
        repositories.list_commits,
        "List a commit and those before it, the newest first",
        parameters=(
            _REVISION,
            _text("path", "only commits that changed what is at this location", default=""),
            limit_of("commits", 100, repositories.MAX_LISTED),
            Parameter(
                name="cursor",
                type="text",
                default="",
                max_length=16_384,
                description="of the page before. A page may hold fewer commits than asked for, or none, and go on all the same:"
                f" at most {MAX_LOOKED:,} are looked at",
            ),
        ),
        answer="CommitPage",
    ),
    _read(
        "GET",
        f"{_PATH}/blobs",
        repositories.list_blobs,
        "List the locations of a commit",
        name="list_repository_blobs",
        parameters=(
            _REVISION,
            _text("prefix", "only locations that begin so, such as data/", default=""),
            _text("after", "of the page before, for the next one", default=""),
            limit_of("locations", 100, repositories.MAX_LISTED),
        ),
        answer="RepositoryBlobs",
    ),
    _read(
        "GET",
        f"{_PATH}/blob",
        repositories.read_blob,
        "Read what a commit holds at a location",
        name="read_repository_blob",
        parameters=(_REVISION, _PATH_IN),
        answer="RepositoryBlob",
    ),
    _read(
        "GET",
        f"{_PATH}/diff",
        repositories.compare_commits,
        "Compare two commits, location by location and part by part",
        parameters=(
            _text("before", "the first commit; default: the first parent of the second"),
            _text("after", "the second commit", default=DEFAULT_BRANCH),
            _text("path", "only at this location, or below this folder", default=""),
            limit_of("locations", 100, repositories.MAX_LISTED),
        ),
        answer="RepositoryDifferences",
    ),
    _read(
        "GET",
        f"{_PATH}/blame",
        repositories.blame_location,
        "Say which commit gave each part of a location its value",
        description=f"At most {MAX_LOOKED:,} commits are looked at. What is older comes with the commit from which to ask on.",
        parameters=(_REVISION, _PATH_IN),
        answer="RepositoryOrigins",
    ),
    _edit(
        "POST",
        f"{_PATH}/commits",
        repositories.create_commit,
        "Commit to a branch",
        description="The commit is made and the branch moved, both or neither. Where somebody else moved the branch, the"
        " answer is 412 and says who; build on the new head and try again.",
        body=(
            _text("message", "what is changed, and why", required=True, most=MAX_MESSAGE),
            _BRANCH,
            _text("base", "where a new branch begins"),
            _text("expected", "the digest or identifier of the head that the branch must have"),
            _text("author", "who wrote it; default: who asks"),
            Parameter(
                name="blobs",
                type="object",
                default={},
                max_items=_MAX_EDITS,
                description="what is to stand at locations: kind (config, code, environment, data) and the fields of that",
            ),
            Parameter(
                name="remove", type="texts", default=(), max_items=_MAX_EDITS, description="locations to take away"
            ),
            Parameter(name="allow_empty", type="flag", default=False, description="whether it may change nothing"),
        ),
        answer="Commit",
        status=201,
    ),
    _edit(
        "POST",
        f"{_PATH}/merge",
        repositories.merge_commit,
        "Merge a commit into a branch",
        description="What both changed is a conflict (409, with conflicts), and nothing is done until resolve or favour decide.",
        body=(
            _text("revision", "what is merged: a branch, a tag or a digest", required=True),
            _text("into", "the branch that is moved", default=DEFAULT_BRANCH, most=MAX_REFERENCE),
            _MESSAGE,
            *_DECIDED,
            Parameter(
                name="fast_forward",
                type="flag",
                default=True,
                description="whether the branch is only moved where it has nothing that source lacks",
            ),
        ),
        answer="Commit",
    ),
    _edit(
        "POST",
        f"{_PATH}/revert",
        repositories.revert_commit,
        "Take back what a commit changed",
        body=_OF_ANOTHER,
        answer="Commit",
        status=201,
    ),
    _edit(
        "POST",
        f"{_PATH}/cherry-pick",
        repositories.cherry_pick_commit,
        "Change on a branch what a commit changed elsewhere",
        body=_OF_ANOTHER,
        answer="Commit",
        status=201,
    ),
    _edit(
        "POST",
        f"{_PATH}/branches",
        repositories.set_branch,
        "Make or move a branch",
        body=(
            _NAME,
            _AT,
            Parameter(name="move", type="flag", default=False, description="move a branch that is there"),
        ),
        answer="Repository",
    ),
    _edit(
        "POST",
        f"{_PATH}/branches/delete",
        repositories.delete_branch,
        "Remove a branch; its commits stay",
        body=(
            _NAME,
            Parameter(name="force", type="flag", default=False, description="also if no other has its commits"),
        ),
        answer="Repository",
    ),
    _edit(
        "POST",
        f"{_PATH}/tags/create",
        repositories.create_tag,
        "Give a commit a tag",
        name="create_commit_tag",
        body=(_NAME, _AT),
        answer="Repository",
    ),
    _edit(
        "POST",
        f"{_PATH}/tags/delete",
        repositories.delete_tag,
        "Remove a tag of a commit",
        name="delete_commit_tag",
        body=(_NAME,),
        answer="Repository",
    ),
)
