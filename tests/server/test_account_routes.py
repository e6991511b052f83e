"""The routes of accounts as the OpenAPI document of the server describes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from modeldb_core.plugins import PluginManager
from modeldb_core.stores import MetadataStore
from modeldb_server import ServerSettings, create_app
from tests.server.test_accounts import ADMIN, PASSWORD, Team, basic, place, store, team

__all__ = ["place", "store", "team"]
SESSION = "/api/v2/session"


@pytest.fixture
def document(team: Team) -> dict[str, Any]:
    document: dict[str, Any] = team.ask("/api/v2/openapi.json", name=ADMIN).json
    return document


@pytest.fixture
def app_with_openid(store: MetadataStore, artifacts: Any, tmp_path: Path) -> Iterator[Any]:
    settings = ServerSettings(
        port=0,
        accounts=f"sqlite:///{tmp_path}/a.db",
        oidc_issuer="https://id.invalid",
        oidc_client_id="modeldb",
        oidc_client_secret="of the client",
        tokens=("ada:a-token-of-ada-here",),
    )
    app = create_app(store, artifacts, settings, plugins=PluginManager())
    yield app
    app.extensions["modeldb_server"].close()


def test_the_document_has_every_route_of_the_server_that_asks(app_with_openid: Any, document: dict[str, Any]) -> None:
    headers = {"Authorization": "Bearer a-token-of-ada-here"}
    answer = app_with_openid.test_client().get(
        "/api/v2/openapi.json", headers=headers, base_url="http://127.0.0.1:5000"
    )
    openapi_spec_validator.validate(answer.json)
    described = {
        (verb.upper(), path, operation["operationId"])
        for path, operations in answer.json["paths"].items()
        for verb, operation in operations.items()
    }
    rules = {
        (verb, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), rule.endpoint.removeprefix("api."))
        for rule in app_with_openid.url_map.iter_rules()
        for verb in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == rules
    assert set(answer.json["paths"]) - set(document["paths"]) == {f"{SESSION}/oidc", f"{SESSION}/oidc/callback"}


def test_answers_of_accounts_are_what_the_document_says(team: Team, document: dict[str, Any]) -> None:
    root = team.accounts.directory().named(ADMIN)
    assert root is not None
    team.accounts.set_password(root, PASSWORD)
    signed, told = basic(ADMIN, PASSWORD), {"Origin": "http://127.0.0.1:5000"}
    members = f"/api/v2/workspaces/{team.seen.workspace}/members"
    team.add_user("ada")
    registry: Registry[Any] = Registry().with_resource(
        "urn:api", Resource.from_contents(document, default_specification=DRAFT202012)
    )
    seen = set()

    def check(verb: str, path: str, template: str = "", **body: Any) -> Any:
        options = {"json": body} if body else {}
        answer = team.ask(path, verb, headers={**signed, **told}, **options)
        operation = document["paths"][template or path][verb.lower()]
        content = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
        content = {"$ref": f"urn:api{content['$ref']}"}
        assert answer.status_code in (200, 201), answer.text
        assert [
            error.message for error in Draft202012Validator(content, registry=registry).iter_errors(answer.json)
        ] == []
        seen.add(operation["operationId"])
        return answer.json

    check("GET", SESSION)
    check("POST", SESSION, user=ADMIN, password=PASSWORD)
    made = check("POST", f"{SESSION}/tokens", name="one", days=1.5)
    assert set(check("GET", f"{SESSION}/tokens")["items"][-1]) == set(made) - {"token"}
    check("DELETE", f"{SESSION}/tokens/{made['token_id']}", f"{SESSION}/tokens/{{token_id}}")
    for kind, where in (("workspace", team.seen.workspace), ("project", team.seen.project)):
        members, template = f"/api/v2/{kind}s/{where}/members", f"/api/v2/{kind}s/{{entity_id}}/members"
        check("PUT", members, template, name="ada", role="reader")
        assert check("GET", members, template)["items"]
        check("PUT", members, template, name="ada", role="")
    check("PUT", f"{SESSION}/password", password=PASSWORD, new_password=f"{PASSWORD} 2")
    signed = basic(ADMIN, f"{PASSWORD} 2")
    check("DELETE", SESSION)
    tagged = {
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
        if operation["tags"] == ["accounts"]
    }
    assert seen == tagged
