"""Checkpoints of the log, written on a schedule where those who can alter the store cannot write."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from modeldb_core.audit.access import AccessReader, access_folder
from modeldb_core.audit.making import keep_checkpoint, make_checkpoint
from modeldb_core.errors import ModelDBError, NotFoundError
from modeldb_core.provenance.envelope import private_key

if TYPE_CHECKING:
    from modeldb_core.audit.contract import ChangeLog
    from modeldb_core.config import Settings
    from modeldb_core.stores import MetadataStore

logger = logging.getLogger("modeldb_server.checkpoints")


class CheckpointSchedule:
    """Writes a checkpoint when it starts and every so many hours, in a thread of its own. What fails is logged, and tried next time.

    Args:
        store: of which they are made.
        settings: ``audit_checkpoint_url`` says where to, ``audit_checkpoint_interval_h`` how often, ``audit_key`` with which key.

    Raises:
        InvalidArgumentError, NotFoundError: the key cannot be read.
    """

    def __init__(self, store: MetadataStore, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._key = None if settings.audit_key is None else private_key(settings.audit_key)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modeldb-checkpoints", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a checkpoint that is being made is given a moment."""
        self._stopping.set()
        self._thread.join(2.0)

    def write(self) -> list[str]:
        """Write checkpoints of the changes and of the access log now; return where they are."""
        settings = self._settings
        places = [self._write(self._store, "checkpoint")]
        with (
            suppress(NotFoundError),
            AccessReader(access_folder(settings.server_access_log_dir, settings.url)) as reader,
        ):
            places.append(self._write(reader, "access"))
        return places

    def _write(self, log: ChangeLog, what: str) -> str:
        settings = self._settings
        try:
            checkpoint = make_checkpoint(log, settings, key=self._key)
        except ModelDBError as error:
            logger.warning("nobody else witnessed a checkpoint: %s", error)
            checkpoint = make_checkpoint(log, settings, key=self._key, is_anchored=False)
        place = keep_checkpoint(checkpoint, _folder(settings.audit_checkpoint_url), settings, what=what)
        logger.info("checkpoint %s: %d streams, SHA-256 %s", place, len(checkpoint.streams), checkpoint.digest)
        return place

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.write()
            except Exception:  # what a thread raises, nobody sees
                logger.exception("no checkpoint could be written to %s", self._settings.audit_checkpoint_url)
            self._stopping.wait(self._settings.audit_checkpoint_interval_h * 3600)


def _folder(place: str) -> str:
    return place if "://" in place else f"{place.rstrip('/')}/"
