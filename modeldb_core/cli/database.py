"""``modeldb db``: the version of the store's tables, and the order in its bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.output import echo
from modeldb_core.cli.parquet import counts_of, export_tables, tell
from modeldb_core.cli.progress import stages_bar
from modeldb_core.cli.session import Session, examples, missing_store, with_session
from modeldb_core.cli.tables import print_json
from modeldb_core.cli.text import clean
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.plugins import find_backend, load_target, store_options
from modeldb_core.runtime.redaction import redact_url

if TYPE_CHECKING:
    from modeldb_core.config import Settings


@click.group()
def db() -> None:
    """Manage the store itself."""


@db.command(epilog=examples("modeldb db upgrade --dry-run", "modeldb db upgrade"))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def upgrade(session: Session, *, dry_run: bool, as_json: bool) -> None:
    """Bring the store's tables to the version that this ModelDB works with, after a backup."""
    settings = session.settings
    store_class, options = _class_of(settings)
    if (problem := missing_store(settings)) is not None:
        raise problem
    state = store_class.schema_state(settings.url, **options)
    done = None
    if not dry_run and (state.pending or state.outdated):
        with stages_bar() as bar:
            done = store_class.upgrade_schema(
                settings.url, progress=lambda count: bar("Making rows again", count, state.outdated or None), **options
            )
    if as_json:
        print_json(
            {
                "store": state.url,
                "version": done.after if done else state.version,
                "pending": list(state.pending) if done is None else [],
                "outdated": state.outdated if done is None else 0,
                "upgraded_from": done.before if done and state.pending else None,
                "made_again": done.made_again if done else 0,
                "backup": str(done.backup) if done and done.backup else None,
            }
        )
    elif done is None:
        echo(_told(state))
    else:
        if state.pending:
            echo(f"{state.url} was upgraded from version {done.before} to {done.after}.")
        if done.made_again:
            echo(f"The rows of {done.made_again:,} entities were made again, which older code had made.")
        if done.backup:
            echo(f"Backup: {clean(done.backup)}")


def _told(state: Any) -> str:  # noqa: ANN401 - of the class of the backend
    """Return where a store stands to which nothing was done."""
    to_do = list(state.pending)
    if state.outdated:
        to_do.append(f"the rows of {state.outdated:,} entities, which older code made")
    if not to_do:
        return f"{state.url} has version {state.version}: nothing to do."
    return f"{state.url} has version {state.version}; to be done: {', '.join(to_do)}. Nothing was altered."


@db.command(epilog=examples("modeldb db compact", "modeldb db compact --url s3://bucket/prefix"))
@click.option("--parquet", "tables_url", metavar="URL", help="Then write tables for other engines, over those there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def compact(session: Session, *, tables_url: str | None, as_json: bool) -> None:
    """Put the small objects of a store in a bucket or folder together into few large ones.

    Stores do that by themselves now and then; this does all of it at once. It also takes payloads that were erased out
    of the bucket. Nobody needs to stop meanwhile.
    """
    store = session.store
    work = getattr(store, "compact", None)
    if work is None:
        msg = f"{store.url} has nothing to compact: only stores in a bucket or a folder do"
        raise InvalidArgumentError(msg)
    done = work()
    tables = None if tables_url is None else export_tables(session, tables_url, (), replace=True)
    if as_json:
        more = {} if tables is None else {"tables": counts_of(tables)}
        print_json({"store": store.url, "packed": done.packed, "packs": done.packs, "deleted": done.deleted, **more})
        return
    if not (done.packs or done.deleted):
        echo(f"{store.url}: nothing to do.")
    else:
        echo(
            f"{store.url}: {done.packed:,} objects were put together into {done.packs:,}, and {done.deleted:,} deleted "
            f"that are no longer needed."
        )
    if tables is not None:
        tell(tables)


def _class_of(settings: Settings) -> tuple[Any, dict[str, object]]:
    """Return a class with ``schema_state`` and ``upgrade_schema``, and the options that the settings have for it."""
    found = load_target(find_backend(settings.url, "metadata", settings), settings)
    if not hasattr(found, "upgrade_schema"):
        msg = f"{redact_url(settings.url)} has no tables that would have to be upgraded"
        raise InvalidArgumentError(msg)
    return found, store_options(settings.url, "metadata", settings)
