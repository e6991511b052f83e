"""Track, version and audit machine-learning models.

The names below are what programs use. Each is imported when it is first asked for, so that ``import modeldb_core``
costs a training script next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from modeldb_core.runtime import __version__ as __version__
from modeldb_core.runtime import exits as exits  # at once: what is done at the end of a program is to be among the last

if TYPE_CHECKING:
    from modeldb_core import errors as errors
    from modeldb_core.autologging.frameworks import autolog as autolog
    from modeldb_core.hookspecs import hookimpl as hookimpl
    from modeldb_core.reproduction.doors import diff as diff
    from modeldb_core.tracking import Client as Client
    from modeldb_core.tracking import RunHandle as RunHandle
    from modeldb_core.tracking import Runs as Runs
    from modeldb_core.tracking import add_tags as add_tags
    from modeldb_core.tracking import connect as connect
    from modeldb_core.tracking import current_run as current_run
    from modeldb_core.tracking import experiments as experiments
    from modeldb_core.tracking import flush as flush
    from modeldb_core.tracking import get_run as get_run
    from modeldb_core.tracking import log_artifact as log_artifact
    from modeldb_core.tracking import log_dataset as log_dataset
    from modeldb_core.tracking import log_hyperparameters as log_hyperparameters
    from modeldb_core.tracking import log_metric as log_metric
    from modeldb_core.tracking import log_metrics as log_metrics
    from modeldb_core.tracking import log_model as log_model
    from modeldb_core.tracking import log_params as log_params
    from modeldb_core.tracking import log_text as log_text
    from modeldb_core.tracking import projects as projects
    from modeldb_core.tracking import repository as repository
    from modeldb_core.tracking import search_runs as search_runs
    from modeldb_core.tracking import set_attributes as set_attributes
    from modeldb_core.tracking import set_description as set_description
    from modeldb_core.tracking import set_tags as set_tags
    from modeldb_core.tracking import start_run as start_run
    from modeldb_core.tracking import use_artifact as use_artifact
    from modeldb_core.tracking import use_model as use_model
    from modeldb_core.tracking.data.sources import path as path
    from modeldb_core.tracking.data.sources import query as query
    from modeldb_core.tracking.dataset_versions import dataset as dataset
    from modeldb_core.tracking.dataset_versions import log_dataset_version as log_dataset_version
    from modeldb_core.tracking.failures import register_ending as register_ending
    from modeldb_core.tracking.lineage import add_lineage as add_lineage
    from modeldb_core.tracking.lineage import bom as bom
    from modeldb_core.tracking.lineage import delete_lineage as delete_lineage
    from modeldb_core.tracking.lineage import lineage as lineage
    from modeldb_core.tracking.registering import load_model as load_model
    from modeldb_core.tracking.registering import models_at as models_at
    from modeldb_core.tracking.registering import register_model as register_model
    from modeldb_core.tracking.registering import registered_model as registered_model
    from modeldb_core.tracking.registering import registered_models as registered_models
    from modeldb_core.tracking.repositories.ingredients import configuration as configuration
    from modeldb_core.tracking.repositories.ingredients import docker_environment as docker_environment
    from modeldb_core.tracking.repositories.ingredients import git_snapshot as git_snapshot
    from modeldb_core.tracking.repositories.ingredients import notebook as notebook
    from modeldb_core.tracking.repositories.ingredients import python_environment as python_environment
    from modeldb_core.tracking.used_datasets import use_dataset as use_dataset

_MODULES = {
    "autolog": "modeldb_core.autologging.frameworks",
    "diff": "modeldb_core.reproduction.doors",
    "errors": "modeldb_core",
    "hookimpl": "modeldb_core.hookspecs",
    "register_ending": "modeldb_core.tracking.failures",
    "add_lineage": "modeldb_core.tracking.lineage",
    "bom": "modeldb_core.tracking.lineage",
    "delete_lineage": "modeldb_core.tracking.lineage",
    "lineage": "modeldb_core.tracking.lineage",
    "load_model": "modeldb_core.tracking.registering",
    "models_at": "modeldb_core.tracking.registering",
    "register_model": "modeldb_core.tracking.registering",
    "registered_model": "modeldb_core.tracking.registering",
    "registered_models": "modeldb_core.tracking.registering",
    "configuration": "modeldb_core.tracking.repositories.ingredients",
    "docker_environment": "modeldb_core.tracking.repositories.ingredients",
    "git_snapshot": "modeldb_core.tracking.repositories.ingredients",
    "notebook": "modeldb_core.tracking.repositories.ingredients",
    "python_environment": "modeldb_core.tracking.repositories.ingredients",
    "repository": "modeldb_core.tracking",
    "dataset": "modeldb_core.tracking.dataset_versions",
    "log_dataset_version": "modeldb_core.tracking.dataset_versions",
    "use_dataset": "modeldb_core.tracking.used_datasets",
    "path": "modeldb_core.tracking.data.sources",
    "query": "modeldb_core.tracking.data.sources",
    "Client": "modeldb_core.tracking",
    "RunHandle": "modeldb_core.tracking",
    "Runs": "modeldb_core.tracking",
    "add_tags": "modeldb_core.tracking",
    "connect": "modeldb_core.tracking",
    "current_run": "modeldb_core.tracking",
    "experiments": "modeldb_core.tracking",
    "flush": "modeldb_core.tracking",
    "get_run": "modeldb_core.tracking",
    "log_artifact": "modeldb_core.tracking",
    "log_dataset": "modeldb_core.tracking",
    "log_hyperparameters": "modeldb_core.tracking",
    "log_metric": "modeldb_core.tracking",
    "log_metrics": "modeldb_core.tracking",
    "log_model": "modeldb_core.tracking",
    "log_params": "modeldb_core.tracking",
    "log_text": "modeldb_core.tracking",
    "projects": "modeldb_core.tracking",
    "search_runs": "modeldb_core.tracking",
    "set_attributes": "modeldb_core.tracking",
    "set_description": "modeldb_core.tracking",
    "set_tags": "modeldb_core.tracking",
    "start_run": "modeldb_core.tracking",
    "use_artifact": "modeldb_core.tracking",
    "use_model": "modeldb_core.tracking",
}

__all__ = [
    "Client",
    "RunHandle",
    "Runs",
    "__version__",
    "add_lineage",
    "add_tags",
    "autolog",
    "bom",
    "configuration",
    "connect",
    "current_run",
    "delete_lineage",
    "diff",
    "docker_environment",
    "dataset",
    "log_dataset_version",
    "use_dataset",
    "path",
    "query",
    "errors",
    "experiments",
    "flush",
    "get_run",
    "git_snapshot",
    "hookimpl",
    "lineage",
    "load_model",
    "log_artifact",
    "log_dataset",
    "log_hyperparameters",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_params",
    "log_text",
    "models_at",
    "notebook",
    "projects",
    "python_environment",
    "register_ending",
    "register_model",
    "registered_model",
    "registered_models",
    "repository",
    "search_runs",
    "set_attributes",
    "set_description",
    "set_tags",
    "start_run",
    "use_artifact",
    "use_model",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562) and keep it."""
    try:
        module = _MODULES[name]
    except KeyError:
        raise _unknown(name) from None
    value = import_module(f"{module}.{name}") if module == __name__ else getattr(import_module(module), name)
    globals()[name] = value
    return value


def _unknown(name: str) -> AttributeError:
    """Return the error of a name that there is not; it says what people of other trackers look for, and Python what is alike."""
    words: dict[str, str] = import_module("modeldb_core.runtime.words").WORDS
    known = f"; in ModelDB that is {words[name]}" if name in words else ""
    msg = f"module {__name__!r} has no attribute {name!r}{known}"
    return AttributeError(msg, name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
