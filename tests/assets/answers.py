"""What a store of ``make_store.py`` answers, as JSON that does not depend on when it is asked.

Only what every release has may be called here: the answers of an old release are compared with those of today.
"""

from __future__ import annotations

import hashlib
import json

from modeldb_core.queries import Query
from modeldb_core.values import to_json

KINDS = (
    *("workspace", "project", "experiment", "run", "dataset", "dataset_version", "repository", "commit"),
    *("registered_model", "model_version", "comment", "user", "token"),
)
QUESTIONS = {
    "numbers": "metrics.auc > 0.5",
    "nan": "metrics.auc = nan",
    "summaries": "metrics.loss.min < 0.2 and metrics.loss.count > 100",
    "large integers": f"hyperparameters.big = {2**70}",
    "text": "attributes.text contains 'ÜBER' or attributes.text contains 'über'",
    "tags": 'tags contains "größte"',
    "nested": 'hyperparameters.opt.name = "adam"',
    "null": "hyperparameters.nothing is null",
    "ended": 'status in ("finished", "failed", "killed")',
    "project": 'project = "Überprüfung 日本"',
    "datasets": "datasets.train exists",
    "erased": "attributes.secret exists",
}


def answers(store) -> dict:
    """Ask a store many things; returns its answers."""
    return json.loads(json.dumps({
        "heads": {name: [head.seq, head.hash.hex(), head.closed] for name, head in sorted(store.heads().items())},
        "log": _log(store),
        "entities": {kind: _entities(store, kind) for kind in KINDS},
        "names": {
            question: [run.name for run in _find(store, filter=text, order_by="name, created_at")]
            for question, text in QUESTIONS.items()
        },
        "orders": {
            order: [run.name for run in _find(store, order_by=f"{order}, created_at", include_deleted=True)]
            for order in ("metrics.auc", "metrics.loss desc", "hyperparameters.lr", "name desc")
        },
        "keys": [[item.section, item.key, item.count, item.value_types] for item in store.find_keys(Query())],
        "series": {
            run.entity_id: {key: _series(store, run.entity_id, key) for key in sorted(run.series)}
            for run in _find(store, order_by="entity_id", include_deleted=True)
        },
    }))  # fmt: skip


def _find(store, **options):
    found, cursor = [], None
    while True:
        page = store.find(Query(limit=3, cursor=cursor, **options))
        found += page.entities
        cursor = page.cursor
        if cursor is None:
            return found


def _entities(store, kind):
    found = _find(store, kind=kind, order_by="entity_id", include_deleted=True)
    return {item.entity_id: to_json(dict(item.document)) for item in found}


def _series(store, run_id, key):
    series = store.read_series(run_id, key)
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (series.steps, series.times, series.values)))
    thin = store.read_series(run_id, key, max_points=10)
    summary = store.get("run", run_id).series[key]
    summed = [summary.count, summary.nan_count, summary.minimum.hex(), summary.maximum.hex(), summary.last.hex()]
    return [len(series), digest.hexdigest(), thin.steps.tolist(), *summed]


def _log(store):
    digest, cursor, count = hashlib.sha256(), 0, 0
    while (page := store.read_changes(after=cursor, limit=100)).changes:
        for change in page.changes:
            digest.update(change.hash + (change.payload or b"erased"))
            count += 1
        cursor = page.cursor
    return [count, digest.hexdigest()]
