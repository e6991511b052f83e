"""A small balancer: each connection goes to the next server in turn that takes it."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE_BYTES = 65536


class Balancer:
    """Passes connections on to servers on ports of the loopback address.

    A server that takes no connections is left out; what was on its way on one that breaks is lost, as with any balancer.
    ``passed`` counts the connections of each server.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.passed = dict.fromkeys(ports, 0)
        self._turns = itertools.cycle(ports)
        self._is_closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(0.1)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End all connections and stop listening."""
        self._is_closed.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
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
