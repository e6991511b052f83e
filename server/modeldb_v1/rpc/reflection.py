"""The reflection service of gRPC (``grpc.reflection.v1alpha``): clients learn services and messages from the server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
from grpc_reflection.v1alpha import reflection

from modeldb_v1.schema import POOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST_STREAMS = 4
"""Each waits in a thread of its own for what the client asks next."""
_LONGEST_S = 60.0

NAME: str = reflection.SERVICE_NAME


class Reflection(reflection.ReflectionServicer):
    """Describes services to those who may read.

    Args:
        services: the full names of the services.
        admit: ends a call whose caller may not read.
    """

    def __init__(self, services: tuple[str, ...], admit: Callable[[grpc.ServicerContext], None]) -> None:
        super().__init__(services, pool=POOL)
        self._admit = admit
        self._room = threading.BoundedSemaphore(MOST_STREAMS)

    def ServerReflectionInfo(self, request_iterator: Iterable[Any], context: Any) -> Iterator[Any]:  # noqa: ANN401, N802
        """Answer what a client asks, one question after the other."""
        self._admit(context)
        if not self._room.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_STREAMS} clients ask for descriptions already")
        end = threading.Timer(_LONGEST_S, context.cancel)
        end.daemon = True
        end.start()
        try:
            yield from super().ServerReflectionInfo(request_iterator, context)
        finally:
            end.cancel()
            self._room.release()
