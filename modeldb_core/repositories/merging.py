"""Merging two lines of work: a pure function of what each changed since a state that both come from.

A *change* is what a location held before and after, each an entry or nothing. What only one side changed is taken. Where both
changed a location, a configuration or an environment is merged part by part (one setting, one package); code and data are
wholes, for half of one snapshot and half of another is what nobody ever had. What cannot be merged is a conflict, and a conflict
can be resolved beforehand: by a side, or by what is to stand there.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.values import Value, normalize, to_json
from modeldb_core.repositories.blobs import Blob, Entry, from_entry
from modeldb_core.repositories.parts import Part, Path, assembled, parts_of, text_of
from modeldb_core.repositories.states import Change, Changes, same
from modeldb_core.trees.folders import folders_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Side: TypeAlias = Literal["ours", "theirs"]
SIDES: tuple[Side, ...] = ("ours", "theirs")
BOTH, REMOVED, KINDS, FOLDER = (
    "both changed it",
    "one side removed it and the other changed it",
    "it is of two kinds, or a whole that cannot be merged in parts",
    "one side has a blob where the other has a folder",
)
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Conflict:
    """A location that cannot be merged, or parts of it.

    Attributes:
        location: which.
        reason: why, in words.
        parts: the parts that both changed, such as ``("lr",)``; none: the whole.
        base, ours, theirs: the entries of the common state and of the two sides.
        other: the location of ours that is in the way, where a blob and a folder have one name.
    """

    location: str
    reason: str
    parts: tuple[Path, ...] = ()
    base: Entry | None = None
    ours: Entry | None = None
    theirs: Entry | None = None
    other: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """It as JSON data."""
        sides = {"base": self.base, "ours": self.ours, "theirs": self.theirs}
        return {
            "location": self.location,
            "reason": self.reason,
            "parts": [text_of(path) for path in self.parts],
            **{name: None if entry is None else to_json(dict(entry)) for name, entry in sides.items()},
        }

    def __str__(self) -> str:
        """Return it in a line."""
        parts = f" ({', '.join(map(text_of, self.parts))})" if self.parts else ""
        return f"{self.location}{parts}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What is to be done about conflicts.

    Attributes:
        choices: by location, or by location and part (``("config", "optimizer.lr")``): a side, or what is to stand there: a
            blob, for a part a value, ``None`` for nothing.
        favour: the side that is taken of everything else; "": it stays a conflict.

    Raises:
        InvalidArgumentError: ``favour`` is not a side.
    """

    choices: Mapping[str | tuple[str, str], Any] = field(default_factory=dict)
    favour: str = ""

    def __post_init__(self) -> None:
        if self.favour not in ("", *SIDES):
            msg = f"favour is {self.favour!r:.60}; expected 'ours' or 'theirs'"
            raise InvalidArgumentError(msg)

    def of(self, location: str, path: Path | None = None) -> Any:  # noqa: ANN401 - a side, a value, or _NOTHING
        """Return what was chosen for a location or a part of it."""
        if path is not None and (location, text_of(path)) in self.choices:
            return self.choices[location, text_of(path)]
        chosen = self.choices.get(location, _NOTHING)
        if chosen is _NOTHING or (path is not None and chosen not in SIDES):
            return self.favour or _NOTHING
        return chosen


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge makes.

    Attributes:
        edits: what is to be put on our state: entries by location, ``None`` where one is removed.
        conflicts: what could not be merged; our side stands there.
    """

    edits: Mapping[str, Entry | None]
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class Merger:
    """Merges changes.

    Attributes:
        open_blob: reads contents that entries name.
        write: returns the entry of a blob that the merge made.
        resolution: of conflicts.
    """

    open_blob: Callable[[str], BinaryIO]
    write: Callable[[Blob], Entry]
    resolution: Resolution = field(default_factory=Resolution)

    def merge(self, ours: Changes, theirs: Changes) -> Merged:
        """Return what is to be put on our state, so that it has the changes of both.

        Args:
            ours: what our side changed since the common state.
            theirs: what their side changed since the same one.

        Raises:
            IntegrityError, NotFoundError: a content cannot be read.
        """
        edits: dict[str, Entry | None] = {}
        conflicts: list[Conflict] = []
        for location, their in sorted(theirs.items()):
            our = ours.get(location)
            if our is None:
                edits[location] = their.after
            elif not same(our.after, their.after):
                merged, conflict = self._location(location, our, their)
                if merged is not _NOTHING:
                    edits[location] = merged
                if conflict is not None:
                    conflicts.append(conflict)
        conflicts += self._folders(ours, edits)
        return Merged(edits, tuple(sorted(conflicts, key=lambda each: each.location)))

    def _location(self, location: str, our: Change, their: Change) -> tuple[Any, Conflict | None]:
        """Return what is to be put at a location that both sides changed, ``_NOTHING`` where ours stays, and the conflict."""
        chosen = self.resolution.choices.get(location, _NOTHING)
        if chosen is not _NOTHING and chosen not in SIDES:
            if chosen is None:
                return _NOTHING if our.after is None else None, None
            return self.write(chosen), None
        base = None if our.is_undecided else our.before
        reason = REMOVED
        if our.after is not None and their.after is not None:
            blobs = [None if each is None else self._read(each) for each in (base, our.after, their.after)]
            mine, yours = blobs[1], blobs[2]
            assert mine is not None
            assert yours is not None
            if mine.kind == yours.kind and mine.form is yours.form and not mine.form.is_whole:
                entries = (base, our.after, their.after)
                return self._blobs(location, blobs[0], mine, yours, entries, is_undecided=our.is_undecided)
            reason = KINDS if mine.kind != yours.kind or mine.form is not yours.form else BOTH
        side = self.resolution.of(location)
        if side == "theirs":
            return their.after, None
        conflict = Conflict(location, reason, (), base, our.after, their.after)
        return _NOTHING, None if side == "ours" else conflict

    def _read(self, entry: Entry) -> Blob:
        return from_entry(entry, self.open_blob)

    def _blobs(
        self,
        location: str,
        base: Blob | None,
        ours: Blob,
        theirs: Blob,
        entries: tuple[Entry | None, Entry, Entry],
        *,
        is_undecided: bool,
    ) -> tuple[Any, Conflict | None]:
        if base is not None and (base.kind, base.form) != (ours.kind, ours.form):
            base = None
        was = None if is_undecided else parts_of(base)
        merged, left = merge_parts(
            was, parts_of(ours), parts_of(theirs), lambda path: self.resolution.of(location, path)
        )
        if left:
            return _NOTHING, Conflict(location, BOTH, tuple(left), *entries)
        return self.write(assembled(ours.kind, merged)), None

    def _folders(self, ours: Changes, edits: dict[str, Entry | None]) -> list[Conflict]:
        """Find blobs of one side whose name is a folder's on the other, and resolve what is to be resolved."""
        found = []
        standing = {location for location, change in ours.items() if change.after is not None} - edits.keys()
        folders: dict[str, str] = {}
        for location in sorted(standing):
            folders.update((folder, location) for folder in folders_of(location))
        for location in [each for each in edits if edits[each] is not None]:
            blocking = next((folder for folder in folders_of(location) if folder in standing), folders.get(location))
            if blocking is None:
                continue
            side = self.resolution.of(location)
            if side == "theirs":
                below = [each for each in standing if location in folders_of(each) or each in folders_of(location)]
                edits.update(dict.fromkeys(below))
                continue
            theirs = edits.pop(location)
            if side != "ours":
                ours_there = ours[blocking].after
                found.append(Conflict(location, FOLDER, (), None, ours_there, theirs, blocking))
        return found


def merge_parts(
    base: Mapping[Path, Part] | None,
    ours: Mapping[Path, Part],
    theirs: Mapping[Path, Part],
    choose: Callable[[Path], Any] = lambda path: _NOTHING,
) -> tuple[dict[Path, Part], list[Path]]:
    """Merge two blobs part by part.

    Args:
        base: the parts of the common state; ``None``: nobody can say which, so that sides agree about a part or are in conflict.
        ours, theirs: those of the two sides.
        choose: returns what was decided about a part that both changed: a side, or a value, or nothing known.

    Returns:
        The parts of the result, and the paths of those that are in conflict, where our part stands.
    """
    merged: dict[Path, Part] = {}
    left: list[Path] = []
    paths = sorted({**(base or {}), **ours, **theirs})
    for path in paths:
        mine, yours = ours.get(path), theirs.get(path)
        was = None if base is None else _written(base.get(path))
        if _written(mine) == _written(yours) or (base is not None and _written(yours) == was):
            taken = mine
        elif base is not None and _written(mine) == was:
            taken = yours
        else:
            taken, is_decided = _chosen(choose(path), mine, yours)
            if not is_decided:
                left.append(path)
        if taken is not None:
            merged[path] = taken
    folders = {path[:count] for path in merged for count in range(1, len(path))}
    for path in [each for each in merged if each in folders]:
        chosen = choose(path)
        side = theirs if chosen == "theirs" else ours
        if chosen not in SIDES:
            left.append(path)
        for at in range(bisect_left(paths, path), len(paths)):  # in order, what is below a path follows it
            each = paths[at]
            if each[: len(path)] != path:
                break
            merged.pop(each, None)
            if each in side:
                merged[each] = side[each]
    return merged, sorted(set(left))


def _written(part: Part | None) -> bytes | None:
    return None if part is None else part.written


def _chosen(chosen: Any, mine: Part | None, yours: Part | None) -> tuple[Part | None, bool]:  # noqa: ANN401
    if chosen is _NOTHING:
        return mine, False
    if isinstance(chosen, str) and chosen in SIDES:
        return (mine if chosen == "ours" else yours), True
    if chosen is None:
        return None, True
    model = mine or yours
    assert model is not None
    value: Value = normalize(chosen, "what is to stand in place of a conflict")
    return Part(model.section, value), True
