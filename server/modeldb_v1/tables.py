"""The calls that projects, experiments and runs have alike, by tables."""

from __future__ import annotations

from modeldb_server.routes import Policy
from modeldb_v1.artifacts import declare_artifacts, log_artifacts
from modeldb_v1.calls import declare
from modeldb_v1.kinds import EXPERIMENT, PROJECT, RUN
from modeldb_v1.sections import (
    declare_attributes,
    declare_entities,
    declare_tags,
    describe,
    editing,
    putting,
    reading,
    rename,
    showing,
)

for _kind in (PROJECT, EXPERIMENT, RUN):
    declare_entities(_kind)
    declare_tags(_kind)
    declare_attributes(_kind)
    declare_artifacts(_kind)
    declare(f"{_kind.service}.update{_kind.message}Description", Policy.WRITE, editing(_kind, describe))
for _kind in (PROJECT, EXPERIMENT):
    declare(f"{_kind.service}.update{_kind.message}Name", Policy.WRITE, editing(_kind, rename))

for _section, _one, _words in (
    ("metrics", "metric", "Metric"),
    ("hyperparameters", "hyperparameter", "Hyperparameter"),
    ("attributes", "attribute", "Attribute"),
):
    declare(f"{RUN.service}.log{_words}", Policy.WRITE, editing(RUN, putting(_section, _words, _one), show=None))
    declare(f"{RUN.service}.log{_words}s", Policy.WRITE, editing(RUN, putting(_section, _words), show=None))
for _section, _words in (("metrics", "Metrics"), ("hyperparameters", "Hyperparameters")):
    declare(f"{RUN.service}.get{_words}", Policy.READ, reading(RUN, showing(_section)))
declare(
    f"{EXPERIMENT.service}.addAttribute",
    Policy.WRITE,
    editing(EXPERIMENT, putting("attributes", "Attribute", "attribute")),
)
declare(f"{RUN.service}.logArtifact", Policy.WRITE, editing(RUN, log_artifacts, show=None))
