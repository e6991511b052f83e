"""What the runs of the benchmarks carry: 20 hyperparameters, 10 metrics, 5 tags, the same on both sides."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SERIES_KEYS = ("train_loss", "train_accuracy", "validation_loss", "gradient_norm", "learning_rate")
METRIC_KEYS = ("auc", "loss", *(f"metric_{number}" for number in range(8)))
START_US = 1_700_000_000_000_000


@dataclass(frozen=True, slots=True)
class RunContent:
    """One run's content. Times are microseconds since 1970-01-01 UTC."""

    name: str
    hyperparameters: dict[str, Any]
    metrics: dict[str, float]
    tags: list[str]
    started_at: int
    finished_at: int


def runs(count: int, seed: int = 0) -> Iterator[RunContent]:
    """Iterate over the content of ``count`` runs, the same for the same seed."""
    generator = random.Random(seed)
    for number in range(count):
        started_at = START_US + number * 60_000_000
        yield RunContent(
            f"run {number}",
            _hyperparameters(generator),
            {key: generator.random() for key in METRIC_KEYS},
            [f"tag {number % 7}", f"group {number % 50}", "baseline", "nightly", f"owner {number % 3}"],
            started_at,
            started_at + generator.randrange(10**6, 10**10),
        )


def _hyperparameters(generator: random.Random) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "learning_rate": 10 ** generator.uniform(-5, -1),
        "batch_size": generator.choice((16, 32, 64, 128)),
        "optimizer": generator.choice(("adam", "sgd", "rmsprop")),
        "use_dropout": generator.random() < 0.5,
    }
    for number in range(8):
        settings[f"weight_{number}"] = generator.random()
        settings[f"layer_{number}_units"] = generator.randrange(1000)
    return settings


def noisy_losses(steps: int, seed: int = 0) -> NDArray[np.float64]:
    """Return five columns as training gives them, shape (5, steps): trends with noise in every bit of a float64."""
    generator = np.random.default_rng(seed)
    progress = np.arange(steps) / max(steps, 1)
    trend = 2.3 * np.exp(-5 * progress) + 0.05
    columns = [
        trend * generator.lognormal(0, 0.15, steps),
        np.clip(1 - trend / 3 + generator.normal(0, 0.02, steps), 0, 1),
        trend * generator.lognormal(0.05, 0.05, steps),
        generator.lognormal(0, 0.4, steps) * (0.2 + trend),
        1e-3 * (1 + np.cos(np.pi * progress)) / 2 * generator.uniform(0.999, 1.001, steps),
    ]
    return np.array(columns)
