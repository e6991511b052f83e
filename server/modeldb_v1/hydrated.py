"""Hydrated calls: what others answer, together with who it belongs to, who works on it, and what who asks may do with it.

Each is another call, named in a table; :class:`_Hydration` adds what it lacks, by one query for each kind of thing however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modeldb_core.errors import InvalidArgumentError
from modeldb_core.model.access import PUBLIC
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query, condition
from modeldb_server.routes import Policy
from modeldb_v1.access.authorization import my_role
from modeldb_v1.access.collaborators import collaborators, fill_collaborator
from modeldb_v1.access.people import directory_of, fill_user, organization_of, team_of, user_of
from modeldb_v1.access.roles import add_actions
from modeldb_v1.calls import DECLARED, declare
from modeldb_v1.comments import fill_comment
from modeldb_v1.kinds import all_found, found, required
from modeldb_v1.messages import fill
from modeldb_v1.schema import enum_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from modeldb_core.model.entities import Entity
    from modeldb_server.accounts.directory import Directory
    from modeldb_server.context import ServerContext
    from modeldb_v1.calls import Answer
    from modeldb_v1.schema import Fields

_PAGE = 500
_EQ = enum_values("OperatorEnum.Operator")["EQ"]


@dataclass
class _Hydration:
    """Adds to the messages of one answer.

    Attributes:
        context: of the server.
        kind: of the entities in the answer.
        ids: of all of them.
    """

    context: ServerContext
    kind: str
    ids: list[str]

    @cached_property
    def directory(self) -> Directory:
        return directory_of(self.context)

    @cached_property
    def entities(self) -> Mapping[str, Entity]:
        return {each.entity_id: each for each in self._find(self.kind, "entity_id", self.ids)}

    @cached_property
    def comments(self) -> Mapping[str, list[Entity]]:
        found_by: dict[str, list[Entity]] = {}
        for each in self._find("comment", "parent_id", self.ids):
            found_by.setdefault(each.document["parent_id"], []).append(each)
        return found_by

    @cached_property
    def experiments(self) -> Mapping[str, Entity]:
        ids = dict.fromkeys(str(each.document.get("experiment_id") or "") for each in self.entities.values())
        return {each.entity_id: each for each in self._find("experiment", "entity_id", [one for one in ids if one])}

    def _find(self, kind: str, name: str, ids: list[str]) -> Iterator[Entity]:
        for start in range(0, len(ids), _PAGE):
            these = condition(f"{name} in ?", ids[start : start + _PAGE])
            yield from pages(self.context.store, Query(kind, these, order_by="created_at"))

    def fill(self, message: Fields, inner: str, source: Fields) -> None:
        """Write a message and what belongs to it into a hydrated one.

        Args:
            message: the hydrated one.
            inner: the field that holds the other.
            source: the other, as its own call answers it.
        """
        getattr(message, inner).CopyFrom(source)
        entity = self.entities.get(source.id)
        if entity is None:
            return
        fields = message.DESCRIPTOR.fields_by_name
        if entity.owner:
            self._fill_owner(message.owner_user_info, entity.owner)
        add_actions(message.allowed_actions, my_role(self.context, entity))
        if "collaborator_user_infos" in fields and entity.KIND == "project":
            for grant in collaborators(self.context, self.directory, entity.entity_id, entity.workspace_id):
                fill_collaborator(message.collaborator_user_infos.add(), self.directory, grant)
        if "comments" in fields:
            for each in self.comments.get(entity.entity_id, ()):
                fill_comment(message.comments.add(), each)
        if entity.KIND == "run":
            experiment = self.experiments.get(str(entity.document.get("experiment_id")))
            if experiment is not None:
                fill(self.context, message.experiment, experiment)

    def _fill_owner(self, message: Fields, name: str) -> None:
        user = self.directory.named(name)
        if user is not None:
            fill_user(message, user)
        else:  # a name by which somebody recorded things without an account
            message.user_id = message.full_name = message.verta_info.username = name


def _hydrated(inner_name: str, prepare: Callable[[ServerContext, Fields, Fields], bool | None] | None = None) -> Answer:
    """Return the answer of a hydrated call.

    Args:
        inner_name: the call whose answer is hydrated; it takes the fields of the same names.
        prepare: alters the request of that call, by the one of this; false: nothing is to be found.
    """

    def call(context: ServerContext, request: Fields, response: Fields) -> None:
        inner = DECLARED[inner_name]
        asked, answer = inner.call.request(), inner.call.response()
        for descriptor, value in request.ListFields():
            if descriptor.name in asked.DESCRIPTOR.fields_by_name:
                _copy(asked, descriptor.name, value)
        if prepare is not None and prepare(context, request, asked) is False:
            return
        inner.answer(context, asked, answer)
        _fill_answer(context, response, answer)

    return call


def _copy(message: Fields, name: str, value: Any) -> None:  # noqa: ANN401 - of the field's type
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    if descriptor.is_repeated:
        getattr(message, name).extend(value)
    elif descriptor.message_type is not None:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def _fill_answer(context: ServerContext, response: Fields, answer: Fields) -> None:
    """Write the hydrated form of another call's answer. Fields correspond in order: one or several, those shared, a count."""
    fields = [each for each in response.DESCRIPTOR.fields if each.message_type is not None]
    others = [each for each in answer.DESCRIPTOR.fields if each.message_type is not None]
    inner = next(each.name for each in fields[0].message_type.fields if each.message_type is others[0].message_type)
    sources = [_messages(answer, each) for each in others]
    kind = "run" if inner == "experiment_run" else inner
    hydration = _Hydration(context, kind, [each.id for some in sources for each in some])
    for target, some in zip(fields, sources, strict=True):
        for source in some:
            message = getattr(response, target.name)
            hydration.fill(message.add() if target.is_repeated else message, inner, source)
    if "total_records" in response.DESCRIPTOR.fields_by_name:
        has_count = "total_records" in answer.DESCRIPTOR.fields_by_name
        response.total_records = answer.total_records if has_count else sum(map(len, sources))


def _messages(answer: Fields, descriptor: Any) -> list[Any]:  # noqa: ANN401 - a descriptor
    value = getattr(answer, descriptor.name)
    if descriptor.is_repeated:
        return list(value)
    return [value] if answer.HasField(descriptor.name) else []


# -- which call each is -----------------------------------------------------------------------------------------------


def _where(key: str, value: str, asked: Fields) -> None:
    asked.predicates.add(key=key, operator=_EQ).value.string_value = value


def _public(key: str) -> Callable[[ServerContext, Fields, Fields], None]:
    def prepare(context: ServerContext, request: Fields, asked: Fields) -> None:
        del context, request
        _where(key, PUBLIC, asked)

    return prepare


def _of_user(context: ServerContext, request: Fields, asked: Fields) -> None:
    named = request.email or request.username or request.verta_id
    if not named:
        msg = "email, username and verta_id are all missing; one says whose projects are meant"
        raise InvalidArgumentError(msg)
    asked.CopyFrom(request.find_projects)
    _where("owner", user_of(context, directory_of(context), named, by_email=bool(request.email)).name, asked)


def _of_organization(field_name: str) -> Callable[[ServerContext, Fields, Fields], None]:
    def prepare(context: ServerContext, request: Fields, asked: Fields) -> None:
        asked.CopyFrom(getattr(request, field_name))
        asked.workspace_name = _organization_name(context, request.id, request.name)

    return prepare


def _organization_name(context: ServerContext, org_id: str, name: str) -> str:
    directory = directory_of(context)
    if org_id:
        return organization_of(context, directory, org_id).name
    if not name:
        msg = "id and name are both missing; one says which organization is meant"
        raise InvalidArgumentError(msg)
    organization = DECLARED["OrganizationService.getOrganizationByName"]
    answer: Fields = organization.call.response()
    organization.answer(context, organization.call.request(org_name=name), answer)
    return str(answer.organization.name)


def _of_team(field_name: str, ids: str) -> Callable[[ServerContext, Fields, Fields], bool]:
    """Return what restricts a search to what a team has a role on: projects, or data sets of its organization."""

    def prepare(context: ServerContext, request: Fields, asked: Fields) -> bool:
        directory = directory_of(context)
        asked.CopyFrom(getattr(request, field_name))
        if request.id:
            team = team_of(context, directory, request.id)
        else:
            name, org_id = required(request, "name"), required(request, "org_id")
            found(context, "workspace", org_id)
            same = [each for each in directory.teams.values() if (each.name, each.organization_id) == (name, org_id)]
            team = team_of(context, directory, same[0].entity_id if same else name)
        asked.workspace_name = context.store.get("workspace", team.organization_id).name
        places = {each.place_id for each in directory.grants if each.holder_id == team.entity_id}
        if team.organization_id in places:
            return True
        wanted = set(getattr(asked, ids)) or places
        del getattr(asked, ids)[:]
        getattr(asked, ids).extend(sorted(wanted & places))
        return ids == "project_ids" and bool(wanted & places)

    return prepare


def _of_project(context: ServerContext, request: Fields, asked: Fields) -> bool:
    """Restrict a search to the data sets that runs of a project used."""
    all_found(context, "project", [required(request, "project_id")])
    used: set[str] = set()
    for run in pages(
        context.store, Query("run", condition("project_id = ?", request.project_id), fields=("datasets",))
    ):
        for entry in (run.document.get("datasets") or {}).values():
            used.add(str(entry.get("dataset_version_id") or entry.get("linked_artifact_id") or ""))
    versions = _Hydration(context, "dataset_version", sorted(used - {""})).entities
    asked.dataset_ids.extend(sorted({str(each.document["dataset_id"]) for each in versions.values()}))
    return bool(asked.dataset_ids)


_CALLS: Mapping[str, tuple[str, Callable[[ServerContext, Fields, Fields], bool | None] | None]] = MappingProxyType(
    {
        "getHydratedProjects": ("ProjectService.getProjects", None),
        "getHydratedPublicProjects": ("ProjectService.findProjects", _public("project_visibility")),
        "getHydratedProjectById": ("ProjectService.getProjectById", None),
        "findHydratedProjects": ("ProjectService.findProjects", None),
        "findHydratedPublicProjects": ("ProjectService.findProjects", _public("project_visibility")),
        "findHydratedProjectsByUser": ("ProjectService.findProjects", _of_user),
        "findHydratedProjectsByOrganization": ("ProjectService.findProjects", _of_organization("find_projects")),
        "findHydratedProjectsByTeam": ("ProjectService.findProjects", _of_team("find_projects", "project_ids")),
        "getHydratedExperimentsByProjectId": ("ExperimentService.getExperimentsInProject", None),
        "findHydratedExperiments": ("ExperimentService.findExperiments", None),
        "getHydratedExperimentRunsInProject": ("ExperimentRunService.getExperimentRunsInProject", None),
        "getHydratedExperimentRunById": ("ExperimentRunService.getExperimentRunById", None),
        "findHydratedExperimentRuns": ("ExperimentRunService.findExperimentRuns", None),
        "sortHydratedExperimentRuns": ("ExperimentRunService.sortExperimentRuns", None),
        "getTopHydratedExperimentRuns": ("ExperimentRunService.getTopExperimentRuns", None),
        "findHydratedDatasets": ("DatasetService.findDatasets", None),
        "findHydratedPublicDatasets": ("DatasetService.findDatasets", _public("dataset_visibility")),
        "findHydratedDatasetsByOrganization": ("DatasetService.findDatasets", _of_organization("find_datasets")),
        "findHydratedDatasetsByTeam": ("DatasetService.findDatasets", _of_team("find_datasets", "dataset_ids")),
        "getHydratedDatasetByName": ("DatasetService.getDatasetByName", None),
        "getHydratedDatasetsByProjectId": ("DatasetService.findDatasets", _of_project),
        "findHydratedDatasetVersions": ("DatasetVersionService.findDatasetVersions", None),
    }
)

for _name, (_inner, _prepare) in _CALLS.items():
    declare(f"HydratedService.{_name}", Policy.READ, _hydrated(_inner, _prepare))
