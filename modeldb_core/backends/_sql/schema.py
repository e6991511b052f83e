"""The version of the tables: making them, checking them, and bringing old ones up to date.

A store does that by itself when it is opened: a new database gets the tables of :data:`LATEST` at once, an old one is
backed up and upgraded under the write lock, one of a newer ModelDB is refused. The command ``modeldb db upgrade`` asks
the classes of stores, which pass on to :func:`state_of` (looks, and alters nothing) and :func:`upgrade`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table, insert, select

from modeldb_core.backends._sql.tables import metadata
from modeldb_core.errors import ConfigurationError, StoreReadOnlyError, StoreVersionError

if TYPE_CHECKING:
    from sqlalchemy import Select

    from modeldb_core.backends._sql.database import Database, Transaction

VERSION_TABLE = "modeldb_version"
REVISIONS: tuple[str, ...] = ("0001", "0002")
"""All versions of the tables, the oldest first. Each has a migration of that name."""
LATEST = REVISIONS[-1]
MIGRATIONS = "modeldb_core.backends._sql:migrations"
"""Where Alembic finds the migrations."""

_version = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),  # as Alembic makes it
)


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where a database stands.

    Attributes:
        url: of the database, without secrets.
        version: the version of its tables; ``None`` where there are none yet.
        latest: the version that this ModelDB works with.
        pending: the migrations that lie between the two, in their order.
    """

    url: str
    version: str | None
    latest: str
    pending: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did.

    Attributes:
        before: the version that was found.
        after: the version that there is now.
        backup: the path or name of the copy that was made first; ``None`` where nothing was to be done.
    """

    before: str | None
    after: str
    backup: str | None


def prepare(database: Database) -> None:
    """Make sure that the tables are those of :data:`LATEST`.

    Raises:
        StoreVersionError: they are those of a newer ModelDB; or of an older one, and the database may only be read.
        ConfigurationError: the database holds tables of something else.
        StoreReadOnlyError: there are none, and the database may only be read.
    """
    version = database.read(read_version)
    if not database.read_only and (version is None or version in REVISIONS):
        database.initialize()
    if version == LATEST:
        return
    if version is not None:
        pending = _pending(database, version)
        if database.read_only:
            msg = (
                f"{database.url} has tables of version {version}, this ModelDB works with {LATEST}, and the database "
                f"may only be read; run: modeldb db upgrade, as a user who may write it"
            )
            raise StoreVersionError(msg)
        assert pending
        upgrade(database)
    elif database.read_only:
        msg = f"{database.url} is empty, and may only be read; open it once as a user who may write it"
        raise StoreReadOnlyError(msg)
    else:
        database.write(_create)


def state_of(database: Database) -> SchemaState:
    """Return where a database stands, without altering it.

    Raises:
        StoreVersionError: its tables are those of a newer ModelDB.
        ConfigurationError: it holds tables of something else.
    """
    version = database.read(read_version)
    pending = REVISIONS if version is None else _pending(database, version)
    return SchemaState(database.url, version, LATEST, pending)


def upgrade(database: Database) -> Upgrade:
    """Bring the tables to :data:`LATEST`, after a backup; all or nothing, and safe while others open the database.

    Raises:
        StoreVersionError: they are those of a newer ModelDB.
        ConfigurationError: the database holds tables of something else.
        StoreReadOnlyError: it may only be read.
        StoreUnavailableError: it is locked, or the disk has no room for the backup.
    """

    def work(transaction: Transaction) -> Upgrade:
        # Looked at again under the lock: another process may have been faster.
        version = read_version(transaction)
        if version is None:
            _create(transaction)
            return Upgrade(None, LATEST, None)
        if not _pending(database, version):
            return Upgrade(version, version, None)
        backup = database.backup(transaction, version)
        _migrate(transaction)
        return Upgrade(version, LATEST, backup)

    database.read(read_version)  # raises where it is not a database of ModelDB: initializing would alter it
    if not database.read_only:
        database.initialize()
    return database.write(work)


def read_version(transaction: Transaction) -> str | None:
    """Return the version of the tables, ``None`` where there are none.

    Raises:
        ConfigurationError: there are tables, but not those of ModelDB.
    """
    names = transaction.database.table_names(transaction.connection)
    if VERSION_TABLE in names:
        versions = [str(version) for (version,) in transaction.rows(_select_version)]
        if len(versions) == 1:
            return versions[0]
    if names:
        what = f"{VERSION_TABLE} does not hold one version" if VERSION_TABLE in names else _list(names)
        msg = (
            f"{transaction.database.url} is not a database of ModelDB ({what}); choose another one, or a "
            f"{transaction.database.alternative}"
        )
        raise ConfigurationError(msg)
    return None


def _pending(database: Database, version: str) -> tuple[str, ...]:
    if version not in REVISIONS:
        msg = (
            f"{database.url} has tables of version {version}, which this ModelDB does not know (it knows {REVISIONS[0]} "
            f"to {LATEST}): it was written by a newer one; install that: pip install --upgrade modeldb-core"
        )
        raise StoreVersionError(msg)
    return REVISIONS[REVISIONS.index(version) + 1 :]


def _create(transaction: Transaction) -> None:
    """Make all tables at once: the same that the migrations make one after the other, in a fraction of the time."""
    if read_version(transaction) is not None:
        return
    connection = transaction.connection
    metadata.create_all(connection, checkfirst=False)
    _version.create(connection)
    connection.execute(insert(_version), {"version_num": LATEST})


def _migrate(transaction: Transaction) -> None:
    # Alembic takes ten times as long to import as everything else together.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["connection"] = transaction.connection
    command.upgrade(config, LATEST)


def _select_version(_database: Database) -> Select[Any]:
    return select(_version.c.version_num)


def _list(names: set[str]) -> str:
    shown = sorted(names)[:5]
    return f"it has the tables {', '.join(shown)}{', …' if len(names) > len(shown) else ''}"
