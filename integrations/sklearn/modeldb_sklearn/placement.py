"""Which run a fit belongs to."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging.runs import SPILL_BYTES, attach, fitting_name
from modeldb_core.tracking import RunHandle, current_run
from modeldb_sklearn.options import PATIENCE_S, upload, wait_in
from modeldb_sklearn.parallel import INNER

if TYPE_CHECKING:
    from modeldb_sklearn.options import Options

_LARGE = SPILL_BYTES // 4  # characters, which are up to four bytes long

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
    fields["tags"] = [fitting_name(tag) for tag in dict.fromkeys(fields["tags"]) if tag]
    hyperparameters = fields.pop("hyperparameters", None) or {}
    small = {key: value for key, value in hyperparameters.items() if not _is_large(value)}
    fitting = fitting_name(name)
    placement = _place(options, fitting, is_preparation=is_preparation, hyperparameters=small, **fields)
    if fitting != name:
        placement.run.note(f"The name was shortened; in full it is {name}")
    large = {key: value for key, value in hyperparameters.items() if key not in small}
    if large:  # they go through the artifact store
        run = placement.run.late()
        upload("long hyperparameters", run, lambda: run.log_hyperparameters(large))
    return placement


def _place(options: Options, name: str, *, is_preparation: bool, **fields: Any) -> Placement:  # noqa: ANN401
    inner = INNER.get()
    if inner is not None:
        return Placement(attach(inner[0]).start_child(name, **fields), is_ours=True)
    run = current_run()
    if run is not None:
        wait_in(run.client)
        is_ours = run.is_of_this_process  # to the run of a parent process, every child adds runs of its own
        if is_ours and not is_preparation and _take(run.run_id):
            if fields["hyperparameters"]:
                run.log_hyperparameters(fields["hyperparameters"])
            run.set_attributes(fields["attributes"])
            return Placement(run, is_ours=False)
        run.learn_containers(PATIENCE_S)
        return Placement(run.start_child(name, **fields), is_ours=True)
    client = options.resolved_client()
    started = client.start_run(options.project, options.experiment, name, make_current=False, **fields)
    _take(started.run_id)
    return Placement(started, is_ours=True)


def _is_large(value: object) -> bool:
    """Return whether a value may be too long for the record itself."""
    left, waiting = _LARGE, [value]
    while waiting:
        item = waiting.pop()
        left -= len(item) if isinstance(item, str) else 16
        if isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        if left < 0:
            return True
    return False


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
