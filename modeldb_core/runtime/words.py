"""What people know from other trackers, and what it is called here."""

from __future__ import annotations

_FILE = "log_artifact(value, 'name.ext'), which writes what the extension says"
_CURRENT = "current_run()"
_END = "the end of the block `with start_run(...)`, or finish() of the run"
_SETTINGS = "log_params({'name': value})"

WORDS = {
    "active_run": _CURRENT,
    "create_experiment": "start_run(project=..., experiment=...), which makes it",
    "delete_run": "get_run(run_id).delete()",
    "end": _END,
    "end_run": _END,
    "finish": _END,
    "get_experiment_by_name": "experiments(project)",
    "init": "start_run(project=...)",
    "last_active_run": _CURRENT,
    "list_runs": "search_runs()",
    "log_artifacts": "log_artifact(path), which takes folders too",
    "log_dict": _FILE,
    "log_figure": _FILE,
    "log_hparams": _SETTINGS,
    "log_image": _FILE,
    "log_input": "log_dataset(data)",
    "log_param": _SETTINGS,
    "log_table": _FILE,
    "run": _CURRENT,
    "search_experiments": "experiments(project)",
    "set_experiment": "start_run(project=..., experiment=...)",
    "set_tag": "set_attributes({'name': value}), or add_tags('label')",
    "set_tracking_uri": "connect(url), or the variable MODELDB_URL",
    "summary": "log_metric(name, value), without a step",
    "track": "log_metric(name, value, step=...)",
}
"""Names of functions of MLflow, W&B, Aim and TensorBoard, and what does the same."""
