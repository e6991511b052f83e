"""What goes wrong with PostgreSQL is said in a sentence that tells what to do, and that holds no secret."""

from __future__ import annotations

import socket
import traceback
from urllib.parse import quote, urlencode

import pytest

from modeldb_core.backends.postgres import PostgresStore, address_of
from modeldb_core.errors import ConfigurationError, PermissionDeniedError, StoreReadOnlyError, StoreUnavailableError
from modeldb_core.plugins import open_store
from modeldb_core.testing import StreamWriter
from tests.backends.writers import assert_all_there, write_runs
from tests.services.postgres import PASSWORD

SECRET = "hunter2&co"


def refusal(url, kind, **options):
    """Return the message with which a store is refused, which must be one sentence without a secret."""
    with pytest.raises(kind) as caught:
        PostgresStore(url, **options)
    assert type(caught.value) is kind
    message = str(caught.value)
    everything = "".join(traceback.format_exception(caught.value))
    for secret in (SECRET, "hunter2%26co", PASSWORD):
        assert secret not in message
        assert f"'{secret}'" not in everything
    assert "\n" not in message
    assert not any(word in message for word in ("FATAL", "psycopg2", "sqlalchemy", "Traceback"))
    return message


# URLs and options


@pytest.mark.parametrize(
    ("url", "parameters", "server", "shown"),
    [
        (
            "postgresql://ann:a%40b%2Fc@db.example.org:5433/runs",
            {"user": "ann", "password": "a@b/c", "host": "db.example.org", "port": "5433", "dbname": "runs"},
            "db.example.org:5433",
            "postgresql://ann@db.example.org:5433/runs",
        ),
        ("postgres:///runs", {"dbname": "runs"}, "localhost:5432", "postgresql:///runs"),
        (
            "postgresql://[::1]:5433/my%20runs",
            {"host": "::1", "port": "5433", "dbname": "my runs"},
            "[::1]:5433",
            "postgresql://[::1]:5433/my%20runs",
        ),
        (
            "postgresql://ann@one:1,two/runs",
            {"user": "ann", "host": "one,two", "port": "1,", "dbname": "runs"},
            "one:1,two:5432",
            "postgresql://ann@one:1,two/runs",
        ),
        (
            "postgresql://%2Frun%2Fpostgresql/runs",
            {"host": "/run/postgresql", "dbname": "runs"},
            "/run/postgresql:5432",
            "postgresql://%2Frun%2Fpostgresql/runs",
        ),
        (
            "postgresql://ann@/runs?host=/run/postgresql&port=5433&user=bob",
            {"user": "bob", "host": "/run/postgresql", "port": "5433", "dbname": "runs"},
            "/run/postgresql:5433",
            "postgresql://bob@%2Frun%2Fpostgresql:5433/runs",
        ),
        ("postgresql://", {}, "localhost:5432", "postgresql:///"),
        ("postgresql://ann@host", {"user": "ann", "host": "host"}, "host:5432", "postgresql://ann@host/"),
        (
            "postgresql:///?service=team&passfile=/run/pass&dbname=a/b",
            {"service": "team", "passfile": "/run/pass", "dbname": "a/b"},
            "localhost:5432",
            "postgresql:///a%2Fb?service=team",
        ),
        (
            "postgresql:///runs?hostaddr=127.0.0.1,::1&port=1&ssl=true",
            {"hostaddr": "127.0.0.1,::1", "port": "1", "dbname": "runs", "sslmode": "require"},
            "127.0.0.1:1,[::1]:1",
            "postgresql://127.0.0.1:1,[::1]:1/runs",
        ),
        (
            "postgresql:///runs?password=hunter2@x&application_name=train&keepalives_idle=5&options=-c%20geqo%3Doff",
            {
                "dbname": "runs",
                "password": "hunter2@x",
                "application_name": "train",
                "keepalives_idle": "5",
                "options": "-c geqo=off",
            },
            "localhost:5432",
            "postgresql:///runs",
        ),
    ],
)
def test_a_url_says_where_the_database_is(url, parameters, server, shown):
    address = address_of(url, "public", {})
    assert (address.parameters, address.server, address.url) == (parameters, server, shown)


@pytest.mark.parametrize("rest", ["u:p@[::1/a", "a b\n/c", "h/a%00b", "h/a?host", "h/a?host=%zz", "h/a?x=1=2", "u%/a"])
def test_a_url_that_psql_does_not_take_is_refused(rest):
    message = refusal(f"postgresql://{rest}", ConfigurationError)
    assert "write postgresql://user@host:5432/database" in message


def test_a_port_that_there_cannot_be_is_refused():
    for rest in ("host:65536/runs", "host:x/runs", "/runs?port=0", "a:1,b:99999/runs"):
        assert "1 to 65535" in refusal(f"postgresql://{rest}", ConfigurationError)


@pytest.mark.parametrize("secret", ["hunter2/co", "hunter2?co", "12/hunter2?co"])
def test_a_password_that_ends_too_early_is_refused_and_not_shown(secret):
    message = refusal(f"postgresql://ann:{secret}@host/runs", ConfigurationError)
    assert "hunter2" not in message
    assert "%2F for /" in message


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("shema=x", "did you mean 'schema'"),
        ("aplication_name=x", "did you mean 'application_name'"),
        ("colour=red", "'colour' of .* is unknown; known: schema, read_only"),
        ("password=hunter2%26co&sslmode=never", "expected one of disable"),
        ("connect_timeout=soon", "connect_timeout of .* is 'soon'; expected a whole number"),
        ("replication=database", "ModelDB needs an ordinary connection"),
        ("idle_timeout_s=0", "expected a number above 0"),
        ("pool_size=0", "expected a number above 0"),
        ("pool_size=1.5", "expected a whole number"),
        ("timeout_s=nan", "expected a number above 0"),
        ("connect_timeout_s=soon", "expected a number"),
        ("read_only=perhaps", "expected true or false"),
        ("schema=pg_toast", "belongs to PostgreSQL itself"),
        ("schema=", "expected the name of one"),
        ("sslmode=sometimes", "expected one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("schema=a&schema=b", "stands twice"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(option, expected):
    with pytest.raises(ConfigurationError, match=expected):
        PostgresStore(f"postgresql://ann:{SECRET}@host/runs?{option}")
    refusal(f"postgresql://ann:hunter2%26co@host/runs?{option}", ConfigurationError)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"read_only": 1}, "true or false"), ({"pool_size": 2.5}, "whole number"), ({"sslkey": 7}, "expected text")],
)
def test_an_option_of_the_wrong_type_is_named(options, expected):
    assert expected in refusal("postgresql://host/runs", ConfigurationError, **options)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_both_schemes_open_it_with_the_same_table_of_options(scheme, postgres_url, tmp_path, monkeypatch):
    from modeldb_core.plugins import load_settings

    settings = tmp_path / "modeldb.toml"
    settings.write_text('[stores.postgresql]\nschema = "configured"\npool_size = 3\n')
    monkeypatch.setenv("MODELDB_CONFIG", str(settings))
    url = postgres_url.replace("postgresql://", f"{scheme}://")
    with open_store(url, load_settings()) as store:
        assert store.url.endswith("?schema=configured")
    with open_store(f"{url}?schema=given", load_settings()) as store:
        assert store.url.endswith("?schema=given")


# Servers that cannot be reached


def test_nobody_listens():
    message = refusal(f"postgresql://ann:{SECRET.replace('&', '%26')}@127.0.0.1:1/runs", StoreUnavailableError)
    assert message == "no PostgreSQL server listens at 127.0.0.1:1; start it, or check host and port in the URL"
    assert "/nowhere:5432" in refusal("postgresql://%2Fnowhere/runs", StoreUnavailableError)


def test_the_host_is_unknown():
    assert "check its name" in refusal("postgresql://host.invalid/runs", StoreUnavailableError)


def test_the_server_takes_no_encryption(postgres):
    assert "switch it on there" in refusal(postgres.url() + "?sslmode=require", ConfigurationError)


def test_the_server_starts_meanwhile(postgres, postgres_url):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
        postgres.kill()
        try:
            with pytest.raises(StoreUnavailableError, match="no PostgreSQL server listens"):
                PostgresStore(postgres_url)
        finally:
            postgres.start()
        assert_all_there(store, 1)


# Users and rights


@pytest.fixture
def user(postgres):
    """A user without any right of its own."""
    name = f"user_{postgres.port}"
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    yield name
    postgres.execute(f"DROP OWNED BY {name} CASCADE")
    postgres.execute(f"DROP ROLE {name}")


@pytest.fixture
def execute(postgres, postgres_url, user):
    """Runs statements past ModelDB, and takes back at the end what the user was given in this database."""
    name = postgres_url.rpartition("/")[2]
    yield lambda statement: postgres.execute(statement, database=name)
    postgres.execute(f"DROP OWNED BY {user} CASCADE", database=name)


@pytest.fixture
def users_url(postgres, postgres_url, user):
    return postgres.url(postgres_url.rpartition("/")[2], user=user, password=SECRET)


def test_a_wrong_password(postgres):
    message = refusal(postgres.url(password=SECRET), ConfigurationError)
    assert "did not accept the password of user 'postgres'" in message
    assert "PGPASSWORD or ~/.pgpass" in message


def test_no_password(postgres, tmp_path, monkeypatch):
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres?schema=of_this_test"
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    assert "set PGPASSWORD" in refusal(url, ConfigurationError)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    PostgresStore(url).close()
    monkeypatch.delenv("PGPASSWORD")
    passwords = tmp_path / "passwords"
    passwords.write_text(f"127.0.0.1:*:*:postgres:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    PostgresStore(url).close()
    postgres.execute("DROP SCHEMA of_this_test CASCADE")


def test_an_unknown_database(postgres):
    message = refusal(postgres.url("nowhere"), ConfigurationError)
    assert f"createdb -h 127.0.0.1 -p {postgres.port} -U postgres -E UTF8 nowhere" in message


def test_a_database_that_is_not_encoded_as_utf8(postgres):
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        assert "createdb -E UTF8" in refusal(postgres.url("latin"), ConfigurationError)
    finally:
        postgres.execute("DROP DATABASE latin WITH (FORCE)")


def test_no_right_to_make_tables(users_url, user, execute):
    execute(refusal(users_url, PermissionDeniedError).partition("run: ")[2])  # to look at them
    message = refusal(users_url, StoreReadOnlyError)
    assert f'GRANT USAGE, CREATE ON SCHEMA "public" TO "{user}"' in message
    assert "GRANT CREATE ON DATABASE" in refusal(f"{users_url}?schema=other", StoreReadOnlyError)


def test_the_rights_that_the_messages_ask_for_suffice(postgres_url, users_url, user, execute):
    with PostgresStore(postgres_url) as store:
        write_runs(store, 1)
    execute("REVOKE ALL ON SCHEMA public FROM public")
    for right in ("GRANT USAGE ON SCHEMA", "GRANT SELECT ON ALL TABLES"):
        message = refusal(users_url, PermissionDeniedError)
        assert right in message
        execute(message.partition("run: ")[2])
    with PostgresStore(users_url) as store:
        assert_all_there(store, 1)
        assert len(store.read_changes().changes) == 2
        with pytest.raises(StoreReadOnlyError, match=f"user '{user}' may not write its tables"):
            write_runs(store, 1)
    execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}")
    execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {user}")
    with PostgresStore(users_url) as store:
        write_runs(store, 1)
        assert_all_there(store, 2)


def test_no_right_to_connect(postgres, postgres_url, users_url, user):
    name = postgres_url.rpartition("/")[2]
    postgres.execute(f"REVOKE CONNECT ON DATABASE {name} FROM public")
    try:
        assert f'GRANT CONNECT ON DATABASE "{name}" TO "{user}"' in refusal(users_url, PermissionDeniedError)
    finally:
        postgres.execute(f"GRANT CONNECT ON DATABASE {name} TO public")


def test_too_many_connections(postgres, users_url, user):
    postgres.execute(f"ALTER ROLE {user} CONNECTION LIMIT 0")
    assert "has too many connections" in refusal(users_url, StoreUnavailableError, connect_timeout_s=3)


@pytest.mark.parametrize("option", ["channel_binding=perhaps", "keepalives=x", "service=nowhere", "gssencmode=x"])
def test_a_parameter_that_libpq_refuses_is_named(postgres_url, option):
    assert option.partition("=")[0] in refusal(f"{postgres_url}?{option}", ConfigurationError)


def test_a_url_with_every_parameter_that_psql_takes_opens_the_store(postgres_url, postgres, tmp_path):
    passfile = tmp_path / "pass"
    passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
    passfile.chmod(0o600)
    service = tmp_path / "services"
    database = postgres_url.rpartition("/")[2]
    service.write_text(f"[team]\nhost=127.0.0.1\nport={postgres.port}\nuser=postgres\ndbname={database}\n")
    options = {"application_name": "train", "keepalives": "1", "channel_binding": "prefer", "sslmode": "prefer"}
    options |= {"options": "-c search_path=pg_catalog -c statement_timeout=60000", "client_encoding": "LATIN1"}
    options["passfile"] = str(passfile)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSERVICEFILE", str(service))
        url = f"postgresql:///?service=team&{urlencode(options, quote_via=quote)}"
        with PostgresStore(url) as store, PostgresStore(postgres_url) as other:
            writer = StreamWriter()
            writer.create_run(name="größte 日本")
            store.apply(writer.changes)
            assert store.heads() == other.heads() != {}
            found = (
                "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name IN ('train', 'modeldb')"
            )
            assert sorted(postgres.execute(found)) == [("modeldb",), ("train",)]
        assert store.url == "postgresql:///?service=team"


@pytest.fixture
def silent():
    """The port of a server that takes connections and says nothing, as a machine does that hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("option", ["", "&target_session_attrs=primary", "&target_session_attrs=prefer-standby"])
def test_a_host_that_is_silent_does_not_keep_from_the_others_in_the_url(postgres, postgres_url, silent, option):
    place = f"127.0.0.1:{postgres.port}"
    gone = f"127.0.0.1:{silent}"
    url = postgres_url.replace(place, f"127.0.0.1:1,{gone},{place}")
    with PostgresStore(f"{url}?connect_timeout=1{option}") as store:
        writer = StreamWriter()
        writer.create_run()
        store.apply(writer.changes)
        assert store.heads()
    message = refusal(f"{postgres_url.replace(place, gone)}?connect_timeout=1", StoreUnavailableError)
    assert "did not answer within 1 s" in message


def test_a_silent_host_in_the_environment_does_not_keep_from_the_next_one(postgres, postgres_url, silent, monkeypatch):
    monkeypatch.setenv("PGHOST", "127.0.0.1,127.0.0.1")
    monkeypatch.setenv("PGPORT", f"{silent},{postgres.port}")
    database = postgres_url.rpartition("/")[2]
    with PostgresStore(f"postgresql://postgres:{quote(PASSWORD)}@/{database}?connect_timeout=1") as store:
        assert store.heads() == {}


@pytest.mark.parametrize(
    "option",
    ["port=1,2,3", "hostaddr=127.0.0.1,127.0.0.1", "require_auth=md5", "channel_binding=require&sslmode=disable"],
)
def test_what_no_server_can_do_about_is_a_wrong_setting(postgres_url, option):
    assert "correct it in the URL" in refusal(f"{postgres_url}?{option}", ConfigurationError)


def test_numbers_are_read_as_psql_reads_them(postgres, postgres_url):
    url = postgres_url.replace(f":{postgres.port}/", "/")
    with PostgresStore(f"{url}?port=%20%2B{postgres.port}&connect_timeout=%2B5%20") as store:
        assert store.url == postgres_url.replace(f":{quote(PASSWORD)}", "")


def test_the_address_shows_no_password_in_a_traceback_with_variables():
    address = address_of("postgresql://me:s3cr3t@127.0.0.1:1/x", "public", {})
    assert "s3cr3t" not in repr(address)
    assert address.parameters["password"] == "s3cr3t"
