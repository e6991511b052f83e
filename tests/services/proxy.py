"""A network that fails: a TCP proxy that can hang, cut connections in the middle of a body, or refuse them."""

from __future__ import annotations

import math
import selectors
import socket
from typing import Literal

from tests.services.relay import Relay

Mode = Literal["pass", "hang", "cut", "refuse"]


class Proxy(Relay):
    """Passes bytes on between clients and ``target``, a port of the loopback address.

    ``mode`` may be set at any time: "pass"; "hang": what arrives is kept and never answered; "cut": a connection is
    reset once ``cut_after`` more bytes have passed, counted over both directions; "refuse": closed at once. Once
    ``hang_after`` bytes have passed on all connections together, the mode becomes "hang".

    ``cuts`` counts the connections that were cut, ``held`` those on which something arrived and was not passed on,
    ``unreached`` those for which the target was not there.
    """

    def __init__(self, target: int, *, cut_after: int = 10_000, hang_after: float = math.inf) -> None:
        self.mode: Mode = "pass"
        self.cut_after = cut_after
        self.hang_after = hang_after
        self._passed = 0
        self.cuts = self.held = self.unreached = 0
        self._target = target
        super().__init__()

    def _serve(self, client: socket.socket) -> None:
        if self.mode == "refuse":
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            self.unreached += 1
            return
        with server:
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        passed, is_held = 0, False
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while not self._is_closed.is_set():
                if self.mode == "hang":
                    if not is_held and any(key.fileobj is client for key, _ in selector.select(0)):
                        is_held = True
                        self.held += 1
                    self._is_closed.wait(0.05)
                    continue
                for key, _ in selector.select(0.1):
                    data = key.fileobj.recv(4096)  # type: ignore[union-attr]
                    if not data:
                        return
                    if self.mode == "hang":
                        break  # what was read is lost with the connection
                    key.data.sendall(data)
                    self._passed += len(data)  # one lost in a race of two threads does not matter
                    if self._passed > self.hang_after:
                        self.mode = "hang"
                    passed = passed + len(data) if self.mode == "cut" else 0
                    if passed > self.cut_after:
                        self.cuts += 1
                        # A reset, not an orderly end: what is on its way is lost.
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        return
