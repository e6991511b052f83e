"""What is done at the end of a process is done in order, whatever of it fails."""

from __future__ import annotations

import pytest

from modeldb_core.runtime import exits


def test_more_important_things_end_first_and_of_equals_what_came_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_functions", [])
    monkeypatch.setattr(exits, "_is_known", True)
    monkeypatch.setattr(exits, "_began_at", None)
    monkeypatch.setattr(exits, "_is_hurried", False)
    done: list[str] = []

    def interrupted() -> None:
        done.append("interrupted")
        raise KeyboardInterrupt

    first, second, last = (lambda name=name: done.append(name) for name in ("first", "second", "last"))
    for function, priority in ((last, 0), (first, 5), (interrupted, 5), (second, 1)):
        exits.at_exit(function, priority=priority)
    assert exits.time_left(7.0) == 7.0
    exits.run_all()
    assert done == ["interrupted", "first", "second", "last"]
    assert exits.time_left(7.0) == 0.0, "anyone who interrupts the end waits for nothing any more"
