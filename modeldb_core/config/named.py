"""The names and types of the settings, for those who give them as arguments: editors complete them, checkers of types know them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias, TypedDict

Path: TypeAlias = str | os.PathLike[str]
Texts: TypeAlias = list[str] | tuple[str, ...]
Tables: TypeAlias = Mapping[str, Mapping[str, Any]]


class NamedSettings(TypedDict, total=False):
    """The settings by name, beside the URLs; ``None`` means not given.

    :class:`~modeldb_core.config.Settings` says what each is; a test compares the two.
    """

    workspace: str | None
    project: str | None
    experiment: str | None
    user: str | None
    journal_dir: Path | None
    cache_dir: Path | None
    token: str | None
    durability: str | None
    lease_s: float | None
    flush_interval_s: float | None
    exit_timeout_s: float | None
    restore_window_days: float | None
    gc_grace_days: float | None
    model_stages: Texts | None
    announce: bool | None
    ui_url: str | None
    disable_plugins: Texts | None
    stores: Tables | None
    plugins: Tables | None
    trusted_folders: Texts | None
    capture_enabled: bool | None
    capture_git: bool | None
    capture_diff: bool | None
    capture_diff_limit_bytes: int | None
    capture_command: bool | None
    capture_packages: bool | None
    capture_host: bool | None
    capture_timeout_s: float | None
    audit_checkpoint_url: str | None
    audit_checkpoint_interval_h: float | None
    audit_key: Path | None
    audit_timestamp_url: str | None
    audit_timestamp_roots: Path | None
    server_host: str | None
    server_port: int | None
    server_threads: int | None
    server_tokens: Texts | None
    server_read_tokens: Texts | None
    server_erase_tokens: Texts | None
    server_scopes: Texts | None
    server_allowed_hosts: Texts | None
    server_allowed_origins: Texts | None
    server_access_log_dir: Path | None
    server_access_log_mb: int | None
    server_trusted_proxy: str | None
    server_grpc_port: int | None
    server_grpc_only: bool | None
    server_grpc_certificate: Path | None
    server_grpc_key: Path | None
    server_base_path: str | None
    server_log: str | None
    server_rate_limit: float | None
    server_request_timeout_s: float | None
    server_stop_timeout_s: float | None
    server_accounts: str | None
    server_session_hours: float | None
    server_proxy_user_header: str | None
    server_oidc_issuer: str | None
    server_oidc_client_id: str | None
    server_oidc_client_secret: str | None
    server_oidc_create_users: bool | None
