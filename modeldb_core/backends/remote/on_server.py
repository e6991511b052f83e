"""What both stores on a server have in common: its address, and the connections to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.backends.remote.address import read_address
from modeldb_core.backends.remote.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable


class OnServer:
    """What a server of ModelDB has. Nothing is sent before the first question, so it opens while the server is away.

    Args:
        url: ``https://host``, ``http://host:port``, or with a path where a reverse proxy has the server under one. The
            options below may stand behind a question mark, and win there.
        token: what is shown to be let in.
        find_token: returns the token that is to be shown now, where it may be another one by then: it is asked whenever the
            server refuses the one that was shown.
        connect_timeout_s: how long to wait for a connection.
        timeout_s: how long to wait for an answer.
        retry_s: how long a request that failed is tried again.
        ca_bundle: a file of the certificates to trust, in place of the system's.
        verify: whether the server's certificate is checked.

    Raises:
        ConfigurationError: the URL names no server, or an option is unknown or has a value that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        find_token: Callable[[], str] | None = None,
        connect_timeout_s: float = 5.0,
        timeout_s: float = 30.0,
        retry_s: float = 5.0,
        ca_bundle: str = "",
        verify: bool = True,
    ) -> None:
        address = read_address(
            url,
            token=token,
            connect_timeout_s=connect_timeout_s,
            timeout_s=timeout_s,
            retry_s=retry_s,
            ca_bundle=ca_bundle,
            verify=verify,
        )
        self.url = address.url
        is_own = address.token != token  # it stands in the URL
        self._connection = Connection(address, None if is_own else find_token)

    def close(self) -> None:
        """Close the connections; calling it twice is not an error."""
        self._connection.close()
