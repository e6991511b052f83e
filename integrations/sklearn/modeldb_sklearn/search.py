"""Searches: a child run for each candidate, written when its splits are done, while the search goes on.

A search hands its fits to :class:`sklearn.utils.parallel.Parallel`, which returns when all are done. What it returns can
be had one by one instead, whatever the number of jobs and the backend: so the results come by here in their order, in the
thread that waits for them anyway, and nothing has to be told between processes.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldb_core.commands import edits, runs
from modeldb_core.model.entities import ENDS, FAILED, FINISHED, RUNNING, new_id, now_us
from modeldb_sklearn.hyperparameters import nested, typed
from modeldb_sklearn.parallel import Watch, followed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from modeldb_sklearn.placement import Placement

_SHOWN = 4  # parameters in the name of a candidate's run
_PATIENCE_S = 1.0  # a candidate whose splits take longer is shown before they are all done
_CURVES = ("mean_test_", "mean_train_")


def is_search(estimator: object) -> bool:
    """Return whether ``estimator`` is one of scikit-learn's searches, or derived from them."""
    module = sys.modules.get("sklearn.model_selection._search")
    return module is not None and isinstance(estimator, module.BaseSearchCV)


@dataclass(slots=True)
class Results:
    """The results of a search, taken when it ended.

    Attributes:
        columns: ``cv_results_`` without the parameters: by name one value for each candidate.
        params: the parameters of each candidate.
        best: what the search found, as attributes of its run.
    """

    columns: dict[str, Any]
    params: list[dict[str, Any]]
    best: dict[str, Any]


def results_of(estimator: Any) -> Results | None:  # noqa: ANN401 - any estimator
    """Return the results of a search, ``None`` for any other estimator."""
    results = vars(estimator).get("cv_results_")
    if not isinstance(results, dict) or not isinstance(results.get("params"), list):
        return None
    best: dict[str, Any] = {}
    for name in ("best_params_", "n_resources_"):
        value = vars(estimator).get(name)
        if value is not None:
            best[name[:-1]] = nested(value) if name == "best_params_" else typed(value)
    columns = {key: column for key, column in results.items() if key != "params"}
    return Results(columns, list(results["params"]), best)


@dataclass(slots=True)
class _Candidate:
    """One candidate: what is known of it, and what its run says already."""

    index: int
    params: dict[str, Any]
    metrics: dict[str, float | int] = field(default_factory=dict)
    by_split: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    run_id: str = ""
    told: dict[str, float | int] = field(default_factory=dict)
    is_done: bool = False


class SearchWatch(Watch):
    """Follows a search, and writes the runs of its candidates.

    Args:
        placement: the run of the search.
        searches: the estimators that may be searching; one inside another estimator is as good.
        is_nested: whether a search of what is searched for runs inside: each candidate then has its run from the start.
    """

    def __init__(self, placement: Placement, searches: Iterable[object], *, is_nested: bool) -> None:
        self.run = placement.run
        self._is_live = placement.is_ours  # points stay, and the program's run may be another call's if this one fails
        self.is_nested = is_nested
        self._searches = list(searches)
        self._candidates: list[_Candidate] = []
        self._offset = self._splits = 0
        self._more: dict[str, list[Any]] = {}
        self._shown_at = monotonic()

    # -- while it searches --------------------------------------------------------------------------------------------

    def claims(self, frame: FrameType) -> bool:
        """Whether the search hands out its fits in ``frame``."""
        if frame.f_code.co_name != "evaluate_candidates":
            return False
        searching = frame.f_locals.get("self")
        return any(search is searching for search in self._searches)

    def begin(self, frame: FrameType) -> None:
        """Take the candidates that are about to be tried."""
        given = frame.f_locals
        self._splits = int(given["n_splits"])
        self._offset = len(self._candidates)
        self._more = {name: list(column) for name, column in (given.get("more_results") or {}).items()}
        for params in given["candidate_params"]:
            self._candidates.append(_Candidate(len(self._candidates), params))
        if self.is_nested:
            for candidate in self._candidates[self._offset :]:
                self._write(candidate, RUNNING)

    def task_run(self, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the run that the fit of that number in this round is part of, and what is to be told of it."""
        if not self.is_nested:
            return None
        candidate = self._candidates[self._offset + number // self._splits]
        return followed(self.run, candidate.run_id), {"split": number % self._splits}

    def result(self, number: int, output: Any) -> None:  # noqa: ANN401
        """A fit is done."""
        within, split = divmod(number, self._splits)
        candidate = self._candidates[self._offset + within]
        for kind in ("test", "train"):
            scores = output.get(f"{kind}_scores")
            named = scores if isinstance(scores, dict) else {"score": scores}
            for name, score in named.items():
                if score is not None:
                    candidate.metrics[f"split{split}_{kind}_{name}"] = float(score)
                    candidate.by_split.setdefault(f"{kind}_{name}", []).append(float(score))
        for name in ("fit_time", "score_time"):
            candidate.by_split.setdefault(name, []).append(float(output[name]))
            candidate.seconds += float(output[name])
        if output.get("fit_error"):
            candidate.errors.append(output["fit_error"].strip().splitlines()[-1])
        if split == self._splits - 1:
            self._complete(candidate, within)
        elif monotonic() - self._shown_at > _PATIENCE_S:
            self._write(candidate, RUNNING)

    def _complete(self, candidate: _Candidate, within: int) -> None:
        whole: dict[str, float] = {}
        for name, values in candidate.by_split.items():
            array = np.asarray(values)
            whole[f"mean_{name}"] = float(np.average(array))
            whole[f"std_{name}"] = float(np.sqrt(np.average((array - np.average(array)) ** 2)))
        candidate.metrics = whole | candidate.metrics  # tables show what comes first
        for name, column in self._more.items():
            if isinstance(number := np.asarray(column[within]).item(), (int, float)):
                candidate.metrics[name] = number
        candidate.by_split.clear()
        candidate.is_done = True
        self._write(candidate, FAILED if len(candidate.errors) == self._splits else FINISHED)
        if self._is_live:
            self._log_curves(candidate)

    def _log_curves(self, candidate: _Candidate) -> None:
        """Log the scores as series over the candidates, so that a search is seen as a curve."""
        curves = {name: value for name, value in candidate.metrics.items() if name.startswith(_CURVES)}
        self.run.log_metrics({f"candidates/{name}": float(value) for name, value in curves.items()}, candidate.index)

    # -- after it -----------------------------------------------------------------------------------------------------

    def complete(self, results: Results) -> None:
        """Add what is known at the end only, the ranks above all; in the background."""
        columns = {  # tables show what comes first: what is of all splits
            name: np.ma.getdata(column).tolist()
            for name, column in sorted(results.columns.items(), key=lambda item: item[0].startswith("split"))
            if not name.startswith("param_") and getattr(column, "dtype", np.dtype(object)).kind in "biuf"
        }
        for index, params in enumerate(results.params):
            is_new = index >= len(self._candidates) or not self._candidates[index].run_id
            if index >= len(self._candidates):
                self._candidates.append(_Candidate(index, params))
            candidate = self._candidates[index]
            candidate.metrics.update({name: column[index] for name, column in columns.items()})
            if is_new or not self._is_live:
                self._log_curves(candidate)
            self._write(candidate, _take_unfollowed(candidate) if is_new else "")

    def abort(self, status: str) -> None:
        """The search was given up: so are the candidates whose splits are not all done."""
        for candidate in self._candidates[self._offset :]:
            if candidate.run_id and not candidate.is_done:
                self._write(candidate, status)

    def _write(self, candidate: _Candidate, status: str) -> None:
        """Write what is new of a candidate, as one change."""
        client, now = self.run.client, now_us()
        news = {name: value for name, value in candidate.metrics.items() if not _same(candidate.told.get(name), value)}
        candidate.told.update(news)
        self._shown_at = monotonic()
        notes = [f"The fit of a split raised {error}"[:1024] for error in dict.fromkeys(candidate.errors)]
        if candidate.run_id:
            change: dict[str, Any] = {"put": {"metrics": news}} if news else {}
            if status in ENDS:
                change["set"] = {"status": status, "finished_at": now}
                if notes:
                    change["add"] = {"notes": notes}
            if change:
                client.execute(edits.update("run", candidate.run_id, change))
            return
        project_id, experiment_id = self.run.container_ids
        candidate.run_id = new_id()
        operation = runs.start(
            candidate.run_id,
            {"project_id": project_id, "experiment_id": experiment_id, "parent_id": self.run.run_id},
            started_at=now - int(1e6 * candidate.seconds),  # from how long scikit-learn says that the splits took
            name=_name(candidate.index, candidate.params),
            tags=("sklearn", "candidate"),
            sections={
                "hyperparameters": client.blobs.checked_map(nested(candidate.params), "hyperparameters"),
                "metrics": news,
                "attributes": {"candidate": candidate.index},
            },
            notes=notes,
            stream_id=client.writer.stream_id,
        )
        client.execute(runs.ended(operation, status, finished_at=now) if status in ENDS else operation)


def _take_unfollowed(candidate: _Candidate) -> str:
    """Take from its results how long a candidate took whose splits were not followed; return how it ended."""
    scores = {name: value for name, value in candidate.metrics.items() if name.startswith("split") and "_test_" in name}
    splits = {name.partition("_")[0] for name in scores}
    means = (candidate.metrics.get(name, 0.0) for name in ("mean_fit_time", "mean_score_time"))
    candidate.seconds = len(splits) * sum(means)
    return FAILED if scores and all(math.isnan(score) for score in scores.values()) else FINISHED


def _same(first: float | None, second: float) -> bool:
    return first == second or (first is not None and math.isnan(first) and math.isnan(second))


def _name(index: int, params: dict[str, Any]) -> str:
    shown = [f"{name.rpartition('__')[2]}={value!r:.20}" for name, value in list(params.items())[:_SHOWN]]
    more = ", …" if len(params) > _SHOWN else ""
    return f"{index}: {', '.join(shown)}{more}"[:200]
