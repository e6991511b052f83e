"""The table of calls: none is forgotten, none is open to those who may not make it, and errors have the original's form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from flask.testing import FlaskClient
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from modeldb_server.routes import Policy
from modeldb_v1 import services  # noqa: F401 - it declares the calls
from modeldb_v1.calls import DECLARED, missing
from modeldb_v1.paths import ROOTS, match
from modeldb_v1.schema import CALLS
from tests.v1.conftest import READ_TOKEN, V1, WRITE_TOKEN, made_app

NOT_SERVED = ("ArtifactStore", "JobService")
"""The original proxy does not lead to them either; files go through ``/api/v1/artifact``."""


def test_every_call_of_the_original_proxy_is_answered():
    gaps = [name for name in missing() if name.partition(".")[0] not in NOT_SERVED]
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
        (
            "POST",
            "project/createProject",
            {"data": b"{}", "content_type": "text/plain"},
            403,
            7,
            "Content-Type: application/json",
        ),
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
    (info,) = response.json["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["reason"].isupper()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A server that asks for tokens."""
    app, parts = made_app(tmp_path_factory.mktemp("closed"), tokens=(WRITE_TOKEN,), read_tokens=(READ_TOKEN,))
    yield app.test_client()
    for part in parts:
        part.close()


def every_path() -> Iterator[tuple[str, str, str]]:
    """Iterate over name, method and a path of every call, now the one, now the other, and over those of the routes of files."""
    for index, call in enumerate(CALLS.values()):
        if not call.service.endswith(".ArtifactStore"):
            for binding in call.bindings:
                yield call.name, binding.verb, re.sub(r"\{[\w.]+\}", "7", binding.paths[index % 2])
    for root in ("/api/v1/artifact", "/v1/artifact"):
        yield "getArtifact", "GET", f"{root}/getArtifact"
        yield "storeArtifact", "PUT", f"{root}/storeArtifact"


def test_nobody_makes_a_call_that_they_may_not_make(closed: FlaskClient):
    for name, method, path in every_path():
        for token, expected in (("", 401), (READ_TOKEN.partition(":")[2], 403)):
            policy = (
                DECLARED[name].policy
                if name in DECLARED
                else Policy(Policy.WRITE if name == "storeArtifact" else Policy.READ)
            )
            if expected == 403 and policy is not Policy.WRITE:
                continue
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            if policy is Policy.PUBLIC:
                continue
            response = closed.open(path, method=method, json={}, headers=headers, base_url="http://localhost")
            code = {401: 16, 403: 7}[expected]
            assert (response.status_code, response.json["code"]) == (expected, code), (name, path, token)


def test_a_page_of_another_origin_changes_nothing(v1: V1):
    forms = (
        {"data": b'{"id":"x"}', "content_type": "text/plain"},
        {"data": b"id=x", "content_type": "application/x-www-form-urlencoded"},
        {"data": b"", "content_type": "multipart/form-data; boundary=x"},
        {},
    )
    for name, method, path in every_path():
        if method not in ("GET", "POST") or name not in DECLARED or DECLARED[name].policy is not Policy.WRITE:
            continue
        for form in forms:
            response = v1.client.open(path, method=method, base_url="http://localhost", **form)
            assert (response.status_code, response.json["code"]) == (403, 7), path
        headers = {"Origin": "https://evil.example", "Grpc-Metadata-source": "PythonClient"}
        response = v1.client.open(path, method=method, json={}, headers=headers, base_url="http://localhost")
        assert (response.status_code, response.json["code"]) == (403, 7), path


def test_a_read_only_server_changes_nothing(tmp_path: Path):
    app, parts = made_app(tmp_path, read_only=True)
    client = app.test_client()
    for name, method, path in every_path():
        if name in DECLARED and DECLARED[name].policy is Policy.WRITE:
            response = client.open(
                path, method=method, json={}, headers={"X-ModelDB": "1"}, base_url="http://localhost"
            )
            assert (response.status_code, response.json["code"]) == (403, 7), path
    for part in parts:
        part.close()


def random_value(field: FieldDescriptor, draw: Random, depth: int) -> Any:
    """Return JSON for a field that is mostly of its type, and now and then of none."""
    texts = ("", "x", "a/b", "\0", "é" * 300, "null", "-1", "../..", "metrics.x", "0" * 70)
    if draw.random() < 0.05:
        return draw.choice((None, [], {}, True, -1, 1e300, "x", [[1]]))
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Value":
            return draw.choice((None, True, 1, -0.5, "x", "", [1, None], {"a": {"b": []}}, 2**60))
        if field.message_type.GetOptions().map_entry:
            return {"k": random_value(field.message_type.fields_by_name["value"], draw, depth + 1)}
        return random_message(field.message_type, draw, depth + 1)
    if field.enum_type is not None:
        return draw.choice((*range(len(field.enum_type.values)), field.enum_type.values[0].name, 77, "NO_SUCH"))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return draw.choice(texts)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return draw.choice((True, False))
    return draw.choice((0, 1, -1, "5", 2**31 - 1, "9223372036854775807", 2**63))


def random_message(descriptor: Descriptor, draw: Random, depth: int = 0) -> dict[str, Any]:
    """Return JSON for a message."""
    found = {}
    for field in descriptor.fields:
        if depth < 4 and draw.random() < 0.7:
            many = field.is_repeated and not (field.message_type and field.message_type.GetOptions().map_entry)
            value = (
                [random_value(field, draw, depth) for _ in range(draw.choice((0, 1, 2)))]
                if many
                else random_value(field, draw, depth)
            )
            found[field.name] = value
    return found


def test_no_request_brings_the_server_down(v1: V1):
    draw = Random(12)
    project = v1.post("project/createProject", name="fuzzed")["project"]["id"]
    experiment = v1.post("experiment/createExperiment", project_id=project, name="e")["experiment"]["id"]
    run = v1.post("experiment-run/createExperimentRun", project_id=project, experiment_id=experiment, name="r")[
        "experiment_run"
    ]["id"]
    ids = {
        "project_id": project,
        "experiment_id": experiment,
        "experiment_run_id": run,
        "entityId": project,
        "entity_id": run,
    }
    for call in CALLS.values():
        if call.name not in DECLARED or call.name.partition(".")[2].startswith("delete"):
            continue
        binding = call.bindings[-1]
        for _ in range(3):
            body = random_message(call.request.DESCRIPTOR, draw)
            kind = {"ProjectService": project, "ExperimentService": experiment}.get(call.name.partition(".")[0], run)
            body |= {name: value for name, value in {**ids, "id": kind}.items() if name in body and draw.random() < 0.8}
            path = re.sub(r"\{[\w.]+\}", lambda _: draw.choice(("7", "x", "%00", "master")), binding.paths[1])
            if binding.body in ("", "*"):
                response = v1.send(binding.verb, path, body) if binding.body else v1.send(binding.verb, path, **body)
            else:
                response = v1.send(binding.verb, path, body.get(binding.body))
            assert response.status_code in (200, 400, 403, 404, 409, 501), (call.name, body, response.json)
