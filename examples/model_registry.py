"""From versioned data to the model in production: what was trained on what, who moved it there, when and why.

    python examples/model_registry.py
    modeldb model history churn
    modeldb lineage churn@v2

Everything is kept in ``modeldb.db`` and the folder ``modeldb-artifacts`` beside it, or wherever ``MODELDB_URL`` says.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modeldb_core as modeldb
from modeldb_core.runtime.notices import command_line

MODEL, DATA, SEED = "churn", "churn/customers", 7


def write_customers(path: Path, count: int, noise: float) -> None:
    """Write customers who leave the sooner the more they complain; the noise is what nobody has measured."""
    random = np.random.default_rng(SEED)
    months, complaints = random.integers(1, 60, count), random.poisson(1.5, count)
    leaves = (complaints - months / 20 + random.normal(0, noise, count)) > 0.5
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["months", "complaints", "leaves"])
        writer.writerows(zip(months, complaints, leaves.astype(int), strict=True))


def train(reference: str) -> tuple[modeldb.RunHandle, float]:
    """Train on a version of the data; the run records which version that was."""
    with modeldb.start_run(project=MODEL, experiment="training") as run:
        with modeldb.use_dataset(reference, role="train") as data:
            table = np.loadtxt(data.path, delimiter=",", skiprows=1)
        X, y = table[:, :2], table[:, 2].astype(int)
        half = len(X) // 2
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(X[:half], y[:half])
        auc = float(roc_auc_score(y[half:], model.predict_proba(X[half:])[:, 1]))
        run.log_hyperparameters({"C": 0.5})
        run.log_metrics({"roc_auc": auc})
        run.log_model(model)
    return run, auc


def main() -> None:
    client = modeldb.connect()
    best = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for count, noise in ((200, 2.0), (2000, 0.8)):
            path = Path(folder, "customers.csv")
            write_customers(path, count, noise)
            data = modeldb.log_dataset_version(DATA, path, keep=True, description=f"{count} customers")
            run, auc = train(data.reference)
            version = modeldb.register_model(MODEL, run=run, description=f"trained on {data.reference}")
            print(f"{version.reference}: roc_auc {auc:.3f}, trained on {data.reference}")
            if auc > best:
                reason = f"roc_auc {auc:.3f}, before {best:.3f}" if best else f"roc_auc {auc:.3f}, the first one"
                modeldb.registered_model(MODEL).promote(version, stage="production", alias="champion", reason=reason)
                best = auc

    with modeldb.start_run(project=MODEL, experiment="scoring") as scoring:
        champion = modeldb.load_model(f"{MODEL}@champion")
        leaves = champion.predict([[2, 6], [50, 0]])
        scoring.log_metrics({"leaving": int(leaves.sum())})
    print(f"The champion says: the first of two customers {'leaves' if leaves[0] else 'stays'}.\n")

    history = modeldb.registered_model(MODEL).history()
    for move in history:
        version = move.version.number if move.version else None
        print(f"  {move.at:%H:%M:%S}  {move.actor}: v{version} to {move.to_stage}, {move.reason}")
    then = modeldb.models_at(history[0].at)[MODEL].stages["production"].number
    print(f"When the first had been promoted, v{then} was in production.\n")
    print(modeldb.registered_model(MODEL).version("champion").card().partition("## History")[0])
    url = client.store.url
    client.close()
    print("What made the champion, and what it went into:\n")
    for command in (["lineage", f"{MODEL}@v2"], ["model", "history", MODEL], ["audit", "verify"]):
        print(f"    {command_line(*command, '--url', url)}")


if __name__ == "__main__":
    main()
