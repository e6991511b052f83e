"""Tries inputs: some in the test command, new ones for a given time in ``tox -e fuzz``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FUZZ_S = float(os.environ.get("MODELDB_TEST_FUZZ_S", "60"))
"""How long ``tox -e fuzz`` tries new inputs of each decoder."""
_ROUND = 500
_SHOWN = 400


class Input:
    """An input that shows itself in a few lines; ``@reproduce_failure`` in the output holds all of it."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __repr__(self) -> str:
        text = repr(self.data)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


def run(inputs: st.SearchStrategy[Any], work: Callable[[Any], object], examples: int) -> None:
    """Try ``work`` with inputs: so many, or as long as the time is not over."""
    quiet = [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.large_base_example,
    ]

    def turn(examples: int) -> None:
        chosen = settings(max_examples=examples, suppress_health_check=quiet)
        chosen(given(inputs.map(Input))(lambda data: work(data.data) and None))()

    if not os.environ.get("MODELDB_TEST_FUZZ"):
        turn(examples)
        return
    end = time.monotonic() + FUZZ_S
    while time.monotonic() < end:
        turn(_ROUND)
