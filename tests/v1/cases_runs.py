"""The calls of projects, experiments, runs and comments: the tables of ``test_run_calls.py``, over HTTP and gRPC."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from tests.v1 import test_run_calls as runs
from tests.v1.cases import CASES, DENIED, MISSING, OK, Case
from tests.v1.conftest import V1
from tests.v1.world import WRITER, World

_MADE: WeakKeyDictionary[World, runs.World] = WeakKeyDictionary()
_LISTS = {"getExperimentRunsByDatasetVersionId"}


def there(world: World) -> runs.World:
    """Return what the table names; it is made once."""
    if world not in _MADE:
        _MADE[world] = runs.World(V1(world.http, {"Authorization": f"Bearer {WRITER}"}))
    return _MADE[world]


def missing(name: str, request: dict[str, Any]) -> dict[str, Any]:
    first = next(field for field in request if field.endswith(("id", "ids", "Id")) or field == "name")
    named = ("project_id", "experiment_id", "experiment_run_ids")
    first = next((field for field in named if request.get(field)), first)
    return {**request, first: [runs.NOWHERE] if isinstance(request[first], list) else runs.NOWHERE}


def _case(name: str, request: dict[str, Any], answered: str) -> Case:
    method = name.partition(".")[2]
    code: int | None = DENIED if method in runs.REFUSED else OK if method in _LISTS else MISSING
    return Case(
        lambda world: there(world).filled(request),
        missing=lambda world: missing(name, there(world).filled(request)),
        missing_code=None if method in runs.NEVER_MISSING else code,
        bad_code=None if method in runs.NEVER_WRONG else 3,
        is_empty=answered == "*",
    )


CASES |= {name: _case(name, request, answered) for name, (request, answered) in runs.CASES.items()}
