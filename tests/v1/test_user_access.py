"""Users, organizations, teams, roles and collaborators of a server with accounts, as v1 clients tell and alter them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modeldb_core.commands import people
from tests.v1.world import Reply, World, running_world

READ = [{"service": "MODELDB_SERVICE", "modeldb_service_action": "READ"}]
UPDATE = [{"service": "MODELDB_SERVICE", "modeldb_service_action": "UPDATE"}]
ACCESS = "CollaboratorService.addOrUpdateProjectCollaborator"
OK, INVALID, MISSING, DENIED, UNKNOWN = 0, 3, 5, 7, 16


class Office:
    """A server with an administrator, and whom they let in."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.accounts: Any = world.server.context.accounts
        self.tokens: dict[str, str] = {}
        made = people.create_user(world.server.context.whole_store, "root", is_admin=True)
        self.accounts.execute(made, "root")
        self.let_in("root", made.entity_id)

    def let_in(self, name: str, user_id: str) -> None:
        user = self.accounts.directory().users[user_id]
        self.tokens[name] = self.accounts.create_token(user, name="test", created_by="root")[0]

    def hire(self, name: str) -> str:
        info = {"email": f"{name}@example.org", "verta_info": {"username": name}}
        user_id = self.ask("root", "UACService.createUser", info=info).data["info"]["user_id"]
        self.let_in(name, user_id)
        return str(user_id)

    def ask(self, who: str, call: str, /, **arguments: Any) -> Reply:
        """Make a call over gRPC in somebody's name."""
        return self.world.over_grpc(call, arguments, self.tokens[who])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    url = f"sqlite:///{folder}/accounts.db"
    with running_world(folder, accounts=url, tokens=(), read_tokens=(), scopes=()) as world:
        yield Office(world)


def resources(project_id: str) -> list[dict[str, Any]]:
    of = {"service": "MODELDB_SERVICE", "modeldb_service_resource_type": "PROJECT"}
    return [{**of, "resource_ids": [project_id]}]


def test_roles_that_v1_clients_give_hold_over_http_and_grpc(office: Office) -> None:
    ada, bob = office.hire("ada"), office.hire("bob")
    org = office.ask("root", "OrganizationService.setOrganization", organization={"name": "lab"}).data["organization"]
    binding = {"role_id": "admin", "entities": [{"user_ids": [ada]}], "scope": {"org_id": org["id"]}}
    assert office.ask("root", "RoleService.setRoleBinding", role_binding=binding).code == OK
    made = office.ask("ada", "ProjectService.createProject", name="churn", workspace_name="lab")
    project = {"id": made.data["project"]["id"]}

    def bob_may() -> tuple[int, int]:
        looked = office.ask("bob", "ProjectService.getProjectById", **project).code
        assert office.world.over_http("ProjectService.getProjectById", project, office.tokens["bob"]).code == looked
        return looked, office.ask("bob", "ProjectService.updateProjectDescription", **project, description="b").code

    def share(kind: str) -> int:
        given = {"entity_ids": [project["id"]], "share_with": "bob@example.org", "collaborator_type": kind}
        return office.ask("ada", ACCESS, **given).code

    assert bob_may() == (MISSING, DENIED) or bob_may() == (MISSING, MISSING)
    assert share("READ_ONLY") == OK
    assert bob_may() == (OK, DENIED)
    of_bob = {"entities": [{"user_ids": [bob]}], "resources": resources(project["id"])}
    assert office.ask("ada", "AuthzService.isAllowed", **of_bob, actions=READ).data == {"allowed": True}
    assert office.ask("ada", "AuthzService.isAllowed", **of_bob, actions=UPDATE).data == {}
    assert office.ask("bob", "AuthzService.isSelfAllowed", resources=of_bob["resources"], actions=UPDATE).data == {}
    mine = office.ask("bob", "HydratedService.getHydratedProjectById", **project).data["hydrated_project"]
    assert [each["modeldb_service_action"] for each in mine["allowed_actions"]] == ["READ", "PUBLIC_READ"]
    assert mine["owner_user_info"]["email"] == "ada@example.org"
    assert "collaborator_user_infos" not in mine  # who has which role is told to those who give them
    hers = office.ask("ada", "HydratedService.getHydratedProjectById", **project).data["hydrated_project"]
    assert hers["collaborator_user_infos"][0]["collaborator_user_info"]["user_id"] == bob
    assert share("READ_WRITE") == OK
    assert bob_may() == (OK, OK)
    gone = {"entity_id": project["id"], "share_with": bob}
    assert office.ask("bob", "CollaboratorService.removeProjectCollaborator", **gone).code == DENIED
    assert office.ask("ada", "CollaboratorService.removeProjectCollaborator", **gone).code == OK
    assert bob_may()[0] == MISSING


def test_a_role_of_a_team_is_that_of_its_members_as_long_as_there_is_the_team(office: Office) -> None:
    eve, dan = office.hire("eve"), office.hire("dan")
    org = office.ask("root", "OrganizationService.setOrganization", organization={"name": "plant"}).data["organization"]
    binding = {"role_id": "admin", "entities": [{"user_ids": [eve]}], "scope": {"org_id": org["id"]}}
    office.ask("root", "RoleService.setRoleBinding", role_binding=binding)
    project = office.ask("eve", "ProjectService.createProject", name="drift", workspace_name="plant").data["project"]
    team = office.ask("eve", "TeamService.setTeam", team={"org_id": org["id"], "name": "night"}).data["team"]
    assert office.ask("dan", "TeamService.addUser", team_id=team["id"], share_with=dan).code == MISSING
    assert office.ask("eve", "TeamService.addUser", team_id=team["id"], share_with="dan").code == OK
    given = {"entity_ids": [project["id"]], "share_with": team["id"], "authz_entity_type": "TEAM"}
    assert office.ask("eve", ACCESS, **given).data["collaborator_team"]["name"] == "night"
    assert office.ask("dan", "TeamService.listMyTeams").data["teams"][0]["id"] == team["id"]
    assert office.ask("dan", "ProjectService.getProjectById", id=project["id"]).code == OK
    assert office.ask("dan", "TeamService.deleteTeam", team_id=team["id"]).code in (DENIED, MISSING)
    assert office.ask("eve", "TeamService.deleteTeam", team_id=team["id"]).code == OK
    assert office.ask("dan", "ProjectService.getProjectById", id=project["id"]).code == MISSING


def test_only_an_administrator_makes_users_and_a_deleted_one_is_let_in_no_longer(office: Office) -> None:
    kim = office.hire("kim")
    assert office.ask("kim", "UACService.getCurrentUser").data["verta_info"]["username"] == "kim"
    assert office.ask("kim", "UACService.getUser", email="root@example.org").code == MISSING
    for call, arguments in (
        ("UACService.createUser", {"info": {"verta_info": {"username": "mallory"}}}),
        ("UACService.updateUser", {"info": {"user_id": kim, "full_name": "Kim"}}),
        ("UACService.deleteUser", {"user_id": kim}),
        ("OrganizationService.setOrganization", {"organization": {"name": "mine"}}),
        ("AuthzService.getAllowedResources", {"entities": [{"user_ids": [office.hire("lee")]}], "actions": READ}),
    ):
        assert office.ask("kim", call, **arguments).code == DENIED, call
    assert office.ask("root", "UACService.updateUser", info={"user_id": kim}, password="a").code == INVALID
    assert office.ask("root", "UACService.deleteUser", user_id=kim).code == OK
    assert office.ask("kim", "UACService.getCurrentUser").code == UNKNOWN
    assert office.ask("root", "UACService.createUser", info={"verta_info": {"username": "kim"}}).code == 6


def test_a_deleted_user_is_allowed_nothing_though_they_had_a_role(office: Office) -> None:
    pat = office.hire("pat")
    project_id = office.ask("root", "ProjectService.createProject", name="left").data["project"]["id"]
    office.ask("root", ACCESS, entity_ids=[project_id], share_with="pat")
    asked = {"actions": READ, "resources": resources(project_id)}

    def allowed() -> tuple[bool, ...]:
        one = {"entities": [{"user_ids": [pat]}], "actions": READ}
        may = office.ask("root", "AuthzService.isAllowed", **asked, entities=one["entities"]).data == {"allowed": True}
        (users,) = office.ask("root", "AuthzService.getAllowedEntities", **asked).data["entities"]
        calls = ("AuthzService.getAllowedResources", "AuthzService.getDireclyAllowedResources")
        found = [office.ask("root", call, **one).data["resources"][0].get("resource_ids", []) for call in calls]
        return may, pat in users["user_ids"], *(project_id in each for each in found)

    assert allowed() == (True, True, True, True)
    assert office.ask("root", "UACService.deleteUser", user_id=pat).code == OK
    assert allowed() == (False, False, False, False)


def test_a_server_that_asks_nobody_has_one_user_whom_any_address_means(tmp_path: Any) -> None:
    with running_world(tmp_path, tokens=(), read_tokens=(), scopes=(), actor="grace") as world:
        for named in ({"email": "who@example.org"}, {"username": "grace"}):
            answer = world.over_http("UACService.getUser", named, "").data
            assert answer["verta_info"]["username"] == "grace"
        assert world.over_http("UACService.getUser", {"username": "ada"}, "").code == MISSING
        assert world.over_http("OrganizationService.getOrganizationByName", {"org_name": "x"}, "").code == MISSING


def test_users_are_at_home_in_their_own_workspace_whatever_others_share_with_them(office: Office) -> None:
    """A client that names no workspace goes on when its user gets a role elsewhere: on a workspace, or on a project."""
    gus, hal = office.hire("gus"), office.hire("hal")
    office.ask("root", "OrganizationService.setOrganization", organization={"name": "shop"})
    shop = office.ask("root", "OrganizationService.getOrganizationByName", org_name="shop").data["organization"]["id"]
    binding = {"role_id": "contributor", "entities": [{"user_ids": [gus]}], "scope": {"org_id": shop}}
    assert office.ask("root", "RoleService.setRoleBinding", role_binding=binding).code == OK
    shared = office.ask("gus", "ProjectService.createProject", name="shared", workspace_name="shop").data["project"]
    given = {"entity_ids": [shared["id"]], "share_with": "hal@example.org", "collaborator_type": "READ_ONLY"}
    assert office.ask("root", ACCESS, **given).code == OK
    for who, user_id in (("gus", gus), ("hal", hal)):
        office.ask(who, "ProjectService.createProject", name="shared")
        found = office.ask(who, "ProjectService.getProjectByName", name="shared").data
        assert found["project_by_user"]["workspace_id"] == user_id
        assert [each["id"] for each in found["shared_projects"]] == [shared["id"]]
        made = office.ask(who, "DatasetService.createDataset", name="data").data
        assert made["dataset"]["workspace_id"] == user_id
