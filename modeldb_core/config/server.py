"""The settings of a server: the table ``[server]`` of ``modeldb.toml``. No project's file may set them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modeldb_core.config import trust
from modeldb_core.config.fields import setting


@dataclass(frozen=True, kw_only=True, repr=False)
class ServerOptions:
    """The part of :class:`~modeldb_core.config.settings.Settings` that only a server looks at."""

    server_host: str = setting("text", "127.0.0.1", "address the server listens on", table="server", trust=trust.USER)
    server_port: int = setting(
        "int", 5000, "port the server listens on; 0: any", table="server", trust=trust.USER, minimum=0, maximum=65535
    )
    server_threads: int = setting("int", 8, "threads for requests", table="server", trust=trust.USER, minimum=1)
    server_tokens: tuple[str, ...] = setting(
        "list",
        (),
        "who shows the server one of these may read and write; needed to listen beyond loopback",
        table="server",
        trust=trust.USER,
    )
    server_read_tokens: tuple[str, ...] = setting(
        "list", (), "who shows the server one of these may read", table="server", trust=trust.USER
    )
    server_erase_tokens: tuple[str, ...] = setting(
        "list", (), "who shows the server one of these may also erase for good", table="server", trust=trust.USER
    )
    server_scopes: tuple[str, ...] = setting(
        "list", (), "what users may see: USER=WORKSPACE or USER=WORKSPACE/PROJECT", table="server", trust=trust.USER
    )
    server_allowed_hosts: tuple[str, ...] = setting(
        "list",
        (),
        "host names, beside those of this machine, under which the server may be asked",
        table="server",
        trust=trust.USER,
    )
    server_allowed_origins: tuple[str, ...] = setting(
        "list",
        (),
        "origins whose pages may ask the server, such as https://dashboard.example.org",
        table="server",
        trust=trust.USER,
    )
    server_access_log_dir: Path = setting(  # noqa: RUF009
        "path",
        Path(),
        "where the server records who was refused, who signed in and who read files; default: beside the journals",
        table="server",
        trust=trust.USER,
    )
    server_access_log_mb: int = setting(
        "int",
        256,
        "so many MiB of it are kept, the latest ones; 0: none is written",
        table="server",
        trust=trust.USER,
        minimum=0,
    )
    server_trusted_proxy: str = setting(
        "text",
        "",
        "address or network of the reverse proxy whose X-Forwarded-For is believed",
        table="server",
        trust=trust.USER,
    )
    server_grpc_port: int = setting(
        "int",
        -1,
        "port on which the server answers gRPC as well; 0: any, -1: it does not",
        table="server",
        trust=trust.USER,
        minimum=-1,
        maximum=65535,
    )
    server_grpc_only: bool = setting("bool", False, "answer gRPC and no HTTP", table="server", trust=trust.USER)
    server_grpc_certificate: Path | None = setting(  # noqa: RUF009
        "path",
        None,
        "file of the certificates (PEM) that gRPC shows; default: no TLS",
        table="server",
        trust=trust.USER,
    )
    server_grpc_key: Path | None = setting(  # noqa: RUF009
        "path", None, "file of the private key (PEM) of that certificate", table="server", trust=trust.USER
    )
    server_base_path: str = setting(
        "text",
        "",
        "path below which a reverse proxy shows the server, such as /models",
        table="server",
        trust=trust.USER,
    )
    server_log: str = setting(
        "choice",
        "off",
        'whether requests and errors are logged to stderr, and how: "off" (errors alone), "text", "json"',
        choices=("off", "text", "json"),
        table="server",
        trust=trust.USER,
    )
    server_rate_limit: float = setting(
        "float",
        0.0,
        "requests a second of each user, or of each address where users are not known; 0: any number",
        table="server",
        trust=trust.USER,
        minimum=0.0,
    )
    server_request_timeout_s: float = setting(
        "float",
        60.0,
        "what a request reads from the store may take so long; then it ends with 504. 0: any time",
        table="server",
        trust=trust.USER,
        minimum=0.0,
    )
    server_stop_timeout_s: float = setting(
        "float",
        10.0,
        "a server that is told to stop lets requests that have begun finish for so long",
        table="server",
        trust=trust.USER,
        minimum=0.0,
    )
    server_accounts: str = setting(
        "text",
        "",
        "where the users of the server sign in: a database, on (beside the store) or off; default: on where there are any",
        table="server",
        trust=trust.USER,
    )
    server_session_hours: float = setting(
        "float",
        12.0,
        "how long one stays signed in on the pages",
        table="server",
        trust=trust.USER,
        minimum=0.01,
        maximum=8760,
    )
    server_proxy_user_header: str = setting(
        "text",
        "",
        "header in which the trusted proxy names the user who asks",
        table="server",
        trust=trust.USER,
    )
    server_oidc_issuer: str = setting(
        "text", "", "address of the OpenID provider through which users sign in", table="server", trust=trust.USER
    )
    server_oidc_client_id: str = setting(
        "text", "", "as which the provider knows the server", table="server", trust=trust.USER
    )
    server_oidc_client_secret: str = setting(
        "text", "", "what the server shows the provider", table="server", trust=trust.USER
    )
    server_oidc_create_users: bool = setting(
        "bool", False, "whether anyone whom the provider knows becomes a user", table="server", trust=trust.USER
    )
