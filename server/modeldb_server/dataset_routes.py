"""The routes of data sets and their versions."""

from __future__ import annotations

from functools import partial

from modeldb_core.model.entities import DATASET_TYPES
from modeldb_server.entity_routes import PREFIX
from modeldb_server.handlers import datasets
from modeldb_server.routes import MAX_MESSAGE, Parameter, Policy, Route

_TAG = "datasets"
_read = partial(Route, policy=Policy.READ, tag=_TAG, errors=(400, 404))
_DATASET = f"{PREFIX}/datasets/<entity_id>"
_SIZE = Parameter(name="size_bytes", type="integer", minimum=0, description="how long it is")
_VERSION = "a number (3, v3), latest, or an identifier"

DATASET_ROUTES = (
    Route(
        "POST",
        f"{_DATASET}/versions",
        datasets.add_version,
        "Add a version to a data set, unless the latest one has the same content",
        policy=Policy.WRITE,
        tag=_TAG,
        description="The store decides the number. Where the latest version has the same digest, that one is answered with 200. Of"
        " parts the server makes the tree, and the digest where none is given.",
        body=(
            Parameter(name="dataset_type", type="text", default="raw", choices=DATASET_TYPES, description="what it is"),
            Parameter(name="digest", type="text", max_length=256, description="of the content alone, without times"),
            Parameter(name="source", type="text", max_length=4096, description="where it is: a path, an address"),
            _SIZE,
            Parameter(name="record_count", type="integer", minimum=0, description="rows or records"),
            Parameter(
                name="parts",
                type="objects",
                max_items=10_000,
                description="its files",
                items=(
                    Parameter(name="path", type="text", required=True, max_length=4096, description="within it"),
                    Parameter(
                        name="size_bytes", type="integer", required=True, minimum=0, description="how long it is"
                    ),
                    Parameter(name="sha256", type="text", required=True, max_length=64, description="of its content"),
                    Parameter(name="modified_at", type="time", description="when it was last written"),
                ),
            ),
            Parameter(name="info", type="object", description="further facts: shape, schema, query, parameters"),
            Parameter(name="description", type="text", max_length=MAX_MESSAGE, description="what it is, in words"),
            Parameter(name="tags", type="texts", default=(), description="labels"),
            Parameter(name="attributes", type="object", description="further facts of people"),
            Parameter(name="visibility", type="text", description="who may see it"),
            Parameter(
                name="parent_id", type="text", max_length=256, description="the version before; default: the latest"
            ),
        ),
        answer="DatasetVersion",
        status=201,
        errors=(400, 403, 404, 409, 412, 413, 415, 501),
        once=True,
    ),
    _read(
        "GET",
        f"{_DATASET}/version",
        datasets.read_version,
        "Read a version of a data set by its number",
        name="read_numbered_version",
        parameters=(Parameter(name="version", type="text", default="latest", description=_VERSION),),
        answer="DatasetVersion",
    ),
    _read(
        "GET",
        f"{_DATASET}/diff",
        datasets.compare_versions,
        "Read what differs from one version of a data set to another",
        name="compare_dataset_versions",
        description=f"Of files up to {datasets.MAX_DIFFERENCES:,} in all.",
        parameters=(
            Parameter(name="before", type="text", required=True, description=_VERSION),
            Parameter(name="after", type="text", default="latest", description=_VERSION),
        ),
        answer="DatasetDiff",
        errors=(400, 404),
    ),
)
