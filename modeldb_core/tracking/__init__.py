"""What users call: connect to a store, log runs, find and read them."""

from __future__ import annotations

from modeldb_core.tracking.client import Client
from modeldb_core.tracking.connections import (
    connect,
    experiments,
    flush,
    get_run,
    projects,
    repository,
    search_runs,
    start_run,
)
from modeldb_core.tracking.current import (
    add_tags,
    log_artifact,
    log_dataset,
    log_hyperparameters,
    log_metric,
    log_metrics,
    log_model,
    log_params,
    log_text,
    set_attributes,
    set_description,
    set_tags,
    use_artifact,
    use_model,
)
from modeldb_core.tracking.inheritance import current as current_run
from modeldb_core.tracking.run import RunHandle
from modeldb_core.tracking.run_session import RunSession
from modeldb_core.tracking.runs import Runs
from modeldb_core.tracking.session import Session

__all__ = [
    "Client",
    "RunHandle",
    "RunSession",
    "Runs",
    "Session",
    "add_tags",
    "connect",
    "current_run",
    "experiments",
    "flush",
    "get_run",
    "log_artifact",
    "log_dataset",
    "log_hyperparameters",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_params",
    "log_text",
    "projects",
    "repository",
    "search_runs",
    "set_attributes",
    "set_description",
    "set_tags",
    "start_run",
    "use_artifact",
    "use_model",
]
