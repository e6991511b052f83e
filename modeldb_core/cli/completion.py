"""What the shell offers for a word that is not finished: runs, projects and experiments of the configured store.

Completion must never get in the way: whatever goes wrong, nothing is offered, and no store is made.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from modeldb_core.cli.session import Session
from modeldb_core.cli.tables import short_id
from modeldb_core.cli.text import clean
from modeldb_core.model.entities import Repository
from modeldb_core.model.schema import KINDS, lineage_kinds, shown_kinds
from modeldb_core.queries import Query, condition, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import click


_OFFERED = 30


def complete_run(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer runs, the newest first: by the short identifier that tables show, and by name once that was begun."""
    return _offered(_runs, context, incomplete)


def complete_entity(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what takes part in lineage: runs, and names of what has versions."""
    return _offered(_entities, context, incomplete)


def complete_model(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer registered models, and after an @ the versions, stages and aliases of the one before it."""
    return _offered(_models, context, incomplete)


def complete_dataset(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer data sets, and after an @ the versions of the one before it."""
    return _offered(_datasets, context, incomplete)


def complete_project(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of projects."""
    return _offered(_projects, context, incomplete)


def complete_experiment(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of experiments: of the project that was named, or of all."""
    return _offered(_experiments, context, incomplete)


def complete_repository(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of repositories."""
    return _offered(_repositories, context, incomplete)


def complete_revision(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the branches and tags of the repository that was named."""
    return _offered(_revisions, context, incomplete)


def complete_kind(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the kinds of entities, those of plugins too."""
    return _offered(_kinds, context, incomplete)


def _offered(
    offer: Callable[[Session, click.Context, str], Iterable[CompletionItem]], context: click.Context, incomplete: str
) -> list[CompletionItem]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            session = Session(url=context.params.get("url") or context.params.get("source_url"), ships_orphans=False)
            try:
                return [item for item in offer(session, context, incomplete) if clean(item.value) == item.value]
            finally:
                session.close()
    except Exception:  # see above
        return []


def _runs(session: Session, context: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    begun = f"name startswith {quote(incomplete)}" if incomplete else ""
    gone = context.info_name == "restore"
    for run in session.store.find(Query("run", begun, limit=_OFFERED, include_deleted=gone)).entities:
        if not gone or run.deleted_at is not None:
            yield CompletionItem(run.name if incomplete else short_id(run.entity_id), help=clean(run.name))
    if incomplete:
        for run in session.store.find(Query("run", limit=20 * _OFFERED, fields=(), include_deleted=gone)).entities:
            if short_id(run.entity_id).startswith(incomplete):
                yield CompletionItem(short_id(run.entity_id), help=clean(run.name))


def _entities(session: Session, context: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    yield from _runs(session, context, incomplete)
    for kind in lineage_kinds():
        home = KINDS[kind].fields.get(KINDS[kind].home)
        if home is not None and "version" in KINDS[kind].columns:
            yield from _named(session, home.refers_to, incomplete, None)


def _kinds(session: Session, _: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    yield from (CompletionItem(each.path) for each in shown_kinds() if each.path.startswith(incomplete))


def _models(session: Session, _: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    workspace_id = session.store.identify(("workspace", session.settings.workspace))[-1]
    name, at, _begun = incomplete.rpartition("@")
    if not at:
        yield from _named(session, "registered_model", incomplete, workspace_id)
        return
    query = Query("registered_model", f"name = {quote(name)}", within=workspace_id, limit=1)
    for model in session.store.find(query).entities:
        versions = Query("model_version", "version > 0", "version desc", within=model.entity_id, limit=_OFFERED)
        numbers = (f"v{each.document['version']}" for each in session.store.find(versions).entities)
        for word in (*model.document.get("aliases", ()), *model.document.get("stages", ()), *numbers):
            if f"{name}@{word}".startswith(incomplete):
                yield CompletionItem(f"{name}@{word}")


def _datasets(session: Session, _: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    workspace_id = session.store.identify(("workspace", session.settings.workspace))[-1]
    name, at, _begun = incomplete.rpartition("@")
    if not at:
        yield from _named(session, "dataset", incomplete, workspace_id)
        return
    for found in session.store.find(Query("dataset", f"name = {quote(name)}", within=workspace_id, limit=1)).entities:
        versions = Query("dataset_version", "version > 0", "version desc", within=found.entity_id, limit=_OFFERED)
        numbers = (f"v{each.document['version']}" for each in session.store.find(versions).entities)
        for word in ("latest", *numbers):
            if f"{name}@{word}".startswith(incomplete):
                yield CompletionItem(f"{name}@{word}")


def _projects(session: Session, _: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    yield from _named(session, "project", incomplete, None)


def _experiments(session: Session, context: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    project = context.params.get("project")
    yield from _named(session, "experiment", incomplete, session.container_id(project, None) if project else None)


def _repositories(session: Session, _: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    yield from _named(session, "repository", incomplete, None)


def _revisions(session: Session, context: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    named = condition("name = ?", context.params.get("name") or "")
    for found in session.store.find(Query("repository", named, limit=1)).entities:
        if isinstance(found, Repository):
            names = [*sorted(found.branches), *sorted(found.commit_tags)]
            yield from (CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete))


def _named(session: Session, kind: str, incomplete: str, within: str | None) -> Iterator[CompletionItem]:
    begun = f"name startswith {quote(incomplete)}" if incomplete else ""
    query = Query(kind, begun, "name", ("name",), 10 * _OFFERED, within=within)
    for name in dict.fromkeys(entity.name for entity in session.store.find(query).entities):
        yield CompletionItem(name)
