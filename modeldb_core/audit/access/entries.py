"""What an access log says, and how its files are named."""

from __future__ import annotations

import hashlib
import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.runtime.redaction import strip_userinfo

if TYPE_CHECKING:
    from pathlib import Path

REFUSE, READ, SIGN_IN = "refuse", "read", "sign_in"
"""What is recorded: a request that was refused, a file that was read, somebody who showed who they are."""
LOSE, RETIRE = "lose", "retire"
"""What a log says of itself: so many entries could not be kept; so much of its beginning was removed."""
ACCESS_ACTIONS = (REFUSE, READ, SIGN_IN, LOSE, RETIRE)
LOG = "access_log"
"""The kind of the entity that ``lose`` and ``retire`` speak of."""

SUFFIX = ".access"
SEGMENT = re.compile(r"(\d{12})\.access")
"""A file of a stream: the number of its first change."""
STREAM_NAME = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
FRAME = struct.Struct("<I")
"""Before each batch of changes in a file: its length."""


class Access(NamedTuple):
    """Something that is to be recorded.

    Attributes:
        at: when, in microseconds since 1970-01-01 UTC.
        actor: who; empty where nobody has said.
        action: ``refuse``, ``read`` or ``sign_in``.
        kind: of what it was about: the kind of an entity, ``blob``, ``route`` or ``user``.
        subject: which one.
        data: more: ``status``, ``route``, ``method``, ``address``, ``digest``, ``bytes``, ``project_id``, …
    """

    at: int
    actor: str
    action: str
    kind: str
    subject: str
    data: dict[str, Any]


def segment_name(seq: int) -> str:
    """Return the name of the file whose first change has this number."""
    return f"{seq:012d}{SUFFIX}"


def access_folder(base: Path, store_url: str) -> Path:
    """Return the folder of the access log of those servers that serve a store.

    Args:
        base: the setting ``server.access_log_dir``.
        store_url: where the store is; passwords in it are not looked at.
    """
    return base / hashlib.sha256(strip_userinfo(store_url).encode()).hexdigest()[:16]
