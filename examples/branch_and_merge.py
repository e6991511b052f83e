"""Two people tune one configuration: a branch, a conflict, a decision, and a run that says what it was given.

Run it with ``python examples/branch_and_merge.py``; the store is ``modeldb.db`` in the working folder unless MODELDB_URL says otherwise.
"""

from __future__ import annotations

import modeldb_core as modeldb


def main() -> None:
    """Commit, branch, merge, and train with the result."""
    repo = modeldb.repository("churn-settings")
    with repo.commit("the settings to begin with") as commit:
        commit["config"] = {"lr": 0.1, "batch": 64, "optimizer": {"name": "sgd", "momentum": 0.9}}
        commit["env"] = modeldb.python_environment()

    with repo.commit("a smaller rate, with warm-up", branch="warm-up", base="main", author="Ada") as commit:
        commit["config"] = {"lr": 0.01, "warmup": 500, "batch": 64, "optimizer": {"name": "sgd", "momentum": 0.9}}
    with repo.commit("bigger batches, a bigger rate", author="Ben") as commit:
        commit["config"] = {"lr": 0.4, "batch": 256, "optimizer": {"name": "sgd", "momentum": 0.9}}

    try:
        repo.branch("warm-up").merge_into("main")
    except modeldb.errors.MergeConflictError as error:
        print("In conflict:", *error.conflicts, sep="\n  ")
        repo.merge(
            "warm-up", into="main", resolve={("config", "lr"): 0.04}, message="Merge warm-up: meet in the middle"
        )

    head = repo["main"]
    settings = head["config"].content["hyperparameters"]
    print("Merged:", settings)
    for origin in head.blame("config"):
        print(f"  {origin.name} = {origin.value}: {origin.commit.author}, {origin.commit.name!r}")
    repo.tag("v1.0")

    with modeldb.start_run("churn", commit="churn-settings@v1.0", hyperparameters=settings) as run:
        run.log_commit(head, {"settings": "config"})
        run.log_metric("auc", 0.9)
    print("Run", run.name, "was given", run.commits["churn-settings"]["digest"][:12])


if __name__ == "__main__":
    main()
