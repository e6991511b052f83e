"""The routes of lineage."""

from __future__ import annotations

from functools import partial

from modeldb_core.model.entities import ModelVersion, Run
from modeldb_core.model.schema import KINDS
from modeldb_core.provenance.walk import DEPTH, LIMIT, MAX_LIMIT
from modeldb_core.queries import MAX_DEPTH
from modeldb_server.entity_routes import PREFIX
from modeldb_server.handlers import lineage
from modeldb_server.routes import MAX_NAME, Parameter, Policy, Route

_read, _edit = (partial(Route, policy=policy, tag="lineage") for policy in (Policy.READ, Policy.WRITE))
_WALK = (
    Parameter(
        name="entity",
        type="text",
        required=True,
        description="kind and identifier of what the walk begins at, such as run:0197f3c2-…; a container, such as a"
        " project, stands for what lies in it",
    ),
    Parameter(
        name="direction",
        type="text",
        default="both",
        choices=("both", "upstream", "downstream"),
        description="upstream: what it was made from; downstream: what was made from it",
    ),
    Parameter(
        name="depth", type="integer", default=DEPTH, minimum=1, maximum=MAX_DEPTH, description="through so many links"
    ),
    Parameter(
        name="limit",
        type="integer",
        default=LIMIT,
        minimum=1,
        maximum=MAX_LIMIT,
        description="so many entities at most",
    ),
)
_ENDS = (
    Parameter(
        name="inputs",
        type="texts",
        required=True,
        max_items=100,
        description="kinds and identifiers of what was used, such as dataset_version:0197f3c2-…",
    ),
    Parameter(
        name="outputs", type="texts", required=True, max_items=100, description="likewise, of what was made of it"
    ),
)
_ANSWERS = {
    "json": ("", "Lineage", "Walk lineage: what made an entity, and what it went into"),
    "dot": ("/dot", lineage.DOT, "Draw lineage, as text for Graphviz"),
    "prov": ("/prov", "Provenance", "Write lineage in W3C PROV, as PROV-JSON"),
    "openlineage": ("/openlineage", "LineageEvents", "Write what runs read and wrote as events of OpenLineage"),
}

LINEAGE_ROUTES = (
    *(
        _read(
            "GET",
            f"{PREFIX}/lineage{path}",
            lineage.read_lineage,
            summary,
            name=f"read_lineage_{form}",
            parameters=_WALK,
            answer=answer,
            errors=(400, 404),
            fixed={"form": form},
        )
        for form, (path, answer, summary) in _ANSWERS.items()
    ),
    *(
        _read(
            "GET",
            f"{PREFIX}/{KINDS[kind].path}/<entity_id>/bom",
            lineage.read_bom,
            f"Get the bill of materials of a {KINDS[kind].words}, a CycloneDX ML-BOM",
            name=f"read_{kind}_bom",
            answer="BillOfMaterials",
            errors=(400, 404),
            fixed={"kind": kind},
        )
        for kind in (Run.KIND, ModelVersion.KIND)
    ),
    _edit(
        "POST",
        f"{PREFIX}/lineage",
        lineage.create_lineage,
        "Say by hand that each output was made from all inputs",
        body=(
            *_ENDS,
            Parameter(name="note", type="text", default="", max_length=MAX_NAME, description="how, in words"),
        ),
        answer="Changed",
        status=200,
        errors=(400, 403, 404, 409, 412, 413, 415, 501),
        once=True,
    ),
    _edit(
        "POST",
        f"{PREFIX}/lineage/delete",
        lineage.remove_lineage,
        "Take back what was said by hand; what was logged stays",
        body=_ENDS,
        answer="Changed",
        errors=(400, 403, 404, 409, 413, 415),
        once=True,
    ),
)
