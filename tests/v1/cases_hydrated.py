"""The hydrated calls: what others answer, with who it belongs to and what may be done with it."""

from __future__ import annotations

from typing import Any

from tests.v1.cases import CASES, Case
from tests.v1.cases_access import name_of, organization, team
from tests.v1.world import World

HYDRATED = "HydratedService."


def of_run(world: World, **fields: Any) -> tuple[str, str, str]:
    """Return the identifiers of a new run and of what it is part of."""
    project_id = world.project()
    experiment_id = world.experiment(project_id)
    return project_id, experiment_id, world.run(experiment_id, **fields)


def is_hydrated(field: str) -> Any:
    def check(world: World, answer: dict[str, Any]) -> None:
        del world
        found = answer[field]
        for each in found if isinstance(found, list) else [found]:
            assert each["owner_user_info"]["verta_info"]["username"] == "ada"
            assert {"READ", "DELETE"} <= {action["modeldb_service_action"] for action in each["allowed_actions"]}

    return check


def within(world: World) -> dict[str, Any]:
    """Return what names an organization that has a project and a data set."""
    org_id = organization(world)
    name = name_of(world, "OrganizationService.getOrganizationById", "organization", org_id=org_id)
    world.project(workspace_name=name)
    world.dataset(workspace_name=name)
    return {"id": org_id}


def of_team(world: World) -> dict[str, Any]:
    """Return what names a team with a role in such an organization."""
    org_id = within(world)["id"]
    team_id = team(world, org_id)
    said = {"role_id": "reader", "entities": [{"team_ids": [team_id]}], "scope": {"org_id": org_id}}
    world.make("RoleService.setRoleBinding", role_binding=said)
    return {"id": team_id}


def keyless(world: World) -> dict[str, Any]:
    """Return a search by a field that is not named."""
    del world
    return {"predicates": [{"operator": "EQ"}]}


def run_of_dataset(world: World) -> dict[str, Any]:
    version_id = world.dataset_version()
    dataset = {
        "key": "train",
        "path": "x",
        "path_only": True,
        "artifact_type": "DATA",
        "linked_artifact_id": version_id,
    }
    return {"project_id": of_run(world, datasets=[dataset])[0]}


CASES |= {
    f"{HYDRATED}getHydratedProjects": Case(
        lambda w: {"page_number": 1, "page_limit": 1} if w.project() else {},
        missing_code=None,
        bad_code=None,
        check=is_hydrated("hydrated_projects"),
    ),
    f"{HYDRATED}getHydratedPublicProjects": Case(
        lambda w: {"page_number": 1, "page_limit": 1} if w.project(project_visibility="PUBLIC") else {},
        missing_code=None,
        bad_code=None,
        check=is_hydrated("hydrated_projects"),
    ),
    f"{HYDRATED}getHydratedProjectById": Case(lambda w: {"id": w.project()}, check=is_hydrated("hydrated_project")),
    f"{HYDRATED}findHydratedProjects": Case(
        lambda w: {"project_ids": [w.project()]},
        missing_code=7,
        bad=keyless,
        check=is_hydrated("hydrated_projects"),
    ),
    f"{HYDRATED}findHydratedPublicProjects": Case(
        lambda w: {"project_ids": [w.project(project_visibility="PUBLIC")]},
        missing_code=7,
        bad=keyless,
        check=is_hydrated("hydrated_projects"),
    ),
    f"{HYDRATED}findHydratedProjectsByUser": Case(
        lambda w: {"username": "ada", "find_projects": {"project_ids": [w.project()]}},
        missing=lambda w: {"username": w.name()},
        check=is_hydrated("hydrated_projects"),
    ),
    f"{HYDRATED}findHydratedProjectsByOrganization": Case(within, check=is_hydrated("hydrated_projects")),
    f"{HYDRATED}findHydratedProjectsByTeam": Case(of_team, check=is_hydrated("hydrated_projects")),
    f"{HYDRATED}getHydratedExperimentsByProjectId": Case(
        lambda w: {"project_id": of_run(w)[0]}, check=is_hydrated("hydrated_experiments")
    ),
    f"{HYDRATED}findHydratedExperiments": Case(
        lambda w: {"experiment_ids": [w.experiment()]},
        missing_code=7,
        bad=keyless,
        check=is_hydrated("hydrated_experiments"),
    ),
    f"{HYDRATED}getHydratedExperimentRunsInProject": Case(
        lambda w: {"project_id": of_run(w)[0]}, check=is_hydrated("hydrated_experiment_runs")
    ),
    f"{HYDRATED}getHydratedExperimentRunById": Case(
        lambda w: {"id": w.run()}, check=is_hydrated("hydrated_experiment_run")
    ),
    f"{HYDRATED}findHydratedExperimentRuns": Case(
        lambda w: {"experiment_run_ids": [w.run()]}, missing_code=7, check=is_hydrated("hydrated_experiment_runs")
    ),
    f"{HYDRATED}sortHydratedExperimentRuns": Case(
        lambda w: {"experiment_run_ids": [w.run()], "sort_key": "metrics.loss"},
        missing_code=7,
        check=is_hydrated("hydrated_experiment_runs"),
    ),
    f"{HYDRATED}getTopHydratedExperimentRuns": Case(
        lambda w: {"project_id": of_run(w)[0], "sort_key": "metrics.loss", "top_k": 2},
        check=is_hydrated("hydrated_experiment_runs"),
    ),
    f"{HYDRATED}findHydratedDatasets": Case(
        lambda w: {"dataset_ids": [w.dataset()]},
        missing_code=7,
        bad=keyless,
        check=is_hydrated("hydrated_datasets"),
    ),
    f"{HYDRATED}findHydratedPublicDatasets": Case(
        lambda w: {"dataset_ids": [w.dataset(dataset_visibility="PUBLIC")]},
        missing_code=7,
        bad=keyless,
        check=is_hydrated("hydrated_datasets"),
    ),
    f"{HYDRATED}findHydratedDatasetsByOrganization": Case(within, check=is_hydrated("hydrated_datasets")),
    f"{HYDRATED}findHydratedDatasetsByTeam": Case(of_team, check=is_hydrated("hydrated_datasets")),
    f"{HYDRATED}getHydratedDatasetByName": Case(
        lambda w: {"name": w.make("DatasetService.getDatasetById", id=w.dataset())["dataset"]["name"]},
        missing=lambda w: {"name": w.name()},
        check=is_hydrated("hydrated_dataset_by_user"),
    ),
    f"{HYDRATED}getHydratedDatasetsByProjectId": Case(run_of_dataset, check=is_hydrated("hydrated_datasets")),
    f"{HYDRATED}findHydratedDatasetVersions": Case(
        lambda w: {"dataset_version_ids": [w.dataset_version()]},
        missing_code=7,
        bad=keyless,
        check=is_hydrated("hydrated_dataset_versions"),
    ),
}
