"""A trusted reverse proxy: what it says in ``X-Forwarded-For`` and ``X-Forwarded-Proto`` is believed, and nobody else.

Requests are looked at in this way before their bodies are read, so the limits of an address are those of the client.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from waitress.proxy_headers import PROXY_HEADERS, MalformedProxyHeader, clear_untrusted_headers, parse_proxy_headers

THROUGH_PROXY = "modeldb.through_proxy"
"""Whether a WSGI environment is that of a request which the trusted proxy passed on."""


class TrustedProxy:
    """Knows from where the proxy comes.

    Args:
        network: an address or a network such as ``10.0.0.0/8``; "": there is none.
    """

    def __init__(self, network: str) -> None:
        self._network = ipaddress.ip_network(network) if network else None

    def apply(self, environ: dict[str, Any]) -> None:
        """Put who asks, and how, into the environment of a request, and take what is not to be believed out of it."""
        is_trusted = environ[THROUGH_PROXY] = self.trusts(str(environ.get("REMOTE_ADDR", "")))
        untrusted = set(PROXY_HEADERS)
        if is_trusted:
            wanted = {"x-forwarded-for", "x-forwarded-proto"}
            try:
                untrusted = parse_proxy_headers(environ, trusted_proxy_count=1, trusted_proxy_headers=wanted)
            except MalformedProxyHeader:  # then it counts as the proxy's own
                untrusted = set(PROXY_HEADERS)
        clear_untrusted_headers(environ, sorted(untrusted))

    def trusts(self, address: str) -> bool:
        """Say whether an address is the proxy's."""
        if self._network is None:
            return False
        try:
            return ipaddress.ip_address(address.partition("%")[0]) in self._network
        except ValueError:
            return False


def check_proxy(text: str) -> str:
    """Return ``text`` if it is an address, or a network, as connections name it.

    Raises:
        ValueError: it is not.
    """
    network = ipaddress.ip_network(text)
    if text not in (str(network), str(network.network_address)) or network.prefixlen == 0:
        msg = f"{text!r} is not written as {network}"
        raise ValueError(msg)
    return text
