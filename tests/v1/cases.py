"""What each call of the v1 API is tried with. ``test_every_call.py`` makes every case over HTTP and over gRPC.

A case is written once, in the table of its area (``cases_*.py``)::

    CASES["ProjectService.getProjectById"] = Case(lambda world: {"id": world.project()})

The not-found case follows from the success: every identifier is replaced by one of nothing. So does the bad input: an empty
request. Where another code is right, or there is no such case, the entry says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias

from tests.v1.world import World

Arguments: TypeAlias = Callable[[World], Any]

OK, BAD, MISSING, TAKEN, DENIED, UNIMPLEMENTED = 0, 3, 5, 6, 7, 12
"""Codes of gRPC."""


@dataclass(frozen=True)
class Case:
    """The cases of one call. Arguments are the request as JSON, made anew for each call.

    Attributes:
        success: arguments that are answered without an error.
        success_code: what they are answered, where nothing else can be done than to say why not.
        missing: arguments that lead to nothing; ``None``: those of the success with other identifiers.
        missing_code: what they are answered: ``OK`` for lists, which are empty; ``None``: nothing can be missing.
        bad: arguments that cannot be accepted; ``None``: none at all.
        bad_code: what they are answered; ``None``: nothing can be wrong.
        check: is given the world and the answer of the success.
        is_empty: an empty message is answered: that it was done, or that there is nothing of the kind.
        is_for_all: who may read anything at all is answered: who is called what, and what roles there are.
    """

    success: Arguments
    _: KW_ONLY
    success_code: int = OK
    missing: Arguments | None = None
    missing_code: int | None = MISSING
    bad: Arguments | None = None
    bad_code: int | None = BAD
    check: Callable[[World, dict[str, Any]], None] | None = None
    is_empty: bool = False
    is_for_all: bool = False


CASES: dict[str, Case] = {}
"""By the name of the call."""
