"""The routes of the model registry."""

from __future__ import annotations

from functools import partial

from modeldb_core.commands.registry import history
from modeldb_core.model.registry import APPROVED, VERDICTS
from modeldb_server.entity_routes import PREFIX, limit_of
from modeldb_server.handlers import models
from modeldb_server.routes import MAX_MESSAGE, Parameter, Policy, Route

_TAG = "models"
_read = partial(Route, policy=Policy.READ, tag=_TAG, errors=(400, 404))
_edit = partial(Route, policy=Policy.WRITE, tag=_TAG, errors=(400, 403, 404, 409, 412, 413, 415, 501), once=True)
_MODEL, _VERSION = f"{PREFIX}/registered-models/<entity_id>", f"{PREFIX}/model-versions/<entity_id>"
_REASON = Parameter(name="reason", type="text", required=True, max_length=MAX_MESSAGE, description="why")
_STAGE = Parameter(name="stage", type="text", required=True, description="one of the model's stages")
_CURSOR = Parameter(name="cursor", type="text", default="", max_length=4096, description="of the page before")

_READING = (
    _read(
        "GET",
        f"{_MODEL}/history",
        models.read_history,
        "Read who moved which version of a model from where to where, when and why",
        name="read_model_history",
        description="The oldest first. A page may hold few moves, or none, and go on all the same.",
        parameters=(_CURSOR, limit_of("changes of the model that are read", history.MAX_PAGE, history.MAX_PAGE)),
        answer="ModelMoves",
    ),
    _read(
        "GET",
        f"{PREFIX}/registry",
        models.read_registry,
        "Read which versions had which stages and aliases at a time",
        description="Of all models, or of one. Only the changes of models that have changed since then are read.",
        parameters=(
            Parameter(name="at", type="time", description="the time; default: now"),
            Parameter(name="model_id", type="text", max_length=256, description="only of this model"),
            _CURSOR,
            limit_of("models that are looked at", history.MAX_MODELS, history.MAX_MODELS),
        ),
        answer="ModelStates",
    ),
    _read(
        "GET",
        f"{PREFIX}/registry/version",
        models.find_version,
        "Find the version that a reference such as churn@champion means",
        name="find_referenced_version",
        parameters=(
            Parameter(
                name="reference",
                type="text",
                required=True,
                description="NAME@VERSION: a number (churn@v3), an alias, a stage, or latest",
            ),
        ),
        answer="ModelVersion",
        errors=(400, 404, 409),
    ),
    _read(
        "GET",
        f"{_VERSION}/card",
        models.read_card,
        "Read the card of a version, filled from the record",
        description="Markdown, in which what people and programs recorded is escaped.",
        name="read_model_card",
        answer="ModelCard",
    ),
    _read(
        "GET",
        f"{_VERSION}/artifacts",
        models.read_file,
        "Read the bytes of a file of a version",
        name="read_version_file",
        description="As for the artifacts of runs.",
        parameters=(
            Parameter(name="path", type="text", required=True, max_length=4096, description="of the file"),
            Parameter(name="download", type="flag", default=False, description="as an attachment, pictures too"),
        ),
        errors=(206, 304, 400, 404, 416),
    ),
)

_CHANGING = (
    _edit(
        "POST",
        f"{_MODEL}/versions",
        models.register_version,
        "Make the next version of a model from the model of a run",
        body=(
            Parameter(name="run_id", type="text", required=True, max_length=256, description="the run that logged it"),
            Parameter(name="artifact", type="text", default="model", description="its name among the run's artifacts"),
            Parameter(name="description", type="text", max_length=MAX_MESSAGE, description="what it is, in words"),
            Parameter(name="tags", type="texts", default=(), max_items=100, description="labels"),
            Parameter(name="attributes", type="object", max_items=20_000, description="further facts"),
            Parameter(name="trusted", type="texts", default=(), description="types that loading it may build"),
        ),
        answer="ModelVersion",
        status=201,
    ),
    _edit(
        "POST",
        f"{_MODEL}/promote",
        models.promote,
        "Move a version into a stage, give it an alias, or both: all or nothing",
        description="Where somebody has moved the same stage, alias or version meanwhile, nothing is done (412).",
        name="promote_version",
        body=(
            Parameter(name="version", type="text", required=True, description="a number, an alias, a stage, or latest"),
            Parameter(name="stage", type="text", description="the stage to move it into"),
            Parameter(name="alias", type="text", description="the alias to give it"),
            _REASON,
        ),
        answer="RegisteredModel",
    ),
    _edit(
        "POST",
        f"{_MODEL}/aliases/remove",
        models.remove_alias,
        "Take an alias away from the version that has it",
        body=(Parameter(name="alias", type="text", required=True, description="which alias"), _REASON),
        answer="RegisteredModel",
    ),
    _edit(
        "PUT",
        f"{_MODEL}/stages",
        models.set_stages,
        "Say which stages the versions of a model go through",
        body=(
            Parameter(
                name="stages",
                type="texts",
                required=True,
                max_items=50,
                description="in order: versions begin in the first and end in the last",
            ),
        ),
        answer="RegisteredModel",
    ),
    _edit(
        "PUT",
        f"{_MODEL}/approvals-needed",
        models.require_approvals,
        "Say how many people have to approve a version before a stage",
        body=(
            _STAGE,
            Parameter(name="count", type="integer", required=True, minimum=0, maximum=100, description="how many"),
        ),
        answer="RegisteredModel",
    ),
    _edit(
        "POST",
        f"{_VERSION}/approvals",
        models.approve,
        "Approve a version before a stage, ask for that, or refuse it",
        name="approve_version",
        description="In the name of whoever asks.",
        body=(
            _STAGE,
            Parameter(name="verdict", type="text", default=APPROVED, choices=VERDICTS, description="what is said"),
            Parameter(name="reason", type="text", max_length=MAX_MESSAGE, description="why; needed to reject"),
        ),
        answer="Approval",
        status=201,
    ),
)

MODEL_ROUTES = (*_READING, *_CHANGING)
