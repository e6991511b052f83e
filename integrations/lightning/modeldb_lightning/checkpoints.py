"""Checkpoints as artifacts of a run: those that Lightning keeps, stored beside the training, and no others.

After each save it is seen what each ``ModelCheckpoint`` keeps: the best ones by its monitor, the last one. What is new is
opened at once, so that it can be read to its end even if Lightning replaces or removes it meanwhile, and stored in the
background; what is kept no more is taken away from the run. Equal content is stored once.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from modeldb_core.errors import NotFoundError
from modeldb_lightning.hyperparameters import typed
from modeldb_lightning.options import GUARD, submit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.tracking import RunHandle
    from modeldb_lightning.options import Options
    from modeldb_lightning.resuming import Past

FOLDER = "checkpoints"
KIND = "checkpoint"
MAX_OPEN = 32
"""So many files are kept open while they wait; more are opened when it is their turn."""

MAX_RUNS = 100
"""Of so many runs of this process it is remembered which checkpoints they have."""

Mark = tuple[int, int, int]
Linked = dict[str, dict[str, dict[str, Any]]]
"""The entries of checkpoints among the artifacts of a run, by path and name."""

_linked_of: dict[str, Linked] = {}
"""By run. Only the background thread has to do with it: a training that goes on with a run is given what the one before it
had still to store when it was continued."""


@dataclass(slots=True)
class Kept:
    """A checkpoint that is to be with the run."""

    callback: str
    details: dict[str, Any]
    aliases: list[str] = field(default_factory=list)


class Recorded(Protocol):
    """What checkpoints need of the recording that they belong to."""

    options: Options
    run: RunHandle | None

    @property
    def logs(self) -> bool:
        """Whether this process is the one that logs."""

    def start(self) -> RunHandle | None:
        """Return the open run; it is started where it is not."""


class Checkpoints:
    """The checkpoints of one recording.

    Args:
        recording: whose run they belong to.
    """

    def __init__(self, recording: Recorded) -> None:
        self._recording = recording
        self.position: dict[str, Any] = {}
        """Epoch and step of the checkpoint that is being saved, as the trainer says."""
        self._callbacks: dict[str, Any] = {}
        self._kept: dict[str, dict[str, Kept]] = {}
        self._positions: dict[str, dict[str, Any]] = {}
        self._marks: dict[str, Mark] = {}
        self._lock = threading.Lock()
        self._pending: dict[str, BinaryIO | None] = {}
        self._is_queued = False
        # Only the background thread has to do with these: what is stored and what the run names, by path.
        self._stored: Linked = {}
        self._linked: Linked = {}

    def know(self, past: Past) -> None:
        """Take over the checkpoints that a continued run has already."""
        for name, entry in past.artifacts.items():
            if entry.get("type") == KIND and "path" in entry:
                self._linked.setdefault(entry["path"], {})[name] = dict(entry)

    def saved(self, callback: Any) -> None:  # noqa: ANN401 - a ModelCheckpoint, or a proxy of one
        """A ``ModelCheckpoint`` has saved something."""
        if not self._recording.options.log_checkpoints or not self._recording.logs:
            return
        with GUARD.step("see which checkpoints are kept"):
            self._see(callback)
            self._open_new()
            self._queue()

    def settle(self) -> None:
        """The trainer has come to an end: see what every ``ModelCheckpoint`` keeps after all."""
        if not self._callbacks:
            return
        with GUARD.step("see which checkpoints are kept"):
            for callback in list(self._callbacks.values()):
                with suppress(ReferenceError):
                    self._see(callback)
            self._open_new()
            self._queue()

    # -- in the training thread ---------------------------------------------------------------------------------------

    def _see(self, callback: Any) -> None:  # noqa: ANN401
        key = str(callback.state_key)
        self._callbacks[key] = callback
        latest = getattr(callback, "_last_checkpoint_saved", "")
        if latest and self.position:
            self._positions[_real(latest)] = self.position
        self._kept[key] = kept_by(callback, self._kept.get(key, {}), self._positions)
        kept = {path for each in self._kept.values() for path in each}
        self._positions = {path: at for path, at in self._positions.items() if path in kept}

    def _wanted(self) -> dict[str, Kept]:
        """Return what is kept, by path; ``best`` is that of the callback that saved first."""
        wanted: dict[str, Kept] = {}
        has_best = False
        for kept in self._kept.values():
            for path, one in kept.items():
                aliases = [alias for alias in one.aliases if alias != "best" or not has_best]
                wanted[path] = Kept(one.callback, one.details, aliases)
            has_best = has_best or any("best" in one.aliases for one in kept.values())
        return wanted

    def _open_new(self) -> None:
        for path in self._wanted():
            if "://" in path:
                if path not in self._marks or path == self._latest():
                    self._marks[path] = (0, 0, 0)
                    self._wait_for(path, None)
                continue
            try:
                stat = os.stat(path)
            except OSError:  # it will be written by another process, or was removed
                continue
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if self._marks.get(path) != mark:
                self._marks[path] = mark
                is_early = len(self._pending) < MAX_OPEN and os.path.isfile(path)
                self._wait_for(path, open(path, "rb") if is_early else None)  # noqa: SIM115 - the background closes it

    def _latest(self) -> str:
        callback = next(reversed(self._callbacks.values()), None)
        return str(getattr(callback, "_last_checkpoint_saved", ""))

    def _wait_for(self, path: str, stream: BinaryIO | None) -> None:
        with self._lock:
            before = self._pending.pop(path, None)
            self._pending[path] = stream
        if before is not None:
            before.close()

    def _queue(self) -> None:
        """Let the background work, unless it is about to: however slow the store, one job waits at most."""
        run = self._recording.run or self._recording.start()  # an ended run takes artifacts too: it is not begun again
        with self._lock:
            if run is None or self._is_queued:
                return
            self._is_queued = True
        if not submit(lambda: self._work(run), run.run_id):
            self._is_queued = False

    # -- beside it ----------------------------------------------------------------------------------------------------

    def _work(self, run: RunHandle) -> None:
        with self._lock:
            self._is_queued = False
            pending, self._pending = self._pending, {}
        wanted = self._wanted()
        self._take_over(run.run_id)
        for path, stream in pending.items():
            with GUARD.step("store a file", run.note):
                try:
                    if path in wanted:
                        self._stored[path] = self._store(run, path, stream)
                finally:
                    if stream is not None:
                        stream.close()
        with GUARD.step("name the checkpoints", run.note):
            self._link(run, wanted)
            self._unlink(run, wanted)

    def _take_over(self, run_id: str) -> None:
        """Go on with the checkpoints that a training before, in this process, has stored in the run."""
        self._linked = _linked_of.pop(run_id, {}) | self._linked
        _linked_of[run_id] = self._linked
        if len(_linked_of) > MAX_RUNS:
            del _linked_of[next(iter(_linked_of))]

    def _store(self, run: RunHandle, path: str, stream: BinaryIO | None) -> dict[str, dict[str, Any]]:
        """Return the entries of what was stored: one, or those of all files of a checkpoint that is a folder."""
        name, entries = self._name_for(path), {}
        for inside, opened in _files(path, stream):
            with opened:
                info = run.client.put_blob(opened)
            entry = {"digest": info.digest, "size_bytes": info.size_bytes, "media_type": "application/octet-stream"}
            entries[name + inside] = entry
        return entries

    def _link(self, run: RunHandle, wanted: Mapping[str, Kept]) -> None:
        changed: dict[str, dict[str, Any]] = {}
        for path, kept in wanted.items():
            facts = {"type": KIND, "path": path, "callback": kept.callback, "aliases": kept.aliases, **kept.details}
            stored = self._stored.get(path) or self._linked.get(path, {})
            plain = ("digest", "size_bytes", "media_type")
            entries = {name: {key: entry[key] for key in plain} | facts for name, entry in stored.items()}
            if entries != self._linked.get(path, {}):
                self._linked[path] = entries
                changed |= entries
        if changed:
            run.link_artifacts(changed)

    def _unlink(self, run: RunHandle, wanted: Mapping[str, Kept]) -> None:
        gone: list[str] = []
        for path, entries in list(self._linked.items()):
            owner = next((entry.get("callback") for entry in entries.values()), None)
            if path not in wanted and owner in self._kept:  # one that is not seen yet may keep it still
                gone += entries
                del self._linked[path]
                self._stored.pop(path, None)
        if gone:
            run.unlink_artifacts(*gone)

    def _name_for(self, path: str) -> str:
        """Return the name of a checkpoint among the artifacts: its file name, and the folder where that is taken."""
        known = self._linked.get(path)
        if known and len(known) == 1:
            return next(iter(known))
        file = Path(path)
        taken = {name for other, entries in (self._stored | self._linked).items() if other != path for name in entries}
        name, count = f"{FOLDER}/{file.name}", 1
        while any(other == name or other.startswith(f"{name}/") for other in taken):
            folder = file.parent.name + (f"-{count}" if count > 1 else "")
            name, count = f"{FOLDER}/{folder}/{file.name}", count + 1
        return name


def kept_by(
    callback: Any,  # noqa: ANN401
    before: Mapping[str, Kept],
    positions: Mapping[str, dict[str, Any]],
) -> dict[str, Kept]:
    """Return what a ``ModelCheckpoint`` keeps, by path, with scores and aliases.

    Aliases are ``best``, ``best:<monitor>`` and ``last``. ``last`` is what ``save_last`` writes, else the newest one.
    """
    monitor, key = getattr(callback, "monitor", None), str(callback.state_key)
    scores = {_real(str(path)): score for path, score in (getattr(callback, "best_k_models", None) or {}).items()}
    names = ("best_model_path", "_last_checkpoint_saved", "last_model_path")
    best, latest, last = (_real(str(getattr(callback, name, "") or "")) for name in names)
    last = last or latest
    paths = [*scores, best, latest, last]
    if getattr(callback, "save_top_k", 1) == -1:  # all are kept
        paths = [*before, *paths]
    kept: dict[str, Kept] = {}
    for path in dict.fromkeys(path for path in paths if path):
        details: dict[str, Any] = dict(positions.get(path, {}))
        if monitor is not None:
            details["monitor"] = monitor
        if path in scores:
            details["score"] = typed(scores[path])
        aliases = (("best", path == best), (f"best:{monitor}", path == best and monitor), ("last", path == last))
        kept[path] = Kept(key, details, [alias for alias, holds in aliases if holds])
    return kept


def find_checkpoint(run: RunHandle, alias: str = "best") -> str:
    """Return the name of a run's checkpoint among its artifacts.

    Args:
        run: the run.
        alias: ``best``, ``best:<monitor>`` or ``last``.

    Raises:
        NotFoundError: it has none.
    """
    found = {name: entry for name, entry in run.artifacts.items() if entry.get("type") == KIND}
    for name, entry in found.items():
        if alias in entry.get("aliases", ()):
            file = "/" + Path(entry["path"]).name
            folder, is_folder, _ = name.partition(file + "/")
            return folder + file if is_folder else name
    aliases = sorted({alias for entry in found.values() for alias in entry.get("aliases", ())})
    msg = f"run {run.run_id} has no checkpoint {alias!r}; it has {aliases or 'none'}"
    raise NotFoundError(msg)


def download_checkpoint(run: RunHandle, path: str | os.PathLike[str] = ".", alias: str = "best") -> Path:
    """Write a checkpoint of a run to ``path``, a folder or the name of the file; returns where it is.

    Args:
        run: the run.
        path: where to.
        alias: ``best``, ``best:<monitor>`` or ``last``.

    Raises:
        NotFoundError: it has none.
    """
    return run.download_artifact(find_checkpoint(run, alias), path)


def _real(path: str) -> str:
    """Return where a checkpoint lies: ``save_last="link"`` makes a link to another one."""
    return path if not path or "://" in path else os.path.realpath(path)


def _files(path: str, stream: BinaryIO | None) -> Iterator[tuple[str, BinaryIO]]:
    """Iterate over the files of a checkpoint: its own where it is one, those in it where it is a folder."""
    if stream is not None:
        yield "", stream
    elif "://" in path:
        import fsspec

        with fsspec.open(path, "rb") as opened:
            yield "", opened
    elif os.path.isdir(path):
        for file in sorted(Path(path).rglob("*")):
            if file.is_file():
                yield f"/{file.relative_to(path).as_posix()}", file.open("rb")
    else:
        yield "", open(path, "rb")  # noqa: SIM115 - the caller closes it
