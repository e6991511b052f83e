"""The messages and calls of the v1 API, as the table has them."""

from __future__ import annotations

from collections import Counter

import pytest
from google.protobuf import json_format

from modeldb_core.errors import NotFoundError
from modeldb_v1.schema import CALLS, SERVICES, call_named, enum_values, message_class

GATEWAY = {"Project": 34, "Experiment": 25, "ExperimentRun": 48, "Dataset": 20, "DatasetVersion": 16, "Hydrated": 22}
GATEWAY |= {"Versioning": 21, "Comment": 4, "Lineage": 5, "Metadata": 3}
USER_ACCESS = ("UACService", "OrganizationService", "TeamService", "RoleService", "CollaboratorService", "AuthzService")


def test_every_call_of_the_gateway_and_of_user_access_is_in_the_table():
    counts = Counter(name.rpartition(".")[2] for name, calls in SERVICES.items() for _ in calls)
    assert {name: counts[f"{name}Service"] for name in GATEWAY} == GATEWAY
    assert sum(GATEWAY.values()) == 198
    assert sum(counts[name] for name in (*USER_ACCESS, "TelemetryService")) == 50


def test_each_call_has_classes_and_paths_whose_fields_its_request_has():
    paths = Counter()
    for call in CALLS.values():
        assert call.response.DESCRIPTOR.full_name == call.response_name
        for binding in call.bindings:
            paths[binding.verb, binding.paths] += 1
            for variable in (*binding.variables, *([binding.body] if binding.body not in ("", "*") else ())):
                message = call.request.DESCRIPTOR
                for name in variable.split("."):
                    message = message.fields_by_name[name].message_type
    assert set(paths.values()) == {1}
    assert len(paths) == 276


def test_json_is_as_the_gateway_writes_it():
    data = {
        "id": "a",
        "date_created": "1600000000000",
        "metrics": [
            {"key": "none", "value": None},
            {"key": "half", "value": 0.5},
            {"key": "map", "value": {"x": [True]}},
        ],
        "versioned_inputs": {"repository_id": "7", "key_location_map": {"k": {"location": ["a", "b"]}}},
        "artifacts": [{"key": "m", "artifact_type": "MODEL"}],
    }
    message = json_format.ParseDict(data, message_class("ExperimentRun")())
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == data
    assert message.artifacts[0].artifact_type == enum_values("ArtifactTypeEnum.ArtifactType")["MODEL"] == 1


def test_a_call_that_is_not_there_is_named():
    with pytest.raises(NotFoundError, match="no call 'ProjectService.create'"):
        call_named("ProjectService.create")
