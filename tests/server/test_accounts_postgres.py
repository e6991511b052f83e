"""Accounts in PostgreSQL: beside the store, made by whoever comes first, and in nobody's way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from modeldb_core.backends.postgres import _OWN
from modeldb_core.commands import people
from modeldb_core.errors import ConfigurationError, StoreUnavailableError
from modeldb_core.plugins import PluginManager, load_settings, open_store
from modeldb_core.stores import MetadataStore
from modeldb_server import create_app
from modeldb_server.accounts.database import OPTIONS_OF_STORES, SCHEMA, AccountsDatabase
from modeldb_server.accounts.opening import accounts_url, open_accounts
from modeldb_server.accounts.vault import Vault
from tests.services.pgbouncer import PROGRAM, PgBouncer
from tests.services.postgres import PASSWORD as OF_DATABASE
from tests.services.postgres import Postgres

PASSWORD = "correct horse battery"


@contextmanager
def opened(url: str) -> Iterator[AccountsDatabase]:
    with closing(AccountsDatabase(url)) as database:
        database.prepare()
        yield database


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_two_servers_share_the_accounts_beside_their_store_and_see_what_is_revoked(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else f"sqlite:///{tmp_path}/modeldb.db"
    settings = load_settings(url=url, artifact_url=tmp_path.as_uri(), server_accounts="on")

    def server(store: MetadataStore, artifacts: Any = None) -> Any:
        return create_app(store, artifacts, settings, plugins=PluginManager())

    with closing(open_store(url, settings)) as store:
        apps = [server(store), server(store)]
        one, other = (app.extensions["modeldb_server"] for app in apps)

        def ask(at: int, **headers: str) -> int:
            client = apps[at].test_client(use_cookies=False)
            return int(client.get("/api/v2/workspaces", headers=headers).status_code)

        made = people.create_user(store, "ada")
        one.accounts.execute(made, "root")
        ada = other.accounts.directory().users[made.entity_id]  # at once, in the other server
        token, kept = one.accounts.create_token(ada, name="t", created_by="root")
        one.accounts.set_password(ada, PASSWORD)
        session = one.accounts.vault.add_session(ada.entity_id, 60)
        shown: list[dict[str, str]] = [
            {"Authorization": f"Bearer {token}"},
            {"Cookie": f"modeldb_session={session}"},
        ]
        assert [ask(at, **each) for at in (0, 1) for each in shown] == [200] * 4
        assert other.accounts.vault.revoke_token(kept.token_id)
        other.accounts.vault.end_session(session)
        assert [ask(at, **each) for at in (0, 1) for each in shown] == [401] * 4
        one.accounts.disable(ada, "root")
        assert ask(1, Authorization=f"Bearer {one.accounts.create_token(ada, name='u', created_by='root')[0]}") == 401
        for context in (one, other):
            context.close()


def test_the_tables_of_accounts_have_a_schema_of_their_own(postgres: Postgres, postgres_url: str) -> None:
    with opened(postgres_url):
        pass
    name = postgres_url.rpartition("/")[2]
    query = "SELECT schemaname FROM pg_tables WHERE tablename = '{}'"
    assert [postgres.execute(query.format(each), database=name) for each in ("tokens", "accounts_version")] == [
        [(SCHEMA,)],
        [(SCHEMA,)],
    ]


def test_servers_that_start_together_make_the_tables_once(postgres_url: str) -> None:
    barrier, errors = threading.Barrier(4), list[BaseException]()

    def start() -> None:
        try:
            with closing(AccountsDatabase(postgres_url)) as database:
                barrier.wait(60)
                database.prepare()
                assert Vault(database).revision() == 0
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []


@pytest.fixture
def bouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed; on Debian: apt install pgbouncer")
    bouncer = PgBouncer(postgres, "transaction")
    yield bouncer
    bouncer.stop()


def test_accounts_behind_pgbouncer_share_its_session_with_others(bouncer: PgBouncer, postgres_url: str) -> None:
    """The one session of the database is everybody's in turn: nothing may be kept in it, or expected there."""
    url = bouncer.url(postgres_url)
    with opened(url) as database, closing(psycopg2.connect(url)) as others:
        vault = Vault(database)
        token, kept = vault.add_token("ada", name="t", allows="read", created_by="root")
        with others, others.cursor() as cursor:
            cursor.execute("SELECT setting FROM pg_settings WHERE name = 'search_path' AND setting <> reset_val")
            assert cursor.fetchall() == []
            cursor.execute("SET search_path TO information_schema")
        vault.raise_revision()
        assert vault.find_token(token) == (kept, 1)


def of_every_option(url: str) -> str:
    values = {str: "x", bool: "false", float: "5", int: "2"}
    return f"{url}?{'&'.join(f'{name}={values[kind]}' for name, kind in _OWN.items())}"


@pytest.mark.parametrize(
    "url_of",
    [of_every_option, lambda url: f"{url}?options=-c%20geqo%3Doff&connect_timeout=7"],
    ids=["those of a store", "those of libpq"],
)
def test_the_options_of_a_store_may_stand_in_the_url(postgres_url: str, url_of: Callable[[str], str]) -> None:
    assert frozenset(_OWN) == OPTIONS_OF_STORES
    with opened(url_of(postgres_url)) as database:
        assert database.exists()


def test_accounts_beside_a_store_are_reached_with_its_options(
    postgres: Postgres, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"127.0.0.1:{postgres.port}/{postgres_url.rpartition('/')[2]}"
    file = tmp_path / "modeldb.toml"
    file.write_text(f"[stores.postgresql]\npassword = '{OF_DATABASE}'\nsslmode = 'disable'\npool_size = 2\n")
    monkeypatch.setenv("MODELDB_CONFIG", str(file))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    for url in (f"postgresql://postgres@{place}", f"postgresql://postgres@{place}?pool_size=3&sslmode=prefer"):
        settings = load_settings(url=url)
        with closing(open_store(url, settings)) as store:
            beside = accounts_url(store, settings, "on")
            assert ("sslmode=prefer" in beside) is ("sslmode=disable" not in beside) is ("?" in url)
            accounts = open_accounts(store, beside)
            assert accounts is not None
            with closing(accounts):
                assert OF_DATABASE not in accounts.vault.database.name
            assert accounts_url(store, settings, "") == beside


@pytest.mark.parametrize("url", ["u:hun/ter2@127.0.0.1:1/db", "u:hun@ter2@127.0.0.1/db", "127.0.0.1/db?word=hunter2"])
def test_what_is_no_url_is_refused_without_parts_of_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="server.accounts") as refused:
        AccountsDatabase(f"postgresql://{url}").exists()
    assert not any(part in str(refused.value) for part in ("hun", "ter2"))


def test_who_may_not_make_a_schema_uses_one_that_is_there(postgres: Postgres, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    postgres.execute("CREATE ROLE accountant LOGIN PASSWORD 'of the accountant'")
    try:
        url = postgres.url(name, user="accountant", password="of the accountant")
        with pytest.raises(StoreUnavailableError, match="permission denied"), opened(url):
            pass
        postgres.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION accountant", database=name)
        for _ in range(2):
            with opened(url) as database:
                assert Vault(database).revision() == 0
    finally:
        postgres.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", database=name)
        postgres.execute("DROP ROLE accountant")
