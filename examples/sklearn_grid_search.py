"""Search for the settings of a model, and ask the record for the best ones.

    python examples/sklearn_grid_search.py

Every candidate of the search is a run of its own below the run of the search, with the score of every split, so that the
same questions can be asked of it as of any other run.
"""

from __future__ import annotations

from scipy.stats import loguniform
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import modeldb_core as modeldb
from modeldb_sklearn import autolog

PROJECT = "wine"


@autolog(project=PROJECT, experiment="search", tags=["search"])
def search() -> None:
    """Autologging is on while this function runs, and off again afterwards."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    pipeline = Pipeline(
        [
            ("scale", make_column_transformer((StandardScaler(), list(X.columns)))),
            ("reduce", PCA()),
            ("classify", LogisticRegression(max_iter=500)),
        ]
    )
    space = {"reduce__n_components": [2, 4, 8], "classify__C": loguniform(1e-3, 1e2)}
    found = RandomizedSearchCV(pipeline, space, n_iter=20, cv=5, scoring="accuracy", random_state=0).fit(
        X_train, y_train
    )
    print(f"On data that the search did not see: {found.score(X_test, y_test):.3f}")

    HistGradientBoostingClassifier(max_iter=60, early_stopping=True, random_state=0).fit(X_train, y_train)


def main() -> None:
    with modeldb.connect() as client:
        search()
        print("The five best candidates:")
        best = client.search_runs(
            'tags contains "candidate"', project=PROJECT, order_by="metrics.mean_test_score desc", limit=5
        )
        for run in best:
            print(
                f"  {run.metrics['mean_test_score']:.3f} ± {run.metrics['std_test_score']:.3f}  "
                f"C = {run.hyperparameters['classify']['C']:.4g}, "
                f"{run.hyperparameters['reduce']['n_components']} components"
            )
        for run in client.search_runs(
            "attributes.best_score exists or metrics.best_score exists", project=PROJECT, limit=1
        ):
            model = run.load_model()
            print(f"The best model, from its file: {type(model).__name__} with {len(model.steps)} steps")


if __name__ == "__main__":
    main()
