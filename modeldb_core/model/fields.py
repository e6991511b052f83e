"""What is declared of a field of an entity, and the functions that declare one.

``size: float | None = number("in bytes", searchable=True)`` is a field of a dataclass that says all that follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

FieldType: TypeAlias = Literal["text", "time", "integer", "number", "boolean", "map", "texts", "series"]
"""What a field holds. Of a time a document holds microseconds since 1970-01-01 UTC; series are not in the document."""

Direction: TypeAlias = Literal["", "input", "output"]
"""What an entity that is named is to the one that names it: what that was made from, what was made of it, or neither."""

ANY = "*"
"""As the kind that a reference names: an entity of any kind."""
WHOLE_STORE = ""
"""As the scope in which a field is unique."""
METADATA = "modeldb"
"""The key of the declaration in the metadata of a dataclass field."""
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Elapsed:
    """A column that follows from two times of the same entity: the seconds from one to the other.

    Stores keep it beside the columns that documents hold, so that an index has it.

    Attributes:
        name: of the column.
        start: the field with the earlier time.
        end: the field with the later one.
    """

    name: str
    start: str
    end: str

    def of(self, document: Mapping[str, Any]) -> float | None:
        """Return its value; ``None`` as long as one of the two is missing."""
        start, end = document.get(self.start), document.get(self.end)
        return (end - start) / 1_000_000 if type(start) is int and type(end) is int else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDeclaration:
    """What is declared of a field.

    Attributes:
        name: of the field, in the entity and in its document.
        type: what it holds.
        description: in a few words, for documentation and the API's schema.
        title: what heads it in tables and pages; made from the name where it is empty.
        searchable: whether filters find entities by it: a text, a time, a number or a truth as a column, a map by its keys.
        refers_to: the kind of the entity whose identifier it holds, ``*`` for one of any kind; empty: it is not a reference.
        entries: of a map, by the key within each of its entries that holds an identifier, the kind that that names.
        container: whether the entity is part of the one that the reference names: deleting, restoring, copying and
            ``Query.within`` follow it. Of several the one declared last is the nearest.
        unique_within: no two entities of the kind, deleted ones left out, have one value in it within one value of the
            field named here; empty: within the store; none: it need not be unique.
        offered: whether the keys of a searchable map are offered as columns and for completing a filter.
        listed: whether tables of entities have a column for each key of the map unasked: for what people log.
        choices: the texts that it may hold, where they are known beforehand; offered when a filter is written.
        lineage: of a reference, whether it names what the entity was made from (``input``) or what was made of it
            (``output``); empty: it is no part of lineage. Of an entry that names an entity and what that is a part of,
            the former counts.
        names_blobs: whether it is an entry with the ``digest`` of a file, or a map to such entries.
        names_trees: whether it is the root of a content tree (:mod:`modeldb_core.trees`): what follows blobs follows its
            nodes, and what its entries name.
        holds: whether what it names cannot be deleted alone, as long as this entity is there: the commits before a commit.
        names_actor: whether it names who makes the change: a server that knows who asks takes no other name.
        decided: an operation of its own says it, under conditions; the route that creates an entity does not take it.
        says_last: it only says what was decided last; where stores come together that say different things, no clash is shown.
        computed: a store works it out from what the entity is part of; what a document says under that name counts
            for nothing.
        governed: in a scope that says who governs, they alone alter it once the entity is there: who may see it.
        secret: neither the API nor the command line shows it; it cannot be searched.
        since: the version of the declaration that brought it.
        default: what an entity has where its document does not say.
    """

    name: str = ""
    type: FieldType
    description: str = ""
    title: str = ""
    searchable: bool = False
    refers_to: str = ""
    entries: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    container: bool = False
    unique_within: str | None = None
    offered: bool = True
    listed: bool = False
    choices: tuple[str, ...] = ()
    lineage: Direction = ""
    names_blobs: bool = False
    names_trees: bool = False
    holds: bool = False
    names_actor: bool = False
    decided: bool = False
    says_last: bool = False
    computed: bool = False
    governed: bool = False
    secret: bool = False
    since: int = 1
    default: Any = None

    @property
    def is_reference(self) -> bool:
        """Whether a document names entities by it."""
        return bool(self.refers_to or self.entries) and not self.computed

    def fits(self, value: object) -> bool:
        """Return whether a document may hold ``value`` for it."""
        return _FITS[self.type][1](value)

    @property
    def expected(self) -> str:
        """What a document may hold for it, in words."""
        return _FITS[self.type][0]


def title_of(name: str) -> str:
    """Return what heads a column of this name: ``started_at`` is Started, ``parent_id`` Parent."""
    words = "id" if name == "entity_id" else name.removesuffix("_at").removesuffix("_id").replace("_", " ")
    return words[:1].upper() + words[1:]


# -- what a declaration is made of ------------------------------------------------------------------------------------


def text(description: str = "", *, default: str | None = "", **options: Any) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare a field that holds a text; ``options`` are the attributes of :class:`FieldDeclaration`."""
    return _declared("text", description, default=default, **options)


def visibility() -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare the field that says who may see an entity."""
    return text(
        "who may see it beside those with a role: private, organization or public", searchable=True, governed=True
    )


def content_tree(description: str = "", **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that holds the root of a content tree; "" where there is none."""
    return _declared("text", description, default="", names_trees=True, **options)


def reference(kind: str, description: str = "", *, default: str | None = "", **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that holds the identifier of an entity of ``kind``; filters find it as a text."""
    return _declared("text", description, default=default, refers_to=kind, **{"searchable": True, **options})


def references(kind: str, description: str = "", **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that holds the identifiers of entities of ``kind``."""
    return _declared("texts", description, default=(), refers_to=kind, **options)


def home(kind: str, description: str) -> Any:  # noqa: ANN401
    """Declare the field that says in which entity of ``kind`` an entity lies (:mod:`modeldb_core.model.homes`)."""
    return _declared("text", description, default="", refers_to=kind, searchable=True, computed=True)


def moment(description: str = "", **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that holds a time."""
    return _declared("time", description, default=None, **options)


def integer(description: str = "", *, default: int | None = None, **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that holds an integer of 64 bits."""
    return _declared("integer", description, default=default, **options)


def number(description: str = "", *, default: float | None = None, **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that holds a number."""
    return _declared("number", description, default=default, **options)


def boolean(description: str = "", *, default: bool | None = None, **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that is true or false."""
    return _declared("boolean", description, default=default, **options)


def texts(description: str = "", **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that holds a list of texts."""
    return _declared("texts", description, default=(), **options)


def mapping(description: str = "", **options: Any) -> Any:  # noqa: ANN401
    """Declare a field that holds a map from names to values of any type."""
    return _declared("map", description, **options)


def series(description: str = "") -> Any:  # noqa: ANN401
    """Declare that entities have points: the field holds the summaries of their series."""
    return _declared("series", description)


def _declared(type_: FieldType, description: str, **options: Any) -> Any:  # noqa: ANN401
    metadata = {METADATA: FieldDeclaration(type=type_, description=description, **options)}
    if "default" in options:
        return field(default=options["default"], metadata=metadata)
    return field(default_factory=lambda: _EMPTY, metadata=metadata)


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_integer(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_boolean(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _is_map(value: object) -> bool:
    if type(value) is not dict and not isinstance(value, Mapping):
        return False
    for key in value:  # noqa: SIM110 - all() with a generator calls that for each key
        if not isinstance(key, str):
            return False
    return True


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


_FITS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "text": ("text", _is_text),
    "time": ("an integer of 64 bits", _is_integer),
    "integer": ("an integer of 64 bits", _is_integer),
    "number": ("a number", _is_number),
    "boolean": ("true or false", _is_boolean),
    "map": ("a map with texts as keys", _is_map),
    "series": ("a map with texts as keys", _is_map),
    "texts": ("a list", _is_list),
}
