"""Observations: numbers are points of series; what is no number is kept beside them, in the order in which it came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import edits, runs
from modeldb_core.commands.operation import Operation, together
from modeldb_core.commands.values import recorded
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import Run, new_id, now_us
from modeldb_v1.kinds import microseconds
from modeldb_v1.values import from_value, to_value, value_type, whole

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity, SeriesSummary
    from modeldb_server.context import ServerContext
    from modeldb_v1.schema import Fields

SHOWN_POINTS = 1000
"""Of each series, in the message of a whole run; ``getObservations`` answers with all."""
FIELD = "observations"


def log_observations(
    context: ServerContext, run_id: str, series: Mapping[str, SeriesSummary], messages: Iterable[Any]
) -> Operation:
    """Return the operation that records observations of a run.

    Args:
        context: of the server.
        run_id: the run, which may be about to be created.
        series: what it has so far.
        messages: the observations.

    Raises:
        InvalidArgumentError: one has no key, or is of a file: artifacts are logged as such.
    """
    points: list[runs.Points] = []
    others: dict[str, Any] = {}
    steps: dict[str, int] = {}
    for message in messages:
        if message.WhichOneof("oneOf") == "artifact":
            msg = "an observation of an artifact is not kept; log the artifact itself (logArtifact)"
            raise InvalidArgumentError(msg)
        key = message.attribute.key
        if not key:
            msg = "Observation key not found in LogObservation request"
            raise InvalidArgumentError(msg)
        value = from_value(message.attribute.value)
        time_us = microseconds(message.timestamp, "timestamp") or now_us()
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            step = steps.get(key, series[key].count if key in series else 0)
            steps[key] = step + 1
            points.append(runs.Points({key: [float(value)]}, [step], [time_us]))
        else:
            kept = recorded({"value": value}, key, context.artifacts.put)
            others[new_id()] = {"key": key, **kept, "time": time_us}
    parts = [runs.log_points(run_id, points)] if points else []
    if others:
        parts.append(edits.put_values("run", run_id, FIELD, others))
    return together(parts)


def fill_observations(
    context: ServerContext,
    messages: Fields,
    run: Entity,
    key: str = "",
    *,
    most: int | None = SHOWN_POINTS,
) -> None:
    """Add observations of a run: those of a key, or of all; of each series at most ``most``, with its extremes."""
    assert isinstance(run, Run)
    others: dict[str, list[tuple[int, Any]]] = {}
    for entry in run.document.get(FIELD, {}).values():
        if isinstance(entry, Mapping):
            others.setdefault(str(entry.get("key", "")), []).append((int(entry.get("time", 0)), entry.get("value")))
    for each in [key] if key else list(dict.fromkeys((*run.series, *others))):
        timed = [*(_points(context, run, each, most) if each in run.series else ()), *others.get(each, ())]
        for time_us, value in sorted(timed, key=lambda one: one[0]) if others.get(each) else timed:
            message = messages.add(timestamp=time_us // 1000)
            message.attribute.key = each
            read = whole(value, context.artifacts)
            to_value(message.attribute.value, read)
            message.attribute.value_type = value_type(read)


def _points(context: ServerContext, run: Run, key: str, most: int | None) -> Iterable[tuple[int, Any]]:
    try:
        series = context.store.read_series(run.entity_id, key, max_points=most)
    except NotFoundError:
        return []
    return zip(series.times.tolist(), series.values.tolist(), strict=True)
