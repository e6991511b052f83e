"""What an estimator was set to, as values."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from modeldb_core.model.values import normalize
from modeldb_sklearn import hyperparameters
from modeldb_sklearn.hyperparameters import nested, public_name, settings_of, structure_of, typed
from modeldb_sklearn.outcomes import fitted_part


class Taking(BaseEstimator):
    """Takes anything."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


class Hostile:
    """Cannot be shown."""

    def __repr__(self) -> str:
        msg = "no"
        raise RuntimeError(msg)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ((1, (2, 3)), [1, [2, 3]]),
        ({0: 1.0, "a": 2}, {"0": 1.0, "a": 2}),
        ({1: "x", "1": "y"}, {"type": "dict", "items": [[1, "x"], ["1", "y"]]}),
        ({np.int64(4): 1}, {"4": 1}),
        ({3, 1}, {"type": "set", "items": [1, 3]}),
        (f_classif, {"type": "function", "repr": "sklearn.feature_selection._univariate_selection.f_classif"}),
        (StandardScaler, {"type": "class", "repr": "sklearn.preprocessing._data.StandardScaler"}),
        (Hostile(), {"type": f"{__name__}.Hostile"}),
        (10**400, 10**400),
        (range(3), {"type": "range", "repr": "range(0, 3)"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_typed_or_described(value: Any, expected: Any):
    found = typed(value)
    assert found == expected
    normalize(found, "value")


@pytest.mark.parametrize(
    "value",
    [
        *(np.arange(5), np.zeros((200, 200)), np.array(["a", None], dtype=object), float("nan"), Path("/x"), object()),
        *(b"raw", np.random.RandomState(0), np.random.default_rng(0), partial(max, 1), lambda x: x, "\ud800", 1 + 2j),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_it_is_it_can_be_stored_and_shows_no_address(value: Any):
    found = settings_of(Taking(value)).values
    normalize(found, "hyperparameters")
    assert "0x" not in repr(found)


def test_arrays_are_kept_or_known_by_their_digest():
    assert typed(np.arange(3))["values"] == [0, 1, 2]
    large = typed(np.zeros((200, 200)))
    assert large["shape"] == [200, 200]
    assert len(large["digest"]) == 64


def test_a_random_state_is_described_and_not_used():
    state = np.random.RandomState(3)
    settings_of(LogisticRegression(random_state=state))
    assert state.random_sample() == np.random.RandomState(3).random_sample()


def test_a_cycle_ends():
    cycle: list[Any] = []
    cycle.append(cycle)
    normalize(typed(cycle), "cycle")


def test_what_is_shared_again_and_again_does_not_become_too_many_values(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hyperparameters, "MAX_VALUES", 1000)
    shared: list[Any] = [0.5]
    for _ in range(14):
        shared = [shared, shared]  # 2**14 numbers for anyone who follows each
    waiting, count = [settings_of(Taking(shared)).values], 0
    while waiting:
        item = waiting.pop()
        count += 1
        waiting.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
    assert 100 < count < 3000


def test_strangers_code_and_work_in_place_are_seen_wherever_they_hide():
    assert not settings_of(make_pipeline(StandardScaler(), SelectKBest(f_classif))).foreign_code
    assert settings_of(make_pipeline(FunctionTransformer(lambda x: x), LogisticRegression())).foreign_code
    assert settings_of(make_pipeline(Taking())).foreign_code
    assert settings_of(make_pipeline(StandardScaler(copy=False))).changes_data
    assert not settings_of(make_pipeline(StandardScaler())).changes_data


def test_tables_and_columns_as_parameters_are_no_strangers_code():
    frame = pd.DataFrame({"weight": [1.0, 2.0]})
    assert not settings_of(SVC(class_weight=frame["weight"])).foreign_code
    assert not settings_of(SVC(class_weight=frame)).foreign_code


def test_the_structure_of_many_parts_names_each_part_of_a_repeated_one_once():
    shared = make_pipeline(*(StandardScaler() for _ in range(20)))
    text = structure_of(FeatureUnion([("first", shared), ("second", shared)]))
    assert text.count("standardscaler-20=") == 1
    assert text.endswith("second=Pipeline)")


def test_however_deep_a_pipeline_is_the_last_part_is_what_learns():
    model = last = LogisticRegression()
    for _ in range(8):
        model = make_pipeline(StandardScaler(), model)
    assert fitted_part(model) is last


def test_parameters_with_path_names_become_nested_maps():
    assert nested({"a__b__c": 1, "a__d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    for order in (["clf", "clf__C"], ["clf__C", "clf"]):
        values = {"clf": "passthrough", "clf__C": 2.0}
        assert nested({name: values[name] for name in order}) == {"clf": {"C": 2.0, "estimator": "passthrough"}}


def test_classes_go_by_the_name_users_import():
    assert public_name(LogisticRegression) == "sklearn.linear_model.LogisticRegression"
    assert public_name(Taking) == f"{__name__}.Taking"
