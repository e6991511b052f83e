"""Which of the processes that train together this one is.

Launchers of distributed training, such as ``torchrun`` and Lightning's, run the same script in every process. Then one of
them records, as every process that logs would make a run of its own of the one training.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def is_first() -> bool:
    """Return whether this process is the first of those that train together, as far as torch says; else it is alone.

    What SLURM and MPI say about a process does not count here: they start programs that have nothing to do with each other
    as well. Lightning's trainer knows; see the integration.
    """
    distributed: Any = sys.modules.get("torch.distributed")
    is_initialized = getattr(
        distributed, "is_initialized", bool
    )  # not there where another thread has only begun to import it
    if is_initialized():
        return int(distributed.get_rank()) == 0
    if not os.environ.get("MASTER_ADDR") or _number("WORLD_SIZE", 2) < 2:
        return True
    return _number("RANK", _number("LOCAL_RANK", 0) or _number("NODE_RANK", 0)) == 0


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
