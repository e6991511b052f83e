"""The OpenAPI document of the v1 API, and what schemathesis finds with it and with that of the native API.

A bounded run is part of the suite; ``tox -e api`` runs longer (``MODELDB_API_EXAMPLES`` says how many requests each operation gets).
"""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from modeldb_core.commands import people
from modeldb_v1.openapi import PATH, document
from modeldb_v1.schema import CALLS
from tests.v1.world import READER, World, running_world

THOROUGH = "MODELDB_API_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("MODELDB_API_EXAMPLES", "1"))
PASSWORD = "correct horse battery"
SAMPLE = 25
"""So many operations are tried where no long run is asked for."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("openapi"), tokens=(), read_tokens=(), scopes=()) as made:
        yield made


def test_the_document_is_valid_and_has_every_call() -> None:
    made = document()
    validate(made)
    known = {operation["operationId"] for path in made["paths"].values() for operation in path.values()}
    assert {call.name for call in CALLS.values() if call.bindings} - known == {
        name for name in CALLS if name.startswith("ArtifactStore.")
    }
    assert len(known) == sum(len(path) for path in made["paths"].values())


def test_the_document_is_for_those_who_may_read(tmp_path: Path) -> None:
    with running_world(tmp_path) as made:
        answers = [
            made.http.get(PATH, headers=headers, base_url="http://127.0.0.1")
            for headers in ({}, {"Authorization": f"Bearer {READER}"})
        ]
        assert [answer.status_code for answer in answers] == [401, 200]
        assert answers[1].get_json() == document()


@pytest.mark.parametrize("path", ["versioning/workspaces/a%0Ab/repositories", "/", "", "a//b", "no/such/call%0A"])
def test_a_path_that_leads_nowhere_is_answered_as_the_v1_api_tells_errors(world: World, path: str) -> None:
    answer = world.http.get(f"/api/v1/modeldb/{path}", base_url="http://127.0.0.1")
    assert answer.status_code in (200, 404)
    assert answer.status_code == 200 or answer.get_json()["code"] == 5


def not_a_fault(context: Any, response: Any, case: Any) -> None:
    """See that the server did not fail; to say that something is not answered (501) is not a failure."""
    del context, case
    assert response.status_code not in (500, 502), response.text


CHECKS = [not_a_fault, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("path", ["/api/v2/openapi.json", PATH])
def test_no_request_that_schemathesis_makes_finds_a_fault_or_an_undocumented_answer(world: World, path: str) -> None:
    schema = schemathesis.openapi.from_wsgi(path, world.server.app)
    results = list(schema.get_all_operations())
    assert [str(result.err()) for result in results if not hasattr(result, "ok")] == []
    operations = [result.ok() for result in results]
    operations = [each for each in operations if not _takes_bytes(each)]
    _try(operations if THOROUGH else random.Random(path).sample(operations, SAMPLE), {})


def test_no_request_of_a_user_finds_a_fault_in_the_routes_of_accounts(tmp_path: Path) -> None:
    with running_world(tmp_path, tokens=(), read_tokens=(), scopes=(), accounts=f"sqlite:///{tmp_path}/a.db") as made:
        accounts = made.server.app.extensions["modeldb_server"].accounts
        accounts.execute(people.create_user(accounts.store, "ada", is_admin=True), "root")
        accounts.set_password(accounts.directory().named("ada"), PASSWORD)
        shown = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {shown}", "Origin": "http://localhost"}
        schema = schemathesis.openapi.from_wsgi("/api/v2/openapi.json", made.server.app, headers=headers)
        operations = [result.ok() for result in schema.get_all_operations()]
        of_accounts = [each for each in operations if each.tags == ["accounts"]]
        assert len(of_accounts) == 11
        _try(of_accounts, headers)


def _try(operations: Iterable[Any], headers: Mapping[str, str]) -> None:
    """See that no answer to a request that schemathesis makes of an operation is wrong."""
    faults = {
        each.label: fault for each in operations for mode in GenerationMode if (fault := _fault(each, mode, headers))
    }
    assert not faults, "\n\n".join(f"{label}: {text}" for label, text in faults.items())


def _takes_bytes(operation: Any) -> bool:
    content = operation.definition.raw.get("requestBody", {}).get("content", {"application/json": None})
    return "application/json" not in content


def _fault(operation: Any, mode: GenerationMode, headers: Mapping[str, str]) -> str:
    """Return what is wrong with an answer of an operation; empty: nothing."""

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def make(case: Any) -> None:
        case.headers = {**(case.headers or {}), "X-ModelDB": "1", "Accept-Encoding": "identity", **headers}
        case.call_and_validate(checks=CHECKS)

    try:
        make()
    except Unsatisfiable:  # nothing of the kind can be made: the operation takes nothing, so nothing of it is wrong
        return ""
    except (Exception, BaseExceptionGroup) as error:  # all that is found is shown together
        shown = error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
        return " | ".join(str(each)[:500] for each in shown)
    return ""
