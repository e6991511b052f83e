"""The options of each kind of storage, by name: so that a configuration that misspells one is told so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.backends.objects.store import ObjectMetadataStore

if TYPE_CHECKING:
    from pathlib import Path


class FolderStore(ObjectMetadataStore):
    """A store in a folder, of this machine or of a disk that machines share, such as ``file:///data/modeldb``.

    Args:
        url: the folder.
        cache_dir: where the replica lies; default: ``modeldb`` in the cache folder of the user.
        max_staleness_s: list the folder anew for an answer when the last listing is older; 0: for every answer.
        allow_stale: answer from what is known while the folder cannot be reached.
        compact: tidy up now and then.
        durability: "normal" survives the death of any process, "fsync" waits for the disk.
    """

    def __init__(
        self,
        url: str,
        *,
        cache_dir: str | Path | None = None,
        max_staleness_s: float | None = None,
        allow_stale: bool | None = None,
        compact: bool | None = None,
        durability: str | None = None,
    ) -> None:
        super().__init__(
            url,
            cache_dir=cache_dir,
            max_staleness_s=max_staleness_s,
            allow_stale=allow_stale,
            compact=compact,
            durability=durability,
        )


class S3Store(ObjectMetadataStore):
    """A store in a bucket of S3 or of a server that speaks like it, such as ``s3://bucket/prefix``.

    What is not given comes from the standard AWS settings: environment, profile files, role of the machine.

    Args:
        url: bucket and prefix.
        cache_dir: as for :class:`FolderStore`, like the three that follow.
        max_staleness_s: likewise.
        allow_stale: likewise.
        compact: likewise.
        endpoint_url: of a server other than Amazon's.
        region: of the bucket.
        key: the access key; ``secret`` belongs to it.
        secret: the secret key.
        session_token: of temporary credentials.
        profile: of the AWS profile files.
        ca_bundle: file of the authorities that may have signed the server's certificate.
        verify: whether the certificate is verified.
        addressing_style: "path", "virtual" or "auto".
        connect_timeout_s: how long to wait for a connection.
        read_timeout_s: how long to wait for an answer.
        max_attempts: how often a request is tried in all.
    """

    def __init__(
        self,
        url: str,
        *,
        cache_dir: str | Path | None = None,
        max_staleness_s: float | None = None,
        allow_stale: bool | None = None,
        compact: bool | None = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        key: str | None = None,
        secret: str | None = None,
        session_token: str | None = None,
        profile: str | None = None,
        ca_bundle: str | None = None,
        verify: bool | None = None,
        addressing_style: str | None = None,
        connect_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
        max_attempts: int | None = None,
    ) -> None:
        super().__init__(
            url,
            cache_dir=cache_dir,
            max_staleness_s=max_staleness_s,
            allow_stale=allow_stale,
            compact=compact,
            endpoint_url=endpoint_url,
            region=region,
            key=key,
            secret=secret,
            session_token=session_token,
            profile=profile,
            ca_bundle=ca_bundle,
            verify=verify,
            addressing_style=addressing_style,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            max_attempts=max_attempts,
        )


class GoogleStore(ObjectMetadataStore):
    """A store in a bucket of Google Cloud Storage, such as ``gs://bucket/prefix``; it needs ``gcsfs``.

    Args:
        url: bucket and prefix.
        cache_dir: as for :class:`FolderStore`, like the three that follow.
        max_staleness_s: likewise.
        allow_stale: likewise.
        compact: likewise.
        project: of the bucket.
        credentials: file of a service account, or one of the words that gcsfs knows ("anon", "cloud", ...).
        endpoint_url: of a server other than Google's.
    """

    def __init__(
        self,
        url: str,
        *,
        cache_dir: str | Path | None = None,
        max_staleness_s: float | None = None,
        allow_stale: bool | None = None,
        compact: bool | None = None,
        project: str | None = None,
        credentials: str | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        super().__init__(
            url,
            cache_dir=cache_dir,
            max_staleness_s=max_staleness_s,
            allow_stale=allow_stale,
            compact=compact,
            project=project,
            credentials=credentials,
            endpoint_url=endpoint_url,
        )


class AzureStore(ObjectMetadataStore):
    """A store in a container of Azure Blob Storage, such as ``az://container/prefix``; it needs ``adlfs``.

    Args:
        url: container and prefix.
        cache_dir: as for :class:`FolderStore`, like the three that follow.
        max_staleness_s: likewise.
        allow_stale: likewise.
        compact: likewise.
        account_name: of the storage account.
        account_key: one way to be let in.
        connection_string: another.
        sas_token: another.
    """

    def __init__(
        self,
        url: str,
        *,
        cache_dir: str | Path | None = None,
        max_staleness_s: float | None = None,
        allow_stale: bool | None = None,
        compact: bool | None = None,
        account_name: str | None = None,
        account_key: str | None = None,
        connection_string: str | None = None,
        sas_token: str | None = None,
    ) -> None:
        super().__init__(
            url,
            cache_dir=cache_dir,
            max_staleness_s=max_staleness_s,
            allow_stale=allow_stale,
            compact=compact,
            account_name=account_name,
            account_key=account_key,
            connection_string=connection_string,
            sas_token=sas_token,
        )
