"""How the server runs: address, threads, limits. And the rule that without tokens it listens on this machine only."""

from __future__ import annotations

import ipaddress
import math
import re
import socket
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from modeldb_core.audit.access import access_folder
from modeldb_core.errors import ConfigurationError
from modeldb_core.runtime.users import login_name
from modeldb_server.logs import FORMS
from modeldb_server.proxies import check_proxy
from modeldb_server.scopes import check_scope
from modeldb_server.tokens import NEW_TOKEN, check_token, split_token

if TYPE_CHECKING:
    from pathlib import Path

    from modeldb_core.config import Settings
    from modeldb_server.logs import LogForm

MIB = 1024 * 1024
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(:\d{1,5})?")
_BASE_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings of one server.

    Attributes:
        host: address to listen on; without tokens it must be one of this machine's loopback addresses.
        port: port to listen on; 0 takes a free one.
        threads: threads that answer requests, beside those that event streams wait in.
        tokens: who shows one of them may read and write. An entry ``ada:TOKEN`` says whose token it is, and what is changed with
            it is recorded in that name; one without a name is that of ``actor``. Where there are tokens of any kind, every route but the
            health check asks for one, and the server may be reached from other machines.
        read_tokens: who shows one of these may read.
        erase_tokens: who shows one of these may read, write, and erase for good what is stored, as `modeldb gc` does.
        scopes: what users may see and change: entries such as ``ada=research`` (a workspace) or ``ada=research/churn`` (a project of
            it), by name or, in place of the whole, by identifier. Several for one user count together. Who is not named may see everything.
        allowed_hosts: host names, beside those of loopback, that a request may be addressed to. Needed behind a
            reverse proxy, which passes on the name that the browser asked for.
        allowed_origins: origins, such as ``https://dashboard.example.org``, whose pages may ask the JSON API.
        trusted_proxy: the address from which the reverse proxy comes, or its network. What it says in ``X-Forwarded-For`` is
            who asks, for counting requests and guesses at tokens, and ``X-Forwarded-Proto`` is how; nobody else is believed.
            Empty: there is none.
        base_path: the path below which a reverse proxy shows the server, such as ``/models``; the proxy may take it off the
            requests that it passes on, or leave it. Empty: the root.
        log: whether a process that serves logs requests, and how: "off", "text" or "json".
        rate_limit: requests a second that each user may make, or each address where the user is not known; ten seconds'
            worth at once. 0: any number.
        accounts: where users and their secrets are kept: a database (``sqlite:///PATH``, ``postgresql://...``), ``on`` (beside the
            store) or ``off``. Empty: beside the store, where there are any.
        session_hours: how long one stays signed in on the pages.
        proxy_user_header: the header in which ``trusted_proxy`` names the user who asks; nobody else is believed.
        oidc_issuer: address of the OpenID provider through which users sign in.
        oidc_client_id: as which the provider knows the server.
        oidc_client_secret: what the server shows the provider.
        oidc_create_users: whether anyone whom the provider knows becomes a user, with no role but on their own workspace.
        actor: who is recorded as the author of what is changed through the server; default: the login name.
        read_only: refuse every change.
        max_event_streams: event streams that may be open at once; each waits in a thread of its own.
        poll_interval_s: how often the store is asked for changes while an event stream is open.
        heartbeat_s: an idle event stream says so often that it is alive.
        send_timeout_s: a client that takes nothing of an answer for so long is cut off.
        request_timeout_s: how long that may take which a request reads from the store, in seconds; 0: any time.
        stop_timeout_s: how long a stopping server waits for requests that are being answered.
        max_body_bytes: the longest request body that is read, where the route does not take more.
        max_upload_bytes: the longest file that is taken in one request; what does not fit into memory waits in a temporary
            file.
        restore_window_days: for so long what is deleted through the server can be restored.
        access_log_dir: the folder in which the access log is written; ``None``: none is written.
        access_log_bytes: so much of it is kept.
        access_log_required: whether the server refuses to start where it cannot be written.
        max_waiting: requests that may wait for a thread; one more is told to come again.
        max_connections: connections that may be open at once, at most half as many as the process may have files open.
            Idle ones are closed to make room for others.
        grpc_port: port on which gRPC is answered as well; 0 takes a free one, ``None``: it is not.
        grpc_only: gRPC is answered and HTTP is not.
        grpc_certificate: file of the certificates, in PEM, that gRPC shows, its own first. It is read again when it has
            changed. ``None``: gRPC without TLS.
        grpc_key: file of the private key of that certificate, in PEM.
        max_grpc_calls: gRPC calls that may be in progress or wait for a thread at once; more are refused.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    threads: int = 8
    tokens: tuple[str, ...] = field(default=(), repr=False)
    read_tokens: tuple[str, ...] = field(default=(), repr=False)
    erase_tokens: tuple[str, ...] = field(default=(), repr=False)
    scopes: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxy: str = ""
    base_path: str = ""
    log: LogForm = "off"
    rate_limit: float = 0.0
    accounts: str = field(default="", repr=False)
    session_hours: float = 12.0
    proxy_user_header: str = ""
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_create_users: bool = False
    actor: str = ""
    read_only: bool = False
    max_event_streams: int = 32
    poll_interval_s: float = 1.0
    heartbeat_s: float = 15.0
    send_timeout_s: float = 60.0
    request_timeout_s: float = 60.0
    stop_timeout_s: float = 10.0
    max_body_bytes: int = MIB
    max_upload_bytes: int = 5 * 1024 * MIB
    restore_window_days: float = 30.0
    access_log_dir: Path | None = None
    access_log_bytes: int = 256 * MIB
    access_log_required: bool = True
    max_waiting: int = 256
    max_connections: int = 1000
    grpc_port: int | None = None
    grpc_only: bool = False
    grpc_certificate: Path | None = None
    grpc_key: Path | None = None
    max_grpc_calls: int = 100

    def __post_init__(self) -> None:
        for name in (
            "threads",
            "max_event_streams",
            "max_body_bytes",
            "max_connections",
            "max_waiting",
            "max_grpc_calls",
        ):
            if getattr(self, name) < 1:
                msg = f"{name} is {getattr(self, name)}; expected at least 1"
                raise ConfigurationError(msg)
        if not 0 <= self.port <= 65535:
            msg = f"port is {self.port}; expected 0 to 65535"
            raise ConfigurationError(msg)
        for host in self.allowed_hosts:
            check_host_name(host)
        for origin in self.allowed_origins:
            check_origin(origin)
        self._check_proxy()
        self._check_sign_in()
        kinds = ("tokens", "read_tokens", "erase_tokens")
        for name in kinds:
            for token in getattr(self, name):
                check_token(token, f"server.{name}")
        for one, other in combinations(kinds, 2):
            if both := _bare(getattr(self, one)) & _bare(getattr(self, other)):
                msg = f"server.{one} and server.{other} have {len(both)} in common; a token allows one of the two"
                raise ConfigurationError(msg)
        self._check_scopes()
        self._check_grpc()

    def _check_grpc(self) -> None:
        if self.grpc_port is None:
            if self.grpc_only:
                msg = "server.grpc_only (--grpc-only) needs server.grpc_port (--grpc-port): the port to answer gRPC on"
                raise ConfigurationError(msg)
            return
        if not 0 <= self.grpc_port <= 65535:
            msg = f"grpc_port is {self.grpc_port}; expected 0 to 65535"
            raise ConfigurationError(msg)
        if self.grpc_port == self.port != 0 and not self.grpc_only:
            msg = f"grpc_port and port are both {self.port}; gRPC and HTTP need a port each"
            raise ConfigurationError(msg)
        if (self.grpc_certificate is None) is not (self.grpc_key is None):
            msg = "TLS needs both server.grpc_certificate and server.grpc_key; one of the two is missing"
            raise ConfigurationError(msg)

    def _check_proxy(self) -> None:
        """See that what concerns a reverse proxy, and what one process of many bears, can be."""
        if self.trusted_proxy:
            try:
                check_proxy(self.trusted_proxy)
            except ValueError as error:
                msg = (
                    f"server.trusted_proxy is {self.trusted_proxy!r}; expected one IP address, such as 127.0.0.1, or one network,"
                    f" such as 10.0.0.0/8 ({error})"
                )
                raise ConfigurationError(msg) from error
        if self.base_path and not _BASE_PATH.fullmatch(self.base_path):
            msg = f"server.base_path is {self.base_path!r}; expected a path such as '/models': letters, digits, - _ . ~, no slash at its end"
            raise ConfigurationError(msg)
        if self.log not in FORMS:
            msg = f"server.log is {self.log!r}; expected one of {', '.join(FORMS)}"
            raise ConfigurationError(msg)
        for name in ("rate_limit", "request_timeout_s", "stop_timeout_s"):
            if not 0 <= getattr(self, name) < math.inf:
                msg = f"server.{name} is {getattr(self, name)}; expected 0 or more"
                raise ConfigurationError(msg)

    def _check_sign_in(self) -> None:
        if self.proxy_user_header and not self.trusted_proxy:
            msg = (
                "server.proxy_user_header says who asks, and anyone could send it; name the address of the proxy, alone believed, in"
                " server.trusted_proxy"
            )
            raise ConfigurationError(msg)
        if self.proxy_user_header and not _HEADER.fullmatch(self.proxy_user_header):
            msg = f"server.proxy_user_header is {self.proxy_user_header!r:.80}; expected the name of a header, such as X-Remote-User"
            raise ConfigurationError(msg)
        if self.oidc_issuer and not (
            is_secure_url(self.oidc_issuer) and self.oidc_client_id and self.oidc_client_secret
        ):
            msg = (
                f"server.oidc_issuer is {self.oidc_issuer!r:.200}; expected an https:// address, with server.oidc_client_id and"
                " server.oidc_client_secret beside it"
            )
            raise ConfigurationError(msg)

    def _check_scopes(self) -> None:
        """See that scopes are those of users: one that is misspelled would leave its user free to see everything."""
        entries = (*self.tokens, *self.read_tokens, *self.erase_tokens)
        users = {split_token(entry)[0] for entry in entries}
        known = {user or self.actor or login_name() for user in users}
        for entry in self.scopes:
            user, _ = check_scope(entry, "server.scopes")
            if user not in known:
                named = f"it knows {', '.join(sorted(known))}" if known else "it has none, and so cannot tell who asks"
                msg = f"server.scopes names {user!r}, of whom the server has no token; {named}"
                raise ConfigurationError(msg)

    @property
    def has_tokens(self) -> bool:
        """Whether one has to show a token."""
        return bool(self.tokens or self.read_tokens or self.erase_tokens)

    @classmethod
    def from_settings(cls, settings: Settings) -> ServerSettings:
        """Return the server's part of the settings of ``modeldb.toml``, environment and arguments."""
        return cls(
            host=settings.server_host,
            port=settings.server_port,
            threads=settings.server_threads,
            tokens=settings.server_tokens,
            read_tokens=settings.server_read_tokens,
            erase_tokens=settings.server_erase_tokens,
            scopes=settings.server_scopes,
            allowed_hosts=settings.server_allowed_hosts,
            allowed_origins=settings.server_allowed_origins,
            trusted_proxy=settings.server_trusted_proxy,
            base_path=settings.server_base_path,
            log=cast("LogForm", settings.server_log),
            rate_limit=settings.server_rate_limit,
            request_timeout_s=settings.server_request_timeout_s,
            stop_timeout_s=settings.server_stop_timeout_s,
            accounts=settings.server_accounts,
            session_hours=settings.server_session_hours,
            proxy_user_header=settings.server_proxy_user_header,
            oidc_issuer=settings.server_oidc_issuer,
            oidc_client_id=settings.server_oidc_client_id,
            oidc_client_secret=settings.server_oidc_client_secret,
            oidc_create_users=settings.server_oidc_create_users,
            actor=settings.user,
            restore_window_days=settings.restore_window_days,
            grpc_port=settings.server_grpc_port if settings.server_grpc_port >= 0 else None,
            grpc_only=settings.server_grpc_only,
            grpc_certificate=settings.server_grpc_certificate,
            grpc_key=settings.server_grpc_key,
            access_log_dir=(
                access_folder(settings.server_access_log_dir, settings.url) if settings.server_access_log_mb else None
            ),
            access_log_bytes=settings.server_access_log_mb * MIB,
            access_log_required=settings.origin("server_access_log_dir") != "default",
        )


def _bare(entries: tuple[str, ...]) -> set[str]:
    return {split_token(entry)[1] for entry in entries}


def server_settings(settings: Settings | ServerSettings | None) -> ServerSettings:
    """Return ``settings`` as those of a server; ``None`` gives the defaults."""
    if settings is None:
        return ServerSettings()
    if isinstance(settings, ServerSettings):
        return settings
    return ServerSettings.from_settings(settings)


def check_host_name(host: str) -> str:
    """Return ``host`` if it is a single host name or address, without a port and without a wildcard.

    Raises:
        ConfigurationError: it is not. A wildcard would let any page of the internet read the store (DNS rebinding).
    """
    if _HOST_NAME.fullmatch(host) or _address(host.strip("[]")) is not None:
        return host
    msg = f"allowed host {host!r} is not a host name; give a name such as 'models.example.org', no port, no wildcard"
    raise ConfigurationError(msg)


def check_origin(origin: str) -> str:
    """Return ``origin`` if it can be one, as browsers write it.

    Raises:
        ConfigurationError: it cannot; a wildcard would let every page of the internet ask.
    """
    if _ORIGIN.fullmatch(origin):
        return origin
    msg = f"allowed origin {origin[:80]!r} is not one; expected for example 'https://dashboard.example.org', no path, no wildcard"
    raise ConfigurationError(msg)


def is_secure_url(url: str) -> bool:
    """Return whether what is sent to an address is encrypted, or does not leave this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def listen_address(settings: ServerSettings, *, is_open: bool | None = None) -> str:
    """Return the address to listen on.

    Args:
        settings: of the server.
        is_open: whether nobody is asked who they are; default: as the settings say, where there are no accounts.

    Raises:
        ConfigurationError: other machines could reach it, and nobody is asked who they are; or there is no such address.
    """
    if not settings.has_tokens if is_open is None else is_open:
        return loopback_address(settings.host)
    addresses = _resolve(settings.host)
    if not addresses:
        msg = f"the server cannot listen on {settings.host!r}; name an address of this machine, or 0.0.0.0 for all"
        raise ConfigurationError(msg)
    return next((address for address in addresses if ":" not in address), addresses[0])


def loopback_address(host: str) -> str:
    """Return the loopback address that ``host`` names.

    Raises:
        ConfigurationError: it is not loopback. Without tokens anyone who reaches the port may read and change everything;
            no setting turns this rule off.
    """
    addresses = _resolve(host)
    if addresses and all(is_loopback(address) for address in addresses):
        return next((address for address in addresses if ":" not in address), addresses[0])
    msg = (
        f"the server may not listen on {host!r}: that is reachable from other machines, and without accounts and tokens there"
        f" is no authentication: anyone there could read and change every run. Make the first administrator (`modeldb admin create"
        f" NAME`), or ask for a token (MODELDB_SERVER_TOKENS; {NEW_TOKEN} makes one), or listen on 127.0.0.1 and reach it through an SSH tunnel (ssh -L 5000:127.0.0.1:5000 this-machine) or"
        f" a reverse proxy on this machine, whose host is named with server.allowed_hosts (--allow-host)"
    )
    raise ConfigurationError(msg)


def _resolve(host: str) -> list[str]:
    literal = _address(host.strip("[]"))
    if literal is not None:
        return [str(literal)]
    if not host:
        return []
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        msg = f"the host {host!r} is unknown to this machine ({error}); use 127.0.0.1"
        raise ConfigurationError(msg) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_loopback(text: str) -> bool:
    """Say whether an address is reached from this machine only."""
    address = _address(text.partition("%")[0])
    return address is not None and address.is_loopback
