"""How a change alters a document: the one place that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.schema import KINDS

if TYPE_CHECKING:
    from modeldb_core.model.entities import Document

# What is in a document without any payload.
_OF_CHANGES = frozenset({"created_at", "owner", "updated_at", "deleted_at", "revision"})


def is_bare(document: Document) -> bool:
    """Return whether an entity is deleted and its document says nothing any more: what it said was erased.

    A run that still has points is not gone all the same.
    """
    return document.get("deleted_at") is not None and document.keys() <= _OF_CHANGES


def evolve(
    document: Document | None,
    action: str,
    payload: Document,
    *,
    actor: str,
    recorded_at: int,
    kind: str = "",
    own: set[str] | None = None,
) -> Document:
    """Return the document after a change; ``document`` is the one before, or ``None``, and stays as it was.

    - ``create``: the payload is the document. Where the entity is there already (containers have derived identifiers,
      so two writers may create the same one), the first one's fields win, and a deleted entity comes back; where it
      says nothing new, the entity was used, but not altered. A field that names who makes the change, such as the author
      of a comment, does so where the payload says nothing.
    - ``update``: ``set`` gives fields new values; ``put`` writes keys of maps; ``add`` appends what is missing to
      lists; ``remove`` drops keys of maps, or elements of lists.
    - ``delete``: ``deleted_at`` is set. The document stays, so that it can be restored and the audit can show it.
    - ``restore``: ``deleted_at`` is taken away.

    Updates of an entity that was never created make it: a run that two processes log to may see the child's stream
    arrive first. Each change that alters something raises the ``revision`` by one, and ``owner`` and ``created_at`` are
    those of the first change, whatever a payload says of them.

    Args:
        own: names the maps of ``document`` that its owner alone has, and lets go: ``put`` writes into these, where it
            copies others, and into ``own`` it writes which maps of what is returned are such. Many changes of one
            document then cost one copy of a map, however large it is.
    """
    after: Document = dict(document) if document else unborn(actor=actor, recorded_at=recorded_at)
    born: Document = {name: after[name] for name in ("created_at", "owner") if name in after}
    alters = True
    revision = after.get("revision", 0)
    if action == "create":
        for name, value in payload.items():
            after.setdefault(name, value)
        for name in KINDS[kind].actors if payload and kind in KINDS else ():  # not of one that was erased
            after.setdefault(name, actor)
        after.pop("deleted_at", None)
        alters = not (document and revision and after.keys() == document.keys())
    elif action == "update":
        _update(after, payload, set() if own is None else own)
    elif action == "delete":
        after["deleted_at"] = recorded_at
    elif action == "restore":
        after.pop("deleted_at", None)
    else:
        msg = f"action {action!r} does not alter a document; expected create, update, delete or restore"
        raise InvalidArgumentError(msg)
    after.update(born)
    after["updated_at"] = max(recorded_at, after.get("updated_at", recorded_at))
    after["revision"] = revision + alters
    return after


def unborn(*, actor: str, recorded_at: int) -> Document:
    """Return the document of an entity of which only points have arrived yet."""
    return {"created_at": recorded_at, "owner": actor, "updated_at": recorded_at, "revision": 0}


def _update(after: Document, payload: Document, own: set[str]) -> None:
    given = payload.get("set", {})
    after.update(given)
    own.difference_update(given)
    for name, items in payload.get("put", {}).items():
        if name in own:
            after[name].update({**items})  # a map, as for those that are copied
        else:
            after[name] = {**after.get(name, {}), **items}
            own.add(name)
    for name, items in payload.get("add", {}).items():
        present = after.get(name, [])
        own.discard(name)
        after[name] = present + [item for item in dict.fromkeys(items) if item not in present]
    for name, items in payload.get("remove", {}).items():
        if name not in after:
            continue  # an empty list in its place would be wrong for a map
        present = after[name]
        gone = set(items)
        own.discard(name)
        if isinstance(present, dict):
            after[name] = {key: value for key, value in present.items() if key not in gone}
        else:
            after[name] = [item for item in present if item not in gone]
