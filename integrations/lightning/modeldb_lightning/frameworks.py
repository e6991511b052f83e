"""The two packages that Lightning comes in, those of them that the program has imported; and which process this is."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

PACKAGES = ("lightning.pytorch", "pytorch_lightning")

# Those that Lightning knows, and those of MPI, LSF and Flux, which it does not.
_RANK_VARIABLES = (
    "RANK",
    "SLURM_PROCID",
    "LOCAL_RANK",
    "JSM_NAMESPACE_RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "FLUX_TASK_RANK",
)


def loaded_packages() -> list[Any]:
    """Return the packages of Lightning that are imported; where none is, the first one that is installed.

    Raises:
        ModuleNotFoundError: there is none.
    """
    found = [sys.modules[name] for name in PACKAGES if hasattr(sys.modules.get(name), "Trainer")]
    if found:
        return found
    for name in reversed(PACKAGES):
        if find_spec(name.partition(".")[0]) is not None:
            return [import_module(name)]
    msg = "Lightning is not installed; pip install 'modeldb-core[lightning]'"
    raise ModuleNotFoundError(msg)


def callback_classes() -> tuple[type, ...]:
    """Return the ``Callback`` of each package that is imported: two classes that have nothing to do with each other."""
    return tuple(package.Callback for package in loaded_packages())


_derived: dict[type, type] = {}


def with_callbacks(cls: type) -> type:
    """Return ``cls``, where it derives from the ``Callback`` of each package that is imported, else a class that does both.

    It is another one only where a package was imported after the module of ``cls``.
    """
    while cls in _derived:
        cls = _derived[cls]
    missing = [each for each in callback_classes() if not issubclass(cls, each)]
    if not missing:
        return cls
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return _derived.setdefault(cls, type(cls.__name__, (cls, *missing), names))


def written(cls: type) -> type:
    """Return the class that ``cls`` was made of by :func:`with_callbacks`: one that can be found by its name."""
    made = set(_derived.values())
    return next(each for each in cls.__mro__ if each not in made)


def rank() -> int:
    """Return the number of this process among those that train together, as far as can be told without a trainer."""
    distributed: Any = sys.modules.get("torch.distributed")
    is_initialized = getattr(
        distributed, "is_initialized", bool
    )  # not there where another thread has only begun to import it
    if is_initialized():
        return int(distributed.get_rank())
    module: Any = sys.modules.get("lightning_utilities.core.rank_zero")
    known = getattr(getattr(module, "rank_zero_only", None), "rank", None)
    if known:
        return int(known)
    for name in _RANK_VARIABLES:
        value = os.environ.get(name, "")
        if value.isdigit():
            return int(value)
    return 0
