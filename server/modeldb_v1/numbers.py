"""Repositories have numbers in the v1 API: the first 64 bits of their identifier (docs/decisions/0153)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Repository
from modeldb_core.queries import Query, condition

if TYPE_CHECKING:
    from modeldb_core.stores import MetadataStore

_DIGITS = 16


def number_of(repository_id: str) -> int:
    """Return the number of a repository; 0 of none."""
    return int(repository_id.replace("-", "")[:_DIGITS] or "0", 16)


def repository_numbered(store: MetadataStore, number: int) -> Repository:
    """Return the repository of a number.

    Raises:
        InvalidArgumentError: no number is given; NotFoundError: no repository has it.
    """
    if not number:
        msg = "the id of the repository is missing"
        raise InvalidArgumentError(msg)
    digits = f"{number:0{_DIGITS}x}"
    beginning = f"{digits[:8]}-{digits[8:12]}-{digits[12:]}-"
    found = store.find(Query(Repository.KIND, condition("repository_id startswith ?", beginning), limit=2)).entities
    if len(found) != 1 or not isinstance(found[0], Repository):
        msg = f"Repository not found: {number}"
        raise NotFoundError(msg)
    return found[0]
