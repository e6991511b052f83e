"""What is measured beside the metrics of the program: pace, gradients, memory. None of it waits for a GPU."""

from __future__ import annotations

import os
import sys
import threading
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from modeldb_core.autologging.runs import OWN_PREFIX, attach, describe
from modeldb_lightning.facts import learning_rate_names
from modeldb_lightning.options import GUARD
from modeldb_lightning.trainers import has_rate_monitor

if TYPE_CHECKING:
    from modeldb_core.tracking import RunHandle
    from modeldb_lightning.recording import Recording

SYSTEM_INTERVAL_S = 5.0
_last_steps: dict[tuple[str, str], int] = {}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Pace:
    """How many batches and samples a second the training makes, between two logged steps; validations do not count."""

    def __init__(self) -> None:
        self._at = 0.0
        self._spent = 0.0
        self._step = 0
        self._samples = 0

    def start(self, trainer: Any, step: int) -> None:  # noqa: ANN401 - a Trainer
        """The training begins after ``step`` batches."""
        size = getattr(trainer.train_dataloader, "batch_size", None)
        count = size * trainer.world_size * trainer.accumulate_grad_batches if isinstance(size, int) else 0
        self._at, self._spent, self._step, self._samples = perf_counter(), 0.0, step - 1, count

    def pause(self) -> None:
        """Something else than training begins."""
        self._spent += perf_counter() - self._at

    def go_on(self) -> None:
        """The training goes on."""
        self._at = perf_counter()

    def add(self, metrics: dict[str, float], step: int) -> None:
        """Add the pace since the last call."""
        now = perf_counter()
        elapsed, count = self._spent + now - self._at, step - self._step
        self._at, self._spent, self._step = now, 0.0, step
        if elapsed > 0 and count > 0:
            metrics[f"{OWN_PREFIX}batches_per_second"] = count / elapsed
            if self._samples:
                metrics[f"{OWN_PREFIX}samples_per_second"] = count * self._samples / elapsed


class Rates:
    """The learning rates with which steps are taken, and not those to which schedulers move them afterwards."""

    def __init__(self) -> None:
        self._groups: list[tuple[str, Any]] = []
        self._count = 0
        self._used: dict[str, float] = {}

    def look(self, trainer: Any, optimizer: Any = None) -> None:  # noqa: ANN401
        """A step is about to be taken: by ``optimizer``, or it is not known yet by which."""
        if optimizer is None:
            count = sum(len(each.param_groups) for each in trainer.optimizers)
            if count != self._count:  # the first time, or when layers were unfrozen meanwhile
                self._count = count
                self._groups = [] if has_rate_monitor(trainer) else learning_rate_names(trainer)
                self._used.clear()
            groups = self._groups
        else:
            own = {id(group) for group in optimizer.param_groups}
            groups = [(name, group) for name, group in self._groups if id(group) in own]
        for name, group in groups:
            self._used[OWN_PREFIX + name] = float(group["lr"])

    def add(self, metrics: dict[str, float]) -> None:
        """Add the rates of the step that was taken."""
        metrics.update(self._used)


def gradient_norm(module: Any) -> Any:  # noqa: ANN401 - a LightningModule; a tensor
    """Return the 2-norm of all gradients, as a tensor that nobody waits for yet; ``None`` where there is none."""
    torch: Any = sys.modules["torch"]
    gradients = [parameter.grad.detach() for parameter in module.parameters() if parameter.grad is not None]
    if not gradients:
        return None
    with torch.no_grad():
        device = gradients[0].device
        norms = [torch.linalg.vector_norm(gradient.float()).to(device) for gradient in gradients]
        return torch.linalg.vector_norm(torch.stack(norms))


def memory_metrics(device: Any) -> dict[str, float]:  # noqa: ANN401 - a torch device
    """Return the most memory that was in use so far: of the process, and of the GPU as torch's allocator counts it."""
    found: dict[str, float] = {}
    if (peak := _peak_memory_bytes()) is not None:
        found[f"{OWN_PREFIX}peak_memory_bytes"] = peak
    if device.type == "cuda":
        cuda: Any = sys.modules["torch"].cuda
        found[f"{OWN_PREFIX}peak_gpu_memory_bytes"] = cuda.max_memory_allocated(device)
        found[f"{OWN_PREFIX}reserved_gpu_memory_bytes"] = cuda.memory_reserved(device)
    return found


def _peak_memory_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class SystemMetrics:
    """A thread that records processor time and memory of this process every few seconds.

    Args:
        run: where to, in the process that started it.
        told: in another one, what that process said about it.
        rank: the number of this process among those that train together.
        device: the device it trains on.
    """

    def __init__(self, run: RunHandle | None, told: dict[str, Any] | None, rank: int, device: Any) -> None:  # noqa: ANN401
        self._run = run
        self._told = told
        self._prefix = f"{OWN_PREFIX}system/rank{rank}"
        self._device = device
        self._stop = threading.Event()
        self._before = (perf_counter(), _cpu_s())
        self._thread = threading.Thread(target=self._work, name="modeldb-system", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Record once more and end."""
        self._stop.set()
        self._thread.join(1)

    def _work(self) -> None:
        with GUARD.step("watch the system"):
            run = self._run
            if run is None and self._told is not None:  # here, since the store may have to be waited for
                run = attach(self._told)
            while run is not None and not self._stop.wait(SYSTEM_INTERVAL_S):
                self._log(run)
            if run is not None:
                self._log(run)

    def _log(self, run: RunHandle) -> None:
        (at, spent), now, cpu = self._before, perf_counter(), _cpu_s()
        self._before = (now, cpu)
        metrics = {f"{self._prefix}/cpu_percent": 100 * (cpu - spent) / max(now - at, 1e-9)}
        resident = _resident_bytes()
        if resident:
            metrics[f"{self._prefix}/memory_bytes"] = resident
        if self._device.type == "cuda":
            cuda: Any = sys.modules["torch"].cuda
            metrics[f"{self._prefix}/gpu_memory_bytes"] = cuda.memory_allocated(self._device)
        run.log_metrics(metrics, self._step(run.run_id))

    def _step(self, run_id: str) -> int:
        """Return the seconds since the run was begun, in whatever process: so nothing repeats when it is continued.

        The identifier says when that was (RFC 9562, UUID version 7).
        """
        digits = run_id.replace("-", "")
        begun_s = int(digits[:12], 16) / 1000 if len(digits) == 32 and digits[12] == "7" else 0.0
        step = max(int(time() - begun_s), _last_steps.get((run_id, self._prefix), -1) + 1)
        _last_steps[run_id, self._prefix] = step
        return step


def watch_system(trainer: Any, recording: Recording) -> SystemMetrics | None:  # noqa: ANN401
    """Let every process record its own; all of them come here, so that none waits for another for nothing."""
    handle = None
    with GUARD.step("tell the other processes which run it is"):
        run = recording.start()
        handle = None if run is None else describe(run)
    if trainer.world_size > 1:
        handle = trainer.strategy.broadcast(handle)
    with GUARD.step("watch the system"):
        run = recording.run if recording.logs else None
        return SystemMetrics(run, handle, int(trainer.global_rank), trainer.strategy.root_device)
    return None


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):  # not on Linux
        return 0
