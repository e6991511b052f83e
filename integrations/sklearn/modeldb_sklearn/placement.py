"""Which run a fit belongs to."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging.runs import SPILL_BYTES, attach, fitting_name
from modeldb_core.commands import edits
from modeldb_core.tracking import RunHandle, current_run
from modeldb_sklearn.options import PATIENCE_S, upload, wait_in
from modeldb_sklearn.parallel import INNER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_sklearn.options import Options

_LARGE = SPILL_BYTES // 4  # characters, which are up to four bytes long

_lock = threading.Lock()
_claims: dict[str, Placement] = {}
"""By run the call that it is about; another one has it after a failure."""


@dataclass(slots=True)
class Placement:
    """A run for one fit, or another call that is recorded.

    Attributes:
        run: the run.
        is_ours: whether autologging started it, and ends it.
        has_failed: whether the call raised: the run is the next one's then.
        names: of what such a call leaves to be taken back, by section.
    """

    run: RunHandle
    is_ours: bool
    has_failed: bool = False
    names: dict[str, set[str]] = field(default_factory=dict)

    def put_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record what is so only until the call has ended: its own results replace it, or those of the next one."""
        self.put({"metrics": {name: value for name, value in metrics.items() if not self.run.has_metric(name)}})

    def describe(self, left: dict[str, set[str]], **sections: dict[str, Any]) -> None:
        """Say in the run of the program what the call is, and take back what one that failed has said.

        What the program has recorded itself stays.
        """
        new = {
            section: {name: value for name, value in values.items() if not self.has_of_program(section, name)}
            for section, values in sections.items()
        }
        gone = {
            section: [name for name in names - {*new.get(section, ())} if not self.has_of_program(section, name)]
            for section, names in left.items()
        }
        self.put(new, gone)
        if kept := [name for section, values in sections.items() for name in values if name not in new[section]]:
            self.run.note(f"Not recorded: {', '.join(kept)}, since the program has logged that itself.")

    def has_of_program(self, section: str, name: str) -> bool:
        """Whether the program has recorded a value of that name in a run of its own, which is never replaced."""
        return not self.is_ours and self.run.has_logged(section, name)

    def add(self, large: dict[str, Any]) -> None:
        """Record hyperparameters that take a while: the run may be another call's by then."""
        if self.names:
            self.put({"hyperparameters": large})

    def put(self, sections: Mapping[str, Mapping[str, Any]], gone: Mapping[str, list[str]] | None = None) -> None:
        """Record values that can be taken back, and take others back; neither counts as recorded by the program."""
        notes: list[str] = []
        blobs, run = self.run.client.blobs, self.run
        put = {name: blobs.checked_map(values, name, notes=notes) for name, values in sections.items() if values}
        removed = {name: sorted(names) for name, names in (gone or {}).items() if names}
        data = {"put": put, "remove": removed, "add": {"notes": notes} if notes else {}}
        for section, values in put.items():
            self.names.setdefault(section, set()).update(values)
        if (put or removed) and not run.is_silent:
            run.client.execute(edits.update("run", run.run_id, {name: part for name, part in data.items() if part}))


def place(options: Options, name: str, *, is_preparation: bool, **fields: Any) -> Placement:  # noqa: ANN401
    """Return the run that a fit logs to.

    Outside of any run a fit is a run of its own. Within one, the first fit logs to it, and each later one to a child of
    it, so that nothing is ever overwritten. One that failed is not what the run is about: the next takes its place. A
    transformer always gets a child: it prepares the data for what the run is about.

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
    large = {
        key: value
        for key, value in hyperparameters.items()
        if key not in small and not placement.has_of_program("hyperparameters", key)
    }
    if large:  # they go through the artifact store
        placement.names.setdefault("hyperparameters", set()).update(large)
        upload("long hyperparameters", placement.run.late(), lambda: placement.add(large))
    return placement


def _place(options: Options, name: str, *, is_preparation: bool, **fields: Any) -> Placement:  # noqa: ANN401
    inner = INNER.get()
    if inner is not None:
        return Placement(attach(inner[0]).start_child(name, **fields), is_ours=True)
    run = current_run()
    if run is not None:
        wait_in(run.client)
        placement = Placement(run, is_ours=False)
        # To the run of a parent process, every child adds runs of its own.
        left = _claim(placement) if run.is_of_this_process and not is_preparation else None
        if left is not None:
            if left:
                wait_in(run.client).wait(run.run_id, timeout_s=PATIENCE_S)  # long hyperparameters that are on their way
            placement.describe(left, hyperparameters=fields["hyperparameters"], attributes=fields["attributes"])
            return placement
        run.learn_containers(PATIENCE_S)
        return Placement(run.start_child(name, **fields), is_ours=True)
    client = options.resolved_client()
    started = client.start_run(options.project, options.experiment, name, make_current=False, **fields)
    placement = Placement(started, is_ours=True)
    _claim(placement)
    return placement


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
        _claims.pop(run_id, None)


def _claim(placement: Placement) -> dict[str, set[str]] | None:
    """Return what a call that failed has left in the run; ``None``: the run is about another one."""
    with _lock:
        before = _claims.get(placement.run.run_id)
        if before is not None and not before.has_failed:
            return None
        _claims[placement.run.run_id] = placement
        left: dict[str, set[str]] = {}
        if before is not None:
            left, before.names = before.names, left
        return left
