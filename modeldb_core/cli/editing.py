"""``modeldb rename``, ``describe``, ``tag`` and ``untag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modeldb_core.cli.choosing import Choice, choosing_for
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import ID_LENGTH
from modeldb_core.commands import edits
from modeldb_core.commands.names import check_tags
from modeldb_core.commands.operation import together
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.entities import is_id
from modeldb_core.stores.references import find_entity_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity


@click.command(
    epilog=examples(
        "modeldb rename 3f9a1c2e baseline",
        "modeldb rename --project churn 'churn 2026'",
        "modeldb rename --filter 'name startswith \"tmp\"' --dry-run scratch",
    )
)
@choosing_for("NAME")
@with_session
def rename(session: Session, *, choice: Choice, value: str) -> None:
    """Give a run, an experiment or a project the name NAME, or all runs that match a filter."""
    _edit(session, choice, "rename", f"renamed to {value.strip()!r}", lambda entity: edits.rename(entity, value))


@click.command(
    epilog=examples(
        "modeldb describe 3f9a1c2e 'the one to beat'", "modeldb describe --filter 'name = \"first\"' --yes ''"
    )
)
@choosing_for("TEXT")
@with_session
def describe(session: Session, *, choice: Choice, value: str) -> None:
    """Give a run, an experiment, a project or all runs that match the description TEXT; an empty one takes it away."""
    _edit(session, choice, "describe", "described", lambda entity: edits.describe(entity.KIND, entity.entity_id, value))


@click.command(
    epilog=examples(
        "modeldb tag 3f9a1c2e best candidate", "modeldb tag --filter 'metrics.auc > 0.9' --project churn --yes good"
    )
)
@choosing_for("TAG", several=True)
@with_session
def tag(session: Session, *, choice: Choice, value: list[str]) -> None:
    """Add the tags TAG to a run; one to an experiment, a project or all runs that match a filter.

    What has a tag already is left alone.
    """
    _change_tags(session, choice, "tag", "tagged", value, is_added=True)


@click.command(
    epilog=examples("modeldb untag 3f9a1c2e best", "modeldb untag --filter 'tags contains \"old\"' --dry-run old")
)
@choosing_for("TAG", several=True)
@with_session
def untag(session: Session, *, choice: Choice, value: list[str]) -> None:
    """Take the tags TAG away from a run; one from an experiment, a project or all runs that match a filter.

    What has it not is left alone.
    """
    _change_tags(session, choice, "untag", "untagged", value, is_added=False)


def _change_tags(
    session: Session, choice: Choice, action: str, deed: str, given: Sequence[str], *, is_added: bool
) -> None:
    tags = check_tags(given)
    if len(tags) > 1:
        _check_are_no_runs(session, tags)

    def change(entity: Entity) -> Operation | None:
        wanted = [text for text in tags if (text in entity.tags) != is_added]
        if not wanted:
            return None
        return edits.change_tags(entity.KIND, entity.entity_id, **{"add" if is_added else "remove": wanted})

    _edit(session, choice, action, f"{deed} {', '.join(map(repr, tags))}", change)


def _check_are_no_runs(session: Session, tags: Sequence[str]) -> None:
    """Refuse tags that are identifiers, as tables show them: who means several runs chooses them by a filter.

    Raises:
        InvalidArgumentError: one is.
    """
    for text in tags:
        if is_id(text) or (len(text) >= ID_LENGTH and find_entity_id(session.store, text) != text):
            msg = (
                f"{text!r} is an identifier, not a tag: one run is named, then its tags; --filter chooses several runs"
            )
            raise InvalidArgumentError(msg)


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
