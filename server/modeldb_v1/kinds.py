"""How kinds of entities are called in the v1 API, and what of them is looked up by every call."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from modeldb_core.commands.names import check_name
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields


@dataclass(frozen=True, slots=True)
class V1Kind:
    """A kind of entity.

    Attributes:
        kind: its name here.
        message: its message in the v1 API.
        field: of responses that hold one.
        parent: the field that names what it is part of, of requests and of its message; empty: its workspace.
    """

    kind: str
    message: str
    field: str
    parent: str = ""

    @property
    def service(self) -> str:
        """The service with its calls."""
        return f"{self.message}Service"

    @property
    def many(self) -> str:
        """The field of responses that hold several."""
        return f"{self.field}s"

    @property
    def words(self) -> str:
        """What messages call it."""
        return self.message


_LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: later ones are no dates."""
PROJECT = V1Kind("project", "Project", "project")
EXPERIMENT = V1Kind("experiment", "Experiment", "experiment", "project_id")
RUN = V1Kind("run", "ExperimentRun", "experiment_run", "experiment_id")
DATASET = V1Kind("dataset", "Dataset", "dataset")
DATASET_VERSION = V1Kind("dataset_version", "DatasetVersion", "dataset_version", "dataset_id")
V1_KINDS: Mapping[str, V1Kind] = MappingProxyType(
    {each.kind: each for each in (PROJECT, EXPERIMENT, RUN, DATASET, DATASET_VERSION)}
)


def required(request: Fields, name: str) -> Fields:
    """Return a field of a request that must not be empty.

    Raises:
        InvalidArgumentError: it is.
    """
    value = getattr(request, name)
    if not value:
        msg = f"{name} not found in {request.DESCRIPTOR.name} request"
        raise InvalidArgumentError(msg)
    return value


def found(context: ServerContext, kind: str, entity_id: str) -> Entity:
    """Return an entity that is there and not deleted, which of the v1 API's deletions nobody can bring back.

    Raises:
        InvalidArgumentError: no identifier is given.
        NotFoundError: there is none.
    """
    words = V1_KINDS[kind].words if kind in V1_KINDS else KINDS[kind].words
    if not entity_id:
        msg = f"the id of the {words} is missing"
        raise InvalidArgumentError(msg)
    entity = looked_up(context, kind, entity_id)
    if entity is None:
        msg = f"{words} not found: {entity_id[:80]}"
        raise NotFoundError(msg)
    return entity


def looked_up(context: ServerContext, kind: str, entity_id: str) -> Entity | None:
    """Return an entity that is there and not deleted; ``None``: there is none."""
    try:
        entity = context.store.get(kind, entity_id)
    except NotFoundError:
        return None
    return entity if entity.deleted_at is None else None


def all_found(context: ServerContext, kind: str, ids: Iterable[str]) -> list[Entity]:
    """Return entities that are all there.

    Raises:
        InvalidArgumentError: none is named; NotFoundError: one is not there.
    """
    listed = list(dict.fromkeys(ids))
    if not listed:
        msg = f"no id of a {KINDS[kind].words} is given; name at least one"
        raise InvalidArgumentError(msg)
    return [found(context, kind, entity_id) for entity_id in listed]


def milliseconds(time_us: object) -> int:
    """Return a stored time as the v1 API has it, milliseconds since 1970; 0 for none."""
    return max(time_us, 0) // 1000 if isinstance(time_us, int) else 0


def microseconds(time_ms: int, name: str) -> int:
    """Return a time of a request, milliseconds since 1970, as it is stored; 0 for none.

    Raises:
        InvalidArgumentError: no calendar has it.
    """
    if not 0 <= time_ms <= _LAST_MS:
        msg = f"{name} is {time_ms}; expected milliseconds since 1970-01-01 UTC, up to {_LAST_MS}"
        raise InvalidArgumentError(msg)
    return time_ms * 1000


def name_of(request: Fields) -> str:
    """Return the name that a request gives to something.

    Raises:
        InvalidArgumentError: it is empty or too long.
    """
    return check_name(required(request, "name"), "entity")
