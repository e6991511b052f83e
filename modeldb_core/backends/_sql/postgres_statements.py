"""Statements as text for psycopg2, and the number of rows that they are to write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql.postgres_driver import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIALECT = Dialect()  # type: ignore[no-untyped-call]
SWALLOWED = "rows that were written of those to write: "
_VALUES = re.compile(r"^(?P<head>INSERT INTO .*? VALUES )(?P<row>\((?:[^()]|\([^()]*\))*\))(?P<tail>.*)$", re.DOTALL)


class Compiled:
    """A statement as text, its constants, and the parts of one that inserts rows."""

    def __init__(self, statement: Any) -> None:  # noqa: ANN401 - of SQLAlchemy
        if getattr(statement, "is_insert", False):
            statement = statement.inline()  # nothing is to come back
        compiled = statement.compile(dialect=_DIALECT)
        self.text = str(compiled)
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        found = _VALUES.match(self.text)
        self.values = None if found is None else (found["head"].encode(), found["row"], found["tail"].encode())

    def all(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the parameters and the constants."""
        return {**self._constants, **parameters} if self._constants else parameters


def counted(statement: bytes, expected: int | None) -> bytes:
    """Return a statement that is an error where it writes another number of rows: nobody looks at what it gives."""
    if expected is None:
        return statement
    # A text with letters is not a number; where the count is as expected, there is no row that could be evaluated.
    return b"WITH written AS (%s RETURNING 1) SELECT ('%s' || count(*))::integer FROM written HAVING count(*) <> %d" % (
        statement,
        SWALLOWED.encode(),
        expected,
    )
