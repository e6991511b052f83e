"""The connections to one server: kept alive, shared by threads, left behind by forks, and tried again when they break.

Every request may be sent twice: questions change nothing, changes are known by stream and number, and blobs by their
digest. So whatever fails on the way is tried again, with growing random pauses, until ``retry_s`` is over.
"""

from __future__ import annotations

import json
import random
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlencode

import urllib3

from modeldb_core.backends.remote.answers import (
    BROKEN,
    TRY_AGAIN,
    check_protocol,
    error_of_answer,
    error_of_failure,
    foreign_answer,
    understood,
)
from modeldb_core.backends.remote.pool import KeptConnections, make_pool, netloc
from modeldb_core.errors import (
    ConfigurationError,
    ModelDBError,
    NotFoundError,
    StoreUnavailableError,
    StoreVersionError,
)
from modeldb_core.runtime import __version__, forks
from modeldb_core.runtime.retry_after import seconds_to_wait
from modeldb_core.stores import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3.response import BaseHTTPResponse

    from modeldb_core.backends.remote.address import Address

JSON = "application/json"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
CHUNK_BYTES = 1 << 20
MAX_ANSWER_BYTES = 512 << 20
"""No answer is longer, unpacked: a few bytes of a stranger must not fill the memory."""
_MAX_ERROR_BYTES = 1 << 16

_spread = random.Random()  # a generator of our own: the training script's must not notice us
_open: weakref.WeakSet[Connection] = weakref.WeakSet()
_inherited: list[object] = []

R = TypeVar("R")


def _as_it_is(data: Any) -> Any:  # noqa: ANN401 - JSON data
    return data


class Body(Protocol):
    """The body of a request that is sent as it is read, again where the request is tried again."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...


class Answer:
    """An answer whose body was read."""

    __slots__ = ("body", "headers")

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self.headers = headers
        self.body = body


class Connection:
    """Sends requests to a server. Safe for any number of threads, and to be used on after a fork, by both sides.

    Nothing is sent before the first request, so it can be made while the server is away.

    Args:
        address: of the server.
        find_token: returns the token to show now; asked when the server refuses the one that was shown.
    """

    def __init__(self, address: Address, find_token: Callable[[], str] | None = None) -> None:
        self.address = address
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._find_token = find_token
        self._hello: dict[str, Any] | None = None
        self._is_closed = False
        self._gives_urls: bool | None = None
        self._headers = {
            "User-Agent": f"modeldb/{__version__}",
            "Accept-Encoding": "gzip, deflate",
            protocol.WRITE_HEADER: "1",
        }
        self._show_token(address.token)
        _open.add(self)

    def __repr__(self) -> str:
        return f"Connection({self.address.url!r})"

    # -- requests -----------------------------------------------------------------------------------------------------

    def get_json(
        self, path: str, query: Mapping[str, object] | None = None, *, load: Callable[[Any], R] = _as_it_is
    ) -> R:
        """Return what ``load`` makes of the JSON that a GET is answered with."""
        return self._load(self.request("GET", path, query=query), load)

    def post_json(self, path: str, data: object, *, extra_s: float = 0.0, load: Callable[[Any], R] = _as_it_is) -> R:
        """Return what ``load`` makes of the JSON that a POST is answered with; it may take so much longer than usual."""
        return self._load(self.request("POST", path, protocol.dump_json(data), extra_s=extra_s), load)

    def delete(self, path: str) -> None:
        """Send a DELETE, and see that the server confirms it."""
        self._load(self.request("DELETE", path), protocol.load_done)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | memoryview | Body | None = None,
        *,
        query: Mapping[str, object] | None = None,
        media_type: str = JSON,
        extra_s: float = 0.0,
        limit_bytes: int | None = None,
    ) -> Answer:
        """Send a request, again where that may help, and return the answer.

        Args:
            path: after the prefix of the routes of stores.
            query: what follows the question mark; what is ``None`` is left out.
            extra_s: how much longer than usual the server may take.
            limit_bytes: how long the answer may be, unpacked; default: ``MAX_ANSWER_BYTES``.

        Raises:
            StoreUnavailableError: the server could not be reached or could not answer, until ``retry_s`` was over.
            ModelDBError: what the server says.
        """
        self.hello()
        target = self._target(path, query)
        answer = self._attempt_all(method, target, body, media_type, extra_s, limit_bytes=limit_bytes)
        assert isinstance(answer, Answer)
        return answer

    def open(self, path: str, *, start: int = 0) -> BaseHTTPResponse:
        """Return the answer to a GET with its body still to be read, from byte ``start`` on; close it."""
        self.hello()
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = self._attempt_all("GET", self._target(path, None), None, JSON, 0.0, headers=headers, is_stream=True)
        assert not isinstance(answer, Answer)
        return answer

    def blob_url(self, digest: str, expires_s: int = 3600) -> str | None:
        """Return where a blob can be fetched without the server; ``None`` where its artifact store has no such URLs."""
        if self._gives_urls is False:
            return None
        url = self.get_json(f"/blobs/{digest}/url", {"expires_s": expires_s}, load=lambda answer: answer.get("url"))
        self._gives_urls = isinstance(url, str)
        return url if self._gives_urls else None

    def gives_urls(self, digest: str) -> bool:
        """Return whether blobs can be fetched without the server; the first time it is asked, about that one."""
        return self.blob_url(digest) is not None if self._gives_urls is None else self._gives_urls

    def close(self) -> None:
        """Close the connections. Calling it twice is not an error."""
        self._is_closed = True
        _open.discard(self)
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    # -- attempts -----------------------------------------------------------------------------------------------------

    def _attempt_all(
        self,
        method: str,
        target: str,
        body: bytes | memoryview | Body | None,
        media_type: str,
        extra_s: float,
        *,
        headers: Mapping[str, str] | None = None,
        is_stream: bool = False,
        limit_bytes: int | None = None,
    ) -> Answer | BaseHTTPResponse:
        deadline = time.monotonic() + self.address.retry_s
        sent = {**self._headers, **(headers or {})}
        if method not in ("GET", "HEAD"):
            sent["Content-Type"] = media_type
        if body is not None:
            sent["Content-Length"] = str(len(body))
        attempt = 0
        while True:
            wanted_s = 0.0
            try:
                response = self._send(method, target, body, sent, extra_s)
                if response.status < 300:
                    return (
                        response
                        if is_stream
                        else Answer(response.headers, self._body(response, limit_bytes or MAX_ANSWER_BYTES))
                    )
                content = self._error_body(response)
                if response.status == 401 and self._renew_token(sent):
                    continue
                error = error_of_answer(response.status, response.headers, content, self.address)
                if response.status not in TRY_AGAIN:
                    raise error
                wanted_s = seconds_to_wait(response.headers)
                if isinstance(error, StoreUnavailableError):
                    error.retry_after_s = wanted_s
            except ModelDBError:  # some of them are OSErrors
                raise
            except BROKEN as failure:
                error = error_of_failure(failure, self.address)
                error.__cause__ = failure
                if isinstance(error, ConfigurationError):
                    raise error from failure
            attempt += 1
            # Those who were told the same time do not come back at the same moment.
            pause = wanted_s + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt - 1, 10)) * _spread.uniform(0.5, 1)
            if time.monotonic() + pause > deadline:
                raise error
            time.sleep(pause)

    def _send(
        self,
        method: str,
        target: str,
        body: bytes | memoryview | Body | None,
        headers: Mapping[str, str],
        extra_s: float,
    ) -> BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=self.address.connect_timeout_s, read=self.address.timeout_s + extra_s)
        pool = self._opened()
        if pool.proxy is not None and self.address.scheme == "http":
            target = f"http://{netloc(self.address)}{target}"
            headers = {**headers, **pool.proxy_headers}
        return pool.urlopen(
            method,
            target,
            body,  # type: ignore[arg-type] # it takes what has bytes, or gives them
            headers,
            retries=False,
            redirect=False,
            timeout=timeout,
            preload_content=False,
            assert_same_host=False,
        )

    def _body(self, response: BaseHTTPResponse, limit_bytes: int) -> bytes:
        """Return the whole body of an answer; one that is longer than it may be is not read on."""
        body = bytearray()
        try:
            while len(body) <= limit_bytes and (piece := response.read(CHUNK_BYTES, decode_content=True)):
                body += piece
        except BaseException:
            response.close()
            raise
        if len(body) > limit_bytes:
            response.close()
            raise foreign_answer(self.address, f"its answer is longer than {limit_bytes:,} bytes")
        response.release_conn()
        return bytes(body)

    def _error_body(self, response: BaseHTTPResponse) -> bytes:
        """Return the beginning of the body of an error."""
        try:
            content = response.read(_MAX_ERROR_BYTES, decode_content=True)
        except BaseException:
            response.close()
            raise
        if len(content) < _MAX_ERROR_BYTES:
            response.release_conn()
        else:
            response.close()  # the rest may have no end
        return content

    def _load(self, answer: Answer, load: Callable[[Any], R]) -> R:
        return understood(self.address, lambda: load(json.loads(answer.body)))

    def _target(self, path: str, query: Mapping[str, object] | None) -> str:
        target = f"{self.address.path}{protocol.PREFIX}{path}"
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return f"{target}?{urlencode(given, errors='surrogatepass')}" if given else target

    # -- the connections ----------------------------------------------------------------------------------------------

    def hello(self) -> dict[str, Any]:
        """Return what the server says of itself and of who asks; it is asked once for each token."""
        if (known := self._hello) is not None:
            return known
        target = f"{self.address.path}{protocol.PREFIX}"
        try:
            answer = self._attempt_all("GET", target, None, JSON, 0.0)
        except NotFoundError as error:
            msg = f"{self.address.url} is a server of ModelDB too old to be a store for others; update it"
            raise StoreVersionError(msg) from error
        assert isinstance(answer, Answer)
        try:
            data = json.loads(answer.body)
        except (ValueError, RecursionError):
            data = None
        known = self._hello = check_protocol(data, self.address)
        return known

    def _show_token(self, token: str) -> None:
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def _renew_token(self, sent: dict[str, str]) -> bool:
        """Where there is a newer token than the one that was sent, put it into the headers of the request and all others."""
        token = self._find_token() if self._find_token is not None else ""
        if not token or sent.get("Authorization") == f"Bearer {token}":
            return False
        self.address = replace(self.address, token=token)
        self._show_token(token)
        self._hello = None  # it may be somebody else's
        sent["Authorization"] = self._headers["Authorization"]
        return True

    def _opened(self) -> urllib3.HTTPConnectionPool:
        if self._is_closed:
            msg = f"the store {self.address.url} was closed; open it again"
            raise StoreUnavailableError(msg)
        pool = self._pool
        if pool is None:
            pool = self._pool = make_pool(self.address)  # two threads may both make one: the second one stays
        return pool

    def leave_behind(self) -> None:
        """In a forked child: leave the parent's connections alone."""
        pool, self._pool = self._pool, None
        if pool is not None:
            _inherited.append(pool)  # it is never taken down: its connections are the parent's
            kept: object = pool.pool
            if isinstance(kept, KeptConnections):
                kept.forget()


def _after_fork_in_child() -> None:
    for connection in list(_open):
        connection.leave_behind()


forks.after_in_child(_after_fork_in_child)
