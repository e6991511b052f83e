"""A small balancer: each connection goes to the next server in turn that takes it."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
from typing import TYPE_CHECKING

from tests.services.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE_BYTES = 65536


class Balancer(Relay):
    """Passes connections on to servers on ports of the loopback address.

    A server that takes no connections is left out; what was on its way on one that breaks is lost, as with any balancer.
    ``passed`` counts the connections of each server.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.passed = dict.fromkeys(ports, 0)
        self._turns = itertools.cycle(ports)
        super().__init__()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def _serve(self, client: socket.socket) -> None:
        for _ in self.passed:
            port = next(self._turns)
            with (
                contextlib.suppress(ConnectionRefusedError),
                socket.create_connection(("127.0.0.1", port), 10) as server,
            ):
                self.passed[port] += 1
                self._pass_on(client, server)
                return

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while not self._is_closed.is_set():
                for key, _ in selector.select(0.1):
                    data = key.fileobj.recv(PIECE_BYTES)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)
