"""Comparing the metrics of two runs, of which somebody else may have written one."""

from __future__ import annotations

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.model.entities import Run
from modeldb_core.reproduction.results import compare_results


def test_a_metric_that_is_no_number_is_compared_as_it_is() -> None:
    values = {"text": "0.9", "long": 10**400, "none": None, "true": True, "list": [1], "nan": float("nan")}
    recorded = Run(entity_id="a", metrics={**values, "other": "x", "number": 1})
    repeated = Run(entity_id="b", metrics={**values, "other": 0.5, "number": 1.5})
    store = MemoryStore()
    found = {each.key: each for each in compare_results(recorded, repeated, (store, store), 1e-9)}
    assert {key for key, each in found.items() if each.verdict == "differs"} == {"other", "number"}
    assert (found["number"].difference, found["other"].difference, found["long"].difference) == (0.5, None, None)
    assert [each.document()["key"] for each in found.values()] == sorted(found)
