"""Comments on runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.commands import edits, removal
from modeldb_core.errors import NotFoundError
from modeldb_core.queries import Linked, Query
from modeldb_v1.calls import read, write
from modeldb_v1.kinds import found, milliseconds, required
from modeldb_v1.pages import MOST

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


@write("CommentService.addExperimentRunComment")
def add_comment(context: ServerContext, request: Fields, response: Fields) -> None:
    """Comment on a run."""
    run = found(context, "run", required(request, "entity_id"))
    operation = edits.comment(run.entity_id, required(request, "message"), comment_id=context.new_id("comment"))
    context.execute(operation)
    fill_comment(response.comment, found(context, "comment", operation.entity_id))


@write("CommentService.updateExperimentRunComment")
def update_comment(context: ServerContext, request: Fields, response: Fields) -> None:
    """Put another text in the place of a comment's."""
    comment = _comment(context, request)
    text = edits.comment(
        str(comment.document.get("parent_id")), required(request, "message"), comment_id=comment.entity_id
    )
    (entry,) = text.entries
    context.execute(edits.update("comment", comment.entity_id, {"set": {"message": entry.values["message"]}}))
    fill_comment(response.comment, found(context, "comment", comment.entity_id))


@write("CommentService.deleteExperimentRunComment")
def delete_comment(context: ServerContext, request: Fields, response: Fields) -> None:
    """Delete a comment."""
    comment = _comment(context, request)
    window_days = context.settings.restore_window_days
    context.execute(removal.delete(context.store, [("comment", comment.entity_id)], window_days=window_days))
    response.status = True


@read("CommentService.getExperimentRunComments")
def get_comments(context: ServerContext, request: Fields, response: Fields) -> None:
    """Return the comments on a run, the oldest first."""
    run = found(context, "run", required(request, "entity_id"))
    for comment in comments_on(context, run.entity_id):
        fill_comment(response.comments.add(), comment)


def comments_on(context: ServerContext, run_id: str) -> tuple[Entity, ...]:
    """Return the comments on a run, the oldest first."""
    query = Query("comment", order_by="created_at", linked=Linked("run", run_id, field="parent_id"), limit=MOST)
    return context.store.find(query).entities


def fill_comment(message: Fields, comment: Entity) -> None:
    """Write a comment into its message."""
    document = comment.document
    message.id, message.message = comment.entity_id, str(document.get("message") or "")
    message.date_time = milliseconds(document.get("updated_at"))
    author = str(document.get("author") or comment.owner)
    message.user_id = message.verta_id = author
    message.user_info.verta_info.user_id = message.user_info.verta_info.username = author


def _comment(context: ServerContext, request: Fields) -> Entity:
    """Return the comment that a request names, of the run that it names."""
    comment = found(context, "comment", required(request, "id"))
    run_id = required(request, "entity_id")
    if comment.document.get("parent_id") != run_id:
        msg = f"Comment not found: {comment.entity_id} is not on {run_id[:80]}"
        raise NotFoundError(msg)
    return comment
