"""The machine: operating system, processor, memory, GPUs, and who is logged in."""

from __future__ import annotations

import functools
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldb_core.context.deadline import Deadline, run_program
from modeldb_core.runtime.users import login_name

if TYPE_CHECKING:
    from modeldb_core.config import Settings

_GPU_QUERY = ("name", "memory.total", "driver_version")


def describe_host(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return name, operating system, processor and memory (in bytes) of this machine, and the user."""
    del deadline
    result = {"user": settings.user or login_name(), **_machine()}
    if hasattr(os, "sched_getaffinity"):
        result["cpu_available"] = len(os.sched_getaffinity(0))
    return result


def describe_gpus(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """Return the GPUs that ``nvidia-smi`` lists, asked once for each process."""
    del settings
    gpus = _gpus(deadline)
    return {"gpus": gpus} if gpus else {}


@functools.cache
def _machine() -> dict[str, Any]:
    system = f"{platform.system()} {platform.release()}"
    values = {
        "hostname": platform.node(),
        "operating_system": f"{name} ({system})" if (name := _distribution()) else system,
        "architecture": platform.machine(),
        "cpu": _processor(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
    }
    return {key: value for key, value in values.items() if value}


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:  # not Linux
        return ""


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model", "Hardware"):
                    return value.strip()
    except OSError:
        pass
    return platform.processor()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 0


_known_gpus: list[dict[str, Any]] | None = None


def _gpus(deadline: Deadline) -> list[dict[str, Any]]:
    global _known_gpus
    if _known_gpus is None:
        program = shutil.which("nvidia-smi")
        _known_gpus = _ask(program, deadline) if program else []
    return _known_gpus


def _ask(program: str, deadline: Deadline) -> list[dict[str, Any]]:
    query = [program, f"--query-gpu={','.join(_GPU_QUERY)}", "--format=csv,noheader,nounits"]
    output = run_program(query, deadline)
    if not output.is_complete or output.exit_code != 0:
        return []
    gpus = []
    for line in output.text.decode("utf-8", "replace").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(_GPU_QUERY):
            memory = int(cells[1]) * 2**20 if cells[1].isdigit() else 0
            gpus.append({"name": cells[0], "memory_bytes": memory, "driver": cells[2]})
    return gpus
