"""Joins whose order is given: the database joins from left to right, and does not guess a better one.

What is known here (an index that is already in the order asked for, how many rows a predicate leaves) a planner
without statistics does not know.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.selectable import Join


class FixedJoin(Join):
    """An inner join that runs from left to right where the database lets one say so."""

    inherit_cache = True


class StartJoin(Join):
    """An inner join that starts with its left side where the database has no statistics to decide by."""

    inherit_cache = True


@compiles(StartJoin)
@compiles(FixedJoin)
def _plain(element: Join, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - of SQLAlchemy
    text: str = compiler.visit_join(element, **options)
    return text


@compiles(StartJoin, "sqlite")
@compiles(FixedJoin, "sqlite")
def _for_sqlite(element: Join, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - of SQLAlchemy
    options["asfrom"] = True
    left, right = (compiler.process(side, **options) for side in (element.left, element.right))
    options.pop("from_linter", None)
    return f"{left} CROSS JOIN {right} ON {compiler.process(element.onclause, **options)}"


@compiles(FixedJoin, "postgresql")
def _for_postgresql(element: FixedJoin, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - of SQLAlchemy
    # It takes predicates on one key for independent of one another, and so one row for many: then it looks through all
    # rows of one side for each of the other. What stands behind OFFSET 0 it looks up for each row of the left side.
    options["asfrom"] = True
    left, right = (compiler.process(side, **options) for side in (element.left, element.right))
    options.pop("from_linter", None)
    condition = compiler.process(element.onclause, **options)
    name = right.rpartition(" AS ")[2]
    return f"{left} CROSS JOIN LATERAL (SELECT * FROM {right} WHERE {condition} OFFSET 0) AS {name}"
