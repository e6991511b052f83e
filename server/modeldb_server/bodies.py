"""Long bodies of requests: what arrives is taken from the socket to where the application reads it, without a copy between."""

from __future__ import annotations

import io
from typing import BinaryIO

SMALLEST = 64 * 1024
"""What is shorter comes with its headers, or soon after them."""
PIECE_BYTES = 1024 * 1024
"""So much is taken in one turn of the loop at most."""


class Received(io.BytesIO):
    """The whole of a body, of a length that is allowed, in memory."""


class Body:
    """A body of known length while it arrives, in place of waitress's receiver.

    Args:
        size_bytes: its length, which is taken of memory at once.
    """

    completed = False
    error = None

    def __init__(self, size_bytes: int) -> None:
        self._file = Received(bytes(size_bytes))
        self._content = self._file.getbuffer()
        self._received = 0

    def __len__(self) -> int:
        return self._received

    @property
    def room(self) -> memoryview:
        """Where the next piece goes; what is put there is then given to :meth:`received`."""
        return self._content[self._received : self._received + PIECE_BYTES]

    def received(self, data: bytes | memoryview) -> int:
        """Take what has arrived; returns how much of it belongs to this body."""
        end = min(self._received + len(data), len(self._content))
        count = end - self._received
        if isinstance(data, bytes):  # else it lies there already
            self._content[self._received : end] = data[:count]
        self._received, self.completed = end, end == len(self._content)
        return count

    def getfile(self) -> Received:
        """Return what the application reads."""
        return self._file

    def getbuf(self) -> Body:
        """Return what is closed in the end."""
        return self

    def close(self) -> None:
        """Let the memory go once nobody reads from it."""
        self._content.release()


def whole(content: BinaryIO) -> memoryview:
    """Return what a body holds: where it is in memory, not a copy of it."""
    return content.getbuffer() if isinstance(content, Received) else memoryview(content.read())
