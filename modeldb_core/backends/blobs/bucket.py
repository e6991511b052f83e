"""A bucket as the blob store uses it: botocore's client, with errors in sentences, and one for each process.

s3fs brings botocore. Its plain client with threads sent 256 MiB to a local server a quarter faster than s3fs's event loop
and with less processor time, and it gives the uploads of parts their checksums.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._fsspec import s3_arguments
from modeldb_core.backends._fsspec_errors import translate
from modeldb_core.errors import MissingDependencyError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modeldb_core.backends._fsspec_errors import Doing

_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.2

_SAID: Mapping[str, str] = {
    **dict.fromkeys(("head_object", "upload_part", "complete_multipart_upload"), "ETag"),
    "create_multipart_upload": "UploadId",
    "upload_part_copy": "CopyPartResult",
    "get_object": "Body",
}
"""What the answer to an operation always says, where it comes from a server of S3."""

GONE = frozenset({"NoSuchKey", "404", "NotFound"})
"""The codes for an object that is not there."""


class Bucket:
    """The objects below a URL of S3.

    Safe for any number of threads; a forked child makes connections of its own.

    Args:
        url: ``s3://bucket`` or ``s3://bucket/prefix``, without options.
        options: of :data:`~modeldb_core.backends._fsspec.S3_OPTIONS`.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url = url
        name, _, prefix = url.partition("://")[2].strip("/").partition("/")
        self.name = name
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._arguments = s3_arguments(options, url)
        self._lock, self._lock_pid = threading.Lock(), os.getpid()
        self._pid = 0
        self._client: Any = None
        self._connect()  # here, not in a thread: a fork in the middle of its imports would leave a child that hangs

    @property
    def client(self) -> Any:  # noqa: ANN401 - botocore has no types
        """The client of this process."""
        if self._pid != os.getpid():
            self._connect()
        return self._client

    def call(self, operation: str, doing: Doing, key: str | None = None, **arguments: object) -> dict[str, Any]:
        """Send a request about the bucket, or about the object ``key`` in it, and return the answer.

        Raises:
            ModelDBError: as ``_fsspec.translate`` puts it; the cause is the driver's, see :func:`code_of`.
        """
        if key is not None:
            arguments["Key"] = key
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(Bucket=self.name, **arguments)
        except Exception as error:
            raise translate(error, self.url, doing) from error
        if _SAID.get(operation, "ResponseMetadata") not in answer:
            msg = f"what answers for {self.url} is not an S3 server (a sign-in page, a proxy?); try again later"
            raise StoreUnavailableError(msg)
        return answer

    def read(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        """Return the bytes from ``start`` to ``stop`` of an object, fewer at its end, and its size.

        A connection that breaks in the middle of them is tried again: the client does so only before the first byte.
        """
        pause_s = _FIRST_PAUSE_S
        for attempt in range(_ATTEMPTS):
            answer = self.call("get_object", "read", key, Range=f"bytes={start}-{stop - 1}")
            try:
                content: bytes = answer["Body"].read()
            except Exception as error:
                if attempt == _ATTEMPTS - 1:
                    raise translate(error, self.url, "read") from error
                time.sleep(pause_s)
                pause_s *= 2
                continue
            finally:
                answer["Body"].close()
            total = str(answer.get("ContentRange", "")).rpartition("/")[2]
            if not total.isdigit():  # a server without ranges sends the whole
                return content[start:stop], len(content)
            return content, int(total)
        raise AssertionError

    def pages(self, operation: str, items: str, **arguments: object) -> Iterator[dict[str, Any]]:
        """Iterate over the items of a listing, page by page."""
        try:
            for page in self.client.get_paginator(operation).paginate(Bucket=self.name, **arguments):
                yield from page.get(items, ())
        except Exception as error:
            raise translate(error, self.url, "read") from error

    def presigned(self, expires_s: int, **arguments: object) -> str | None:
        """Return a URL for a GET that needs no credentials; ``None`` where there are none to sign with."""
        from botocore.exceptions import NoCredentialsError

        try:
            url: str = self.client.generate_presigned_url(
                "get_object", Params={"Bucket": self.name, **arguments}, ExpiresIn=expires_s
            )
        except NoCredentialsError:
            return None
        except Exception as error:
            raise translate(error, self.url, "read") from error
        return url

    def close(self) -> None:
        """Close the connections of this process; the next request makes new ones."""
        if self._pid == os.getpid():
            client, self._pid = self._client, 0
            client.close()

    def _connect(self) -> None:
        if self._lock_pid != os.getpid():
            self._lock, self._lock_pid = threading.Lock(), os.getpid()  # a thread of the parent may hold the other one
            _inherited.append(self._client)  # letting it go would close the parent's connections
        with self._lock:
            if self._pid != os.getpid():
                self._client = self._new_client()
                self._pid = os.getpid()

    def _new_client(self) -> Any:  # noqa: ANN401 - botocore has no types
        try:
            import botocore.session
            from botocore.config import Config
        except ImportError as error:
            msg = f"{self.url} needs a package that is not installed ({error}); pip install 'modeldb-core[s3]'"
            raise MissingDependencyError(msg) from error
        given = self._arguments
        config = {
            **given["config_kwargs"],
            # The body of a part is covered by the checksum in its headers, which are signed: one hash is enough.
            "s3": {**given["config_kwargs"]["s3"], "payload_signing_enabled": False},
            "signature_version": "s3v4",
        }
        try:
            return botocore.session.Session(profile=given.get("profile")).create_client(
                "s3",
                endpoint_url=given.get("endpoint_url"),
                aws_access_key_id=given.get("key"),
                aws_secret_access_key=given.get("secret"),
                aws_session_token=given.get("token"),
                config=Config(**config),
                **given["client_kwargs"],
            )
        except Exception as error:
            raise translate(error, self.url, "read") from error


_inherited: list[Any] = []


def code_of(error: BaseException) -> str:
    """Return what the server called an error that :meth:`Bucket.call` raised, such as "NoSuchKey"; "" for others."""
    response = getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
