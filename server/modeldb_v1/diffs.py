"""What differs between blobs as messages, and commits made by sending that.

A message of what differs has two sides, A before and B after. Of lists whose elements have names it holds those that
differ, of everything else the whole; so it can be put on another state, where it changes what it names and nothing else.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_v1.schema import enum_values, message_class
from modeldb_v1.shown_blobs import BLOB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STATUS = enum_values("versioning.DiffStatusEnum.DiffStatus")
DIFF = message_class("versioning.BlobDiff")


class Side(NamedTuple):
    """A message that holds one blob's side of a difference, as a blob holds all of it.

    Attributes:
        names: the fields of the side in the difference and of the same in the blob.
        key: what names an element of a list; empty: the field is taken as a whole.
    """

    before: str
    after: str
    whole: str
    key: str = ""


def _named(place: str, field: str, key: str) -> Side:
    return Side(f"{place}.A{field}", f"{place}.B{field}", f"{place}{field}", key)


_SIDES: dict[tuple[str, str], tuple[Side, ...]] = {
    ("code", "git"): (_named("git", "", ""),),
    ("code", "notebook"): (_named("notebook", "", ""),),
    ("dataset", "path"): (Side("path.A", "path.B", "path.components", "path"),),
    ("dataset", "s3"): (Side("s3.A", "s3.B", "s3.components", "path.path"),),
    ("config", ""): (
        Side("hyperparameters.A", "hyperparameters.B", "hyperparameters", "name"),
        Side("hyperparameter_set.A", "hyperparameter_set.B", "hyperparameter_set", "name"),
    ),
    ("environment", "python"): (
        _named("python", ".version", ""),
        _named("python", ".requirements", "library"),
        _named("python", ".constraints", "library"),
    ),
    ("environment", "docker"): (_named("docker", "", ""),),
    ("environment", ""): (),
}
_OF_EVERY_ENVIRONMENT = (
    Side("environment_variables_A", "environment_variables_B", "environment_variables", "name"),
    Side("command_line_A", "command_line_B", "command_line"),
)


def form_of(message: Any) -> tuple[str, str]:  # noqa: ANN401 - a message
    """Return of which kind a blob or a difference is, and of which form of that; "" where it has one only."""
    kind = message.WhichOneof("content") or ""
    inner: Any = getattr(message, kind) if kind else None
    if inner is None or "content" not in inner.DESCRIPTOR.oneofs_by_name:
        return kind, ""
    return kind, inner.WhichOneof("content") or ""


def _sides(form: tuple[str, str]) -> tuple[Side, ...]:
    return _SIDES[form] + (_OF_EVERY_ENVIRONMENT if form[0] == "environment" else ())


# -- showing ----------------------------------------------------------------------------------------------------------


def differences(changed: Iterable[tuple[Sequence[str], Any, Any]]) -> list[Any]:
    """Return the messages that say what differs: what was added, then what was deleted, then what was modified.

    Args:
        changed: of each location the message of the blob before and after, ``None`` where there is none. What is of another
            kind or form afterwards was deleted, and added.
    """
    added: list[Any] = []
    deleted: list[Any] = []
    modified: list[Any] = []
    for location, before, after in changed:
        if before is None:
            added.append(_difference(location, "ADDED", None, after))
        elif after is None:
            deleted.append(_difference(location, "DELETED", before, None))
        elif form_of(before) == form_of(after):
            modified.append(_difference(location, "MODIFIED", before, after))
        else:
            modified += [
                _difference(location, "DELETED", before, None),
                _difference(location, "ADDED", None, after),
            ]
    return [*added, *deleted, *modified]


def _difference(location: Sequence[str], status: str, before: Any, after: Any) -> Any:  # noqa: ANN401 - messages
    found = DIFF(location=location, status=STATUS[status])
    form = form_of(before if after is None else after)
    kind = form[0]
    _get(found, kind).SetInParent()
    if form[1]:
        _get(found, f"{kind}.{form[1]}").SetInParent()
    for side in _sides(form):
        old, new = (_value(each, f"{kind}.{side.whole}") for each in (before, after))
        if side.key:
            _fill_lists(found, kind, side, old or (), new or ())
        elif old != new:
            _put(found, f"{kind}.{side.before}", old)
            _put(found, f"{kind}.{side.after}", new)
    return found


def _fill_lists(found: Any, kind: str, side: Side, old: Iterable[Any], new: Iterable[Any]) -> None:  # noqa: ANN401
    was = {_get(each, side.key): each for each in old}
    now = {_get(each, side.key): each for each in new}
    for mine, others, place in ((was, now, side.before), (now, was, side.after)):
        differing = [each for name, each in mine.items() if others.get(name) != each]
        if differing:
            _get(found, f"{kind}.{place}").extend(differing)


# -- applying ---------------------------------------------------------------------------------------------------------


def apply(diff: Any, before: Any, what: str) -> Any:  # noqa: ANN401 - messages
    """Return the message of the blob that a location holds after a difference was put on it; ``None``: nothing.

    Args:
        diff: what is to change.
        before: the message of the blob that the location holds; ``None``: nothing.
        what: the location, for errors.

    Raises:
        InvalidArgumentError: the difference says nothing, or is of another kind than what the location holds.
        NotFoundError: the location holds nothing, and the difference modifies it.
    """
    if diff.status == STATUS["DELETED"]:
        return None
    form = form_of(diff)
    if form not in _SIDES or diff.status not in (STATUS["ADDED"], STATUS["MODIFIED"]):
        msg = f"the difference at {what} says nothing: expected ADDED, DELETED or MODIFIED, and the blob that is meant"
        raise InvalidArgumentError(msg)
    if diff.status == STATUS["MODIFIED"]:
        if before is None:
            msg = f"the difference modifies {what}, and there is nothing in the base commit"
            raise NotFoundError(msg)
        if not _fits(form, form_of(before)):
            msg = f"the difference at {what} is of {'.'.join(filter(None, form))}, and what is there is of {'.'.join(filter(None, form_of(before)))}"
            raise InvalidArgumentError(msg)
    after = BLOB()
    if diff.status == STATUS["MODIFIED"]:
        after.CopyFrom(before)
    kind = form[0]
    _get(after, kind).SetInParent()
    if form[1]:
        _get(after, f"{kind}.{form[1]}").SetInParent()
    for side in _sides(form):
        if side.key:
            _merge_lists(diff, after, kind, side)
        else:
            old, new = (_value(diff, f"{kind}.{place}") for place in (side.before, side.after))
            if old is not None or new is not None:
                _put(after, f"{kind}.{side.whole}", new)
    return after


def _fits(form: tuple[str, str], there: tuple[str, str]) -> bool:
    """Return whether a difference can be put on a blob: one of variables alone fits every environment."""
    return form == there or (form == ("environment", "") and there[0] == "environment")


def _merge_lists(diff: Any, after: Any, kind: str, side: Side) -> None:  # noqa: ANN401
    old, new = ({_get(each, side.key): each for each in _get(diff, f"{kind}.{at}")} for at in (side.before, side.after))
    if not old and not new:
        return
    listed = _get(after, f"{kind}.{side.whole}")
    kept = {_get(each, side.key): each for each in listed}
    merged = {name: new.get(name, each) for name, each in kept.items() if name in new or name not in old}
    merged |= {name: each for name, each in new.items() if name not in merged}
    copies = [type(each).FromString(each.SerializeToString()) for each in merged.values()]
    del listed[:]
    listed.extend(copies)


# -- fields by dotted names -------------------------------------------------------------------------------------------


def _get(message: Any, path: str) -> Any:  # noqa: ANN401 - a message, a list or a scalar
    for name in path.split("."):
        message = getattr(message, name)
    return message


def _parent(message: Any, path: str) -> tuple[Any, str]:  # noqa: ANN401
    place, _, name = path.rpartition(".")
    return (_get(message, place) if place else message), name


def _value(message: Any, path: str) -> Any:  # noqa: ANN401 - messages
    """Return what a message says at a path, ``None`` where it says nothing; nothing says nothing."""
    if message is None:
        return None
    parent, name = _parent(message, path)
    value = getattr(parent, name)
    said = bool(value) if isinstance(value, MutableSequence) else parent.HasField(name)
    return value if said else None


def _put(message: Any, path: str, value: Any) -> None:  # noqa: ANN401
    """Let a message say a list or a message at a path, or nothing."""
    parent, name = _parent(message, path)
    parent.ClearField(name)
    if isinstance(value, MutableSequence):
        getattr(parent, name).extend(value)
    elif value is not None:
        getattr(parent, name).CopyFrom(value)
