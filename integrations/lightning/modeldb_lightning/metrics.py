"""What a program gives as metrics, sorted into numbers and everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.model.scalars import scalar_of
from modeldb_lightning.hyperparameters import fitting_key, typed

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ELEMENTS = 64
"""A tensor with more elements than this is not taken apart into series."""


@dataclass(slots=True)
class Sorted:
    """Metrics, each where it belongs.

    Attributes:
        numbers: become points.
        others: texts, large tensors and anything else: facts.
        misfits: names as they were given that no store takes.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    misfits: list[str] = field(default_factory=list)

    def add(self, key: str, value: Any) -> None:  # noqa: ANN401
        """Add a value: maps and small tensors are several of them."""
        if isinstance(value, dict):
            for inner, item in value.items():
                self.add(f"{key}/{inner}", item)
            return
        scalar = scalar_of(value)
        if scalar is None and hasattr(value, "numel") and hasattr(value, "detach"):
            elements = value.detach().flatten().tolist() if value.numel() <= MAX_ELEMENTS else None
            if elements is not None and len(elements) == 1:
                scalar = elements[0]
            elif elements is not None:
                for index, element in enumerate(elements):
                    self.add(f"{key}/{index}", element)
                return
        if scalar is not None:
            value = scalar
        name = fitting_key(key)
        if name != key:
            self.misfits.append(key)
        if isinstance(value, (bool, int, float)) and _is_float(value):
            self.numbers[name] = value
        elif value is not None:
            self.others[name] = typed(value)


def sorted_metrics(metrics: Mapping[Any, Any]) -> Sorted:
    """Return what a program logged as metrics, sorted."""
    found = Sorted()
    for key, value in metrics.items():
        found.add(str(key), value)
    return found


def _is_float(value: float) -> bool:
    try:
        return not isinstance(value, int) or float(value) == value
    except OverflowError:
        return False
