"""Nothing depends on whose session it is: behind PgBouncer, and with connections that come and go."""

from __future__ import annotations

import os
import threading
from contextlib import closing

import psycopg2
import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.errors import ConfigurationError, StoreUnavailableError
from modeldb_core.queries import Query
from tests.backends.writers import assert_all_there, write_runs
from tests.services.pgbouncer import PROGRAM, PgBouncer
from tests.waiting import wait_until


@pytest.fixture
def execute(postgres, postgres_url):
    name = postgres_url.rpartition("/")[2]
    return lambda statement: postgres.execute(statement, database=name)


@pytest.fixture
def connections(postgres, postgres_url):
    """Counts the connections to the database of the test."""
    name = postgres_url.rpartition("/")[2]
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
    return lambda: postgres.execute(query)[0][0]


# Sessions


def test_a_store_leaves_no_trace_in_a_session(postgres_url):
    query = "SELECT name, setting FROM pg_settings WHERE name <> 'transaction_isolation' ORDER BY name"
    with closing(psycopg2.connect(postgres_url)) as fresh, fresh.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', 'modeldb', false)")
        cursor.execute(query)
        before = dict(cursor.fetchall())
    with PostgresStore(postgres_url, schema="of_this_test", pool_size=1) as store:
        write_runs(store, 1)
        assert_all_there(store, 1)
        with store._database._engine.connect() as connection:
            after = dict(connection.exec_driver_sql(query).all())
    assert {name: value for name, value in after.items() if before[name] != value} == {}


def test_a_temporary_table_of_somebody_else_takes_no_row(postgres_url):
    with PostgresStore(postgres_url, pool_size=1) as store:
        write_runs(store, 1)
        with store._database._engine.connect() as connection:
            connection.exec_driver_sql("SET search_path = information_schema; CREATE TEMPORARY TABLE facts (x int)")
            connection.exec_driver_sql("CREATE TEMPORARY TABLE changes (LIKE public.changes)")
        write_runs(store, 1)
    with PostgresStore(postgres_url) as store:
        assert_all_there(store, 2)
        assert verify(store).findings == []


@pytest.fixture
def bouncer(request, postgres):
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed; on Debian: apt install pgbouncer")
    bouncer = PgBouncer(postgres, request.param)
    yield bouncer
    bouncer.stop()


@pytest.mark.parametrize("bouncer", ["transaction", "session"], indirect=True)
def test_stores_behind_one_pgbouncer_stay_apart(bouncer, postgres_url, request):
    url = bouncer.url(postgres_url)
    if "session" in request.node.name:  # each keeps the only connection for as long as it has one
        for schema in ("one", "two"):
            with PostgresStore(url, schema=schema) as store:
                write_runs(store, 3)
    else:
        with PostgresStore(url, schema="one") as one, PostgresStore(url, schema="two") as two:
            threads = [threading.Thread(target=write_runs, args=(store, 3)) for store in (one, two) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(240)
            for store in (one, two):
                assert_all_there(store, 6)
                assert store.find(Query(count=True, order_by="name")).total == 6
    for schema in ("one", "two"):
        with PostgresStore(postgres_url, schema=schema) as store:
            assert_all_there(store, 3 if "session" in request.node.name else 6)
            assert verify(store).findings == []


@pytest.mark.parametrize("bouncer", ["statement"], indirect=True)
def test_pgbouncer_in_statement_mode_is_refused_by_name(bouncer, postgres_url, execute):
    with pytest.raises(ConfigurationError, match="PgBouncer in statement mode.*pool_mode = transaction"):
        PostgresStore(bouncer.url(postgres_url))
    assert execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


# Connections


def test_idle_connections_go_back_to_the_server(postgres_url, connections):
    with PostgresStore(postgres_url, idle_timeout_s=0.3) as store:
        barrier = threading.Barrier(4)
        threads = [threading.Thread(target=lambda: store._database.read(lambda _: barrier.wait(240))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        wait_until(lambda: connections() == 0)
        for count in range(1, 4):  # and others come when they are needed
            write_runs(store, 1)
            assert_all_there(store, count)
        wait_until(lambda: connections() == 0)
        wait_until(lambda: not any(each.name == "modeldb-idle-connections" for each in threading.enumerate()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_child_gives_its_own_connections_back(postgres_url, connections):
    from tests.backends.writers import in_children

    with PostgresStore(postgres_url, idle_timeout_s=0.3) as store:
        write_runs(store, 1)

        def work():
            write_runs(store, 1)
            wait_until(lambda: not any(each.name == "modeldb-idle-connections" for each in threading.enumerate()))
            assert store._database._engine.pool.checkedout() == 0
            assert all(entry.dbapi_connection is None for entry in list(store._database._engine.pool._pool.queue))

        in_children(1, work)
        assert_all_there(store, 2)
    wait_until(lambda: connections() == 0)


def test_a_store_that_is_idle_starves_no_other(postgres, postgres_url):
    postgres.execute("CREATE ROLE starved LOGIN SUPERUSER PASSWORD 'x'")
    postgres.execute("ALTER ROLE starved NOSUPERUSER CONNECTION LIMIT 1")
    name = postgres_url.rpartition("/")[2]
    postgres.execute("GRANT ALL ON SCHEMA public TO starved", database=name)
    url = postgres.url(name, user="starved", password="x")
    try:
        with PostgresStore(url, idle_timeout_s=0.5) as one, PostgresStore(url, connect_timeout_s=120) as two:
            for store in (one, two, one):
                if store is one:
                    two._database._engine.dispose()
                write_runs(store, 1)
        with PostgresStore(url, pool_size=4, idle_timeout_s=600) as keeper:
            write_runs(keeper, 1)
            with pytest.raises(StoreUnavailableError, match="has too many connections; raise max_connections"):
                PostgresStore(url, connect_timeout_s=0.5)
            # Its own threads wait for the connection that there is.
            threads = [threading.Thread(target=write_runs, args=(keeper, 1)) for _ in range(3)]
            readers = [threading.Thread(target=keeper.heads) for _ in range(3)]
            for thread in (*threads, *readers):
                thread.start()
            for thread in (*threads, *readers):
                thread.join(240)
            assert_all_there(keeper, 7)
    finally:
        postgres.execute("DROP OWNED BY starved CASCADE", database=name)
        postgres.execute("DROP ROLE starved")
