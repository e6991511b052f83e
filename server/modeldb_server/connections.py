"""Connections: what a client may cost before it has shown that it may ask for something.

waitress reads the requests of all connections in one loop. Here that loop learns to

- refuse what two readers could read differently (request smuggling), and take nothing more from that connection;
- ask the application as soon as the headers of a request are there whether it would refuse it, and then not to read
  the body; the answer says why, and what the client is still sending is dropped unread;
- bound what bodies take of memory, those that are being received and those that wait for a thread;
- make room for new connections by closing those that ask for nothing, of the address with the most of them first.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import time
from collections import Counter
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.utilities import RequestEntityTooLarge

from modeldb_server.admission import BusyError
from modeldb_server.bodies import SMALLEST, Body
from modeldb_server.request_ids import request_id_of
from modeldb_server.tasks import REFUSAL, Refusal, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waitress.adjustments import Adjustments

    from modeldb_server.admission import Front

logger = logging.getLogger("modeldb_server")

HEADER_TIMEOUT_S = 30.0
"""The headers of a request must have arrived within this time."""
BODY_TIMEOUT_S = 300.0
SLOWEST_BYTES_PER_S = 100_000
"""So fast at least has to be sent what takes longer."""
LINGER_TIMEOUT_S = 10.0
"""A client whose request was refused may go on sending for so long, and then reads the answer."""
CLEANUP_INTERVAL_S = 5
BODY_PIECE_BYTES = 256 * 1024
"""So much of a body that goes on in a temporary file is taken in one turn of the loop at most."""
ALIVE = "/health"
"""Answered also where too many requests wait: nobody should start a server again because it has much to do."""
LOG_INTERVAL_S = 60.0

_CODINGS = re.compile(rb"(?im)^transfer-encoding:[ \t]*([^\r\n]*)")
_LENGTH = re.compile(rb"(?im)^content-length:")
_DEVELOPER_KEY = re.compile(rb"(?im)^(grpc-metadata-developer)_key:")
"""The one header with an underscore that is not dropped: clients of the ModelDB v1 API sign in with it."""
_FOLDED = re.compile(rb"\r\n[ \t]")
_MAX_LENGTH_DIGITS = 18


class Request(HTTPRequestParser):
    """A request while it arrives."""

    headers: dict[str, str]
    path: str

    def __init__(self, adj: Adjustments, channel: Channel) -> None:
        super().__init__(adj)
        self.started = time.time()
        self.is_admitted = False
        self.channel = channel
        self.refusal: Exception | None = None
        self._taken = self._longest = 0

    @cached_property
    def request_id(self) -> str:
        """The id that it brought along, or got here."""
        return request_id_of(self.headers.get("X_REQUEST_ID"))

    @property
    def sending_s(self) -> float:
        """For how long a slow client may send what has arrived of the body."""
        return self.body_bytes_received / SLOWEST_BYTES_PER_S

    def parse_header(self, header_plus: bytes) -> None:
        """Read the headers.

        Raises:
            ParsingError: where this request ends, another reader may see otherwise.
        """
        codings = _CODINGS.findall(header_plus)
        if _FOLDED.search(header_plus):
            msg = "a header goes on in the next line"
            raise ParsingError(msg)
        if codings and _LENGTH.search(header_plus):
            msg = "a request has either Content-Length or Transfer-Encoding"
            raise ParsingError(msg)
        if codings and [coding.strip().lower() for coding in codings] != [b"chunked"]:
            msg = "the only Transfer-Encoding is chunked"
            raise ParsingError(msg)
        header_plus = _DEVELOPER_KEY.sub(rb"\1-key:", header_plus)
        with suppress(ValueError):  # a length of more digits than Python reads, a host that is not an address
            super().parse_header(header_plus)
            if codings and self.version != "1.1":
                msg = "Transfer-Encoding is for HTTP/1.1 only"
                raise ParsingError(msg)
            if len(self.headers.get("CONTENT_LENGTH", "")) <= _MAX_LENGTH_DIGITS:
                return
        msg = "Content-Length or the address is invalid"
        raise ParsingError(msg)

    def received(self, data: bytes) -> int:
        """Take what has arrived; returns how much of it belongs to this request."""
        in_header = not self.headers_finished
        consumed = super().received(data)
        if in_header and self.headers_finished and not self.completed:
            self._admit()
        if self.is_admitted and self.error is None and self.body_bytes_received > self._longest:
            self.error, self.completed = RequestEntityTooLarge(f"the body is longer than {self._longest:,} bytes"), True
        if self.error is not None and not self.channel.is_deaf:
            self._end_early()
        if self.completed and not self.empty:
            self._take_turn()
        return len(data) if self.channel.is_deaf else consumed

    def _take_turn(self) -> None:
        """Let it wait for a thread, unless too many wait; while the server stops, the connection ends with the answer."""
        server = self.channel.server
        if server.is_draining:
            self.headers["CONNECTION"] = "close"
        is_first = self.error is None and self.path != ALIVE
        if is_first and server.waiting >= self.channel.front.max_waiting:
            self.error = BusyError.for_queue()

    def _admit(self) -> None:
        """Decide whether the body will be read."""
        body, self.body_rcv = self.body_rcv, None
        environ = Task(self.channel, self).get_environment()  # type: ignore[arg-type]
        front = self.channel.front
        longest = front.longest_body(environ)
        if longest is None:
            self.refusal = environ.get(REFUSAL)
            self._end_early()
            return
        self._longest = longest
        # What is longer than this goes on in a temporary file.
        size_bytes = min(longest if self.chunked else self.content_length, int(self.adj.inbuf_overflow))
        if not front.room.take(size_bytes):
            self.error = BusyError("the server is taking in as many bytes as it can; try again")
            return
        if not self.chunked and SMALLEST <= self.content_length == size_bytes:
            body = Body(size_bytes)  # type: ignore[assignment]
        self._taken, self.is_admitted, self.body_rcv = size_bytes, True, body

    def _end_early(self) -> None:
        """Have the request answered as it is, and take nothing more from the connection."""
        self.completed, self.expect_continue, self.connection_close = True, False, True
        self.headers["CONNECTION"] = "close"
        self.channel.is_deaf = True

    def close(self) -> None:
        """Free the body."""
        taken, self._taken = self._taken, 0
        self.channel.front.room.give_back(taken)
        super().close()


class Channel(HTTPChannel):
    """A connection.

    It leaves what a worker is sending just now to the worker: the loop would otherwise be told again and again that
    the socket takes data, find it in use, and so keep the interpreter busy until the worker is let in again. A worker
    that could not send everything wakes the loop.
    """

    task_class = Task
    error_task_class = Refusal
    request: Request | None
    server: Listener

    def __init__(self, server: Listener, sock: socket.socket, addr: Any, adj: Adjustments, **options: Any) -> None:  # noqa: ANN401
        self.front = server.front
        self.is_deaf = False  # whether what arrives is dropped
        self.was_served = False
        self.lingers_since: float | None = None
        self.parser_class = partial(Request, channel=self)  # type: ignore[assignment]
        super().__init__(server, sock, addr, adj, **options)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is being made or sent."""
        return not (self.requests or self.total_outbufs_len or self.will_close or self.close_when_flushed)

    @property
    def rank(self) -> tuple[bool, bool]:
        """How much is lost when it is closed: the least with one that never asked for anything."""
        return (self.request is not None and self.request.is_admitted, self.was_served)

    @property
    def waits_since(self) -> float:
        """Since when the server waits for what this client sends."""
        return self.last_activity if self.request is None else self.request.started

    def is_overdue(self, now: float) -> bool:
        """Say whether it has taken longer than a client may."""
        if self.lingers_since is not None:
            return now - self.lingers_since > LINGER_TIMEOUT_S
        if not self.is_idle:
            return False
        if self.request is None:
            return not self.was_served and now - self.creation_time > HEADER_TIMEOUT_S
        limit_s = BODY_TIMEOUT_S + self.request.sending_s if self.request.is_admitted else HEADER_TIMEOUT_S
        return now - self.request.started > limit_s

    def writable(self) -> bool:
        """Say whether the loop has something to send, or to end."""
        if self.total_outbufs_len and self.outbuf_lock.acquire(blocking=False):
            self.outbuf_lock.release()
            return True
        return bool(self.will_close or self.close_when_flushed)

    def handle_write(self) -> None:
        """Send what there is. A client whose request was refused may be sending still: it would lose the answer."""
        if self.will_close or not (self.is_deaf and self.close_when_flushed):
            super().handle_write()
            return
        self._flush_exception(self._flush_some)  # type: ignore[attr-defined]
        if not self.total_outbufs_len and self.socket is not None:
            self.close_when_flushed, self.lingers_since = False, time.time()
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def received(self, data: bytes) -> bool:
        """Take what has arrived."""
        self.front.metrics.received.inc(len(data))
        return False if self.is_deaf else super().received(data)

    def recv(self, buffer_size: int) -> bytes:
        """Take from the socket what has arrived: of a body much at once, of a long one to where it stays."""
        body: object = None if self.request is None else self.request.body_rcv
        if not isinstance(body, Body):
            return super().recv(BODY_PIECE_BYTES if body is not None else buffer_size)
        assert self.socket is not None
        room = body.room
        count = self.socket.recv_into(room)
        if not count:
            self.handle_close()
        return room[:count]  # type: ignore[return-value] # waitress gives it to `received`, and wants its length

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send some of what there is; returns how many bytes went."""
        sent = super().send(data, do_close=do_close)
        self.front.metrics.sent.inc(sent)
        return sent

    def service(self) -> None:
        """Answer a request, in a thread of the pool."""
        self.was_served = True
        super().service()

    def handle_close(self) -> None:
        """Close the connection."""
        request, self.request = self.request, None
        if request is not None:
            request.close()
        super().handle_close()


class Listener(TcpWSGIServer):
    """The listening socket, and the loop's view of all connections."""

    active_channels: Mapping[int, Channel]  # type: ignore[assignment]

    def __init__(self, *arguments: Any, front: Front, **options: Any) -> None:  # noqa: ANN401 - as waitress takes them
        self.front = front
        self.is_draining = False
        self._logged_at = float("-inf")
        super().__init__(*arguments, **options)
        self.channel_class = Channel

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return len(self.task_dispatcher.queue)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or the body of one that was admitted is on its way."""
        return any(not channel.is_idle or channel.rank[0] for channel in list(self.active_channels.values()))

    def drain(self) -> None:
        """Take no more connections, so that who asks goes elsewhere at once, and end those that ask for nothing."""
        self.is_draining, self.accepting = True, False
        self.del_channel()
        assert self.socket is not None
        self.socket.close()
        for channel in list(self.active_channels.values()):
            if channel.is_idle and channel.request is None:
                channel.will_close = True

    @property
    def _reserve(self) -> int:
        """How many places are kept free: so many connections are accepted in one turn of the loop."""
        return max(1, int(self.adj.connection_limit) // 16)

    def readable(self) -> bool:
        """Say whether a connection may be accepted."""
        self._drop(len(self._map) - (int(self.adj.connection_limit) - self._reserve))  # type: ignore[attr-defined]
        return super().readable()

    def handle_accept(self) -> None:
        """Accept those who wait."""
        for _ in range(self._reserve):
            before = len(self._map)  # type: ignore[attr-defined]
            if before >= self.adj.connection_limit:
                return
            super().handle_accept()
            if len(self._map) == before:  # type: ignore[attr-defined]
                return

    def accept(self) -> Any:  # noqa: ANN401 - a socket and an address, or nothing
        """Accept a connection; where the process has no descriptor left, close one that is idle."""
        try:
            return super().accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._drop(self._reserve)
            raise

    def maintenance(self, now: float) -> None:
        """Close what waits for too long."""
        super().maintenance(now)  # type: ignore[arg-type]
        for channel in self.active_channels.values():
            if channel.is_overdue(now):
                channel.will_close = True

    def _drop(self, surplus: int) -> None:
        """Mark connections to be closed: those that ask for nothing, of the address with the most of them first."""
        channels = list(self.active_channels.values())
        surplus -= sum(channel.will_close for channel in channels) if surplus > 0 else 0
        if surplus <= 0:
            return
        idle = [channel for channel in channels if channel.is_idle]
        counts = Counter(channel.addr[0] for channel in idle)
        idle.sort(key=lambda channel: (channel.rank, -counts[channel.addr[0]], channel.waits_since))
        for channel in idle[:surplus]:
            channel.will_close = True
        self.front.metrics.connections_dropped.inc(len(idle[:surplus]))
        if idle and time.monotonic() - self._logged_at > LOG_INTERVAL_S:
            self._logged_at = time.monotonic()
            address = counts.most_common(1)[0]
            logger.warning(
                "there are %d connections; idle ones are closed to make room (%s has %d of them)",
                len(channels),
                *address,
            )
