"""Where an entity lies: its workspace, and its project where it has one.

Both follow from the containers that the schema declares. The way leads from an entity to one container: what names a
project before anything else, then in the order of the declaration. It ends where both are known, or where nothing
leads on. So a comment on a run lies in the run's project, whichever of them arrived first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from modeldb_core.model.links import is_identifier
from modeldb_core.model.schema import ANY, HOME_FIELDS, KINDS

_WORKSPACE, _PROJECT = HOME_FIELDS.values()


class Home(NamedTuple):
    """The identifiers of a workspace and of a project; "" where it is not known, or there is none."""

    workspace_id: str = ""
    project_id: str = ""

    def or_else(self, other: Home) -> Home:
        """Return this one with what it lacks taken from ``other``."""
        return Home(self.workspace_id or other.workspace_id, self.project_id or other.project_id)


NOWHERE = Home()


class Step(NamedTuple):
    """What an entity itself says of where it lies.

    Attributes:
        own: the part that needs no other entity.
        above: kind and identifier of the container that says the rest; the kind is :data:`ANY` where it may be one of
            any kind.
    """

    own: Home
    above: tuple[str, str] | None


Named: TypeAlias = Mapping[str, Any]
"""What fields of an entity name: its document, or identifiers by the field that holds them."""
LookUp: TypeAlias = Callable[[str, str], Named | None]
"""Returns what an entity of a kind names; ``None`` where there is no such entity."""


def step_of(kind: str, entity_id: str, named: Named) -> Step:
    """Return what an entity itself says; nothing of a kind that this process does not know."""
    itself = entity_id if is_identifier(entity_id) else ""
    own = Home(itself if kind == _WORKSPACE else "", itself if kind == _PROJECT else "")
    above: tuple[str, str] | None = None
    declaration = KINDS.get(kind)
    for each in declaration.containers if declaration is not None else ():
        container_id = named.get(each.name)
        if not is_identifier(container_id):
            continue
        if each.refers_to == _WORKSPACE:
            own = own.or_else(Home(container_id))
        elif above is None or (each.refers_to == _PROJECT and not own.project_id):
            above = (each.refers_to, container_id)
        if each.refers_to == _PROJECT:
            own = own.or_else(Home("", container_id))
    return Step(own, above)


def home_of(kind: str, entity_id: str, named: Named, look_up: LookUp) -> Home:
    """Return where an entity lies."""
    home, seen, name = NOWHERE, set(), (kind, entity_id)
    while name not in seen:
        seen.add(name)
        own, above = step_of(*name, named)
        home = home.or_else(own)
        found = None if all(home) or above is None else container_of(above, look_up)
        if found is None:
            break
        name, named = found
    return home


def container_of(above: tuple[str, str], look_up: LookUp) -> tuple[tuple[str, str], Named] | None:
    """Return the kind and identifier of a container and what it names; ``None`` where it is not there."""
    kind, entity_id = above
    for each in kinds_of(kind):
        if (named := look_up(each, entity_id)) is not None:
            return (each, entity_id), named
    return None


def kinds_of(kind: str) -> list[str]:
    """Return the kinds that a container may be of; where several have the identifier, the first one counts."""
    return sorted(KINDS) if kind == ANY else [kind]
