"""``modeldb rename``, ``describe``, ``tag`` and ``untag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modeldb_core.cli.choosing import Choice, choosing
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.commands import edits
from modeldb_core.commands.names import check_tag
from modeldb_core.commands.operation import together

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity


@click.command(
    epilog=examples(
        "modeldb rename 3f9a1c2e baseline",
        "modeldb rename --project churn 'churn 2026'",
        "modeldb rename --filter 'name startswith \"tmp\"' --dry-run scratch",
    )
)
@choosing
@click.argument("name")
@with_session
def rename(session: Session, *, choice: Choice, name: str) -> None:
    """Give runs, or an experiment or a project, the name NAME."""
    _edit(session, choice, "rename", f"renamed to {name.strip()!r}", lambda entity: edits.rename(entity, name))


@click.command(
    epilog=examples(
        "modeldb describe 3f9a1c2e 'the one to beat'", "modeldb describe --filter 'name = \"first\"' --yes ''"
    )
)
@choosing
@click.argument("text")
@with_session
def describe(session: Session, *, choice: Choice, text: str) -> None:
    """Give runs, or an experiment or a project, the description TEXT; an empty one takes it away."""
    _edit(session, choice, "describe", "described", lambda entity: edits.describe(entity.KIND, entity.entity_id, text))


@click.command(
    epilog=examples("modeldb tag 3f9a1c2e best", "modeldb tag --filter 'metrics.auc > 0.9' --project churn --yes good")
)
@choosing
@click.argument("tag")
@with_session
def tag(session: Session, *, choice: Choice, tag: str) -> None:
    """Add the tag TAG to runs, or to an experiment or a project; what has it already is left alone."""
    _change_tag(session, choice, "tag", "tagged", tag, is_added=True)


@click.command(
    epilog=examples("modeldb untag 3f9a1c2e best", "modeldb untag --filter 'tags contains \"old\"' --dry-run old")
)
@choosing
@click.argument("tag")
@with_session
def untag(session: Session, *, choice: Choice, tag: str) -> None:
    """Take the tag TAG away from runs, or from an experiment or a project; what has it not is left alone."""
    _change_tag(session, choice, "untag", "untagged", tag, is_added=False)


def _change_tag(session: Session, choice: Choice, action: str, deed: str, tag: str, *, is_added: bool) -> None:
    text = check_tag(tag)

    def change(entity: Entity) -> Operation | None:
        if (text in entity.tags) == is_added:
            return None
        return edits.change_tags(entity.KIND, entity.entity_id, **{"add" if is_added else "remove": [text]})

    _edit(session, choice, action, f"{deed} {tag!r}", change)


def _edit(
    session: Session, choice: Choice, action: str, deed: str, operation_on: Callable[[Entity], Operation | None]
) -> None:
    """Edit what was chosen, all of it or nothing; ``operation_on`` returns ``None`` for what stays as it is."""
    chosen = choice.entities(session)
    for entity in chosen:
        edits.check_living(entity)
    operations = {entity.entity_id: operation for entity in chosen if (operation := operation_on(entity)) is not None}
    touched = [entity for entity in chosen if entity.entity_id in operations]
    if chosen and not touched:
        choice.report(action, deed, [])
    elif choice.confirm(touched, deed):
        if not choice.dry_run:
            session.execute(together(operations.values()))
        choice.report(action, deed, [(entity.KIND, entity.entity_id) for entity in touched])
