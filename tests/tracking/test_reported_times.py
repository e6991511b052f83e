"""Runs that are imported, or come with times of their own: the record has those, and when it was made."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.audit import verify
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.log.changes import APPEND
from modeldb_core.model.values import decode
from modeldb_core.tracking import Client
from tests.tracking.programs import PATIENCE_S, ended

BEGAN = datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
ENDED = BEGAN + timedelta(hours=1, milliseconds=1)


def test_an_imported_run_has_the_times_it_tells_and_says_that_they_are_reported(client: Client) -> None:
    before = datetime.now(UTC)
    run = client.start_run("imported", started_at=BEGAN)
    run.log_metrics({"loss": 0.5}, step=1, timestamp=BEGAN)
    child = run.start_child("part", started_at=BEGAN)
    child.finish(finished_at=BEGAN)
    run.finish(finished_at=ENDED)
    client.flush()
    found = client.get_run(run.run_id)
    assert (found.started_at, found.finished_at, found.duration) == (BEGAN, ENDED, 3600.001)
    assert found.entity.reported_times == ("started_at", "finished_at")
    assert found.entity.created_at >= before
    assert [each.run_id for each in client.search_runs("duration > 3600 and started_at < '2024-06-01'")] == [run.run_id]
    changes = [change for change in client.store.read_changes(entity_id=run.run_id).changes if change.payload]
    assert all(change.time >= before for change in changes), "when it was recorded is as measured"
    first, *others = [decode(change.payload) for change in changes if change.action != APPEND]
    assert first["started_at"] == int(BEGAN.timestamp() * 1_000_000)
    assert first["reported_times"] == ["started_at"]
    (end,) = [each for each in others if "finished_at" in each.get("set", {})]
    assert end["add"] == {"reported_times": ["finished_at"]}
    assert verify(client.store).ok


def test_times_that_are_measured_are_not_called_reported(client: Client) -> None:
    with client.start_run("measured") as run:
        pass
    client.flush()
    assert client.get_run(run.run_id).entity.reported_times == ()
    imported = client.start_run("measured", started_at=BEGAN)
    imported.finish(finished_at=ENDED)
    client.flush()
    client.start_run(run_id=imported.run_id).finish()
    client.flush()
    again = client.get_run(imported.run_id)
    assert again.entity.reported_times == ("started_at",)
    assert again.finished_at is not None
    assert again.finished_at > ENDED


@pytest.mark.parametrize(
    ("time", "error", "said"),
    [
        ("2024-05-01T12:00:00Z", InvalidTypeError, "of type str; expected a datetime with its time zone"),
        (1_714_557_600.0, InvalidTypeError, "of type float"),
        (date(2024, 5, 1), InvalidTypeError, "of type date"),
        (datetime(2024, 5, 1), InvalidArgumentError, "2024-05-01T00:00:00 has no time zone"),
        (datetime(1969, 12, 31, tzinfo=UTC), InvalidArgumentError, "before 1970"),
        (datetime(9999, 12, 31, 23, tzinfo=UTC), InvalidArgumentError, "in the future"),
        (lambda: datetime.now(UTC) + timedelta(minutes=10), InvalidArgumentError, "in the future"),
    ],
)
def test_a_time_that_cannot_be_is_refused_by_name_and_nothing_is_recorded(
    client: Client, time: Any, error: type[Exception], said: str
) -> None:
    time = time() if callable(time) else time
    with pytest.raises(error, match=f"started_at.*{said}"):
        modeldb.start_run("refused", started_at=time, client=client)
    run = client.start_run("kept")
    with pytest.raises(error, match=f"finished_at.*{said}"):
        run.finish(finished_at=time)
    assert run.status == "running"
    run.finish()
    client.flush()
    assert [each.project for each in client.search_runs()] == ["kept"]
    assert [each.name for each in client.projects()] == ["kept"]


def test_a_clock_that_is_a_little_ahead_is_believed(client: Client) -> None:
    with client.start_run("ahead", started_at=datetime.now(UTC) + timedelta(minutes=1)) as run:
        pass
    client.flush()
    assert client.get_run(run.run_id).status == "finished"


def test_a_run_does_not_end_before_it_began(client: Client) -> None:
    run = client.start_run("p", started_at=BEGAN)
    with pytest.raises(
        InvalidArgumentError, match=r"finished_at 2024-05-01T10:00:00.* before started_at 2024-05-01T10"
    ):
        run.finish(finished_at=BEGAN - timedelta(milliseconds=250))
    run.finish()
    client.flush()
    resumed = client.start_run(run_id=run.run_id)
    with pytest.raises(InvalidArgumentError, match="before started_at"):
        resumed.finish(finished_at=datetime(2020, 1, 1, tzinfo=UTC))
    resumed.finish(finished_at=ENDED)
    with pytest.raises(InvalidArgumentError, match="keeps its start"):
        client.start_run(run_id=run.run_id, started_at=BEGAN)


@pytest.mark.parametrize("ended_by", ["finish", "recovery"])
def test_a_run_lasts_as_long_as_it_did_where_the_clock_was_set_back_meanwhile(
    client: Client, environment: dict[str, str], ended_by: str
) -> None:
    script = f"""
        import os, time, modeldb_core as modeldb
        run = modeldb.start_run("clock", capture=False)
        earlier = time.time_ns() - 3600 * 10**9
        time.time_ns = lambda: earlier
        run.log_metric("m", 1.0)
        time.sleep(0.25)
        print(run.run_id, flush=True)
        if {ended_by == "finish"}:
            run.finish()
        elif run.client.flush():
            os._exit(0)
    """
    run_id = ended(script, environment)[0].strip()
    if ended_by == "recovery":
        client.writer.recover(PATIENCE_S)
    found = client.get_run(run_id)
    if ended_by == "recovery":  # nobody who is left has measured it
        assert (found.finished_at, found.duration) == (found.started_at, 0.0)
    else:
        assert 0.25 <= found.duration < 3600.0


def test_processes_that_record_nothing_refuse_the_same_times(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgumentError, match="in the future"):
        client.start_run("p", started_at=datetime.now(UTC) + timedelta(hours=1))
    run = client.start_run("p", started_at=BEGAN)
    with pytest.raises(InvalidArgumentError, match="before started_at"):
        run.finish(finished_at=BEGAN - timedelta(seconds=1))
    run.finish(finished_at=ENDED)
    client.flush()
    assert list(client.search_runs()) == []
