"""What follows from changes: the one definition of an entity as a store must answer it.

The reference store works with it, and the audit holds every store against it.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from modeldb_core.errors import ErasedError, IntegrityError
from modeldb_core.log.changes import (
    APPEND,
    ERASE,
    Change,
    Head,
    alters_entity,
    document_after,
    is_name,
    misfit,
)
from modeldb_core.log.points import PointGroup, concatenate, decode_points
from modeldb_core.model.entities import (
    LOST,
    RUNNING,
    Document,
    Entity,
    SeriesSummary,
    entity_from_document,
    to_datetime,
)
from modeldb_core.model.evolve import is_bare, unborn
from modeldb_core.model.schema import KINDS, METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from modeldb_core.model.homes import Home


Written: TypeAlias = tuple[str, PointGroup]
"""Points of one key, with the stream that wrote them."""


@dataclass(frozen=True, slots=True)
class Record:
    """An entity: its document, and of each series the points as they arrived."""

    kind: str
    entity_id: str
    document: Document = field(default_factory=dict)
    series: Mapping[str, tuple[Written, ...]] = field(default_factory=dict)

    def after(self, change: Change) -> Record:
        """Return the record after a change that alters it; an erased one alters nothing but the times.

        Raises:
            InvalidArgumentError: the payload does not fit the action.
            IntegrityError: the payload of an ``append`` change holds no points.
        """
        return self._after_points(change) if change.action == APPEND else self._after_update(change)

    def _after_update(self, change: Change) -> Record:
        return replace(self, document=document_after(self.document, change))

    def _after_points(self, change: Change) -> Record:
        document = self.document or _unborn(change)
        series = dict(self.series)
        for key, points in _columns(change):
            series[key] = (*series.get(key, ()), (change.stream_id, points))
        return replace(self, document=document, series=series)

    @property
    def is_erased(self) -> bool:
        """Whether it was deleted and nothing of it is kept: it is not to be found then, and no answer shows it."""
        return not self.series and is_bare(self.document)

    def points(self, key: str, steps: tuple[int, int] | None = None) -> PointGroup:
        """Return a series, or a range of steps of it, in the order of logging; where several streams wrote, by time."""
        written = self.series[key]
        points = concatenate([group if steps is None else group.between(steps) for _, group in written])
        if len({stream_id for stream_id, _ in written}) == 1:
            return points
        order = np.argsort(points.times, kind="stable")
        return PointGroup(points.keys, points.steps[order], points.times[order], points.values[:, order])

    def summary(self, key: str) -> SeriesSummary:
        """Return the summary of a series."""
        return summarize(concatenate([group for _, group in self.series[key]]))

    def status(self, heads: Mapping[str, Head], at_us: int) -> Any:  # noqa: ANN401 - whatever was stored
        """Return the status of a run as it reads at a time: lost where its writer fell silent or has ended."""
        status = self.document.get("status", RUNNING)
        head = heads.get(self.document.get("stream_id", ""))
        is_gone = head is not None and (head.closed or head.lease_until < at_us)
        return LOST if status == RUNNING and is_gone else status

    def entity(
        self, heads: Mapping[str, Head], at_us: int, wanted: Wanted | None = None, home: Home | None = None
    ) -> Entity:
        """Return the entity as it reads at a time, or the wanted part of it.

        Args:
            heads: of the streams.
            at_us: the time.
            wanted: which part.
            home: where it lies; without it an entity says only what its own document does.
        """
        document = self.document
        maps: dict[str, Mapping[str, Any]] = {}
        if KINDS[self.kind].has_points:
            summaries = {key: self.summary(key) for key in self.series}
            lasts = {key: summary.last for key, summary in summaries.items()}
            maps = {"series": summaries, METRICS: {**lasts, **document.get(METRICS, {})}}
        if wanted is not None:
            document = wanted.document(document)
            maps = {name: wanted.pick(name, values) for name, values in maps.items()}
        # A deep copy: what is returned must not be a door into the record.
        document, maps = copy.deepcopy((document, maps))
        computed: dict[str, Any] = {name: MappingProxyType(values) for name, values in maps.items()}
        if home is not None:
            computed.update(home._asdict())
        if KINDS[self.kind].has_points:
            computed["status"] = self.status(heads, at_us)
        return entity_from_document(self.kind, self.entity_id, document, **computed)


class Wanted(Protocol):
    """The part of an entity that is wanted: a projection of a query."""

    def document(self, document: Document) -> Document:
        """Return the wanted part of a document."""

    def pick(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the wanted part of the map in field ``name``."""


def groups_of(change: Change) -> list[PointGroup]:
    """Return the points in a change; none once it is erased.

    Raises:
        InvalidArgumentError: it is about something that has no points.
        IntegrityError: its payload holds no points.
    """
    if change.payload is None:
        return []
    declaration = KINDS.get(change.kind)  # there is none for streams
    if declaration is None or not declaration.has_points:
        raise misfit(change, f"a {declaration.words if declaration else change.kind} has no points")
    try:
        return decode_points(change.payload)
    except IntegrityError as error:
        raise misfit(change, error) from error


def replay(kind: str, entity_id: str, changes: Iterable[Change]) -> Record:
    """Return the record that the changes of an entity make, in the order of their arrival.

    It is what :meth:`Record.after` makes of them one by one, in time that grows with their number and no faster.
    """
    record = Record(kind, entity_id)
    series: dict[str, list[Written]] = {}
    for change in changes:
        if not alters_entity(change):
            continue
        if change.action != APPEND:
            record = record.after(change)
            continue
        record = record if record.document else replace(record, document=_unborn(change))
        for key, points in _columns(change):
            series.setdefault(key, []).append((change.stream_id, points))
    return replace(record, series={key: tuple(written) for key, written in series.items()})


def _unborn(change: Change) -> Document:
    # A stream may arrive before the one that creates its run.
    return unborn(actor=change.actor, recorded_at=change.recorded_at)


def _columns(change: Change) -> Iterator[tuple[str, PointGroup]]:
    for group in groups_of(change):
        for row, key in enumerate(group.keys if len(group) else ()):
            yield key, PointGroup((key,), group.steps, group.times, group.values[row : row + 1])


def summarize(points: PointGroup) -> SeriesSummary:
    """Return the summary of a series from all of its points, in the order of their arrival."""
    steps, times, values = points.steps, points.times, points.values[0]
    first = int(np.argmin(times))  # of equal times the one that arrived first
    last = len(times) - 1 - int(np.argmax(times[::-1]))  # and here the one that arrived last
    numbers = np.flatnonzero(~np.isnan(values))
    lowest = int(numbers[np.argmin(values[numbers])]) if len(numbers) else None
    highest = int(numbers[np.argmax(values[numbers])]) if len(numbers) else None
    with np.errstate(all="ignore"):
        mean = float(values[numbers].sum() / len(numbers)) if len(numbers) else math.nan
    return SeriesSummary(
        count=len(values),
        nan_count=len(values) - len(numbers),
        first=float(values[first]),
        last=float(values[last]),
        minimum=math.nan if lowest is None else float(values[lowest]),
        maximum=math.nan if highest is None else float(values[highest]),
        mean=mean,
        first_step=int(steps[first]),
        last_step=int(steps[last]),
        min_step=0 if lowest is None else int(steps[lowest]),
        max_step=0 if highest is None else int(steps[highest]),
        first_at=to_datetime(int(times[first])),
        last_at=to_datetime(int(times[last])),
    )


def erased_by(changes: Sequence[Change]) -> set[tuple[str, int]]:
    """Return stream and number of the changes that ``changes`` name to be erased.

    Whether that takes effect, :mod:`modeldb_core.log.erasures` says.

    Raises:
        InvalidArgumentError: an ``erase`` change does not say which one it erases.
    """
    erased: set[tuple[str, int]] = set()
    for change in changes:
        if change.action == ERASE and change.payload is not None:
            data = change.data()
            stream_id, seq = data.get("stream_id"), data.get("seq")
            if not isinstance(stream_id, str) or not is_name(stream_id) or type(seq) is not int or not 0 < seq < 2**63:
                raise misfit(change, "expected the stream_id and the seq of a change")
            erased.add((stream_id, seq))
    return erased


def erased_error(kind: str, entity_id: str, url: str) -> ErasedError:
    """Return the error with which a store says that an entity was erased."""
    return ErasedError(
        f"the {kind} {entity_id!r} in {url} was deleted, and nothing of it is kept; "
        f"`modeldb audit log --entity {entity_id}` shows who deleted it, and when"
    )
