"""The table of routes: its policies, its documentation, its checks, and its errors."""

from __future__ import annotations

import inspect
from typing import Any

import openapi_spec_validator
import pytest
from flask import Blueprint, Flask
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from modeldb_core import errors as core_errors
from modeldb_core.errors import ConfigurationError, ModelDBError
from modeldb_core.hookspecs import hookimpl
from modeldb_core.plugins import PluginManager
from modeldb_server import ServerSettings, create_app
from modeldb_server.api import api_document, routes, served_kinds
from modeldb_server.arguments import split_names
from modeldb_server.errors import STATUS
from modeldb_server.responses import JSON
from modeldb_server.routes import Policy
from modeldb_server.security import POLICIES

BASE = "http://127.0.0.1:5000"


def all_codes() -> set[str]:
    return {
        item.code for item in vars(core_errors).values() if inspect.isclass(item) and issubclass(item, ModelDBError)
    }


def schema_errors(name: str, document: Any) -> list[str]:
    resource = Resource.from_contents(api_document(), default_specification=DRAFT202012)
    registry: Any = Registry().with_resource("urn:api", resource)
    validator = Draft202012Validator({"$ref": f"urn:api#/components/schemas/{name}"}, registry=registry)
    return [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(document)]


# -- policies and documentation ---------------------------------------------------------------------------------------


def test_every_route_has_a_policy_and_every_api_route_is_documented(app: Flask) -> None:
    documented = {
        (method.upper(), path): operation
        for path, operations in api_document()["paths"].items()
        for method, operation in operations.items()
    }
    seen = 0
    for rule in app.url_map.iter_rules():
        policy = app.extensions[POLICIES].get(rule.endpoint)
        assert isinstance(policy, Policy), f"{rule.rule} has no policy"
        path = rule.rule.replace("<", "{").replace(">", "}")
        for method in set(rule.methods or ()) - {"HEAD", "OPTIONS"}:
            operation = documented[method, path]
            assert operation["x-modeldb-policy"] == policy.value
            assert operation["summary"]
            assert all(item["description"] for item in operation["parameters"])
            seen += 1
    assert seen == len(documented) == len(routes())


def test_routes_of_installed_plugins_have_a_policy_too(filled: Any, settings: ServerSettings) -> None:
    app = create_app(filled.store, filled.artifacts, settings)
    rules = list(app.url_map.iter_rules())
    assert any(rule.endpoint.startswith("modeldb_webui.") for rule in rules), "the web pages are not there"
    for rule in rules:
        policy = app.extensions[POLICIES].get(rule.endpoint)
        # Of the v1 API a rule leads to many calls; tests/v1 tries who may make each.
        assert isinstance(policy, Policy) or (rule.endpoint in ("v1.call", "v1_grpc.call") and callable(policy)), (
            rule.rule
        )


def test_handlers_take_exactly_what_the_table_gives() -> None:
    for route in routes():
        parameters = inspect.signature(route.handler).parameters
        wanted = {name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD} - {"context"}
        variables = {part.strip("<>") for part in route.path.split("/") if part.startswith("<")}
        given = variables | set(route.fixed) | {item.name for item in (*route.parameters, *route.body)}
        given |= {"content"} if route.body_type != JSON else set()
        takes_more = len(wanted) + 1 < len(parameters)  # fields of a kind, as it declares them
        assert wanted <= given if takes_more else given == wanted, route.name


def test_the_openapi_document_is_valid_and_served(client: Any) -> None:
    document = client.get("/api/v2/openapi.json")
    assert document == api_document()
    openapi_spec_validator.validate(document)
    assert document["openapi"].startswith("3.1.")


def test_names_of_routes_are_unique() -> None:
    names = [route.name for route in routes()]
    assert len(set(names)) == len(names)


class _Plugin:
    def __init__(self, method: str, policy: str | None = None) -> None:
        self.method, self.policy = method, policy

    @hookimpl
    def modeldb_register_blueprints(self, app: Flask) -> None:
        def view() -> str:
            return "<p>page</p>"

        if self.policy:
            view.modeldb_policy = self.policy  # type: ignore[attr-defined]
        blueprint = Blueprint("extra", __name__)
        blueprint.add_url_rule("/extra", "page", view, methods=[self.method])
        app.register_blueprint(blueprint)


def app_with(filled: Any, plugin: _Plugin) -> Flask:
    plugins = PluginManager()
    plugins.add(plugin, "extra")
    return create_app(filled.store, filled.artifacts, ServerSettings(port=0), plugins=plugins)


def test_hook_test_modeldb_register_blueprints_adds_pages(filled: Any) -> None:
    app = app_with(filled, _Plugin("GET"))
    response = app.test_client().get("/extra", base_url=BASE)
    assert response.text == "<p>page</p>"
    assert app.extensions[POLICIES]["extra.page"] is Policy.READ
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]


def test_a_plugin_route_that_changes_something_must_state_its_policy(filled: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"/extra.*has no policy"):
        app_with(filled, _Plugin("POST"))
    app = app_with(filled, _Plugin("POST", "write"))
    assert app.test_client().post("/extra", base_url=BASE, json={}).status_code == 403
    sent = app.test_client().post("/extra", base_url=BASE, json={}, headers={"X-ModelDB": "1"})
    assert sent.status_code == 200


def test_a_route_that_appears_later_is_closed(app: Flask) -> None:
    app.add_url_rule("/late", "late", lambda: "late")
    assert app.test_client().get("/late", base_url=BASE).status_code == 403


# -- answers are what the document says -------------------------------------------------------------------------------


def test_answers_match_their_schemas(client: Any, filled: Any) -> None:
    run = f"/api/v2/runs/{filled.run_id}"
    answers = {
        "RunPage": "/api/v2/runs?count=1",
        "ProjectPage": "/api/v2/projects",
        "ExperimentPage": "/api/v2/experiments",
        "WorkspacePage": "/api/v2/workspaces",
        "Run": run,
        "Project": f"/api/v2/projects/{filled.project_id}",
        "Keys": "/api/v2/keys",
        "Groups": "/api/v2/groups?by=hyperparameters.depth&measures=metrics.loss,metrics.none",
        "Series": f"{run}/series?key=loss",
        "ArtifactPage": f"{run}/artifacts/index",
        "Preview": f"{run}/artifacts/preview?path=table.csv",
        "ChangePage": "/api/v2/changes",
        "Server": "/api/v2/server",
        "OpenAPI": "/api/v2/openapi.json",
        "Health": "/health",
    }
    for name, path in answers.items():
        assert schema_errors(name, client.get(path)) == [], name
    many = client.send(
        "POST", "/api/v2/series", {"series": [{"run_id": filled.run_id, "key": key} for key in ("loss", "no")]}
    )
    assert schema_errors("ManySeries", many) == []
    comment = client.send("POST", "/api/v2/comments", {"parent_id": filled.run_id, "message": "hm"}, 201)
    assert schema_errors("Comment", comment) == []
    assert schema_errors("Error", client.request("GET", "/api/v2/runs?filter=(").json) == []


# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("filtre=x", "'filtre' is unknown; known: filter"),
        ("limit=0", "limit is 0; expected 1 to 1,000"),
        ("limit=1001", "expected 1 to 1,000"),
        ("limit=ten", "expected a whole number"),
        ("limit=1e3", "expected a whole number"),
        ("limit=99999999999999999999999", "expected a whole number"),
        ("limit=٣", "expected a whole number"),
        ("limit=1&limit=2", "given 2 times"),
        ("count=maybe", "expected 1 or 0"),
        ("within=" + "a" * 1025, "1,025 characters"),
        ("within=a%00b", "NUL"),
        ("fields=" + ",".join(["name"] * 501), "501 items"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_was_expected(client: Any, query: str, hint: str) -> None:
    error = client.request("GET", f"/api/v2/runs?{query}")
    assert error.status_code == 400
    assert error.json["error"]["code"] == "invalid_argument"
    assert hint in error.json["error"]["message"]


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ([], "not a JSON object"),
        ({"parent_id": 3, "message": "x"}, "parent_id is of the wrong type; expected a text"),
        ({"message": "x"}, "parent_id is missing"),
        ({"parent_id": "", "message": "x"}, "parent_id is empty"),
        ({"parent_id": "x", "message": "x", "more": 1}, "'more' is unknown"),
        ({"parent_id": "x", "message": "a\0b"}, "NUL"),
        ({"parent_id": "x", "message": "x", "parent_kind": "token"}, "expected one of"),
    ],
)
def test_a_wrong_body_is_refused_with_what_was_expected(client: Any, body: Any, hint: str) -> None:
    answer = client.send("POST", "/api/v2/comments", body, 400)
    assert hint in answer["error"]["message"]


def test_a_body_that_is_not_json_is_refused(client: Any) -> None:
    headers = {"X-ModelDB": "1", "Content-Type": "application/json"}
    for data in (b"", b"{", b"NaN", b"\xff", b'{"message": "\\ud800"}'):
        response = client.request("POST", "/api/v2/comments", data=data, headers=headers)
        assert response.status_code == 400, data
        assert "not valid JSON" in response.json["error"]["message"]


def test_a_get_takes_no_body(client: Any) -> None:
    assert client.request("GET", "/api/v2/runs", data=b"{}").status_code == 400


def test_names_are_split_at_commas_outside_quotes() -> None:
    assert split_names('name, metrics."a,b" ,metrics.`c,d`,,') == ["name", 'metrics."a,b"', "metrics.`c,d`"]


# -- errors -----------------------------------------------------------------------------------------------------------


def test_every_error_code_has_a_status() -> None:
    assert set(STATUS) == all_codes()


def test_errors_of_http_itself_are_json_below_api_and_text_elsewhere(client: Any) -> None:
    for method, path, status, code in [
        ("GET", "/api/v2/nothing", 404, "not_found"),
        ("GET", "/api/nothing", 404, "not_found"),
        ("DELETE", "/api/v2/runs", 405, "method_not_allowed"),
    ]:
        response = client.request(method, path)
        assert (response.status_code, response.json["error"]["code"]) == (status, code)
    assert "GET" in client.request("DELETE", "/api/v2/runs").headers["Allow"]
    page = client.request("GET", "/nothing")
    assert (page.status_code, page.mimetype) == (404, "text/plain")


def test_a_query_error_names_its_column(client: Any) -> None:
    error = client.error("/api/v2/runs", 400, filter="metrics.auc >> 1")
    assert error["code"] == "query_syntax"
    assert error["column"] == 14


def test_codes_come_back_as_the_class_that_was_raised(client: Any) -> None:
    error = client.error("/api/v2/runs/nope", 404)
    assert isinstance(core_errors.error_from_code(error["code"], error["message"]), core_errors.NotFoundError)


def test_the_kinds_in_paths_are_all_kinds_but_the_secret_ones() -> None:
    assert {each.kind for each in served_kinds().values()} == set(core_kinds()) - {"user", "team", "grant"}
    assert served_kinds()["repositories"].kind == "repository"


def core_kinds() -> list[str]:
    from modeldb_core.model.schema import KINDS

    return list(KINDS)
