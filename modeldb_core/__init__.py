"""Track, version and audit machine-learning models.

The names below are what programs use. Each is imported when it is first asked for, so that ``import modeldb_core``
costs a training script next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from modeldb_core import exits as exits  # at once: what is done at the end of a program is to be among the last

if TYPE_CHECKING:
    from modeldb_core import errors as errors
    from modeldb_core.failures import register_ending as register_ending
    from modeldb_core.hookspecs import hookimpl as hookimpl
    from modeldb_core.tracking import Client as Client
    from modeldb_core.tracking import RunHandle as RunHandle
    from modeldb_core.tracking import Runs as Runs
    from modeldb_core.tracking import connect as connect
    from modeldb_core.tracking import current_run as current_run
    from modeldb_core.tracking import flush as flush
    from modeldb_core.tracking import get_run as get_run
    from modeldb_core.tracking import search_runs as search_runs
    from modeldb_core.tracking import start_run as start_run

__version__ = "0.1.0"

_MODULES = {
    "errors": "modeldb_core",
    "hookimpl": "modeldb_core.hookspecs",
    "Client": "modeldb_core.tracking",
    "RunHandle": "modeldb_core.tracking",
    "Runs": "modeldb_core.tracking",
    "connect": "modeldb_core.tracking",
    "current_run": "modeldb_core.tracking",
    "flush": "modeldb_core.tracking",
    "get_run": "modeldb_core.tracking",
    "register_ending": "modeldb_core.failures",
    "search_runs": "modeldb_core.tracking",
    "start_run": "modeldb_core.tracking",
}

__all__ = [
    "Client",
    "RunHandle",
    "Runs",
    "__version__",
    "connect",
    "current_run",
    "errors",
    "flush",
    "get_run",
    "hookimpl",
    "register_ending",
    "search_runs",
    "start_run",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562) and keep it."""
    try:
        module = _MODULES[name]
    except KeyError:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg) from None
    value = import_module(f"{module}.{name}") if module == __name__ else getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
