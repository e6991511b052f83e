"""``modeldb rename``, ``describe``, ``tag`` and ``untag``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.choosing import Choice, choosing
from modeldb_core.cli.session import Session, examples, recorder_for, with_session
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError
from modeldb_core.log.changes import UPDATE
from modeldb_core.model.values import check_key, check_text
from modeldb_core.tracking.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable

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

    def payload(entity: Entity) -> dict[str, Any]:
        text = check_name(name.strip(), entity.KIND)
        if entity.KIND != "run":
            _check_is_free(session, entity, text)
        return {"set": {"name": text}}

    _edit(session, choice, "rename", f"renamed to {name.strip()!r}", payload)


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
    check_text(text, "description")
    _edit(session, choice, "describe", "described", lambda _: {"set": {"description": text}})


@click.command(
    epilog=examples("modeldb tag 3f9a1c2e best", "modeldb tag --filter 'metrics.auc > 0.9' --project churn --yes good")
)
@choosing
@click.argument("tag")
@with_session
def tag(session: Session, *, choice: Choice, tag: str) -> None:
    """Add the tag TAG to runs, or to an experiment or a project; what has it already is left alone."""
    check_key(tag, "tag")
    _edit(
        session, choice, "tag", f"tagged {tag!r}", lambda entity: _unless(tag in entity.tags, {"add": {"tags": [tag]}})
    )


@click.command(
    epilog=examples("modeldb untag 3f9a1c2e best", "modeldb untag --filter 'tags contains \"old\"' --dry-run old")
)
@choosing
@click.argument("tag")
@with_session
def untag(session: Session, *, choice: Choice, tag: str) -> None:
    """Take the tag TAG away from runs, or from an experiment or a project; what has it not is left alone."""
    check_key(tag, "tag")
    remove = {"remove": {"tags": [tag]}}
    _edit(session, choice, "untag", f"untagged {tag!r}", lambda entity: _unless(tag not in entity.tags, remove))


def _edit(
    session: Session, choice: Choice, action: str, deed: str, payload: Callable[[Entity], dict[str, Any] | None]
) -> None:
    """Update what was chosen, all of it or nothing; ``payload`` returns ``None`` for what stays as it is."""
    chosen = choice.entities(session)
    for entity in chosen:
        if entity.deleted_at is not None:
            msg = f"the {entity.KIND} {entity.name!r} ({entity.entity_id}) is deleted; restore it first"
            raise InvalidArgumentError(msg)
    updates = [(entity, data) for entity in chosen if (data := payload(entity)) is not None]
    touched = [entity for entity, _ in updates]
    if chosen and not updates:
        choice.report(action, deed, [])
    elif choice.confirm(touched, deed):
        if not choice.dry_run:
            with recorder_for(session.store, session.settings) as recorder:
                recorder.record([(UPDATE, entity.KIND, entity.entity_id, data) for entity, data in updates])
        choice.report(action, deed, [(entity.KIND, entity.entity_id) for entity in touched])


def _unless(condition: bool, payload: dict[str, Any]) -> dict[str, Any] | None:
    return None if condition else payload


def _check_is_free(session: Session, entity: Entity, name: str) -> None:
    """Raise AlreadyExistsError where another container beside ``entity`` has the name: people find it by that."""
    from modeldb_core.model.schema import KINDS
    from modeldb_core.queries import Query, quote

    within = entity.document.get(KINDS[entity.KIND].home)
    query = Query(entity.KIND, f"name = {quote(name)}", within=str(within) if within else None, limit=2)
    if any(other.entity_id != entity.entity_id for other in session.store.find(query).entities):
        msg = f"there is another {entity.KIND} named {name!r}; choose another name"
        raise AlreadyExistsError(msg)
