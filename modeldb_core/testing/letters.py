"""A project of seven small runs that are as different as can be: what the suites ask questions about."""

from __future__ import annotations

import math
from typing import Any

import pytest

from modeldb_core.testing.scene import Scene, StoreCase

_DAY = 86_400_000_000
_AT = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z

LETTERS: dict[str, dict[str, Any]] = {
    "a": {
        "description": "Hello World",
        "status": "finished",
        "tags": ["best", "v1"],
        "started_at": _AT,
        "finished_at": _AT + 90_000_000,
        "metrics": {"auc": 0.9, "n": 1},
        "hyperparameters": {"lr": 0.01, "depth": 8, "flag": True, "empty": None, "opt": {"name": "adam", "b": [0.9]}},
        "attributes": {"seed": 2**53 + 1, "text": "abc"},
        "datasets": {"train": {"digest": "aa", "rows": 5}},
        "code": {"git": {"commit": "cafe", "dirty": False}},
    },
    "b": {
        "description": "hello",
        "status": "failed",
        "failure": {"type": "ValueError", "message": "no such file", "traceback": "Traceback"},
        "tags": ["v2"],
        "started_at": _AT - _DAY + 123_456,
        "parent_id": "parent",
        "metrics": {"auc": 0.95, "n": 2},
        "hyperparameters": {"lr": 0.1, "depth": "8", "flag": False},
        "attributes": {"seed": 2**53, "text": "ABC"},
    },
    "c": {
        "status": "killed",
        "tags": ["Best"],
        "metrics": {"auc": math.nan, "n": 3},
        "hyperparameters": {"lr": 1, "flag": 1},
        "attributes": {"seed": 2**63 + 5, "text": "50%_off"},
    },
    "d": {
        "metrics": {"auc": -math.inf, "n": -0.0},
        "hyperparameters": {"lr": "0.01", "opt": "sgd"},
        "attributes": {"seed": 2**53 + 0.0, "text": ""},
        "artifacts": {"plots/roc.png": {"digest": "bb", "size_bytes": 5}},
    },
    "e": {
        "tags": ["naïve", "a tag with 'quotes'", "50%"],
        "metrics": {"auc": math.inf, "val loss": 0.5},
        "attributes": {"seed": 10**400, "text": "naïve 日本 🚀", "naïve": 1, "a.b": 1, "max": {"max": 3}},
    },
    "f": {"attributes": {"text": 'it\'s "so"', "big": "x" * 20_000, "list": [1, 2]}},
}


class LettersCase(StoreCase):
    """Gives a test the runs of :data:`LETTERS`."""

    @pytest.fixture
    def letters(self, scene: Scene) -> Scene:
        """Return a project with the runs a to f, and g, which is deleted; and beside it a project of somebody else."""
        neighbour = Scene(scene.store)
        for name in "ab":
            neighbour.writer.append(neighbour.run(name, **LETTERS[name]), {"loss": [2.0]})
        neighbour.ship()
        for name, fields in LETTERS.items():
            if "started_at" not in fields:
                fields = {"started_at": None, **fields}
            scene.run(name, **fields)
        append = scene.writer.append
        append(scene.runs["a"], {"loss": [3.0, 1.0, 2.0]}, steps=[0, 10, 20])
        append(scene.runs["a"], {"auc": [0.1]})
        append(scene.runs["f"], {"loss": [math.nan, 5.0], "max": [0.0, 1.0]})
        append(scene.runs["e"], {"loss": [math.nan]})
        scene.writer.delete("run", scene.run("g", metrics={"auc": 0.9}))
        scene.ship()
        return scene
