"""HTTP as nobody speaks it: requests to a server, and answers to a client."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

from hypothesis import strategies as st

from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.backends.remote.metadata import RemoteMetadataStore
from modeldb_core.log.batches import MEDIA_TYPE, encode_changes
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.entities import Entity
from modeldb_core.queries import Query
from modeldb_core.stores import protocol
from modeldb_core.testing import StreamWriter
from modeldb_server.routes import Parameter, Route
from tests.fuzz.mutations import STRANGE, damaged, other_json, texts, write_json
from tests.services.hostile import GREETING

HEADERS = {
    "Accept": ["application/json", "text/html,*/*;q=0.8", "a/b;q=1e999"],
    "Accept-Encoding": ["gzip, deflate", "gzip;q=0", "*;q=nan"],
    "Authorization": ["Basic YTpi", "Bearer abc"],
    "Content-Type": ["application/json", MEDIA_TYPE, "application/json; charset=utf-7", "text/plain"],
    "Content-Encoding": ["gzip"],
    "Cookie": ["a=b; c"],
    "If-None-Match": ['"abc", W/"x"', "*"],
    "If-Modified-Since": ["Sun, 29 Nov 2026 00:00:00 GMT"],
    "If-Range": ['"abc"'],
    "Last-Event-ID": ["5", "5-3"],
    "Origin": ["http://127.0.0.1:5000", "null"],
    "Range": ["bytes=0-5", "bytes=-5", "bytes=5-", "bytes=0-1,3-4", "bytes=9-1"],
    "Sec-Fetch-Site": ["same-origin", "none"],
    "X-Forwarded-For": ["1.2.3.4"],
    "X-ModelDB": ["1", ""],
}
"""Headers that something looks at, with values as they are usual."""
_PATHS = (
    b"..",
    b"%2e%2e/x",
    b"\xc0\xaf",
    b"\0",
    b"\xff",
    b"a/b",
    b"",
    b"\xed\xa0\x80",
    b"%",
    b"x" * 5_000,
    "ﬁ".encode(),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


@st.composite
def requests(draw: st.DrawFn, routes: list[Route], ids: list[str]) -> Sent:
    """Return a request to a route of the table, with arguments as they may be, of which some are others."""
    route = draw(st.sampled_from(routes))
    strange = (
        st.sampled_from(STRANGE) | texts(*ids) | st.sampled_from(["-1", "1e9", "9" * 400, "true", "[]", "'", "\ufeff"])
    )
    path = route.path
    for variable in re.findall(r"<[\w:]+>", path):
        segment = st.sampled_from(ids).map(str.encode) | st.sampled_from(_PATHS) | st.binary(max_size=6)
        path = path.replace(variable, quote_from_bytes(draw(segment), safe=draw(st.sampled_from(["", "/%"]))), 1)
    query = []
    for parameter in route.parameters:
        if draw(st.integers(0, 3)) > 0:
            value = _as_text(parameter, ids, draw) if draw(st.booleans()) else draw(strange)
            query += [(parameter.name, value)] * draw(st.sampled_from([1, 1, 1, 2]))
    if draw(st.integers(0, 9)) == 0:
        query.append((draw(strange), "x"))
    headers = {"X-ModelDB": "1", "Content-Type": route.body_type}
    for name in draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=2)):
        headers[name] = (
            draw(texts(*HEADERS[name])).encode("latin-1", "ignore").decode("latin-1").translate(_NO_LINES)[:4_000]
        )
    return Sent(route.method, path, query, headers, _body(route, ids, draw))


_NO_LINES = {ord("\r"): " ", ord("\n"): " ", 0: " "}


_BATCH = encode_changes([StreamWriter("s", at=5).create_run(name="a")])
"""Made once: salts are random, so another one may be of another length, and cases would not repeat."""


def _body(route: Route, ids: list[str], draw: st.DrawFn) -> bytes:
    if route.body:
        usual = {field.name: _value(field, ids, draw) for field in route.body if field.required or draw(st.booleans())}
        return draw(
            other_json(usual) if draw(st.integers(0, 2)) else st.just(write_json(usual)) | damaged(write_json(usual))
        )
    if route.method in ("GET", "DELETE"):
        return b""
    return draw(damaged(_BATCH) | st.binary(max_size=20))


def _value(field: Parameter, ids: list[str], draw: st.DrawFn) -> Any:
    if field.type == "objects":
        return [{item.name: _value(item, ids, draw) for item in field.items}]
    usual: Mapping[str, Any] = {
        "text": draw(st.sampled_from([*field.choices, *ids, "metrics.auc > 0"])),
        "integer": max(field.minimum, 1),
        "flag": True,
        "time": "2026-05-04T03:02:01+00:00",
        "object": {
            draw(st.sampled_from([*ids, "lr"])): draw(st.sampled_from([0.5, 1, "x", None, {"$float": "nan"}, [1]]))
        },
        "numbers": [draw(st.sampled_from([0.5, 1, -3, 1e300]))],
        "integers": [draw(st.integers(-3, 2**40))],
        "texts": [draw(st.sampled_from([*field.choices, *ids]))],
    }
    return usual[field.type]


def _as_text(field: Parameter, ids: list[str], draw: st.DrawFn) -> str:
    value = _value(field, ids, draw)
    return ",".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)


# -- answers to a client ----------------------------------------------------------------------------------------------


class Stranger:
    """Listens on a port, greets as a server does, and answers everything else with given bytes."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(65_536)):
                    head += piece
                greets = head.split(b" ", 2)[1:2] == [protocol.PREFIX.encode()]
                connection.sendall(answer_bytes(GREETING) if greets else self.answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)


@contextmanager
def stranger() -> Iterator[Stranger]:
    """Give a server that answers as it is told."""
    server = Stranger()
    try:
        yield server
    finally:
        server.close()


def answer_bytes(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return an answer of HTTP."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{lines}\r\n".encode() + body


_DIGEST = hashlib.sha256(b"content").hexdigest()
_CHANGE = StreamWriter("s", at=5).create_run(name="a")
_ENTITY = {
    "entity_id": "e",
    "document": {"name": "a", "created_at": 5, "updated_at": 5, "tags": ["x"], "attributes": {"a": [1]}},
    "status": "running",
    "metrics": {"auc": 0.5},
    "series": {},
}
_BODIES = (
    other_json(_ENTITY),
    other_json({"entities": [_ENTITY], "cursor": None, "total": 1}),
    other_json({"keys": [["metrics", "a", 1, ["number"], 0]]}),
    other_json({"s": [1, "00" * 32, 5, 30.0, False]}),
    other_json({"digest": _DIGEST, "size_bytes": 7, "modified_at": 5}),
    other_json({"owners": ["a"], "done": True, "streams": {"s": [1, "00"]}}),
    other_json({"error": {"code": "query_syntax", "message": "m", "column": 5, "text": "t"}}),
    damaged(encode_changes([_CHANGE])),
    damaged(b'{"digest": "x"}\n\n'),
)
_STATUSES = (
    "200 OK",
    "200 OK",
    "200 OK",
    "204 No",
    "206 Part",
    "301 M",
    "401 U",
    "404 N",
    "413 L",
    "429 T",
    "500 E",
    "503 S",
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Return an answer with a body that a server does not give, or in a form that HTTP does not have."""
    body = draw(st.one_of(*_BODIES))
    status = draw(st.sampled_from(_STATUSES))
    headers = {"ModelDB_Cursor": "5", "ModelDB_More": "1"} if draw(st.booleans()) else {}
    for name in draw(
        st.lists(
            st.sampled_from(["Retry_After", "Location", "ModelDB_Cursor", "Content_Type", "Set_Cookie"]), max_size=2
        )
    ):
        headers[name] = draw(texts("5", "http://x/")).encode("ascii", "ignore").decode()
    match draw(
        st.sampled_from(["plain", "plain", "gzip", "garbage in gzip", "chunked", "headers", "damaged", "length"])
    ):
        case "gzip":
            return answer_bytes(gzip.compress(body, 1), status, **headers, Content_Encoding="gzip")
        case "garbage in gzip":
            return answer_bytes(
                body, status, **headers, Content_Encoding=draw(st.sampled_from(["gzip", "deflate", "br", "gzip, gzip"]))
            )
        case "chunked":
            size = draw(
                st.sampled_from(
                    [b"%x" % len(body), b"-5", b"ffffffffffffffff", b"5;x=y", b"zz", b"", b"0x5", b"9" * 5_000]
                )
            )
            whole = size + b"\r\n" + body + b"\r\n" + draw(st.sampled_from([b"0\r\n\r\n", b"", b"0\r\nX: y\r\n\r\n"]))
            return f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + whole
        case "headers":
            return answer_bytes(
                body, status, **{f"X_{at}": "y" * 100 for at in range(draw(st.sampled_from([5, 90, 300])))}
            )
        case "damaged":
            return draw(damaged(answer_bytes(body, status, **headers)))
        case "length":
            said = draw(st.sampled_from(["-1", "9" * 30, "0", "5, 5", "x", "9" * 5_000, ""]))
            return answer_bytes(body, status, **headers).replace(
                b"Content-Length: ", f"Content-Length: {said}".encode(), 1
            )
    return answer_bytes(body, status, **headers)


def ask_stranger(url: str, number: int) -> None:
    """Ask or tell a server one of the things that a client says; what it returns is used."""
    options = {"timeout_s": 10.0, "retry_s": 0.0, "connect_timeout_s": 10.0}
    with RemoteMetadataStore(url, **options) as store, closing(RemoteArtifactStore(url, **options)) as blobs:
        calls: list[Callable[[], object]] = [
            lambda: store.apply([_CHANGE]),
            lambda: store.get("run", "e"),
            lambda: store.find(Query()),
            lambda: store.find_keys(Query()),
            lambda: store.find_groups(Query(), "status", ["metrics.auc"]),
            lambda: store.read_series("e", "loss"),
            store.read_changes,
            store.heads,
            lambda: store.head("s"),
            lambda: blobs.put(io.BytesIO(b"content")),
            lambda: blobs.open(_DIGEST).read(),
            lambda: blobs.put_many([b"content", b"more"]),
            lambda: blobs.read_many([_DIGEST, _DIGEST], 100),
            lambda: list(blobs.list()),
            lambda: blobs.delete(_DIGEST),
            blobs.owners,
            lambda: blobs.url_for(_DIGEST),
        ]
        found = calls[number % len(calls)]()
        repr(found)
        for entity in getattr(found, "entities", [found] if isinstance(found, Entity) else []):
            json.dumps(entity_document(entity), allow_nan=False)


CALLS = 13
"""How many calls :func:`ask_stranger` knows."""


# -- requests in bytes ------------------------------------------------------------------------------------------------

_REQUESTS = (
    b"GET /api/v2/runs?limit=5 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n",
    b"POST /api/v2/series HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"series":[]}',
    b"PATCH /api/v2/runs/x HTTP/1.1\r\nHost: 127.0.0.1\r\nX-ModelDB: 1\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\na\r\n{\"name\":1}\r\n0\r\n\r\n",
    b"GET /%2e%2e/%c0%af%00 HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=0-5\r\nIf-None-Match: *\r\n\r\n",
)  # fmt: skip
_PIECES = (
    *(
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x\r\n",
        b"Content-Length: -1\r\n",
    ),
    *(
        b"Content-Length: " + b"9" * 5_000 + b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\0",
        b"Host: evil\r\n",
        b": x\r\n",
        b" x: y\r\n",
    ),
    *(b"X: " + b"y" * 70_000 + b"\r\n", b"X: y\r\n" * 2_000, b"Expect: 100-continue\r\n", b"Connection: upgrade\r\n"),
    *(
        b"ffffffffffffffffff\r\n",
        b"-1\r\n",
        b"5;x\r\n",
        b"HTTP/9.9",
        b"\xff\xfe",
        b"HTTP/1.0",
        b"Connection: close\r\n",
    ),
)


@st.composite
def raw_requests(draw: st.DrawFn) -> bytes:
    """Return what is sent to a server: one or two requests, damaged, with headers that contradict each other."""
    data = b"".join(draw(st.lists(st.sampled_from(_REQUESTS), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 2))):
        ends = [found.end() for found in re.finditer(rb"\r\n", data)] or [0]
        at = draw(st.sampled_from(ends))
        data = data[:at] + draw(st.sampled_from(_PIECES)) + data[at:]
    return draw(damaged(data)) if draw(st.booleans()) else data


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """Send bytes, say that no more come, and return everything that comes back."""
    received = b""
    with socket.create_connection(address, 120) as connection, suppress(ConnectionError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65_536):
            received += piece
    return received
