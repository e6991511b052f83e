"""Changes that are sealed as they should be, and hold what no writer of ModelDB writes: every store refuses each of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from modeldb_core.log.changes import APPEND, BEAT, CREATE, ERASE, STREAM, UPDATE

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEEP = 100_000
_SIZE = struct.Struct("<I").pack
_LONG = 4_000_000


def _attribute(written: str) -> bytes:
    return f'{{"attributes": {{"a": {written}}}}}'.encode()


def _points(*sizes_and_texts: int | bytes) -> bytes:
    return b"PTS1" + b"".join(part if isinstance(part, bytes) else _SIZE(part) for part in sizes_and_texts)


HOSTILE: Mapping[str, tuple[str, str, bytes]] = {
    "lists, 100,000 deep": (CREATE, "run", _attribute("[" * _DEEP + "]" * _DEEP)),
    "maps, 150 deep": (CREATE, "run", _attribute('{"a":' * 150 + "1" + "}" * 150)),
    "brackets without an end": (UPDATE, "run", b"[" * _DEEP),
    "a lone surrogate": (CREATE, "run", rb'{"name": "\ud800"}'),
    "a lone surrogate in a key": (CREATE, "run", rb'{"attributes": {"\udc00": 1}}'),
    "a surrogate in UTF-8": (CREATE, "run", b'{"name": "\xed\xa0\x80"}'),
    "UTF-16": (CREATE, "run", '{"name": "x"}'.encode("utf-16")),
    "an integer of 4 MB": (CREATE, "run", _attribute(f'{{"$int": "{"9" * _LONG}"}}')),
    "an integer of 4 MB, hexadecimal": (CREATE, "run", _attribute(f'{{"$int": "0x{"f" * _LONG}"}}')),
    "an integer of 4 MB without a tag": (CREATE, "run", _attribute("9" * _LONG)),
    "an integer that is a list": (CREATE, "run", _attribute('{"$int": [1]}')),
    "a float that is a word": (CREATE, "run", _attribute('{"$float": "ten"}')),
    "a blob of another name": (CREATE, "run", _attribute('{"$blob": "../../etc/passwd", "size": 1}')),
    "NaN without a tag": (CREATE, "run", _attribute("NaN")),
    "a list for a map": (CREATE, "run", b"[1]"),
    "nothing": (CREATE, "run", b""),
    "metrics that are a list": (CREATE, "run", b'{"metrics": [1]}'),
    "a stream that is a list": (CREATE, "run", b'{"stream_id": []}'),
    "a name that is a map": (CREATE, "run", b'{"name": {"a": 1}}'),
    "a time of 30 digits": (CREATE, "run", b'{"started_at": %s}' % (b"9" * 30)),
    "keys that are numbers": (CREATE, "run", b'{"hyperparameters": {"$1": 1}}'),
    "tags that are a text": (UPDATE, "run", b'{"set": {"tags": "abc"}}'),
    "a lease of 1e308": (BEAT, STREAM, b'{"lease_s": 1e308}'),
    "a lease that is not a number": (BEAT, STREAM, b'{"lease_s": {"$float": "NaN"}}'),
    "a lease that is a text": (BEAT, STREAM, b'{"lease_s": "30"}'),
    "a lease in the past": (BEAT, STREAM, b'{"lease_s": -1}'),
    "an erasure of number 10^30": (ERASE, "run", b'{"stream_id": "a", "seq": 1%s}' % (b"0" * 30)),
    "an erasure in a stream with a NUL": (
        ERASE,
        "run",
        b'{"stream_id": "a\\u0000b", "seq": 1, "hash": "%s"}' % (b"0" * 64),
    ),
    "an erasure in a stream of half a pair": (
        ERASE,
        "run",
        rb'{"stream_id": "\ud800", "seq": 1, "hash": "%s"}' % (b"0" * 64),
    ),
    "an erasure of a number that is true": (
        ERASE,
        "run",
        b'{"stream_id": "a", "seq": true, "hash": "%s"}' % (b"0" * 64),
    ),
    "an entity with a very long kind": (CREATE, "k" * 5000, b"{}"),
    "no points": (APPEND, "run", b"PTS1"),
    "more groups than bytes": (APPEND, "run", _points(2**32 - 1)),
    "more keys than bytes": (APPEND, "run", _points(1, 2**32 - 1)),
    "more rows than bytes": (APPEND, "run", _points(1, 1, 1, b"a", 2**32 - 1, bytes(24))),
    "a metric with a NUL in its name": (APPEND, "run", _points(1, 1, 1, b"\0", 1, bytes(24))),
    "a metric twice": (APPEND, "run", _points(1, 2, 1, b"a", 1, b"a", 1, bytes(32))),
}
"""By what is wrong: action, kind and payload."""
