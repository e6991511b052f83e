"""The numbers by which rows name keys, actors, lists of keys and one another.

A writer holds the database's write lock, so the next free number is one more than the largest. Numbers that were read
or made are remembered by the store, those that were made only once their transaction has ended well.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sqlalchemy import bindparam, func, insert, select

from modeldb_core.backends._sql.database import MANY, Database
from modeldb_core.backends._sql.tables import actors, key_lists, keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from sqlalchemy import ColumnElement, Connection, Select

Key: TypeAlias = tuple[str, str]
"""Section and key."""

_MAX_REMEMBERED = 200_000


class Remembered:
    """What a store has learned of numbers that never change. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.keys: dict[Key, int] = {}
        self.actors: dict[str, int] = {}
        self.lists: dict[bytes, int] = {}

    def learn(self, keys: dict[Key, int], actors: dict[str, int], lists: dict[bytes, int]) -> None:
        """Remember more of them, and forget all others where there are too many."""
        with self._lock:
            for known, more in ((self.keys, keys), (self.actors, actors), (self.lists, lists)):
                if len(known) + len(more) > _MAX_REMEMBERED:
                    known.clear()
                known.update(more)  # type: ignore[arg-type]  # of the same kind, pair by pair


class Numbers:
    """Finds and makes numbers within one write transaction."""

    def __init__(self, database: Database, connection: Connection, remembered: Remembered) -> None:
        self._database = database
        self._connection = connection
        self._remembered = remembered
        self._keys: dict[Key, int] = {}
        self._actors: dict[str, int] = {}
        self._lists: dict[bytes, int] = {}

    def learn(self) -> None:
        """Remember what was found and made: to be called once the transaction has ended well."""
        self._remembered.learn(self._keys, self._actors, self._lists)

    def next(self, column: ColumnElement[Any]) -> int:
        """Return the first free number of a primary key."""
        return int(self._connection.execute(select(func.coalesce(func.max(column), 0))).scalar_one()) + 1

    def of_keys(self, wanted: Iterable[Key]) -> dict[Key, int]:
        """Return the numbers of keys, made where they are new."""
        found: dict[Key, int] = {}
        unknown: dict[str, list[str]] = {}
        for pair in dict.fromkeys(wanted):
            number = self._remembered.keys.get(pair) or self._keys.get(pair)
            if number is None:
                unknown.setdefault(pair[0], []).append(pair[1])
            else:
                found[pair] = number
        for section, names in unknown.items():
            self._keys.update(find_keys(self._database, self._connection, section, names))
        new = [(section, name) for section, names in unknown.items() for name in names]
        made = [pair for pair in new if pair not in self._keys]
        if made:
            first = self.next(keys.c.key_pk)
            self._keys.update({pair: first + index for index, pair in enumerate(made)})
            rows = [{"key_pk": self._keys[pair], "section": pair[0], "key": pair[1]} for pair in made]
            self._connection.execute(insert(keys), rows)
        found.update({pair: self._keys[pair] for pair in new})
        return found

    def of_actors(self, wanted: Iterable[str]) -> dict[str, int]:
        """Return the numbers of actors, made where they are new."""
        found = {}
        for actor in dict.fromkeys(wanted):
            number = self._remembered.actors.get(actor) or self._actors.get(actor)
            if number is None:
                query = select(actors.c.actor_pk).where(actors.c.actor == actor)
                number = self._connection.execute(query).scalar_one_or_none()
            if number is None:
                number = self.next(actors.c.actor_pk)
                self._connection.execute(insert(actors), {"actor_pk": number, "actor": actor})
            found[actor] = self._actors[actor] = number
        return found

    def of_list(self, key_pks: Sequence[int]) -> int:
        """Return the number of a list of keys, made where it is new."""
        data = np.asarray(key_pks, "<i8").tobytes()
        digest = hashlib.sha256(data).digest()
        number = self._remembered.lists.get(digest) or self._lists.get(digest)
        if number is None:
            query = select(key_lists.c.list_pk).where(key_lists.c.digest == digest)
            number = self._connection.execute(query).scalar_one_or_none()
        if number is None:
            number = self.next(key_lists.c.list_pk)
            row = {"list_pk": number, "digest": digest, "key_pks": data}
            self._connection.execute(insert(key_lists), row)
        self._lists[digest] = number
        return number


def find_keys(database: Database, connection: Connection, section: str, names: Sequence[str]) -> dict[Key, int]:
    """Return the numbers of those keys of a section that have one."""
    rows = connection.execute(database.statement(_keys), {"section": section, MANY: database.many(names)})
    return {(section, name): number for name, number in rows}


def _keys(database: Database) -> Select[tuple[str, int]]:
    among = database.among(keys.c.key)
    return select(keys.c.key, keys.c.key_pk).where(keys.c.section == bindparam("section"), among)
