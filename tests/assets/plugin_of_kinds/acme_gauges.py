"""A plugin that declares a kind of its own: one file, and nothing of ModelDB is changed for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from modeldb_core import hookimpl
from modeldb_core.model.entities import Entity
from modeldb_core.model.schema import KindDeclaration, boolean, mapping, moment, number, reference, text


@dataclass(frozen=True, slots=True, kw_only=True)
class OldGauge(Entity):
    """Something that watches a run."""

    KIND: ClassVar[str] = "gauge"

    name: str = text("what people call it", searchable=True, unique_within="project_id")
    project_id: str = reference("project", container=True)
    run_id: str = reference("run", "the run that it watches")
    unit: str = text("of its limit", searchable=True)
    limit: float | None = number("when it gives an alarm")
    pin: str = text("that opens it", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge(OldGauge):
    """Something that watches a run, and can be found by more than before."""

    limit: float | None = number("when it gives an alarm", searchable=True, since=2)
    checked_at: datetime | None = moment("when it last looked", searchable=True, since=2)
    armed: bool | None = boolean("whether it gives alarms", searchable=True, since=2)
    options: Mapping[str, Any] = mapping("how it looks", searchable=True, since=2)


@hookimpl
def modeldb_register_kinds() -> list[KindDeclaration]:
    return [KindDeclaration(OldGauge if os.environ.get("ACME_GAUGES") == "old" else Gauge)]
