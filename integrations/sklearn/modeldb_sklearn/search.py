"""Searches: a child run for each candidate, made by one change each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.changes import CREATE
from modeldb_core.entities import FINISHED, new_id, now_us
from modeldb_sklearn.hyperparameters import nested, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.tracking import RunHandle

_SHOWN = 4  # parameters in the name of a candidate's run


@dataclass(slots=True)
class Candidates:
    """The results of a search, taken when it ended.

    Attributes:
        results: ``cv_results_``: by name one value for each candidate.
        params: the parameters of each candidate.
        best: what the search found, as attributes of its run.
        metrics: its numbers.
    """

    results: dict[str, Any]
    params: list[dict[str, Any]]
    best: dict[str, Any]
    metrics: dict[str, float]


def snapshot(estimator: Any) -> Candidates | None:  # noqa: ANN401 - any estimator
    """Return the results of a search, ``None`` for any other estimator."""
    results = vars(estimator).get("cv_results_")
    if not isinstance(results, dict) or not isinstance(results.get("params"), list):
        return None
    params = results["params"]
    best: dict[str, Any] = {}
    for name in ("best_params_", "n_resources_"):
        value = vars(estimator).get(name)
        if value is not None:
            best[name[:-1]] = nested(value) if name == "best_params_" else typed(value)
    columns = {key: column for key, column in results.items() if key != "params"}
    return Candidates(columns, list(params), best, {"n_candidates": len(params)})


def record(parent: RunHandle, candidates: Candidates) -> None:
    """Make the child runs, and curves over the candidates on the run of the search.

    A child has the candidate's parameters as hyperparameters, and every number of ``cv_results_`` under the name that
    it has there: ``mean_test_score``, ``std_test_score``, ``rank_test_score``, ``split0_test_score``, ``mean_fit_time``, …
    """
    parent.log_metrics(candidates.metrics)
    parent.set_attributes(candidates.best)
    columns = {
        name: np.ma.getdata(column).tolist()
        for name, column in candidates.results.items()
        if not name.startswith("param_") and getattr(column, "dtype", np.dtype(object)).kind in "biuf"
    }
    _log_curves(parent, columns)
    client = parent.client
    project_id, experiment_id = parent.container_ids
    now = now_us()
    for index, values in enumerate(_rows(columns, len(candidates.params))):
        params = candidates.params[index]
        duration_us = int(1e6 * (values.get("mean_fit_time", 0.0) + values.get("mean_score_time", 0.0)))
        fields = {
            "project_id": project_id,
            "experiment_id": experiment_id,
            "parent_id": parent.run_id,
            "name": _name(index, params),
            "status": FINISHED,
            "started_at": now - duration_us,
            "finished_at": now,
            "stream_id": client.writer.stream_id,
            "tags": ["sklearn", "candidate"],
            "hyperparameters": client.blobs.checked_map(nested(params), "hyperparameters"),
            "metrics": values,
            "attributes": {"candidate": index},
        }
        client.log_change(CREATE, "run", new_id(), fields)


def _log_curves(parent: RunHandle, columns: dict[str, list[Any]]) -> None:
    """Log the scores as series over the candidates, so that a search is seen as a curve."""
    names = [name for name in columns if name.startswith(("mean_test_", "mean_train_"))]
    for step, row in enumerate(zip(*(columns[name] for name in names), strict=True)):
        parent.log_metrics({f"candidates/{name}": float(value) for name, value in zip(names, row, strict=True)}, step)


def _rows(columns: dict[str, list[Any]], count: int) -> Iterator[dict[str, Any]]:
    for index in range(count):
        yield {name: column[index] for name, column in columns.items()}


def _name(index: int, params: dict[str, Any]) -> str:
    shown = [f"{name.rpartition('__')[2]}={value!r:.20}" for name, value in list(params.items())[:_SHOWN]]
    more = ", …" if len(params) > _SHOWN else ""
    return f"{index}: {', '.join(shown)}{more}"[:200]
