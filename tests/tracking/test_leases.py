"""Which changes keep a run alive."""

from __future__ import annotations

import modeldb_core as modeldb
from modeldb_core.log.changes import BEAT
from modeldb_core.tracking import Client


def _beats(client: Client) -> int:
    changes = client.store.read_changes(stream_id=client.writer.stream_id).changes
    return sum(change.action == BEAT for change in changes)


def _quiet_client(settings: dict[str, str]) -> Client:
    """Return a client that ships only when it is told to, and must be heard of every hour."""
    return modeldb.connect(**{**settings, "flush_interval_s": 3600.0, "lease_s": 3 * 3600.0})


def test_points_renew_the_lease_without_a_beat_beside_them(settings: dict[str, str]) -> None:
    with _quiet_client(settings) as client:
        run = client.start_run(capture=False)
        for step in range(5):
            client.flush()
            client.writer.ensure_stream()._sent_at -= 4000  # as if so many seconds had gone by
            run.log_metrics({"loss": 0.5}, step)
        client.flush()
        assert _beats(client) == 0


def test_a_quiet_run_renews_the_lease_by_a_beat(settings: dict[str, str]) -> None:
    with _quiet_client(settings) as client:
        client.start_run(capture=False)
        client.flush()
        client.writer.ensure_stream()._sent_at -= 4000
        client.writer.submit(lambda: None)  # wakes the writer
        client.flush()
        assert _beats(client) == 1
