"""Blobs of commits as messages: what a client sent comes back as it was, and what differs can be sent and applied."""

from __future__ import annotations

import hashlib
import io
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.repositories.blobs import Blob, from_entry, to_entry
from modeldb_core.stores import BlobInfo
from modeldb_v1.blobs import blob_from
from modeldb_v1.diffs import DIFF, apply, differences, form_of
from modeldb_v1.shown_blobs import BLOB, message_of

if TYPE_CHECKING:
    from typing import BinaryIO

INT, TEXT = {"int_value": "0"}, {"string_value": ""}
NUMPY = {"library": "numpy", "constraint": "==", "version": {"major": 1, "minor": 18, "suffix": "rc1"}}
SPAN = {"interval_begin": INT, "interval_end": {"float_value": 1.5}, "interval_step": {"float_value": 0.25}}
SENT: list[dict[str, Any]] = [
    {"code": {"git": {"repo": "git@host:x.git", "hash": "ab", "branch": "m", "tag": "t", "is_dirty": True}}},
    {"code": {"git": {"repo": "git@host:x.git"}}},
    {
        "code": {
            "notebook": {
                "path": {
                    "components": [
                        {"path": "a.ipynb", "size": "5", "last_modified_at_source": "9", "sha256": "x", "md5": "y"}
                    ]
                },
                "git_repo": {"repo": "r"},
            }
        }
    },
    {"code": {"notebook": {"path": {"components": [{"path": "b"}, {"path": "a"}]}}}},
    {"code": {"notebook": {}}},
    {"dataset": {"s3": {"components": [{"path": {"path": "s3://b/k", "size": "5"}}, {"path": {"path": "s3://b/a"}}]}}},
    {"dataset": {"path": {"components": [{"path": "/abs/b", "size": "18446744073709551615", "sha256": "q"}]}}},
    {"dataset": {"path": {"components": [{"path": "b", "md5": "1"}, {"path": "a", "md5": "2"}, {"path": "c"}]}}},
    {
        "environment": {
            "python": {
                "version": {"major": 3, "minor": 7, "patch": 16},
                "requirements": [NUMPY, {"library": "a"}, {"library": "c", "constraint": ">="}],
                "constraints": [{"library": "z", "constraint": "~=", "version": {}}],
            },
            "environment_variables": [{"name": "B", "value": "1"}, {"name": "A"}],
            "command_line": ["python", "x.py"],
        }
    },
    {"environment": {"python": {"requirements": [{**NUMPY, "constraint": ">="}, {"library": "b"}]}}},
    {"environment": {"python": {}}},
    {"environment": {}},
    {"environment": {"docker": {"repository": "r", "tag": "t", "sha": "s"}}},
    {"environment": {"docker": {}, "command_line": ["b"]}},
    {
        "config": {
            "hyperparameters": [
                {"name": "z", "value": INT},
                {"name": "lr", "value": {"float_value": 0.1}},
                {"name": "s", "value": TEXT},
            ],
            "hyperparameter_set": [
                {"name": "q", "discrete": {"values": [{"int_value": "1"}, TEXT]}},
                {"name": "b", "continuous": SPAN},
            ],
        }
    },
    {"config": {"hyperparameters": [{"name": "lr", "value": {"float_value": 0.2}}, {"name": "a", "value": INT}]}},
    {"config": {}},
]
_stored: dict[str, bytes] = {}


def put(stream: BinaryIO) -> BlobInfo:
    data = stream.read()
    digest = hashlib.sha256(data).hexdigest()
    _stored[digest] = data
    return BlobInfo(digest, len(data))


def message(data: dict[str, Any], kind: Any = BLOB) -> Any:
    return json_format.ParseDict(data, kind())


def plain(found: Any) -> Any:
    return json_format.MessageToDict(found, preserving_proto_field_name=True)


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: str(sent)[:40])
def test_what_a_client_commits_comes_back_as_it_was(sent: dict[str, Any]) -> None:
    blob = blob_from(message(sent), "the blob")
    stored = from_entry(to_entry(blob, put), lambda digest: io.BytesIO(_stored[digest]))
    assert plain(message_of(stored, pytest.fail)) == sent


def test_what_differs_makes_of_the_one_blob_the_other() -> None:
    for one, other in product(map(message, SENT), repeat=2):
        found = [message(plain(each), DIFF) for each in differences([(["a"], one, other)])]
        if form_of(one) != form_of(other):
            assert [plain(each)["status"] for each in found] == ["DELETED", "ADDED"]
            assert apply(found[0], one, "a") is None
        assert blob_from(apply(found[-1], one, "a"), "a") == blob_from(other, "a")
        (added,) = differences([(["a"], None, other)])
        assert apply(added, None, "a") == apply(added, one, "a") == other


def test_a_difference_holds_what_differs_in_the_order_added_deleted_modified() -> None:
    old, new = message(SENT[14]), message(SENT[15])
    found = differences([(["m"], old, new), (["d", "e"], old, None), (["a"], None, new)])
    assert [(list(each.location), plain(each)["status"]) for each in found] == [
        (["a"], "ADDED"),
        (["d", "e"], "DELETED"),
        (["m"], "MODIFIED"),
    ]
    assert plain(found[2])["config"]["hyperparameters"] == {
        "A": [*SENT[14]["config"]["hyperparameters"]],
        "B": [*SENT[15]["config"]["hyperparameters"]],
    }
    (changed,) = differences([([], message(SENT[8]), message(SENT[9]))])
    assert [each["library"] for each in plain(changed)["environment"]["python"]["A"]["requirements"]] == [
        "numpy",
        "a",
        "c",
    ]
    elsewhere = message({"config": {"hyperparameters": [{"name": "other", "value": INT}]}})
    assert [each.name for each in apply(found[2], elsewhere, "m").config.hyperparameters] == ["other", "lr", "a"]
    with pytest.raises(NotFoundError, match="nothing in the base"):
        apply(found[2], None, "m")
    with pytest.raises(InvalidArgumentError, match=r"is of config.*code\.git"):
        apply(found[2], message(SENT[0]), "m")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, "says nothing"),
        ({"code": {}}, "git or notebook"),
        ({"code": {"git": {}}}, "repo"),
        ({"dataset": {}}, "path or s3"),
        ({"dataset": {"path": {}}}, "components"),
        ({"dataset": {"s3": {"components": [{}]}}}, "path is missing"),
        ({"dataset": {"path": {"components": [{"path": "a"}, {"path": "a"}]}}}, "more than once"),
        ({"config": {"hyperparameters": [{"value": INT}]}}, "name is missing"),
        ({"config": {"hyperparameters": [{"name": "a"}]}}, "a value is missing"),
        ({"config": {"hyperparameter_set": [{"name": "a"}]}}, "continuous or discrete"),
        ({"config": {"hyperparameter_set": [{"name": "a", "discrete": {}}]}}, "values"),
        ({"config": {"hyperparameter_set": [{"name": "a", "continuous": {"interval_begin": INT}}]}}, "interval_end"),
        (
            {"config": {"hyperparameter_set": [{"name": "a", "continuous": {**SPAN, "interval_end": TEXT}}]}},
            "expected a number",
        ),
        ({"environment": {"python": {"version": {"major": -1}}}}, "numbers from 0"),
        ({"environment": {"python": {"requirements": [{"library": "a", "constraint": "1"}]}}}, "without digits"),
        ({"environment": {"python": {"requirements": [{"version": {}}]}}}, "library is missing"),
    ],
)
def test_a_blob_that_says_nothing_is_refused(sent: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidArgumentError, match=expected):
        blob_from(message(sent), "the blob")


def test_blobs_of_other_programs_are_shown_as_far_as_messages_have_words() -> None:
    nested = Blob("config", {"hyperparameters": {"optimizer": {"name": "adam"}, "on": True, "big": 2**70, "n": 2}})
    assert {
        each["name"]: next(iter(each["value"].values()))
        for each in plain(message_of(nested, pytest.fail))["config"]["hyperparameters"]
    } == {"optimizer": '{"name":"adam"}', "on": "true", "big": str(2**70), "n": "2"}
    query = Blob("data", {"type": "query", "query": "select 1", "digest": "d"})
    assert plain(message_of(query, pytest.fail)) == {
        "dataset": {"path": {"components": [{"path": "select 1", "sha256": "d"}]}}
    }
    env = Blob("environment", {"type": "python", "python": "3.12.1", "packages": {"numpy": "2.0"}})
    assert plain(message_of(env, pytest.fail))["environment"]["python"] == {
        "version": {"major": 3, "minor": 12, "patch": 1},
        "requirements": [{"library": "numpy", "constraint": "==", "version": {"major": 2}}],
    }
