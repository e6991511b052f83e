"""The numbers by which rows name keys, actors, lists of keys and one another.

A writer holds the database's write lock, so the next free number is one more than the largest. Numbers that were read
or made are remembered by the store, those that were made only once their transaction has ended well.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import MANY, Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Select
    from sqlalchemy.sql.dml import Insert

    from modeldb_core.backends._sql.database import Build, Transaction

Key: TypeAlias = tuple[str, str]
"""Section and key."""
Waiting: TypeAlias = tuple[int, int]
"""How many payloads of points wait to be merged, and their size in bytes."""

_MAX_REMEMBERED = 200_000
_MAX_LEFT = 1_000


class Remembered:
    """What a store has learned of numbers that never change. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.keys: dict[Key, int] = {}
        self.actors: dict[str, int] = {}
        self.lists: dict[bytes, int] = {}
        self.waiting: dict[int, Waiting] = {}
        self._left: dict[str, Any] = {}

    def leave(self, stream_id: str, left: Any) -> None:  # noqa: ANN401 - what a database has a short way by
        """Keep what a batch of a stream has left, for the next one, which takes it."""
        with self._lock:
            self._left[stream_id] = left
            if len(self._left) > _MAX_LEFT:
                del self._left[next(iter(self._left))]

    def take(self, stream_ids: Iterable[str]) -> Any:  # noqa: ANN401
        """Return what was kept of one of the streams, and keep it no more of any."""
        with self._lock:
            taken = [self._left.pop(each, None) for each in stream_ids]
        return taken[0]

    def learn(self, more: Numbers) -> None:
        """Remember what a transaction that has ended well found and made; forget all else where it is too much."""
        with self._lock:
            _extend(self.keys, more.keys)
            _extend(self.actors, more.actors)
            _extend(self.lists, more.lists)
            _extend(self.waiting, more.waiting)


def _extend(known: dict[Any, Any], more: dict[Any, Any]) -> None:
    if len(known) + len(more) > _MAX_REMEMBERED:
        known.clear()
    known.update(more)


class Numbers:
    """Finds and makes numbers within one write transaction; the attributes hold what is to be remembered of it."""

    def __init__(self, transaction: Transaction, remembered: Remembered) -> None:
        self._transaction = transaction
        self._remembered = remembered
        self.keys: dict[Key, int] = {}
        self.actors: dict[str, int] = {}
        self.lists: dict[bytes, int] = {}
        self.waiting: dict[int, Waiting] = {}

    def learn(self) -> None:
        """Remember what was found and made: to be called once the transaction has ended well."""
        self._remembered.learn(self)

    def next(self, largest: Build) -> int:
        """Return the first free number of a primary key; ``largest`` builds the question for its largest one."""
        return (self._transaction.scalar(largest) or 0) + 1

    def known_waiting(self, entity_pk: int) -> Waiting | None:
        """Return how much waits of an entity by what this process knows; others may have added or merged some."""
        return self.waiting.get(entity_pk) or self._remembered.waiting.get(entity_pk)

    def of_keys(self, wanted: Iterable[Key]) -> dict[Key, int]:
        """Return the numbers of keys, made where they are new."""
        found: dict[Key, int] = {}
        unknown: dict[str, list[str]] = {}
        remembered, own = self._remembered.keys, self.keys
        for pair in dict.fromkeys(wanted):
            if pair in remembered:
                found[pair] = remembered[pair]
            elif pair in own:
                found[pair] = own[pair]
            else:
                unknown.setdefault(pair[0], []).append(pair[1])
        for section, names in unknown.items():
            self.keys.update(find_keys(self._transaction, section, names))
        new = [(section, name) for section, names in unknown.items() for name in names]
        made = [pair for pair in new if pair not in self.keys]
        if made:
            first = self.next(_last_key)
            self.keys.update({pair: first + index for index, pair in enumerate(made)})
            rows = [{"key_pk": self.keys[pair], "section": pair[0], "key": pair[1]} for pair in made]
            self._transaction.write(_insert_key, rows)
        found.update({pair: self.keys[pair] for pair in new})
        return found

    def of_actors(self, wanted: Iterable[str]) -> dict[str, int]:
        """Return the numbers of actors, made where they are new."""
        found = {}
        for actor in dict.fromkeys(wanted):
            number = self._remembered.actors.get(actor) or self.actors.get(actor)
            if number is None:
                number = self._transaction.scalar(_actor, {"actor": actor})
            if number is None:
                number = self.next(_last_actor)
                self._transaction.write(_insert_actor, [{"actor_pk": number, "actor": actor}])
            found[actor] = self.actors[actor] = number
        return found

    def of_list(self, key_pks: Sequence[int]) -> int:
        """Return the number of a list of keys, made where it is new."""
        data = struct.pack(f"<{len(key_pks)}q", *key_pks)
        digest = hashlib.sha256(data).digest()
        number = self._remembered.lists.get(digest) or self.lists.get(digest)
        if number is None:
            number = self._transaction.scalar(_list, {"digest": digest})
        if number is None:
            number = self.next(_last_list)
            self._transaction.write(_insert_list, [{"list_pk": number, "digest": digest, "key_pks": data}])
        self.lists[digest] = number
        return number


def find_keys(transaction: Transaction, section: str, names: Sequence[str]) -> dict[Key, int]:
    """Return the numbers of those keys of a section that have one."""
    rows = transaction.rows(_keys, {"section": section, MANY: transaction.database.many(names)})
    return {(section, name): number for name, number in rows}


def find_keys_of(transaction: Transaction, wanted: Iterable[Key]) -> dict[Key, int]:
    """Return the numbers of those keys of any sections that have one."""
    by_section: dict[str, list[str]] = {}
    for section, key in wanted:
        by_section.setdefault(section, []).append(key)
    numbers: dict[Key, int] = {}
    for section, names in by_section.items():
        numbers.update(find_keys(transaction, section, names))
    return numbers


def _keys(database: Database) -> Select[tuple[str, int]]:
    among = database.among(tables.keys.c.key)
    return sa.select(tables.keys.c.key, tables.keys.c.key_pk).where(
        tables.keys.c.section == sa.bindparam("section"), among
    )


def _last_key(_database: Database) -> Select[Any]:
    return sa.select(sa.func.max(tables.keys.c.key_pk))


def _last_actor(_database: Database) -> Select[Any]:
    return sa.select(sa.func.max(tables.actors.c.actor_pk))


def _last_list(_database: Database) -> Select[Any]:
    return sa.select(sa.func.max(tables.key_lists.c.list_pk))


def _actor(_database: Database) -> Select[Any]:
    return sa.select(tables.actors.c.actor_pk).where(tables.actors.c.actor == sa.bindparam("actor"))


def _list(_database: Database) -> Select[Any]:
    return sa.select(tables.key_lists.c.list_pk).where(tables.key_lists.c.digest == sa.bindparam("digest"))


def _insert_key(_database: Database) -> Insert:
    return sa.insert(tables.keys)


def _insert_actor(_database: Database) -> Insert:
    return sa.insert(tables.actors)


def _insert_list(_database: Database) -> Insert:
    return sa.insert(tables.key_lists)
