"""What the journal could not take is said on the runs concerned: once, and as soon as there is room to say it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from modeldb_core.journal.journal import Journal
from modeldb_core.journal.losses import Losses
from modeldb_core.journal.records import DRAFT, Draft
from modeldb_core.journal.segments import Segment, read_records
from modeldb_core.tracking import Client


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, "s", {})


def notes(journal: Journal) -> list[tuple[str, str]]:
    found = []
    for segment in journal.snapshot():
        for _, record_type, body in read_records(segment.memory, 0, segment.used):
            if record_type == DRAFT:
                draft = Draft.from_body(bytes(body))
                (note,) = json.loads(draft.payload)["add"]["notes"]
                found.append((draft.entity_id, note.partition(" of")[0]))
            body.release()
    return found


def test_lost_calls_are_said_once_and_later_ones_beside_them(journal: Journal) -> None:
    losses = Losses()
    assert not losses.say(journal, ["r"])
    journal.lost = 3
    assert losses.say(journal, ["r"])
    assert not losses.say(journal, ["r"])
    journal.lost = 5
    assert losses.say(journal, ["other"])
    assert notes(journal) == [("r", "3 log calls"), ("other", "2 log calls")]


def test_what_cannot_be_said_for_want_of_room_is_said_when_there_is_some(journal: Journal) -> None:
    losses = Losses()
    journal.lost = 1
    before = journal.position
    assert Losses().say(journal, ["a"])
    journal._limit = 2 * journal.position - before  # room for one note more
    journal._retry_at = math.inf
    assert not losses.say(journal, ["a", "b"])
    journal._retry_at = 0.0
    journal.lost = 4
    assert losses.say(journal, []), "although both runs have ended meanwhile"
    assert not losses.say(journal, ["a", "b"])
    assert notes(journal)[-2:] == [("a", "4 log calls"), ("b", "4 log calls")]


def test_a_stretch_that_could_not_be_sealed_is_sealed_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seal, failures = Journal.append_seal, [OSError(5, "Input/output error"), IndexError("mmap")]

    def fails(own: Journal, segment: Segment, record: bytes) -> None:
        if failures:
            raise failures.pop()
        seal(own, segment, record)

    monkeypatch.setattr(Journal, "append_seal", fails)
    with client.start_run("churn") as run:
        for step in range(500):
            run.log_metrics({"loss": step}, step=step)
    assert client.flush(60)
    assert not failures
    assert client.get_run(run.run_id).history("loss").total == 500
