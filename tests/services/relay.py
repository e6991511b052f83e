"""What stands between clients and servers of the tests: it takes connections, and passes each on in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Takes connections on a free port of the loopback address; what serves them is ready before this begins.

    ``connections`` counts them.
    """

    def __init__(self) -> None:
        self.connections = 0
        self._is_closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(0.1)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

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
            self.connections += 1
            thread = threading.Thread(target=self._take, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _take(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError
