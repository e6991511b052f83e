"""Limits that decide where a value lies and how old a circumstance may be."""

from __future__ import annotations

import sys

import pytest

import modeldb_core as modeldb
from modeldb_core.model.values import BlobReference
from modeldb_core.tracking import circumstances
from modeldb_core.tracking.blobs import SPILL_BYTES


def test_a_value_of_64_kib_stays_in_the_record_and_one_byte_more_goes_to_the_artifact_store(client):
    assert SPILL_BYTES == 65_536
    stays, goes = "x" * (SPILL_BYTES - 2), "x" * (SPILL_BYTES - 1)  # with its quotes
    numbers = [1] * (SPILL_BYTES // 2)  # with a comma or a bracket each, and one bracket more
    with client.start_run() as run:
        run.set_attributes({"stays": stays, "goes": goes, "numbers stay": numbers[:-1], "numbers go": numbers})
    entity = client.get_run(run.run_id).entity
    assert entity.attributes["stays"] == stays
    assert entity.attributes["numbers stay"] == numbers[:-1]
    for name, value in (("goes", goes), ("numbers go", numbers)):
        assert isinstance(entity.attributes[name], BlobReference)
        assert client.resolve(entity.attributes[name]) == value


@pytest.mark.parametrize(("life_s", "expected"), [(-1.0, ["one", "two"]), (3600.0, ["one", "one"])])
def test_the_circumstances_of_a_run_are_those_of_its_time(environment, monkeypatch, life_s, expected):
    monkeypatch.setattr(circumstances, "LIFE_S", life_s)
    found = []
    with modeldb.connect(capture_enabled=True, capture_git=False, capture_packages=False, capture_host=False) as client:
        for argument in ("one", "two"):
            monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", argument])
            with client.start_run() as run:
                pass
            client.flush()
            found.append(client.get_run(run.run_id).entity.context["command"][-1])
    assert found == expected
