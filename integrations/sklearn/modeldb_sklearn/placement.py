"""Which run a fit belongs to."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.tracking import current_run
from modeldb_sklearn.options import wait_in

if TYPE_CHECKING:
    from modeldb_core.tracking import RunHandle
    from modeldb_sklearn.options import Options

_lock = threading.Lock()
_taken: set[str] = set()


@dataclass(slots=True)
class Placement:
    """A run for one fit. ``is_ours``: autologging started it, and ends it."""

    run: RunHandle
    is_ours: bool


def place(options: Options, name: str, *, is_preparation: bool, **fields: Any) -> Placement:  # noqa: ANN401
    """Return the run that a fit logs to.

    Outside of any run a fit is a run of its own. Within one, the first fit logs to it, and each later one to a child of
    it, so that nothing is ever overwritten. A transformer always gets a child: it prepares the data for what the run is
    about.

    Args:
        options: where runs go, and their tags.
        name: what a run of its own is called.
        is_preparation: whether the estimator is a transformer.
        fields: ``hyperparameters``, ``attributes`` and ``tags`` to begin with.
    """
    fields["tags"] = [tag for tag in dict.fromkeys(fields["tags"]) if tag]
    run = current_run()
    if run is not None:
        wait_in(run.client)
        is_ours = run._process_id == os.getpid()  # to the run of a parent process, every child adds runs of its own
        if is_ours and not is_preparation and _take(run.run_id):
            if fields.get("hyperparameters"):
                run.log_hyperparameters(fields["hyperparameters"])
            run.set_attributes(fields["attributes"])
            return Placement(run, is_ours=False)
        return Placement(run.start_child(name, **fields), is_ours=True)
    client = options.resolved_client()
    started = client.start_run(options.project, options.experiment, name, **fields)
    _take(started.run_id)
    return Placement(started, is_ours=True)


def release(run_id: str) -> None:
    """The run has ended: nobody asks for it any more."""
    with _lock:
        _taken.discard(run_id)


def _take(run_id: str) -> bool:
    """Return whether this is the first fit in the run."""
    with _lock:
        if run_id in _taken:
            return False
        _taken.add(run_id)
        return True
