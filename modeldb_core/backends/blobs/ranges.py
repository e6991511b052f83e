"""Reading an object in ranges: little for who wants little, ahead of who reads on."""

from __future__ import annotations

import io
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from modeldb_core.runtime.workers import Workers

FIRST_BYTES = 1 << 20
_MOST_BYTES = 1 << 23
_GROWTH = 4
_AHEAD = 3


class RangeReader(io.RawIOBase):
    """An object as a file that is not held in memory.

    The first request asks for a mebibyte, the next ones for more as long as reading goes on in order, up to 8 MiB, and
    from then on three of them are on their way while one is read.

    Args:
        fetch: returns the bytes from a start to a stop.
        size: of the object.
        first: the bytes at its beginning, as far as they are known.
        workers: threads that read ahead.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, first: bytes, workers: Workers) -> None:
        self._fetch = fetch
        self._size = size
        self._workers = workers
        self._at = 0
        self._start, self._block = 0, first
        self._next_bytes = FIRST_BYTES * _GROWTH
        self._ahead: deque[tuple[int, int, Future[bytes]]] = deque()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with a buffer
        if self._at >= self._size:
            return 0
        if not self._start <= self._at < self._start + len(self._block):
            self._block = self._next_block()
            self._start = self._at
        inside = self._at - self._start
        with memoryview(buffer).cast("B") as view:
            part = self._block[inside : inside + len(view)]
            view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        self._drop_ahead()
        self._block = b""
        super().close()

    def _next_block(self) -> bytes:
        in_order = self._at == self._start + len(self._block)
        self._block = b""  # release before the next one comes
        if not in_order:
            self._drop_ahead()
            self._next_bytes = FIRST_BYTES
        if self._ahead and self._ahead[0][0] == self._at:
            block = self._ahead.popleft()[2].result()
        else:
            self._drop_ahead()
            block = self._fetch(self._at, min(self._at + self._next_bytes, self._size))
            self._next_bytes = min(self._next_bytes * _GROWTH, _MOST_BYTES)
        if in_order and self._next_bytes == _MOST_BYTES:
            self._read_ahead(self._at + len(block))
        return block

    def _read_ahead(self, position: int) -> None:
        if self._ahead:
            position = self._ahead[-1][1]
        while len(self._ahead) < _AHEAD and position < self._size:
            start, stop = position, min(position + _MOST_BYTES, self._size)
            self._ahead.append((start, stop, self._workers.submit(lambda a=start, b=stop: self._fetch(a, b))))  # type: ignore[misc]
            position = stop

    def _drop_ahead(self) -> None:
        for _, _, future in self._ahead:
            future.cancel()
        self._ahead.clear()
