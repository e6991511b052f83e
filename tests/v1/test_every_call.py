"""Every call of the v1 API, over HTTP and over gRPC with equal answers: success, not found, bad input, not allowed."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldb_server.routes import Policy
from modeldb_v1.calls import DECLARED
from modeldb_v1.schema import CALLS
from tests.v1.cases import CASES, Case
from tests.v1.world import READER, STRANGER, UNKNOWN_ID, World, comparable, running_world

for table in sorted(Path(__file__).parent.glob("cases_*.py")):
    importlib.import_module(f"tests.v1.{table.stem}")

SERVED = [name for name in CALLS if not name.startswith(("ArtifactStore.", "JobService."))]
"""The calls of the original's gateway and of user access."""
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[1-9][0-9]{9,19}\b|[0-9a-f]{64}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("v1")) as made:
        yield made


def cases(having: str = "success") -> list[Any]:
    return [
        pytest.param(name, CASES[name], id=name)
        for name in SERVED
        if name in CASES and getattr(CASES[name], having) is not None
    ]


def elsewhere(arguments: Any) -> Any:
    """Return arguments in which every identifier is one of nothing."""

    def other(found: re.Match[str]) -> str:
        return UNKNOWN_ID if "-" in found[0] else "7" * len(found[0])

    return json.loads(_ID.sub(other, json.dumps(arguments)))


def both(world: World, name: str, arguments: Any, token: Any = None) -> Any:
    """Make a call that is refused over HTTP and gRPC, and return how; both must say the same."""
    options = {} if token is None else {"token": token}
    by_http, by_grpc = world.over_http(name, arguments, **options), world.over_grpc(name, arguments, **options)
    assert by_http.code == by_grpc.code, (by_http, by_grpc)
    if by_http.code != 3:  # what JSON cannot be read as is said in other words than what gRPC's client does not send
        assert comparable(by_http.message) == comparable(by_grpc.message)
    assert by_http.code == 0 or by_http.message
    return by_http


@pytest.mark.parametrize(("name", "case"), cases())
def test_a_call_succeeds_alike_over_http_and_grpc(world: World, name: str, case: Case) -> None:
    first = case.success(world)
    by_http = world.over_http(name, first)
    assert by_http.code == case.success_code, by_http
    has_fields = case.success_code == 0 and len(DECLARED[name].call.response.DESCRIPTOR.fields) > 0
    assert bool(by_http.data) is (has_fields and not case.is_empty), by_http
    if case.check is not None:
        case.check(world, by_http.data)
    second = first if DECLARED[name].policy is Policy.READ else case.success(world)
    by_grpc = world.over_grpc(name, second)
    assert by_grpc.code == case.success_code, by_grpc
    assert comparable(by_grpc.data) == comparable(by_http.data)


@pytest.mark.parametrize(("name", "case"), cases("missing_code"))
def test_a_call_says_alike_that_something_is_missing(world: World, name: str, case: Case) -> None:
    arguments = elsewhere(case.success(world)) if case.missing is None else case.missing(world)
    assert both(world, name, arguments).code == case.missing_code


@pytest.mark.parametrize(("name", "case"), cases("bad_code"))
def test_a_call_refuses_bad_input_alike(world: World, name: str, case: Case) -> None:
    arguments = {} if case.bad is None else case.bad(world)
    assert both(world, name, arguments).code == case.bad_code


@pytest.mark.parametrize(("name", "case"), cases())
def test_a_call_is_refused_to_who_may_not_make_it(world: World, name: str, case: Case) -> None:
    arguments = case.success(world)
    assert both(world, name, arguments, "").code == 16, "nobody has said who asks"
    if DECLARED[name].policy is Policy.WRITE:
        assert both(world, name, arguments, READER).code == 7, "who asks may only read"
    if not _ID.search(json.dumps(arguments)):
        return  # nothing of anybody's is named
    reply = both(world, name, arguments, STRANGER)  # who sees a workspace where none of this is
    if case.is_for_all:
        return
    ids = set(_ID.findall(json.dumps(arguments)))
    assert not ids & set(_ID.findall(json.dumps(reply.data))), "shows what is in another workspace"
    if case.missing_code:
        assert reply.code in (5, 7, 3)


def test_no_answer_and_no_case_is_forgotten() -> None:
    assert [name for name in SERVED if name not in DECLARED] == []
    assert [name for name in SERVED if name not in CASES] == []
