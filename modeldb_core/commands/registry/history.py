"""What was where in the registry at a time, and every move: read back from the changes of the models alone.

A model holds which versions have its stages and aliases, so its own changes say it all, and no others are read. A move
counts from the time at which its writer recorded it; of several with one time all count.
"""

from __future__ import annotations

import base64
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from modeldb_core.commands.registry.references import versions_by_id
from modeldb_core.commands.times import to_us
from modeldb_core.errors import InvalidArgumentError, ModelDBError, NotFoundError
from modeldb_core.log.changes import APPEND, alters_entity, document_after
from modeldb_core.log.json_documents import time_text
from modeldb_core.model.decisions import DECISIONS
from modeldb_core.model.entities import EMPTY, to_datetime
from modeldb_core.model.registry import RegisteredModel
from modeldb_core.model.values import decode, encode
from modeldb_core.queries import Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from modeldb_core.log.changes import Change
    from modeldb_core.model.entities import Document
    from modeldb_core.stores import MetadataStore

MAX_PAGE = 1000
"""Changes that are read for a page of moves."""
MAX_MODELS = 100
"""Models that are looked at for a page of the registry."""
_PLACES = ("stages", "aliases")
_MAX_CURSOR, _MAX_UNPACKED, _DIGITS = 3000, 1 << 20, 19


class Held(NamedTuple):
    """A version that has a stage or an alias; ``number`` is ``None`` where nothing of the version is kept any more."""

    version_id: str
    number: int | None


Pair: TypeAlias = "tuple[Held | None, Held | None]"
"""Who had a stage or an alias before a move, and who after it; ``None`` for nobody."""
_Ids: TypeAlias = "dict[str, str]"


@dataclass(frozen=True, slots=True)
class Move:
    """A change of the stages or aliases of a model.

    Attributes:
        at: when it was recorded, in UTC.
        actor: who made it.
        reason: why.
        version: that was promoted; ``None`` where the change was none of a promotion.
        from_stage: the stage that it was in; empty where it stayed there.
        to_stage: the stage that it came into; likewise.
        stages: by stage, who had it before and who after.
        aliases: by alias, likewise.
        is_erased: whether what the change said is erased, so that nobody knows it any more.
    """

    at: datetime
    actor: str
    reason: str = ""
    version: Held | None = None
    from_stage: str = ""
    to_stage: str = ""
    stages: Mapping[str, Pair] = field(default_factory=lambda: EMPTY)
    aliases: Mapping[str, Pair] = field(default_factory=lambda: EMPTY)
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Which versions had the stages and aliases of a model at a time.

    Attributes:
        model: as it is now.
        stages: versions by stage, of the stages that one version has to itself.
        aliases: versions by alias.
    """

    model: RegisteredModel
    stages: Mapping[str, Held]
    aliases: Mapping[str, Held]


class HistoryPage(NamedTuple):
    """A page of the moves of a model, the oldest first; ``cursor`` gives the next one, ``None``: that was all."""

    moves: tuple[Move, ...]
    cursor: str | None


def history(store: MetadataStore, model_id: str) -> Iterator[Move]:
    """Iterate over the moves between stages and aliases of a model, the oldest first."""
    cursor: str | None = ""
    while cursor is not None:
        page = history_page(store, model_id, cursor)
        yield from page.moves
        cursor = page.cursor


def history_page(store: MetadataStore, model_id: str, cursor: str = "", limit: int = MAX_PAGE) -> HistoryPage:
    """Return a page of :func:`history`, for which so many changes of the model are read at most.

    A page may hold few moves, or none, and go on all the same.

    Raises:
        InvalidArgumentError: that is not a cursor.
    """
    after, document = _load_cursor(store, model_id, cursor)
    page = store.read_changes(after=after, limit=limit, entity_id=model_id)
    found: list[tuple[Change, Document | None, Document]] = []
    for change in filter(_is_of_model, page.changes):
        if change.payload is None and not change.withheld:
            found.append((change, None, {}))
            continue
        before, document = document, document_after(document, change)
        found.append((change, before, document))
    ids = (
        each for _, *both in found for document in both for place in _PLACES for each in _ids(document, place).values()
    )
    moved = (_said_of(change).get("model_version_id") for change, *_ in found)
    numbers = {each: version.version for each, version in versions_by_id(store, (*ids, *moved)).items()}
    moves = tuple(move for each in found if (move := _move_of(*each, numbers)) is not None)
    ends = page.cursor == after or (
        len(page.changes) < limit and not store.read_changes(after=page.cursor, limit=1, entity_id=model_id).changes
    )
    return HistoryPage(moves, None if ends else _dump_cursor(page.cursor, page.changes[-1], document))


def _move_of(change: Change, before: Document | None, after: Document, numbers: Mapping[str, int]) -> Move | None:
    if change.payload is None and not change.withheld:
        return Move(change.time, change.actor, is_erased=True)
    stages, aliases = (_moved(before, after, place, numbers) for place in _PLACES)
    said = _said_of(change)
    return _move(change, said, stages, aliases, numbers) if stages or aliases or said else None


def _said_of(change: Change) -> Mapping[str, Any]:
    said = change.data().get("set")
    move = said.get("last_move") if isinstance(said, dict) else None
    return move if isinstance(move, dict) else {}


def _dump_cursor(position: int, last: Change, document: Document | None) -> str:
    """Return where a history goes on, with what the next page needs of what was before it; if that is long, the last change."""
    said = document or {}
    kept = {name: said[name] for name in _PLACES if name in said}
    kept[DECISIONS] = {name: each for name, each in said.get(DECISIONS, {}).items() if name in _PLACES}
    packed = base64.urlsafe_b64encode(zlib.compress(encode(kept), 9)).decode()
    return f"{position}.{packed}" if len(packed) <= _MAX_CURSOR else f"{position}!{last.hash.hex()}"


def _load_cursor(store: MetadataStore, model_id: str, cursor: str) -> tuple[int, Document | None]:
    if not cursor:
        return 0, None
    position, mark, rest = cursor.partition("!" if "!" in cursor else ".")
    with suppress(ValueError, zlib.error, ModelDBError):
        after = int(position) if len(position) < _DIGITS else -1
        if after >= 0 and mark == "!":
            return after, _document_after(store, model_id, rest)
        kept = decode(zlib.decompressobj().decompress(base64.urlsafe_b64decode(rest), _MAX_UNPACKED))
        if after >= 0 and isinstance(kept, dict):
            return after, kept
    msg = f"cursor {cursor!r:.80} is not one that a page of this history gave; begin without one"
    raise InvalidArgumentError(msg)


def _document_after(store: MetadataStore, model_id: str, last: str) -> Document | None:
    """Return the document of a model as a change left it, which is named by its hash."""
    document: Document | None = None
    after = 0
    while True:
        page = store.read_changes(after=after, limit=MAX_PAGE, entity_id=model_id)
        for change in page.changes:
            if _is_of_model(change):
                document = document_after(document, change)
            if change.hash.hex() == last:
                return document
        if not page.changes or page.cursor == after:
            msg = f"there is no change {last!r:.80}"
            raise NotFoundError(msg)
        after = page.cursor


def state_at(store: MetadataStore, model: RegisteredModel, at: datetime | None = None) -> State | None:
    """Return which versions had the stages and aliases of a model at a time, or have them now.

    Returns:
        ``None`` where the model was not there then: not made yet, or deleted.
    """
    found = _ids_at(store, model, at)
    return None if found is None else next(iter(_states(store, [(model, found)])))


def registry_at(store: MetadataStore, workspace_id: str = "", at: datetime | None = None) -> list[State]:
    """Return which versions had the stages and aliases of each model at a time, by the names of the models.

    The models are those of a workspace; where none is named, all that are seen. Only the changes of models that have changed since then are read.
    """
    found: list[State] = []
    cursor: str | None = ""
    while cursor is not None:
        states, cursor = registry_page(store, workspace_id, at, cursor)
        found += states
    return found


def registry_page(
    store: MetadataStore, workspace_id: str = "", at: datetime | None = None, cursor: str = "", limit: int = MAX_MODELS
) -> tuple[list[State], str | None]:
    """Return a page of :func:`registry_at`, for which so many models are looked at, and the cursor of the next one."""
    query = Query(
        "registered_model",
        order_by="name, entity_id",
        within=workspace_id or None,
        include_deleted=at is not None,
        limit=limit,
        cursor=cursor or None,
    )
    page = store.find(query)
    models = (cast("RegisteredModel", each) for each in page.entities)
    states = _states(store, [(each, found) for each in models if (found := _ids_at(store, each, at)) is not None])
    return states, page.cursor


def check_time(at: datetime | None) -> datetime | None:
    """Return a time to look back to; ``None``: now.

    Raises:
        InvalidTypeError: it is not a datetime; InvalidArgumentError: it has no time zone.
    """
    return None if at is None else to_datetime(to_us(at, "at"))


def _ids_at(store: MetadataStore, model: RegisteredModel, at: datetime | None) -> tuple[_Ids, _Ids] | None:
    document: Document | None = dict(model.document)
    if at is not None and not (model.updated_at is not None and model.updated_at <= at):
        document = None
        for change in _changes(store, model.entity_id):
            if change.time <= at:
                document = document_after(document, change)
    if document is None or document.get("deleted_at") is not None:
        return None
    return _ids(document, "stages"), _ids(document, "aliases")


def _states(store: MetadataStore, found: Sequence[tuple[RegisteredModel, tuple[_Ids, _Ids]]]) -> list[State]:
    versions = versions_by_id(store, (each for _, places in found for ids in places for each in ids.values()))
    numbers = {version_id: version.version for version_id, version in versions.items()}

    def held(ids: _Ids) -> dict[str, Held]:
        return {name: Held(each, numbers.get(each)) for name, each in ids.items()}

    return [State(model, held(stages), held(aliases)) for model, (stages, aliases) in found]


def _is_of_model(change: Change) -> bool:
    return change.kind == RegisteredModel.KIND and alters_entity(change) and change.action != APPEND


def _changes(store: MetadataStore, model_id: str) -> Iterator[Change]:
    after = 0
    while True:
        page = store.read_changes(after=after, limit=MAX_PAGE, entity_id=model_id)
        yield from filter(_is_of_model, page.changes)
        if not page.changes or page.cursor == after:
            return
        after = page.cursor


def _ids(document: Document | None, place: str) -> _Ids:
    held = (document or {}).get(place)
    return {name: str(version_id) for name, version_id in held.items()} if isinstance(held, dict) else {}


def _moved(before: Document | None, after: Document, place: str, numbers: Mapping[str, int]) -> dict[str, Pair]:
    had, has = _ids(before, place), _ids(after, place)

    def held(ids: _Ids, name: str) -> Held | None:
        return Held(ids[name], numbers.get(ids[name])) if name in ids else None

    return {name: (held(had, name), held(has, name)) for name in {**had, **has} if had.get(name) != has.get(name)}


def _move(
    change: Change,
    said: Mapping[str, Any],
    stages: Mapping[str, Pair],
    aliases: Mapping[str, Pair],
    numbers: Mapping[str, int],
) -> Move:
    texts = (said.get(name) for name in ("reason", "model_version_id", "from", "to"))
    reason, version_id, from_stage, to_stage = (text if isinstance(text, str) else "" for text in texts)
    version = Held(version_id, numbers.get(version_id)) if version_id else None
    return Move(change.time, change.actor, reason, version, from_stage, to_stage, stages, aliases)


# -- as JSON ----------------------------------------------------------------------------------------------------------


def move_document(move: Move) -> dict[str, Any]:
    """Return a move as JSON data."""
    return {
        "at": time_text(move.at),
        "actor": move.actor,
        "reason": move.reason,
        "version": _held_document(move.version),
        "from_stage": move.from_stage,
        "to_stage": move.to_stage,
        **{
            place: {
                name: {"before": _held_document(before), "after": _held_document(after)}
                for name, (before, after) in sorted(getattr(move, place).items())
            }
            for place in _PLACES
        },
        "erased": move.is_erased,
    }


def state_document(state: State) -> dict[str, Any]:
    """Return a state as JSON data."""
    places = {
        place: {name: _held_document(held) for name, held in sorted(getattr(state, place).items())} for place in _PLACES
    }
    return {"registered_model_id": state.model.entity_id, "name": state.model.name, **places}


def _held_document(held: Held | None) -> dict[str, Any] | None:
    return None if held is None else {"model_version_id": held.version_id, "number": held.number}
