"""Transactions that are tried again: what databases have in common whose statements fail by locks and conflicts."""

from __future__ import annotations

import random
import threading
import time
from abc import abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from modeldb_core.backends._sql import sa, tables
from modeldb_core.backends._sql.database import Database, SwallowedError, VersionChangedError
from modeldb_core.errors import StoreReadOnlyError, StoreUnavailableError
from modeldb_core.runtime import forks, time_limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Select

    from modeldb_core.backends._sql.database import Result, Transaction
    from modeldb_core.errors import ModelDBError

TIMEOUT_S = 60.0


class RetryingDatabase(Database):
    """One writer at a time in this process, and another attempt while others stand in the way; forks wait for operations.

    Attributes:
        errors: what the driver raises, by itself or through SQLAlchemy.
        why_read_only: why it may only be read, or what to do then; for messages.

    Args:
        url: how the store calls itself, without secrets.
        read_only: refuse to write.
        timeout_s: how long to wait for others that write.
    """

    errors: tuple[type[BaseException], ...]
    why_read_only = "it was opened with read_only"

    def __init__(self, url: str, *, read_only: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__()
        self.url = url
        self.read_only = read_only
        self.timeout_s = timeout_s
        self._closed = False
        self._begin()
        forks.register(self)

    def _begin(self) -> None:
        self._gate, self._write_lock = forks.Gate(), threading.Lock()

    @abstractmethod
    def _transaction(self, *, writing: bool) -> AbstractContextManager[Transaction]:
        """Return the context of one transaction, which is committed when it ends well."""

    @abstractmethod
    def _release(self) -> None:
        """Close the connections that nobody uses."""

    @abstractmethod
    def _leave_to_parent(self) -> None:
        """Never close the connections that are there: this process is a fork, and they are its parent's."""

    @abstractmethod
    def may_pass(self, error: BaseException | None) -> bool:
        """Return whether what the driver raised may be gone when the transaction is tried again: a lock, a conflict."""

    @abstractmethod
    def translate(self, error: BaseException | None) -> ModelDBError:
        """Return the error of ModelDB for one of the driver; its message says what to do, and shows no secret."""

    def read(self, work: Callable[[Transaction], Result], *, settled: bool = False) -> Result:
        del settled  # nobody sees what is not committed
        time_limits.check_time()
        return self._retried(lambda: self._run(work, writing=False))

    def write(self, work: Callable[[Transaction], Result]) -> Result:
        if self.read_only:
            msg = f"{self.url} may only be read by this process: {self.why_read_only}"
            raise StoreReadOnlyError(msg)
        return self._retried(lambda: self._run(work, writing=True))

    def _run(self, work: Callable[[Transaction], Result], *, writing: bool) -> Result:
        # One writer at a time: waiting for a thread costs nothing, waiting for the database's lock costs sleeps.
        lock = self._write_lock if writing else nullcontext()
        with self._gate.inside(), lock, self._transaction(writing=writing) as transaction:
            return self.carried_out(work, transaction)

    def _retried(self, work: Callable[[], Result]) -> Result:
        """Call ``work`` until nothing stands in its way, or time is up."""
        if self._closed:
            msg = f"the store {self.url} was closed; open it again"
            raise StoreUnavailableError(msg)
        deadline = time.monotonic() + self.timeout_s
        pause_s = 0.001
        while True:
            try:
                return work()
            except SwallowedError as error:
                raise self.swallowed() from error
            except self.errors as error:
                original = getattr(error, "orig", error)  # of what came through SQLAlchemy
                if not self.may_pass(original) or time.monotonic() > deadline:
                    raise self.translate(original) from error
            time.sleep(pause_s * (0.5 + random.random()))
            pause_s = min(2 * pause_s, 0.05)

    def expect_version(self, transaction: Transaction, version: str, stamp: str) -> None:
        if [tuple(row) for row in transaction.rows(_select_expected)] != [(version, stamp)]:
            raise VersionChangedError

    def close(self) -> None:
        self._closed = True
        forks.forget(self)
        self._release()

    def before_fork(self) -> None:
        """Wait for the operations under way and close all connections."""
        self._gate.shut()
        self._release()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on in the parent; begin afresh in the child."""
        if in_child:
            self._leave_to_parent()
            self._begin()
        else:
            self._gate.open()


def _select_expected(_database: Database) -> Select[Any]:
    return sa.select(tables.version_table.c.version_num, tables.compatibility.c.stamp)
