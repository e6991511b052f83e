"""What a principal may see and change."""

from __future__ import annotations

from dataclasses import dataclass

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError

MAX_CONTAINERS = 500


@dataclass(frozen=True, slots=True)
class Scope:
    """Workspaces and projects whose content a principal may see and change; nothing else is there for it.

    All that lies in one of them belongs to it, at any depth, and they themselves. The name of the workspace that a project
    of the scope lies in can be read too, and nothing else of it. For anyone who may see everything there is no scope.

    Attributes:
        workspaces: identifiers of workspaces.
        projects: identifiers of projects.
        written: those of the two whose content may be changed, too; ``None``: of all.
        governed: those of the written ones of which may be said who sees them, and that are workspaces which may be renamed or
            deleted; ``None``: all.

    Raises:
        InvalidArgumentError: there are more than 500, or one is not a text or empty. None at all is a scope of nothing.
    """

    workspaces: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    written: frozenset[str] | None = None
    governed: frozenset[str] | None = None

    def __post_init__(self) -> None:
        for name in ("workspaces", "projects", "written", "governed"):
            if name in ("written", "governed") and getattr(self, name) is None:
                continue
            given: object = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, (set, frozenset, tuple, list)):
                msg = f"{name} of a scope is of type {type(given).__name__}; expected a set of identifiers"
                raise InvalidTypeError(msg)
            if wrong := [each for each in given if not isinstance(each, str) or not each or "\0" in each]:
                msg = f"{name} of a scope holds {wrong[0]!r:.60}; expected identifiers"
                raise InvalidArgumentError(msg)
            object.__setattr__(self, name, frozenset(given))
        if self.written is not None and self.written >= self.workspaces | self.projects:
            object.__setattr__(self, "written", None)  # one way to say it, by which scopes are equal
        if len(self.workspaces) + len(self.projects) > MAX_CONTAINERS:
            msg = f"a scope of {len(self.workspaces) + len(self.projects):,} containers; expected at most {MAX_CONTAINERS}"
            raise InvalidArgumentError(msg)

    @property
    def containers(self) -> tuple[str, ...]:
        """The identifiers of all of them, in one order."""
        return tuple(sorted(self.workspaces | self.projects))

    @property
    def to_write(self) -> Scope:
        """What may be changed."""
        return self if self.written is None else self._part(self.written)

    @property
    def to_govern(self) -> Scope:
        """What may be governed."""
        written = self.to_write
        return written if self.governed is None else written._part(self.governed)

    def _part(self, containers: frozenset[str]) -> Scope:
        return Scope(self.workspaces & containers, self.projects & containers)
