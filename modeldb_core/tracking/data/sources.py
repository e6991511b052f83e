"""What a version of a data set can be made of, beside objects of the program: paths and queries."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.model.values import check_text
from modeldb_core.runtime.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PathData:
    """A file or a folder, here or in a bucket; get one from :func:`path`. It is read when it is logged."""

    path: str
    keep: bool = False
    exclude: tuple[str, ...] = ()
    storage_options: Mapping[str, Any] = field(default_factory=lambda: _EMPTY, repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether fsspec reaches it, and not the file system of this machine."""
        return "://" in self.path and not self.path.startswith("file://")


@dataclass(frozen=True, slots=True)
class QueryData:
    """A question to a database, and what is known of its answer; get one from :func:`query`."""

    text: str
    source: str
    parameters: Mapping[str, Any]
    template: str = ""
    result: object = None
    record_count: int | None = None
    executed_at: datetime | None = None
    keep: bool = False


def path(
    path: str | os.PathLike[str],
    *,
    keep: bool = False,
    exclude: Iterable[str] = (),
    storage_options: Mapping[str, Any] | None = None,
) -> PathData:
    """Name a file or a folder as the content of a version: size, checksum and time of each file are recorded.

    Args:
        path: on this machine, or any address that fsspec reads, such as ``s3://bucket/data/train``. Where a bucket keeps
            versions, theirs are recorded.
        keep: whether the files themselves are kept in the artifact store, each content once, to be checked out again.
        exclude: patterns (``*.tmp``, ``cache/*``) of names or paths within the folder that are no part of it.
        storage_options: for fsspec, such as ``endpoint_url``; they are recorded nowhere.

    Raises:
        InvalidTypeError: it is not a path; InvalidArgumentError: it is empty or cannot be one.
    """
    given: object = path
    if not isinstance(given, (str, os.PathLike)):
        msg = f"path is of type {type(given).__name__}; expected the path of a file or folder, or an address"
        raise InvalidTypeError(msg)
    text = os.fsdecode(given)
    if not text or "\0" in text:
        msg = f"path {text!r:.60} is empty or holds a NUL character; expected the path of a file or folder"
        raise InvalidArgumentError(msg)
    if isinstance(exclude, str):
        msg = f"exclude is the text {exclude!r}; expected a list of patterns: [{exclude!r}]"
        raise InvalidTypeError(msg)
    patterns = tuple(check_text(each, "a pattern of exclude") for each in exclude)
    return PathData(text, keep, patterns, dict(storage_options or {}))


def query(
    text: str,
    *,
    source: object = "",
    parameters: Mapping[str, Any] | None = None,
    template: str = "",
    result: object = None,
    record_count: int | None = None,
    executed_at: datetime | None = None,
    keep: bool = False,
) -> QueryData:
    """Name a question to a database as the content of a version.

    Two versions are the same where text, source, parameters, number of records and result are; when it was asked is
    recorded and makes no other version.

    Args:
        text: the question as it was asked, such as SQL.
        source: the address of the database, or an engine or a connection of SQLAlchemy; passwords are not recorded.
        parameters: what was bound in it.
        template: the text before parameters were put in, where it differs.
        result: what came back, such as a table or a list of rows: described as data, and kept if ``keep`` says so.
        record_count: of the result; default: its length, where there is a result.
        executed_at: when it was asked, with a time zone.
        keep: whether the result is kept in the artifact store.

    Raises:
        InvalidArgumentError: the text is empty, the time has no zone, or ``keep`` is set without a result.
    """
    if not check_text(text, "query").strip():
        msg = "query is empty; expected the question as it was asked, such as 'select * from customers'"
        raise InvalidArgumentError(msg)
    if executed_at is not None and executed_at.tzinfo is None:
        msg = f"executed_at {executed_at!s} has no time zone; give it one, such as datetime.now(UTC)"
        raise InvalidArgumentError(msg)
    if keep and result is None:
        msg = "keep=True keeps the result of a query, and there is none; pass result=..."
        raise InvalidArgumentError(msg)
    if isinstance(result, list) and result and hasattr(result[0], "_mapping"):
        result = [tuple(row) for row in result]  # rows of SQLAlchemy
    if record_count is None and result is not None and hasattr(result, "__len__"):
        record_count = len(result)
    return QueryData(
        text, _address_of(source), dict(parameters or {}), template, result, record_count, executed_at, keep
    )


def _address_of(source: object) -> str:
    """Return the address of a database without its password."""
    if isinstance(source, str):
        return redact_url(source)
    url = getattr(getattr(source, "engine", source), "url", None)
    if url is None:
        msg = (
            f"source is of type {type(source).__name__}; expected an address, or an engine or connection of SQLAlchemy"
        )
        raise InvalidTypeError(msg)
    hidden = url.render_as_string(hide_password=True) if hasattr(url, "render_as_string") else str(url)
    return redact_url(str(hidden))
