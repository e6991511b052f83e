"""What an audit found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called now and then with what is being verified ("changes", "entities", "blobs"), how many were, and of how many."""
Aspect: TypeAlias = Literal[
    "change", "stream", "entity", "series", "search", "table", "artifact", "checkpoint", "bundle"
]

MAX_FINDINGS = 1000
"""Kept of an audit: one fault in the log of a large store can make everything after it wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written.

    Attributes:
        aspect: change and stream: the log. entity and series: an answer that does not follow from the log. search: a
            row by which entities are found. table: a row that nothing accounts for. artifact: a blob. checkpoint: what
            was there when the checkpoint was made is gone. bundle: a bundle does not hold what it says.
        subject: which one, by its identifiers.
        message: what is wrong with it.
    """

    aspect: Aspect
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


@dataclass(slots=True)
class Report:
    """The outcome of an audit.

    Attributes:
        changes, streams, entities, series, points, blobs: how many of each were verified.
        erased: changes whose payload was erased, each by a change that says so.
        clashes: a sentence on each decision of merged stores that another one overrules, and nobody has looked at; at most 1,000.
        undeleted: a sentence on each entity of which something was erased though it was not deleted; at most 1,000.
        retired: a sentence on each part of an access log that the log says was removed to make room; at most 1,000.
        idle_erasures: ``erase`` changes that have had no effect.
        withheld: changes whose payload was kept back by the one who made the bundle or narrowed the log. They are not erased.
        sealed_streams: streams that ended with a closing change.
        open_streams: streams that have not. Of these a lost tail shows only against a checkpoint made after it.
        shared_entities: entities that several streams wrote. Without ``has_order`` no audit sees whether their changes
            were exchanged.
        later_entities: those of them that have changes since the checkpoint, whose order it does not cover.
        has_order: whether the order of changes was held against a checkpoint.
        findings: what is wrong; at most 1,000 are kept.
        left_out: findings beyond those.
        unsettled: entities that were written to all the while, so that their answers could not be compared.
        carried: entities of kinds that this process does not know: their changes verify, and nothing is answered of them.
        outdated: entities whose rows for searching were made by code with another declaration of their kind, and are not
            compared until somebody who may write the store makes them again.
        has_search_rows: whether the store let the audit see the rows by which it finds entities.
        checkpoint_made_at: the time of the checkpoint that the log was held against, empty without one.
    """

    changes: int = 0
    streams: int = 0
    entities: int = 0
    series: int = 0
    points: int = 0
    blobs: int = 0
    erased: int = 0
    undeleted: list[str] = field(default_factory=list)
    clashes: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    idle_erasures: int = 0
    withheld: int = 0
    sealed_streams: int = 0
    open_streams: list[str] = field(default_factory=list)
    shared_entities: int = 0
    later_entities: int = 0
    has_order: bool = False
    findings: list[Finding] = field(default_factory=list)
    left_out: int = 0
    unsettled: list[str] = field(default_factory=list)
    carried: int = 0
    outdated: int = 0
    has_search_rows: bool = False
    checkpoint_made_at: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def add(self, aspect: Aspect, subject: str, message: object) -> None:
        """Note something that is wrong."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(aspect, subject, str(message)))
        else:
            self.left_out += 1

    def __str__(self) -> str:
        series = f"{self.series:,} series with {self.points:,} points, " if self.series else ""
        head = (
            f"{self.changes:,} changes in {self.streams:,} streams, {self.entities:,} entities, {series}"
            f"{self.blobs:,} blobs"
        )
        erased = [f"{self.erased:,} payloads were erased, each by a change that says so"] if self.erased else []
        notes = [f"NOTE {sentence}" for sentence in (*self.undeleted, *self.clashes, *self.retired)]
        findings = [f"WRONG {finding}" for finding in self.findings]
        more = [f"... and {self.left_out:,} more"] if self.left_out else []
        verdict = "everything verifies" if self.ok else f"{len(self.findings) + self.left_out:,} findings"
        return "\n".join([head, *erased, *notes, *self._not_verified(), *findings, *more, verdict])

    def _not_verified(self) -> Iterator[str]:
        """Say what was not verified, and why."""
        if self.idle_erasures:
            yield (
                f"{self.idle_erasures:,} erase changes had no effect: what they name is not there, or it is neither deleted "
                f"for long enough nor their own actor's"
            )
        if self.withheld:
            yield (f"{self.withheld:,} payloads were withheld, so what they say is not verified here; their chains are")
        if self.open_streams and not self.checkpoint_made_at:
            yield (
                f"{len(self.open_streams):,} streams are open: whether the end of one was dropped shows only against a "
                f"checkpoint"
            )
        if self.shared_entities and not self.has_order:
            yield (
                f"{self.shared_entities:,} entities were written by several streams, whose order no chain holds: whether "
                f"their changes were exchanged shows only against a checkpoint"
            )
        if self.carried:
            yield (f"{self.carried:,} entities are of kinds that are not known here: only their changes were verified")
        if self.outdated:
            yield (
                f"the rows by which {self.outdated:,} entities are found were made by another declaration of their kinds: "
                "they are not compared until they are made again, which happens when the store is written next"
            )
        if self.later_entities:
            yield (
                f"{self.later_entities:,} of the {self.shared_entities:,} entities that several streams wrote have changes since "
                f"the checkpoint of {self.checkpoint_made_at}, which does not cover the order of these; make a new one"
            )
        if self.unsettled:
            yield f"not compared, because they were written to all the while: {', '.join(self.unsettled)}"
