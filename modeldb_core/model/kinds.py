"""The declaration of a kind of entity: what it says of itself, and what follows from that.

``schema.py`` knows the declarations that there are, and its names include those of this module.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from modeldb_core.model.fields import (
    ANY,
    METADATA,
    Elapsed,
    FieldDeclaration,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ColumnType: TypeAlias = Literal["text", "time", "number", "boolean"]
"""What a filter compares a column with."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_COLUMN_TYPES: Mapping[str, ColumnType] = {
    "text": "text",
    "time": "time",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
}
_RESERVED = frozenset({"stream", "column", "kind", "entity", "store", "key", "change", "event", "server"})
"""Words that no kind is called: they mean something else in changes, queries, or paths of the server."""


@dataclass(frozen=True, eq=False)
class KindDeclaration:
    """What is declared of a kind of entity.

    Args:
        entity: its class, whose ``KIND`` is the name of the kind.
        secret: whether the server shows nothing of it.
        remark: whether an entity is but a remark on its container, such as a comment: it is deleted and restored with it
            unasked, and never listed among what is deleted.
        made_by_operation: whether an operation of its own makes it, such as the one that numbers versions, and no general route.
        plural: its name in paths of the server; made from the kind where it is empty.
        is_own: it comes with ModelDB, so every store refuses documents whose fields are of other types. A store may not
            know a plugin's kind, so no store refuses one of those: what does not fit its field is not shown in it.
    """

    entity: type[Any]
    secret: bool = False
    remark: bool = False
    made_by_operation: bool = False
    plural: str = ""
    is_own: bool = False

    @property
    def kind(self) -> str:
        """Its name."""
        return str(self.entity.KIND)

    @cached_property
    def words(self) -> str:
        """Its name in words."""
        return self.kind.replace("_", " ")

    @cached_property
    def path(self) -> str:
        """Its name in paths of the server, such as ``dataset-versions``."""
        many = f"{self.kind.removesuffix('y')}ies" if re.search("[^aeiou]y$", self.kind) else f"{self.kind}s"
        return (self.plural or many).replace("_", "-")

    @property
    def schema(self) -> str:
        """The name of the schema of its JSON."""
        return str(self.entity.__name__)

    @cached_property
    def summary(self) -> str:
        """What an entity of it is, in a line."""
        return (self.entity.__doc__ or "").strip().partition("\n")[0].replace("``", "")

    @cached_property
    def fields(self) -> Mapping[str, FieldDeclaration]:
        """The fields by name, without the identifier and the document: the name, the kind's own, then those of all."""
        found = [each for each in dataclasses.fields(self.entity) if METADATA in each.metadata]
        found.sort(key=lambda each: (each.name != "name", each.name in self.common))
        return MappingProxyType({each.name: _named_field(each.name, each.metadata[METADATA]) for each in found})

    @cached_property
    def common(self) -> frozenset[str]:
        """The fields that entities of every kind have, but for those that the kind declares as its containers."""
        own = {each.name for each in dataclasses.fields(self.entity) if _is_container(each)}
        return frozenset(each.name for each in dataclasses.fields(self.entity.__mro__[-2])) - own

    @cached_property
    def stored(self) -> Mapping[str, FieldDeclaration]:
        """The fields that documents hold, by name."""
        return MappingProxyType({name: each for name, each in self.fields.items() if not each.computed})

    @cached_property
    def empty(self) -> Mapping[str, Any]:
        """The fields that are an empty map where nothing says otherwise: without them each entity would call for each."""
        found = {
            each.name: each.default_factory()
            for each in dataclasses.fields(self.entity)
            if callable(each.default_factory)
        }
        return MappingProxyType(found)

    def _named(self, condition: Callable[[FieldDeclaration], object]) -> tuple[FieldDeclaration, ...]:
        return tuple(each for each in self.fields.values() if condition(each))

    @cached_property
    def times(self) -> frozenset[str]:
        """The fields that hold times."""
        return frozenset(each.name for each in self._named(lambda each: each.type == "time"))

    @cached_property
    def lists(self) -> frozenset[str]:
        """The fields that hold lists."""
        return frozenset(each.name for each in self._named(lambda each: each.type == "texts"))

    @cached_property
    def maps(self) -> tuple[str, ...]:
        """The fields that hold maps, whose values can be read one by one: what people log first."""
        found = self._named(lambda each: each.type == "map" and not each.secret)
        return tuple(each.name for each in sorted(found, key=lambda each: not each.listed))

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """The maps of which tables have a column for each key unasked."""
        return tuple(name for name in self.maps if self.fields[name].listed)

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The fields that are not shown."""
        return frozenset(each.name for each in self._named(lambda each: each.secret))

    @cached_property
    def actors(self) -> tuple[str, ...]:
        """The fields that name who makes a change."""
        return tuple(each.name for each in self._named(lambda each: each.names_actor))

    @cached_property
    def decided(self) -> tuple[str, ...]:
        """The fields whose values are decided under conditions, but for unique ones, which are settled by their claims."""
        found = self._named(lambda each: each.decided and each.unique_within is None and each.name not in OF_CLASHES)
        return tuple(each.name for each in found)

    @cached_property
    def trees(self) -> tuple[str, ...]:
        """The fields that name content trees."""
        return tuple(each.name for each in self._named(lambda each: each.names_trees and not each.secret))

    @cached_property
    def has_points(self) -> bool:
        """Whether entities have series, a status that goes by their writer's lease, and so on."""
        return any(each.type == "series" for each in self.fields.values())

    @cached_property
    def sections(self) -> tuple[str, ...]:
        """The maps whose keys can be searched; tags come with every kind."""
        return tuple(name for name in self.maps if self.fields[name].searchable)

    @cached_property
    def offered(self) -> tuple[str, ...]:
        """The sections of which keys are told, tags among them."""
        return (*(name for name in self.sections if self.fields[name].offered), "tags")

    @property
    def elapsed(self) -> tuple[Elapsed, ...]:
        """The columns that follow from two times of the same entity."""
        return getattr(self.entity, "ELAPSED", ())

    @cached_property
    def columns(self) -> Mapping[str, ColumnType]:
        """The columns that can be searched, and their types; with those that are worked out from others."""
        found: dict[str, ColumnType] = {"entity_id": "text"}
        found.update({each.name: _COLUMN_TYPES[each.type] for each in self._named(_is_column)})
        found.update(dict.fromkeys(self.container_names, "text"))
        found.update((each.name, "number") for each in self.elapsed)
        return MappingProxyType(found)

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """The fields that a column is worked out from, for each that is not a field itself."""
        found: dict[str, tuple[str, ...]] = {
            column: (each.name,) for column, each in self.container_names.items() if column not in self.fields
        }
        found.update((each.name, (each.start, each.end)) for each in self.elapsed)
        return MappingProxyType(found)

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The columns that people are shown: what contains an entity by its name alone, and nothing that says it again."""
        hidden = {names[0] for names in self.sources.values() if len(names) == 1}
        hidden.update(name for name, each in self.fields.items() if each.computed)
        return tuple(name for name in self.columns if name not in hidden)

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """The columns by which entities are compared: no identifiers, and no times of changes, which always differ."""
        return tuple(
            name
            for name, column_type in self.columns.items()
            if name != "name" and not name.endswith("_id") and not (column_type == "time" and name in self.common)
        )

    @cached_property
    def containers(self) -> tuple[FieldDeclaration, ...]:
        """The fields that name what the entity is part of, the nearest last."""
        return self._named(lambda each: each.container)

    @cached_property
    def home(self) -> str:
        """The field that names the nearest container of another kind; "" where there is none."""
        return next((each.name for each in reversed(self.containers) if each.refers_to != self.kind), "")

    @cached_property
    def container_names(self) -> Mapping[str, FieldDeclaration]:
        """The columns that hold the name of a container, and the field that has its identifier."""
        return MappingProxyType(
            {
                each.name.removesuffix("_id"): each
                for each in self.containers
                if each.refers_to not in (self.kind, ANY) and each.name.endswith("_id")
            }
        )

    @cached_property
    def references(self) -> tuple[FieldDeclaration, ...]:
        """The fields that hold identifiers of other entities."""
        return self._named(lambda each: each.is_reference)

    @cached_property
    def flows(self) -> tuple[FieldDeclaration, ...]:
        """The references that say what an entity was made from, and what was made of it."""
        return tuple(each for each in self.references if each.lineage)

    @cached_property
    def is_activity(self) -> bool:
        """Whether an entity of it is something that happens, such as a run, and not something that is made."""
        return {"started_at", "finished_at"} <= self.times

    @cached_property
    def unique(self) -> tuple[FieldDeclaration, ...]:
        """The fields of which no two entities may have one value in the same scope."""
        return self._named(lambda each: each.unique_within is not None)

    @cached_property
    def version(self) -> int:
        """The version of the declaration: that of its newest field."""
        return max((each.since for each in self.fields.values()), default=1)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that decides which rows an entity is found by."""
        declared = [
            (
                *(each.name, each.type, each.searchable, each.refers_to, sorted(each.entries.items())),
                *(each.unique_within, each.container, each.computed),
            )
            for each in self._named(lambda each: each.searchable or each.is_reference or each.unique_within is not None)
        ]
        elapsed = [(each.name, each.start, each.end) for each in self.elapsed]
        rows = (ROWS_VERSION, self.home, sorted(declared, key=repr), *elapsed)
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:24]


OF_CLASHES = ("clashes", "clash_count")
"""Fields that follow from the decisions in a document; what a payload says of them counts for nothing."""
METRICS = "metrics"
"""The map of a kind with points that also has the last values of its series."""
HOME_FIELDS: Mapping[str, str] = MappingProxyType({"workspace_id": "workspace", "project_id": "project"})
"""The fields that say of every entity where it lies, and the kinds that they name."""
ROWS_VERSION = 1
"""Rises when the code makes other rows of the same declaration."""


def _named_field(name: str, declared: FieldDeclaration) -> FieldDeclaration:
    return dataclasses.replace(declared, name=name, title=declared.title or title_of(name))


def _is_container(each: dataclasses.Field[Any]) -> bool:
    return METADATA in each.metadata and each.metadata[METADATA].container


def _is_column(each: FieldDeclaration) -> bool:
    return each.searchable and each.type in _COLUMN_TYPES


def problem_of(declaration: KindDeclaration, others: Iterable[KindDeclaration]) -> str:
    """Return what is wrong with a declaration beside others; empty where nothing is."""
    kind, entity = declaration.kind, declaration.entity
    if not _NAME.fullmatch(kind) or kind in _RESERVED:
        return "its name is to be words of small letters, joined by underscores, and none that means something else"
    if not dataclasses.is_dataclass(entity) or not entity.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return "its class is not a frozen dataclass: write @dataclass(frozen=True, slots=True, kw_only=True)"
    for part in dataclasses.fields(entity):
        if part.name not in ("entity_id", "document") and METADATA not in part.metadata:
            return f"the field {part.name!r} says nothing of itself; write for example {part.name}: str = text()"
    taken = {name for other in others for name in (other.path, other.entity.__name__)}
    for name in (declaration.path, entity.__name__):
        if name in taken:
            return f"another kind goes by the name {name!r}"
    if declaration.has_points and not declaration.is_own:
        return "only runs have points: let its entities refer to a run that has them"
    for each in declaration.fields.values():
        is_taken = each.name == "kind" or (each.name == f"{kind}_id" and not each.computed)  # its own identifier
        if is_taken or not _NAME.fullmatch(each.name):
            return f"a field cannot be called {each.name!r}"
        if each.unique_within and each.unique_within not in declaration.fields:
            return f"{each.name} is unique within {each.unique_within!r}, which is not a field"
        if each.unique_within is not None and each.type not in ("text", "integer"):
            return f"{each.name} is unique and of type {each.type}; only texts and integers can be"
        if each.secret and each.searchable:
            return f"{each.name} is secret, and a filter would tell what it holds; it cannot be searchable"
        if each.container and not each.refers_to:
            return f"{each.name} names a container but refers to no kind"
        if each.container and not (each.type == "text" and each.searchable):
            return f"{each.name} names a container; write {each.name}: str = reference(KIND, container=True)"
        if (
            each.name in HOME_FIELDS
            and not each.computed
            and not (each.container and each.refers_to == HOME_FIELDS[each.name])
        ):
            wanted = f'reference("{HOME_FIELDS[each.name]}", container=True)'
            return f"{each.name} says of every entity where it lies; leave it out, or write {each.name}: str = {wanted}"
        if each.lineage and not each.is_reference:
            return f"{each.name} is part of lineage and names no entity; it is to be a reference"
        if each.names_trees and each.type != "text":
            return f"{each.name} names a tree by the digest of its root; write {each.name}: str = content_tree()"
        if each.computed and each.name not in HOME_FIELDS:
            return f"{each.name} is computed, and no store knows how"
        if each.searchable and each.type in ("texts", "series") and each.name != "tags":
            return f"{each.name} is of type {each.type}, which cannot be searched"
    for column in declaration.elapsed:
        if not _NAME.fullmatch(column.name) or column.name in declaration.fields:
            return f"a column cannot be called {column.name!r}"
        if not {column.start, column.end} <= declaration.times:
            return (
                f"{column.name} is the seconds from {column.start!r} to {column.end!r}, which are not both times of it"
            )
    return ""
