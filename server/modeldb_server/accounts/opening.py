"""Where the accounts of a server are, and opening them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modeldb_core.config import Settings
from modeldb_core.errors import ConfigurationError
from modeldb_core.plugins import places_for, store_options
from modeldb_server.accounts.accounts import Accounts
from modeldb_server.accounts.database import AccountsDatabase, with_options

if TYPE_CHECKING:
    from modeldb_core.stores import MetadataStore
    from modeldb_core.stores.direct import Applies

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def place_beside(store_url: str, settings: Settings | None) -> str:
    """Return where the accounts of a store are by default; empty where there is no place beside it.

    In the same database where that is one of PostgreSQL, in a schema of their own. Beside a file or folder they are a file: a copy of
    the store can be given away without them.
    """
    if settings is not None and store_url.startswith(_POSTGRES):
        if store_url in settings.project_urls:
            return ""  # its server would be shown a password of this user
        return with_options(store_url, store_options(store_url, "metadata", settings))
    path = places_for(settings).path_in(store_url) if settings is not None else None
    if path is None and store_url.startswith(_SQLITE):
        path = Path(store_url.removeprefix(_SQLITE))
    if path is None or path.name.startswith(":"):
        return ""
    return f"{_SQLITE}{path.with_name(f'{path.stem}-accounts.db')}"


def accounts_url(store: MetadataStore, settings: object, choice: str) -> str:
    """Return where the accounts of a server are; empty where it has none, and is to make none.

    Args:
        store: the whole store.
        settings: those of ModelDB, where they are known.
        choice: what ``server.accounts`` says.

    Raises:
        ConfigurationError: they are to be beside the store, where there is no place.
        StoreUnavailableError: it cannot be seen whether there are any.
    """
    if choice == "off":
        return ""
    if choice not in ("", "on"):
        return choice
    whole = settings if isinstance(settings, Settings) else None
    beside = place_beside(whole.url if whole is not None else store.url, whole)
    if choice == "on":
        if not beside:
            msg = f"there is no place for accounts beside {store.url}; name a database: server.accounts = 'sqlite:////data/accounts.db'"
            raise ConfigurationError(msg)
        return beside
    return beside if beside and has_accounts(beside) else ""


def has_accounts(url: str) -> bool:
    """Return whether there are accounts in a database; none are made.

    Raises:
        StoreUnavailableError: it cannot be reached.
    """
    database = AccountsDatabase(url)
    try:
        return database.exists()
    finally:
        database.close()


def open_accounts(store: MetadataStore, url: str, *, door: Applies | None = None) -> Accounts | None:
    """Return the accounts in a database, whose tables are made or upgraded; ``None`` where the URL is empty.

    Raises:
        ConfigurationError: the URL is not that of a database.
        StoreUnavailableError: it cannot be reached.
    """
    if not url:
        return None
    database = AccountsDatabase(url)
    database.prepare()
    return Accounts(store, database, door)
