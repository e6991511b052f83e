"""The version of the tables: making them, deciding what may be done with those of another version, and upgrading them.

Opening a store alters nothing but an empty database, which gets the tables of :data:`LATEST`. Whether tables of another
version may be read or written is decided by compatibility: an older version by what :data:`OLDEST_READABLE` and
:data:`OLDEST_WRITABLE` say, a newer one by what its upgrade wrote into the database (:class:`Revision`). ``modeldb db
upgrade`` upgrades; a file of this user's own is also upgraded by the first write, where older code can go on with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.declared import count_to_make_again, new_stamp, read_declared, write_declared
from modeldb_core.backends._sql.layout import COMPATIBILITY_TABLE, VERSION_TABLE
from modeldb_core.errors import ConfigurationError, StoreReadOnlyError, StoreVersionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Select
    from sqlalchemy.sql.dml import Insert

    from modeldb_core.backends._sql.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Revision:
    """A version of the tables, and what older code may do with it.

    Attributes:
        version: its name; later ones compare greater.
        readable_since: the oldest version whose code reads these tables rightly.
        writable_since: the oldest version whose code may write them.
    """

    version: str
    readable_since: str
    writable_since: str


REVISIONS: tuple[Revision, ...] = (Revision("0001", readable_since="0001", writable_since="0001"),)
"""All versions of the tables, the oldest first. Each has a migration of that name."""
LATEST = REVISIONS[-1].version
OLDEST_READABLE = "0001"
"""The oldest version of the tables that this code reads as they are."""
OLDEST_WRITABLE = "0001"
"""The oldest version of the tables that this code writes as they are."""
MIGRATIONS = "modeldb_core.backends._sql:migrations"
"""Where Alembic finds the migrations."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where a database stands.

    Attributes:
        url: of the database, without secrets.
        version: the version of its tables; ``None`` where there are none yet.
        latest: the version that this ModelDB works with.
        pending: the migrations that lie between the two, in their order.
        outdated: of how many entities older code made the rows, which an upgrade makes again; 0 while there are migrations.
    """

    url: str
    version: str | None
    latest: str
    pending: tuple[str, ...]
    outdated: int = 0


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did.

    Attributes:
        before: the version that was found.
        after: the version that there is now.
        backup: the path or name of the copy that was made first; ``None`` where nothing was to be done.
        made_again: of how many entities the rows were made again.
    """

    before: str | None
    after: str
    backup: str | None
    made_again: int = 0


@dataclass(frozen=True, slots=True)
class Access:
    """What this code may do with the tables of a database.

    Attributes:
        version: of the tables.
        may_write: whether it may write them as they are.
        may_upgrade: whether it may upgrade them unasked: all code that could write them could go on.
    """

    version: str
    may_write: bool
    may_upgrade: bool


def prepare(database: Database) -> Access:
    """Return what may be done with the tables; an empty database gets those of :data:`LATEST`, no other is altered.

    Raises:
        StoreVersionError: the tables are of a version that this code cannot read.
        ConfigurationError: the database holds tables of something else.
        StoreReadOnlyError: there are none, and the database may only be read.
    """
    access = database.read(_access)
    if access is None:
        if database.read_only:
            msg = f"{database.url} is empty, and may only be read; open it once as a user who may write it"
            raise StoreReadOnlyError(msg)
        database.initialize()
        database.write(_create)
        access = database.read(_access)
        assert access is not None
    return access


def make_writable(database: Database, access: Access) -> Access:
    """Return what may be done with the tables, of which one is to write them: a file of one's own is upgraded.

    Raises:
        StoreVersionError: they may not be written by this code, and not be upgraded unasked.
        StoreUnavailableError: they cannot be upgraded now.
    """
    if access.may_upgrade and database.is_own:
        upgrade(database)
        found = database.read(_access)
        assert found is not None
        access = found
    _check_writable(database, access)
    database.initialize()
    return access


def check_access(database: Database, *, to_write: bool) -> None:
    """See that the tables are, as they are now, of a version that this code can read, and write where it is to.

    Raises:
        StoreVersionError: they are not.
        StoreUnavailableError: the database does not answer.
    """
    access = database.read(_access)
    if access is not None and to_write and not (access.may_upgrade and database.is_own):
        _check_writable(database, access)


def _check_writable(database: Database, access: Access) -> None:
    if not access.may_write:
        is_older = access.version < LATEST
        advice = (
            "run: modeldb db upgrade, once nobody writes it with an older ModelDB any more"
            if is_older
            else "install the newer ModelDB: pip install --upgrade modeldb-core"
        )
        msg = (
            f"{database.url} has tables of version {access.version}, which this ModelDB (of version {LATEST}) may read "
            f"but not write; {advice}"
        )
        raise StoreVersionError(msg)


def state_of(database: Database) -> SchemaState:
    """Return where a database stands, without altering it.

    Raises:
        StoreVersionError: its tables are those of a newer ModelDB.
        ConfigurationError: it holds tables of something else.
    """
    version = database.read(read_version)
    pending = tuple(each.version for each in REVISIONS) if version is None else _pending(database, version)
    outdated = 0 if pending else database.read(count_to_make_again)
    return SchemaState(database.url, version, LATEST, pending, outdated)


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
        migrate(transaction.connection, LATEST)
        transaction.connection.execute(sa.delete(tables.compatibility))
        _write_compatibility(transaction)
        return Upgrade(version, LATEST, backup)

    version = database.read(read_version)  # raises where it is not a database of ModelDB: initializing would alter it
    if version is not None:
        _pending(database, version)
    if not database.read_only:
        database.initialize()
    return database.write(work)


def read_version(transaction: Transaction) -> str | None:
    """Return the version of the tables, ``None`` where there are none.

    Raises:
        ConfigurationError: there are tables, but not those of ModelDB.
    """
    names = transaction.database.table_names(transaction)
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


def migrate(connection: Connection, version: str) -> None:
    """Run the migrations up to a version."""
    # Alembic takes ten times as long to import as everything else together.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def _access(transaction: Transaction) -> Access | None:
    version, database = read_version(transaction), transaction.database
    if version is None:
        return None
    known = {each.version: each for each in REVISIONS}
    if version in known:
        if version < OLDEST_READABLE:
            msg = (
                f"{database.url} has tables of version {version}, and this ModelDB reads those of {OLDEST_READABLE} to "
                f"{LATEST}; run: modeldb db upgrade, once nobody uses it with an older ModelDB any more"
            )
            raise StoreVersionError(msg)
        is_old = version != LATEST
        return Access(version, version >= OLDEST_WRITABLE, is_old and known[LATEST].writable_since <= version)
    found = _read_compatibility(transaction)
    if found is None or found.readable_since > LATEST or found.version != version:
        raise _unknown(database, version)
    return Access(version, found.writable_since <= LATEST, may_upgrade=False)


def check(transaction: Transaction) -> Iterator[str]:
    """Iterate over sentences on what differs from the schema that the migrations make."""
    version = read_version(transaction)
    assert version is not None
    yield from transaction.database.check_schema(transaction, version)
    found = _read_compatibility(transaction)
    known = {each.version: each for each in REVISIONS}
    if found is None or found.version != version or found != known.get(version, found):
        yield f"{COMPATIBILITY_TABLE} does not say which code may use tables of version {version}"


def _read_compatibility(transaction: Transaction) -> Revision | None:
    if COMPATIBILITY_TABLE not in transaction.database.table_names(transaction):
        return None
    rows = transaction.rows(_select_compatibility)
    return Revision(*map(str, rows[0])) if len(rows) == 1 else None


def _write_compatibility(transaction: Transaction) -> None:
    latest = REVISIONS[-1]
    row = {each: getattr(latest, each) for each in ("version", "readable_since", "writable_since")}
    row["stamp"] = read_declared(transaction).stamp or new_stamp()
    transaction.write(_insert_compatibility, [row])


def _pending(database: Database, version: str) -> tuple[str, ...]:
    known = [each.version for each in REVISIONS]
    if version not in known:
        raise _unknown(database, version)
    return tuple(known[known.index(version) + 1 :])


def _unknown(database: Database, version: str) -> StoreVersionError:
    return StoreVersionError(
        f"{database.url} has tables of version {version}, which this ModelDB does not know (it knows "
        f"{REVISIONS[0].version} to {LATEST}): it was written by a newer one; install that: "
        f"pip install --upgrade modeldb-core"
    )


def _create(transaction: Transaction) -> None:
    """Make all tables at once: the same that the migrations make one after the other, in a fraction of the time."""
    if read_version(transaction) is not None:
        return
    transaction.database.create_tables(transaction)
    transaction.write(_insert_version, [{"version_num": LATEST}])
    _write_compatibility(transaction)
    write_declared(transaction)


def _insert_version(_database: Database) -> Insert:
    return sa.insert(tables.version_table)


def _select_version(_database: Database) -> Select[Any]:
    return sa.select(tables.version_table.c.version_num)


def _select_compatibility(_database: Database) -> Select[Any]:
    return sa.select(
        tables.compatibility.c.version, tables.compatibility.c.readable_since, tables.compatibility.c.writable_since
    )


def _insert_compatibility(_database: Database) -> Insert:
    return sa.insert(tables.compatibility)


def _list(names: set[str]) -> str:
    shown = sorted(names)[:5]
    return f"it has the tables {', '.join(shown)}{', …' if len(names) > len(shown) else ''}"
