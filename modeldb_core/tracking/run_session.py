"""What the handle of a run needs of its client beyond a session: other runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar, Unpack

from modeldb_core.tracking.editing import RunEditor
from modeldb_core.tracking.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from modeldb_core.tracking.runs import Runs

Handle = TypeVar("Handle", bound=RunEditor)
"""What a client returns for a run: a handle that knows this class, which therefore cannot know the handle."""


class ChildOptions(TypedDict, total=False):
    """What a child takes by name; :meth:`modeldb_core.tracking.Client.start_run` says what each means."""

    tags: Iterable[str]
    description: str
    hyperparameters: object
    attributes: object
    capture: bool
    reserved_id: str | None
    every_rank: bool
    started_at: datetime | None


class RunSession(Session, ABC, Generic[Handle]):
    """A session that starts and finds runs; :class:`~modeldb_core.tracking.Client` is the one that there is."""

    @abstractmethod
    def start_run(
        self,
        project: str | None = None,
        experiment: str | None = None,
        name: str = "",
        *,
        tags: Iterable[str] = (),
        run_id: str | None = None,
        reserved_id: str | None = None,
        every_rank: bool = False,
        make_current: bool = True,
    ) -> Handle:
        """Start a run, or continue one."""

    @abstractmethod
    def start_child_of(self, parent: Handle, name: str = "", **options: Unpack[ChildOptions]) -> Handle:
        """Start a run that is part of ``parent``."""

    @abstractmethod
    def get_run(self, run_id: str) -> Handle:
        """Return a run."""

    @abstractmethod
    def search_runs(self, filter: str = "", *, order_by: str = "") -> Runs[Handle]:  # noqa: A002 - the word users know
        """Return the runs that match."""
