"""The table of calls: none is forgotten, none is open to those who may not make it, and errors have the original's form."""

from __future__ import annotations

from typing import Any

import pytest

from modeldb_server.routes import Policy
from modeldb_v1 import services  # noqa: F401 - it declares the calls
from modeldb_v1.calls import DECLARED, missing
from modeldb_v1.paths import ROOTS, match
from modeldb_v1.schema import CALLS

NOT_SERVED = ("ArtifactStore", "JobService")
"""The original proxy does not lead to them either; files go through ``/api/v1/artifact``."""
UNFINISHED = [
    "AuthzService",
    "CollaboratorService",
    "DatasetService",
    "DatasetVersionService",
    "HydratedService",
    "OrganizationService",
    "RoleService",
    "TeamService",
    "TelemetryService",
    "UACService",
]
"""Whoever answers the calls of one takes it out."""


def test_every_call_of_the_original_proxy_is_answered():
    gaps = [name for name in missing() if name.partition(".")[0] not in (*NOT_SERVED, *UNFINISHED)]
    assert gaps == []


def test_every_path_leads_to_its_call():
    for call in CALLS.values():
        if call.service.endswith(".ArtifactStore"):
            continue
        for binding in call.bindings:
            for path in binding.paths:
                for name in binding.variables:
                    path = path.replace(f"{{{name}}}", "7")
                found = match(binding.verb, path)
                assert found is not None, path
                assert (found.call.name, found.binding) == (call.name, binding)
                assert dict(found.variables) == dict.fromkeys(binding.variables, "7")
                assert path.startswith(ROOTS)


def test_a_call_that_changes_something_is_declared_so():
    reads = ("get", "find", "list", "sort", "verify", "compute", "is", "Get", "List", "Compute", "Is", "Find")
    for name, declared in DECLARED.items():
        method = name.partition(".")[2]
        assert declared.policy is (Policy.READ if method.startswith(reads) else Policy.WRITE), name


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code", "words"),
    [
        ("GET", "project/getProjectById", {"query_string": "id=nothing"}, 404, 5, "Project not found"),
        ("GET", "project/getProjectById", {}, 400, 3, "id not found in GetProjectById request"),
        ("GET", "project/getProjectById", {"query_string": "id=a&id=b"}, 400, 3, "given 2 times"),
        ("GET", "project/getProjectById", {"query_string": "ident=a"}, 400, 3, "its fields are: id"),
        ("GET", "project/getProjects", {"query_string": "ascending=maybe"}, 400, 3, "expected true or false"),
        ("POST", "project/createProject", {"data": b"[", "content_type": "application/json"}, 400, 3, "not JSON"),
        ("POST", "project/createProject", {"json": [1]}, 400, 3, "expected a JSON object"),
        ("POST", "project/createProject", {"json": {"nam": "x"}}, 400, 3, "nam"),
        ("POST", "project/createProject", {"json": {"name": 7}}, 400, 3, "name"),
        ("POST", "project/createProject", {"json": {"name": "x" * 257}}, 400, 3, "257"),
        ("POST", "project/createProject", {"json": {"name": "x", "project_visibility": 9}}, 400, 3, "visibility"),
        ("POST", "project/createProject", {"data": b"{}", "content_type": "text/plain"}, 403, 7, "X-ModelDB"),
        ("GET", "project/noSuchCall", {}, 404, 5, "nothing at this path"),
        ("PUT", "project/createProject", {"json": {}}, 405, 12, "method"),
    ],
)
def test_errors_have_the_form_of_the_original_proxy(
    v1: Any, method: str, path: str, options: dict[str, Any], status: int, code: int, words: str
):
    response = v1.client.open(f"{v1.prefix}/{path}", method=method, base_url="http://localhost", **options)
    assert (response.status_code, response.json["code"]) == (status, code)
    assert response.json["error"] == response.json["message"]
    assert words in response.json["message"]
    assert response.json["details"] == []
