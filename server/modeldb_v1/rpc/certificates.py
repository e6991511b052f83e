"""The certificate that gRPC shows, read again when its files have changed: a renewal needs no restart."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import grpc

from modeldb_core.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("modeldb_server")


class Certificates:
    """A chain of certificates and its key, in files.

    Args:
        certificate: PEM, the server's own first.
        key: PEM.

    Raises:
        ConfigurationError: one of the files cannot be read, or is not PEM.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._state()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of a server that shows them."""
        return grpc.dynamic_ssl_server_credentials(self._first, self._renewed)  # type: ignore[arg-type]  # it may say None

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the certificate, if it has changed; asked at each handshake. One that cannot be read is not taken."""
        try:
            state = self._state()
            if state == self._seen:
                return None
            self._seen = state
            return self._read()
        except ConfigurationError as error:
            logger.warning("gRPC goes on with the certificate that it has: %s", error)
            return None

    def _state(self) -> tuple[tuple[int, int], ...]:
        try:
            return tuple((found.st_mtime_ns, found.st_size) for found in (file.stat() for file in self._files))
        except OSError as error:
            raise self._unreadable(error) from error

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            chain, key = (file.read_bytes() for file in self._files)
        except OSError as error:
            raise self._unreadable(error) from error
        for file, content, word in zip(self._files, (chain, key), (b"CERTIFICATE", b"PRIVATE KEY"), strict=True):
            if b"-----BEGIN" not in content or word not in content:
                msg = f"{file} holds no {word.decode().lower()} in PEM, which begins with -----BEGIN"
                raise ConfigurationError(msg)
        return grpc.ssl_server_certificate_configuration([(key, chain)])

    @staticmethod
    def _unreadable(error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"the certificate of gRPC cannot be read: {error.filename}: {error.strerror}; see server.grpc_certificate and server.grpc_key"
        )
