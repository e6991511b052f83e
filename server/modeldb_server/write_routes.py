"""The routes by which programs in any language track a training: they create, log and finish."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from modeldb_core.model.entities import ENDS, Run
from modeldb_core.model.schema import KINDS, METRICS
from modeldb_server.entity_routes import PREFIX, a_kind, served_kinds
from modeldb_server.handlers import creating, logging
from modeldb_server.responses import BYTES
from modeldb_server.routes import MAX_MESSAGE, Parameter, ParameterType, Policy, Route
from modeldb_server.store_routes import PART_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modeldb_core.model.schema import FieldDeclaration, KindDeclaration

MAX_POINTS = 100_000
"""Of one request."""
MAX_VALUES = 20_000
"""In one map of one request."""
ERRORS = (400, 403, 404, 409, 413, 415, 501)
_log = partial(Route, policy=Policy.WRITE, errors=ERRORS, tag="runs", once=True)
_edit = partial(Route, policy=Policy.WRITE, errors=ERRORS, tag="edits", once=True)
_RUN = f"{PREFIX}/runs/<run_id>"
_OF_CHANGES = frozenset({"owner", "created_at", "updated_at", "deleted_at", "revision"})
"""What follows from changes, and nobody says."""
_TYPES: Mapping[str, ParameterType] = {
    "text": "text",
    "time": "time",
    "integer": "integer",
    "number": "number",
    "boolean": "flag",
    "map": "object",
    "texts": "texts",
}
_REPORTED = (
    "when it {}, if the one who logs it reports that (the run then says so in reported_times); not in the future;"
    " default: now, measured by the server"
)
HYPERPARAMETERS = "hyperparameters"
"""Unlike what else is said of a run, they are settled when it ends."""
_TAGS = Parameter(name="tags", type="texts", default=(), max_items=100, description="labels")
_PATH = Parameter(name="path", type="text", required=True, description="its path within the run, such as plots/roc.png")


def said_of(declaration: KindDeclaration) -> tuple[str, ...]:
    """Return the maps of a kind that programs fill by name: what people log, but for metrics."""
    return tuple(name for name in declaration.listed if name != METRICS)


def _values(name: str, description: str, *, required: bool = False) -> Parameter:
    return Parameter(name=name, type="object", required=required, max_items=MAX_VALUES, description=description)


def _create_route(declaration: KindDeclaration) -> Route:
    taken = {"entity_id", "existing"}
    shown = {name: each for name, each in declaration.stored.items() if not each.secret}
    fields = [each for name, each in shown.items() if name not in _OF_CHANGES | taken and not each.decided]
    return _edit(
        "POST",
        f"{PREFIX}/{declaration.path}",
        creating.create_entity,
        f"Create {a_kind(declaration)}",
        name=f"create_{declaration.kind}",
        description="A name that must be unique and is taken is refused (409), or with existing=return the entity that has it"
        " comes back (200).",
        body=(
            *(_field(declaration, each) for each in fields if each.type in _TYPES),
            Parameter(name="entity_id", type="text", max_length=36, description="its identifier, a new UUID"),
            Parameter(
                name="existing",
                type="text",
                default=creating.REFUSE,
                choices=(creating.REFUSE, creating.RETURN),
                description="what to do where the name is taken",
            ),
        ),
        answer=declaration.schema,
        status=201,
        errors=(200, *ERRORS),
        fixed={"kind": declaration.kind},
    )


def _field(declaration: KindDeclaration, field: FieldDeclaration) -> Parameter:
    is_name = field.name == "name" and field.unique_within is not None
    return Parameter(
        name=field.name,
        type=_TYPES[field.type],
        required=is_name,
        default=() if field.type == "texts" else None,
        max_length=MAX_MESSAGE if field.type == "text" else 1024,
        max_items=MAX_VALUES if field.type == "map" else 500,
        description=field.description or f"of the {declaration.words}",
    )


def _create_run_route() -> Route:
    return _log(
        "POST",
        f"{PREFIX}/runs",
        creating.create_run,
        "Start a run",
        description="Its project and experiment are named, and made unless they are there; or experiment_id or parent_id says where"
        " it belongs. It runs until it is finished.",
        body=(
            Parameter(name="project", type="text", description="name of its project"),
            Parameter(
                name="experiment", type="text", description="name of its experiment in the project; default: default"
            ),
            Parameter(
                name="experiment_id", type="text", max_length=256, description="its experiment, in place of names"
            ),
            Parameter(name="parent_id", type="text", max_length=256, description="the run that it is a part of"),
            Parameter(name="name", type="text", description="what people call it; default: a readable random name"),
            Parameter(name="description", type="text", max_length=MAX_MESSAGE, description="what it is, in words"),
            _TAGS,
            *(_values(name, KINDS[Run.KIND].fields[name].description) for name in said_of(KINDS[Run.KIND])),
            Parameter(name="started_at", type="time", description=_REPORTED.format("began")),
            Parameter(name="run_id", type="text", max_length=36, description="its identifier, a new UUID"),
        ),
        answer=Run.__name__,
        status=201,
    )


_METRICS = _log(
    "POST",
    f"{_RUN}/metrics",
    logging.log_metrics,
    "Log metrics: values, a point of each, or many points",
    description="Without a step each number is the metric's one value; with a step it is a point of the metric's series. points"
    f" holds up to {MAX_POINTS:,} at once.",
    body=(
        _values("metrics", "numbers by name"),
        Parameter(name="step", type="integer", description="a label of the points"),
        Parameter(name="time", type="time", description="when it was measured; default: now"),
        Parameter(
            name="points",
            type="objects",
            max_items=MAX_POINTS,
            description="many points",
            items=(
                Parameter(name="step", type="integer", required=True, description="a label of the points"),
                _values("metrics", "numbers by name", required=True),
                Parameter(name="time", type="time", description="when it was measured; default: now"),
            ),
        ),
    ),
    max_body_bytes=PART_BODY_BYTES,
    answer="Changed",
)

_SERIES = _log(
    "POST",
    f"{_RUN}/series",
    logging.log_series,
    "Log whole series, or stretches of them",
    body=(
        Parameter(
            name="series",
            type="objects",
            required=True,
            max_items=500,
            description="a stretch of each series",
            items=(
                Parameter(name="key", type="text", required=True, description="of the metric"),
                Parameter(
                    name="values",
                    type="numbers",
                    required=True,
                    max_items=MAX_POINTS,
                    description="in the order measured",
                ),
                Parameter(
                    name="steps", type="integers", max_items=MAX_POINTS, description="default: 0, 1, 2 and so on"
                ),
                Parameter(
                    name="times",
                    type="integers",
                    minimum=0,
                    max_items=MAX_POINTS,
                    description="microseconds since 1970-01-01 UTC; default: now",
                ),
            ),
        ),
    ),
    max_body_bytes=PART_BODY_BYTES,
    answer="Changed",
)

_HYPERPARAMETERS = _log(
    "POST",
    f"{_RUN}/{HYPERPARAMETERS}",
    logging.log_hyperparameters,
    "Log settings of the training",
    description="A name that is logged again has the new value; the record of changes keeps both.",
    body=(_values("values", "settings by name", required=True),),
    answer="Changed",
)


def _section_route(declaration: KindDeclaration, section: str) -> Route:
    return _edit(
        "POST",
        f"{PREFIX}/{declaration.path}/<entity_id>/{section.replace('_', '-')}",
        logging.set_values,
        f"Record {declaration.fields[section].description or section} of {a_kind(declaration)}",
        name=f"set_{declaration.kind}_{section}",
        body=(_values("values", "what there is to record, by name", required=True),),
        answer="Changed",
        fixed={"kind": declaration.kind, "section": section},
    )


_ARTIFACTS = (
    _log(
        "PUT",
        f"{_RUN}/artifacts",
        logging.put_artifact,
        "Store a file with a run",
        description="The body is the file, of any length. Putting it again changes nothing; other content replaces it.",
        parameters=(_PATH, Parameter(name="type", type="text", description="what it is, such as model or image")),
        body_type=BYTES,
        is_upload=True,
        answer="StoredArtifact",
        errors=(*ERRORS, 503),
        once=False,
    ),
    _log(
        "DELETE",
        f"{_RUN}/artifacts",
        logging.remove_artifact,
        "Take a file away from a run",
        parameters=(_PATH,),
        answer="Changed",
    ),
)

_DATASETS = _log(
    "POST",
    f"{_RUN}/datasets",
    logging.log_dataset,
    "Record what a run was trained or tested on",
    description="The same content, by its digest, under the same name is the same version of that data set.",
    body=(
        Parameter(name="role", type="text", default="train", description="what the run does with it; default: train"),
        Parameter(name="name", type="text", required=True, description="of the data set"),
        Parameter(name="digest", type="text", max_length=256, description="of its content"),
        Parameter(name="dataset_type", type="text", description="what it is: file, folder, url, table or array"),
        Parameter(name="size_bytes", type="integer", minimum=0, description="how long it is"),
        _values("info", "further facts: origin, shape, schema"),
    ),
    answer="Changed",
)

_FINISH = _log(
    "POST",
    f"{_RUN}/finish",
    logging.finish_run,
    "End a run",
    body=(
        Parameter(name="status", type="text", default="finished", choices=ENDS, description="how it ended"),
        Parameter(name="finished_at", type="time", description=_REPORTED.format("ended")),
        _values("failure", "of a failed run: type, message and traceback"),
    ),
    answer=Run.__name__,
)


def write_routes() -> tuple[Route, ...]:
    """Return the routes by which programs create and log."""
    kinds = [declaration for declaration in served_kinds().values() if not declaration.remark]
    return (
        *(_create_route(each) for each in kinds if not (each.has_points or each.made_by_operation)),
        *(_section_route(each, section) for each in kinds for section in said_of(each) if section != HYPERPARAMETERS),
        *(_create_run_route(), _METRICS, _SERIES, _HYPERPARAMETERS, *_ARTIFACTS, _DATASETS, _FINISH),
    )
