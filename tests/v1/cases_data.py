"""The calls of data sets, versions, repositories, lineage and metadata: the tables of ``test_data_calls.py``, over HTTP and gRPC."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from modeldb_server.routes import Policy
from modeldb_v1 import services  # noqa: F401 - it declares the calls
from modeldb_v1.calls import DECLARED
from tests.v1 import test_data_calls as data
from tests.v1.cases import CASES, Arguments, Case
from tests.v1.wire import Wire
from tests.v1.world import WRITER, World

_MADE: WeakKeyDictionary[World, data.World] = WeakKeyDictionary()


def there(world: World, *, anew: bool = False) -> data.World:
    """Return what the table names; it is made once, unless a call may alter it."""
    wire = Wire(world.http, {"Authorization": f"Bearer {WRITER}"})
    if anew:
        return data.World(wire)
    if world not in _MADE:
        _MADE[world] = data.World(wire)
    return _MADE[world]


def _of(arguments: Any, *, anew: bool = False) -> Arguments | None:
    return None if arguments is None else lambda world: arguments(there(world, anew=anew))


CASES |= {
    name: Case(
        _of(good or missing, anew=DECLARED[name].policy is Policy.WRITE),  # type: ignore[arg-type]
        success_code=0 if good else 5,
        missing=_of(missing),
        missing_code=5 if missing else None,
        bad=_of(bad),
        bad_code=3 if bad else None,
    )
    for name, (good, missing, bad) in data.CASES.items()
}
