"""Questions to stores of many runs, beside the SQL that somebody would write by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks import hand_written
from benchmarks.building import BY_HAND, STORE, with_points, with_runs
from benchmarks.results import Budget, Result

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from benchmarks.bench import Bench, Measured
    from modeldb_core.stores import MetadataStore

_BY_HAND = "hand-written SQL on an indexed schema with the same content"
_FILTER = "metrics.auc > 0.5"
_ORDERS = {  # by the metric that is filtered, and by another one
    "a metric": ("metrics.auc desc", "f.value DESC"),
    "another metric": ("metrics.loss", "o.value"),
}
# The rows are found in the order asked for, until there are enough of them.
_SQL = """
    SELECT r.run_pk {columns} FROM metrics o CROSS JOIN metrics f ON f.run_pk = o.run_pk JOIN runs r ON r.run_pk = o.run_pk
    WHERE f.key_pk = (SELECT key_pk FROM keys WHERE key = 'auc') AND f.value > 0.5
      AND o.key_pk = (SELECT key_pk FROM keys WHERE key = 'loss')
    ORDER BY {order} LIMIT {limit}"""
_SQL_ONE = """
    SELECT r.run_pk {columns} FROM metrics f JOIN runs r ON r.run_pk = f.run_pk
    WHERE f.key_pk = (SELECT key_pk FROM keys WHERE key = 'auc') AND f.value > 0.5 ORDER BY {order} LIMIT {limit}"""
_COUNT = "SELECT count(*) FROM metrics WHERE key_pk = (SELECT key_pk FROM keys WHERE key = 'auc') AND value > 0.5"
_KEYS = """
    SELECT key_pk, count(*) FROM hyperparameters GROUP BY key_pk
    UNION ALL SELECT key_pk, count(*) FROM metrics GROUP BY key_pk UNION ALL SELECT tag, count(*) FROM tags GROUP BY tag"""
_GROUPS = """
    SELECT h.value, count(*) {measured} FROM hyperparameters h {joined}
    WHERE h.key_pk = (SELECT key_pk FROM keys WHERE key = 'batch_size') GROUP BY h.value"""
_MEASURED = ", avg(m.value), min(m.value), max(m.value), sum(m.value * m.value)"
_OF_AUC = """
    LEFT JOIN metrics m ON m.run_pk = h.run_pk AND m.key_pk = (SELECT key_pk FROM keys WHERE key = 'auc')"""
_PEERS = {
    "top": "trackio 44 x, MLflow 51 x",
    "pandas": "aim 12 x, MLflow 30 x",
    "one": "MLflow 2.9 ms",
    "history": "trackio 315 ms, MLflow 2,508 ms",
}


class _Pair:
    """The same questions to both: repeated, in turns, each warm."""

    def __init__(self, bench: Bench, store: MetadataStore, connection: sqlite3.Connection) -> None:
        self.bench = bench
        self.store = store
        self.connection = connection

    def compare(self, limit: Callable[[], Any], ours: Callable[[], Any], count: Callable[[Any], int] = len) -> Measured:
        """Return what both took in ms, after a look at whether they found the same number of things."""
        expected, found = count(limit()), count(ours())
        if expected != found:
            msg = f"the limit found {expected} and the store {found}"
            raise RuntimeError(msg)
        return self.bench.time_in_turns(limit, ours, repeats=4 * self.bench.sizes.repeats)

    def ids(self, order: str, columns: str = "") -> list[Any]:
        """Return the rows that the hand-written search gives, the number of the run first."""
        template = _SQL if "o." in order or "o." in columns else _SQL_ONE
        return self.connection.execute(
            template.format(order=order, columns=columns, limit=self.bench.sizes.top_runs)
        ).fetchall()


def top(bench: Bench) -> Iterator[Result]:
    """Filter and order by metrics, the best of them as whole runs and as two columns."""
    from modeldb_core.queries import Query

    folder, limit = with_runs(bench, bench.sizes.stored_runs), bench.sizes.top_runs
    with bench.store(folder / STORE) as store, hand_written.database(folder / BY_HAND) as connection:
        pair = _Pair(bench, store, connection)
        for fields, what in ((None, "whole runs"), (("name", "metrics.auc"), "name and metric")):
            for label, (order, sql_order) in _ORDERS.items():
                query = Query(filter=_FILTER, order_by=order, limit=limit, fields=fields)

                def by_hand(sql_order: str = sql_order, *, whole: bool = fields is None) -> list[Any]:
                    if not whole:
                        return pair.ids(sql_order, ", r.run_id, r.name, f.value")
                    return hand_written.whole_runs(connection, [row[0] for row in pair.ids(sql_order)])

                measured = pair.compare(by_hand, lambda query=query: store.find(query).entities)  # type: ignore[misc]
                yield Result(
                    benchmark="top",
                    work=f"filter, order by {label}, top {limit} of {bench.sizes.stored_runs:,}: {what}",
                    unit="ms",
                    **measured,
                    limit_is=_BY_HAND,
                    budget=Budget(3, "ratio") if fields is None else None,
                    peers=_PEERS["top"],
                )


def pandas(bench: Bench) -> Iterator[Result]:
    """Read whole runs into a DataFrame."""
    import pandas as pd

    count = bench.sizes.table_runs
    folder = with_runs(bench, max(bench.sizes.stored_runs, count))

    def by_hand() -> Any:  # noqa: ANN401 - a DataFrame
        newest = connection.execute("SELECT run_pk FROM runs ORDER BY started_at DESC LIMIT ?", (count,))
        records = []
        for run in hand_written.whole_runs(connection, [row[0] for row in newest]):
            record = {key: value for key, value in run.items() if key not in ("hyperparameters", "metrics")}
            for section in ("hyperparameters", "metrics"):
                record.update({f"{section}.{key}": value for key, value in run[section].items()})
            records.append(record)
        return pd.DataFrame.from_records(records)

    with bench.client(folder, STORE) as client, hand_written.database(folder / BY_HAND) as connection:
        pair = _Pair(bench, client.store, connection)
        measured = pair.compare(by_hand, lambda: client.search_runs(limit=count).to_pandas())
    yield Result(
        benchmark="pandas",
        work=f"{count:,} whole runs into pandas",
        unit="ms",
        **measured,
        limit_is=_BY_HAND,
        budget=Budget(3, "ratio"),
        peers=_PEERS["pandas"],
    )


def one(bench: Bench) -> Iterator[Result]:
    """Get one run by its identifier."""
    folder = with_runs(bench, bench.sizes.stored_runs)
    with bench.store(folder / STORE) as store, hand_written.database(folder / BY_HAND) as connection:
        pair = _Pair(bench, store, connection)
        place = bench.sizes.stored_runs // 2
        run_pk, run_id = connection.execute("SELECT run_pk, run_id FROM runs LIMIT 1 OFFSET ?", (place,)).fetchone()
        measured = pair.compare(
            lambda: hand_written.whole_runs(connection, [run_pk])[0],
            lambda: store.get("run", run_id),
            count=lambda found: len(found["metrics"] if isinstance(found, dict) else found.metrics),
        )
    yield Result(
        benchmark="one",
        work=f"one run of {bench.sizes.stored_runs:,} by id",
        unit="ms",
        **measured,
        limit_is=_BY_HAND,
        budget=Budget(1),
        peers=_PEERS["one"],
    )


def history(bench: Bench) -> Iterator[Result]:
    """Read the history of a metric as arrays."""
    import numpy as np

    points = bench.sizes.history_points
    folder = with_points(bench, f"{points}-points", points)
    run_id = (folder / "run_id").read_text()
    with bench.store(folder / STORE) as store, hand_written.database(folder / BY_HAND) as connection:
        sql = "SELECT step, time, value FROM points WHERE run_pk = 1 AND key_pk = 1 ORDER BY step, time"
        pair = _Pair(bench, store, connection)
        measured = pair.compare(
            lambda: np.array(connection.execute(sql).fetchall()), lambda: store.read_series(run_id, "loss")
        )
    yield Result(
        benchmark="history",
        work=f"history of {points:,} points, as arrays",
        unit="ms",
        **measured,
        limit_is="SELECT of one row a point into an array",
        budget=Budget(10),
        peers=_PEERS["history"],
    )


def many(bench: Bench) -> Iterator[Result]:
    """Ask a store of 100,000 runs what a person asks who looks at the web page."""
    from modeldb_core.model.entities import derived_id
    from modeldb_core.queries import Query

    count, limit = bench.sizes.many_runs, bench.sizes.top_runs
    folder = with_runs(bench, count)
    project = derived_id("project", derived_id("workspace", "", "default"), "benchmark")
    columns = ("name", "status", "started_at", "tags", "metrics.auc", "metrics.loss")
    page = Query(within=project, fields=columns, limit=100)
    asked: dict[str, tuple[Query, str | None]] = {
        f"filter, order by {label}, top {limit} of {count:,}": (
            Query(filter=_FILTER, order_by=order, limit=limit),
            (_SQL if "o." in sql else _SQL_ONE).format(columns="", order=sql, limit=limit),
        )
        for label, (order, sql) in _ORDERS.items()
    }
    newest = "SELECT run_pk FROM runs ORDER BY started_at DESC LIMIT 100"
    asked[f"first page of the runs page, {count:,} runs"] = (page, newest)
    asked[f"the same and the count of {count:,} runs"] = (replace(page, count=True), newest)
    asked[f"count of those that a filter matches, of {count:,} runs"] = (
        Query(filter=_FILTER, limit=0, count=True),
        None,
    )
    with bench.store(folder / STORE) as store, hand_written.database(folder / BY_HAND) as connection:
        pair = _Pair(bench, store, connection)
        for work, (query, sql) in asked.items():
            if sql is None:
                measured = pair.compare(
                    lambda: connection.execute(_COUNT).fetchone()[0],
                    lambda query=query: store.find(query).total,  # type: ignore[misc]
                    count=lambda found: int(found or 0),
                )
            else:
                measured = pair.compare(
                    lambda sql=sql: hand_written.whole_runs(connection, [row[0] for row in connection.execute(sql)]),  # type: ignore[misc]
                    lambda query=query: store.find(query).entities,  # type: ignore[misc]
                )
            yield Result(benchmark="many", work=work, unit="ms", **measured, limit_is=_BY_HAND, budget=Budget(50))
        some = [row[0] for row in connection.execute("SELECT run_id FROM runs LIMIT 20")]
        listed = ", ".join(f'"{run_id}"' for run_id in some)
        by_identifier = f"SELECT run_pk FROM runs WHERE run_id IN ({', '.join(map(repr, some))})"
        measured = pair.compare(
            lambda: hand_written.whole_runs(connection, [row[0] for row in connection.execute(by_identifier)]),
            lambda: store.find(Query(filter=f"run_id in ({listed})")).entities,
        )
        work = f"20 of {count:,} runs by their identifiers"
        yield Result(benchmark="many", work=work, unit="ms", **measured, limit_is=_BY_HAND, budget=Budget(2))
        measured = pair.compare(
            lambda: connection.execute(_KEYS).fetchall(), lambda: store.find_keys(Query(within=project))
        )
        work = f"the keys that {count:,} runs carry"
        yield Result(benchmark="many", work=work, unit="ms", **measured, limit_is=_BY_HAND, budget=Budget(5))
        yield from _groups(pair, project, count)


def _groups(pair: _Pair, project: str, count: int) -> Iterator[Result]:
    """Group all runs by a hyperparameter, alone and with a metric summed up in each group."""
    from modeldb_core.queries import Query

    for what, measures, sql in (
        ("", (), _GROUPS.format(measured="", joined="")),
        (", with mean and spread of a metric", ("metrics.auc",), _GROUPS.format(measured=_MEASURED, joined=_OF_AUC)),
    ):
        measured = pair.compare(
            lambda sql=sql: pair.connection.execute(sql).fetchall(),  # type: ignore[misc]
            lambda measures=measures: (
                pair.store.find_groups(  # type: ignore[misc]
                    Query(within=project), "hyperparameters.batch_size", measures
                ).groups
            ),
        )
        work = f"{count:,} runs in groups by a hyperparameter{what}"
        yield Result(benchmark="many", work=work, unit="ms", **measured, limit_is=_BY_HAND, budget=Budget(150))
