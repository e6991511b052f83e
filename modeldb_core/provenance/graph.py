"""A graph of lineage: entities, and what was made from what."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Direction: TypeAlias = Literal["upstream", "downstream", "both"]
State: TypeAlias = Literal["present", "deleted", "erased", "unknown"]
"""What became of an entity: ``erased`` is one of which nothing is kept, ``unknown`` one that is not here, or not shown."""


class Name(NamedTuple):
    """Kind and identifier of an entity; the kind is empty where nobody knows it."""

    kind: str
    entity_id: str


NOBODY = Name("", "")


@dataclass(frozen=True, slots=True)
class Node:
    """An entity.

    Attributes:
        kind: of it; empty where nobody knows it.
        entity_id: its identifier.
        state: what became of it. Of one that is erased or unknown, nothing but its identifier is said.
        name: what people call it.
        container: the name of what it is a version of, or else a part of.
        version: its number, where it has one.
        facts: what else is shown of it: status, digest, times, who made it.
    """

    kind: str
    entity_id: str
    state: State = "present"
    name: str = ""
    container: str = ""
    version: int | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}))

    @property
    def key(self) -> Name:
        """Its kind and identifier."""
        return Name(self.kind, self.entity_id)

    @property
    def words(self) -> str:
        """Its kind in words."""
        return KINDS[self.kind].words if self.kind in KINDS else self.kind or "entity"

    @property
    def title(self) -> str:
        """What it is called in drawings: a version by what it is a version of, everything else by its name."""
        if self.version:
            return f"{self.container or self.name or self.entity_id[-8:]}@v{self.version}"
        return self.name or self.entity_id

    @property
    def is_activity(self) -> bool:
        """Whether it is something that happened, such as a run."""
        return self.kind in KINDS and KINDS[self.kind].is_activity

    def time(self, name: str) -> datetime | None:
        """Return one of its times."""
        value: datetime | None = self.facts.get(name)
        return value


@dataclass(frozen=True, slots=True)
class Edge:
    """That one entity was made from another one, used it, or came of it.

    Attributes:
        source: the input.
        target: what was made from it.
        field: the field that says so.
        key: the entry of that field, such as the role of a data set.
        said_by: the entity whose field that is.
        entry: what else is known: of a file that was used, its ``path`` and ``digest``; ``by_hand`` of what people say.
    """

    source: Name
    target: Name
    field: str
    key: str = ""
    said_by: Name = NOBODY
    entry: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}), compare=False)

    @property
    def label(self) -> str:
        """What it says in a drawing: the path of a file, the role of a data set, the name of the field."""
        if self.field != "inputs":
            return self.key or self.field.removesuffix("_id").removesuffix("_ids").replace("_", " ")
        return str(self.entry.get("note") or self.entry.get("path") or "")


@dataclass(frozen=True, slots=True)
class Graph:
    """Entities that were reached from some, and all edges between them.

    Attributes:
        roots: what the walk began at.
        nodes: by kind and identifier, in the order in which they were reached: the nearest first.
        edges: each once.
        direction: which way was walked.
        depth: through how many links at most.
        limit: how many entities at most.
        notes: what is missing from it, in words; empty: it is whole.
    """

    roots: tuple[Name, ...]
    nodes: Mapping[Name, Node]
    edges: tuple[Edge, ...]
    direction: Direction
    depth: int
    limit: int
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out for its depth or its size."""
        return not self.notes
