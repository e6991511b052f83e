"""What lies within containers: a condition on entities, and where a search for them starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, exists, or_, select, type_coerce, union, union_all

from modeldb_core.backends._sql.tables import entities
from modeldb_core.queries import WITHIN_FIELDS

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select, Subquery

    from modeldb_core.backends._sql.database import Database
    from modeldb_core.backends._sql.filters import Compiler


@dataclass(frozen=True, slots=True)
class Within:
    """That entities lie within one of some containers.

    Attributes:
        condition: on entities.
        fields: which of their fields may hold one of them.
        start: the numbers of the entities, where they do not lie together in one index: a database without statistics
            would rather look through all entities of the kind. ``None`` where they do.
        some: the same numbers, some of them twice, of which a few are counted fast.
        probes: the question which of all such fields hold one.
        held: its answer.
    """

    condition: ColumnElement[bool]
    fields: tuple[str, ...]
    start: Subquery | None
    some: Subquery
    probes: Select[*tuple[Any, ...]]
    held: tuple[object, ...]

    @classmethod
    def of(
        cls, connection: Connection, database: Database, compiler: Compiler, containers: tuple[str, ...]
    ) -> Within | None:
        """Return what lies within containers; ``None`` where nothing does."""
        kind = compiler.kind

        def holds(column: ColumnElement[str]) -> ColumnElement[bool]:
            return column == containers[0] if len(containers) == 1 else database.among(column, containers)

        fields = WITHIN_FIELDS[kind]
        conditions = [holds(type_coerce(compiler.column(name), Text())) for name in fields]
        if not containers:
            return None
        # Most columns hold none of them, and two indexes cannot be walked at once.
        probes: Select[*tuple[Any, ...]] = select(
            *(exists().where(condition, entities.c.kind == kind) for condition in conditions)
        )
        held = tuple(connection.execute(probes).one())
        conditions = [condition for condition, is_held in zip(conditions, held, strict=True) if is_held]
        fields = tuple(name for name, is_held in zip(fields, held, strict=True) if is_held)
        if not conditions:
            return None
        parts = [_numbers(kind, condition) for condition in conditions]
        start = None
        if len(conditions) > 1:
            start = union(*parts).subquery("within")
        elif len(containers) > 1:
            start = parts[0].subquery("within")
        return cls(or_(*conditions), fields, start, union_all(*parts).subquery(), probes, held)

    def still_holds(self, connection: Connection) -> bool:
        """Return whether the same fields hold one of the containers as when this was made."""
        return tuple(connection.execute(self.probes).one()) == self.held


def _numbers(kind: str, condition: ColumnElement[bool]) -> Select[Any]:
    return select(entities.c.entity_pk).where(entities.c.kind == kind, condition)
