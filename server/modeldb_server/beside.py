"""Servers that plugins run beside HTTP in the same process, such as that of gRPC: they start and stop with it.

A plugin registers one with :func:`serve_beside` while it registers its blueprints. What such a server is asked it answers
through the application (:meth:`flask.Flask.full_dispatch_request`), so that one set of guards stands before both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

_EXTENSION = "modeldb_beside"


class Beside(Protocol):
    """A server beside that of HTTP. Its port is bound, and its URL known, as soon as it exists."""

    @property
    def url(self) -> str:
        """Where clients find it."""

    def greeting(self) -> list[str]:
        """Return what anyone who starts the server should know, in lines."""

    def start(self) -> None:
        """Begin to answer."""

    def stop(self, timeout_s: float) -> None:
        """Take no more calls, and give those that have begun so long to end. Returns at once; twice is not an error."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until all calls have ended after :meth:`stop`; returns whether they have."""


Listens: TypeAlias = "Callable[[Flask], Beside | None]"
"""Binds the port of a server beside an application; ``None``: the settings ask for none.

Raises:
    ConfigurationError: the port is taken, or others could reach it and no token is asked for.
"""


def serve_beside(app: Flask, listens: Listens) -> None:
    """Have a server of ``app`` run another one beside it."""
    app.extensions.setdefault(_EXTENSION, []).append(listens)


def servers_beside(app: Flask) -> list[Beside]:
    """Bind the ports of all servers that stand beside ``app``.

    Raises:
        ConfigurationError: one of them cannot listen; none of them does.
    """
    bound: list[Beside] = []
    try:
        for listens in app.extensions.get(_EXTENSION, ()):
            if (server := listens(app)) is not None:
                bound.append(server)
    except BaseException:
        for server in bound:
            server.stop(0)
        raise
    return bound
