"""What SQL has, and SQLite has not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

_MANY = 1000  # of so many numbers, NumPy is faster


class _Variance(list[float | None]):
    """The variance of a sample. A sum of squares beside a sum would lose all digits where the mean is large."""

    step = list.append

    def finalize(self) -> float | None:
        """Return it; ``None`` of less than two numbers."""
        numbers = [number for number in self if number is not None]
        if len(numbers) < 2:
            return None
        if len(numbers) > _MANY:
            import numpy as np

            return float(np.var(np.asarray(numbers), ddof=1))
        mean = math.fsum(numbers) / len(numbers)
        return math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)


def add_functions(connection: sqlite3.Connection) -> None:
    """Add ``var_samp`` to a connection."""
    connection.create_aggregate("var_samp", 1, _Variance)  # type: ignore[arg-type]  # list.append is a step
