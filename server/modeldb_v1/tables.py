"""The calls that projects, experiments and runs have alike, by tables."""

from __future__ import annotations

from modeldb_server.routes import Policy
from modeldb_v1.calls import declare
from modeldb_v1.kinds import EXPERIMENT, PROJECT, RUN
from modeldb_v1.sections import (
    declare_attributes,
    declare_entities,
    declare_tags,
    describe,
    editing,
    rename,
)

for _kind in (PROJECT, EXPERIMENT, RUN):
    declare_entities(_kind)
    declare_tags(_kind)
    declare_attributes(_kind)
    declare(f"{_kind.service}.update{_kind.message}Description", Policy.WRITE, editing(_kind, describe))
for _kind in (PROJECT, EXPERIMENT):
    declare(f"{_kind.service}.update{_kind.message}Name", Policy.WRITE, editing(_kind, rename))
