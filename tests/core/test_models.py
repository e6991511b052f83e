"""Model formats: what is written safely, and what is never read unless asked."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, MissingDependencyError, UntrustedModelError
from modeldb_core.plugins import plugin_manager
from modeldb_core.tracking.description.model_formats import DumpedModel, dump_model, load_model

X, Y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2


class OwnEstimator(BaseEstimator):
    """An estimator of a user."""

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0)
        return self


def test_an_estimator_comes_back_from_skops(tmp_path: Path):
    model = LogisticRegression(C=3.0).fit(X, Y)
    described = dump_model(model, tmp_path)
    assert described["format"] == "skops"
    assert described["untrusted_types"] == []
    assert described["class"] == "sklearn.linear_model._logistic.LogisticRegression"
    assert set(described["packages"]) >= {"scikit-learn", "skops", "numpy"}
    assert described["signature"] == {"inputs": {"shape": [None, 3]}}
    assert [path.name for path in tmp_path.iterdir()] == ["model.skops"]
    loaded = load_model(tmp_path, described)
    assert isinstance(loaded, LogisticRegression)
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_types_that_are_not_harmless_are_listed_and_must_be_allowed_by_name(tmp_path: Path):
    model = RandomForestClassifier(3, random_state=0).fit(X, Y)
    described = dump_model(model, tmp_path)
    assert described["untrusted_types"] == ["sklearn.tree._tree.Tree"]
    with pytest.raises(UntrustedModelError, match=r"trusted=\['sklearn.tree._tree.Tree'\]"):
        load_model(tmp_path, described)
    loaded = load_model(tmp_path, described, trusted=["sklearn.tree._tree.Tree"])
    assert np.array_equal(loaded.predict(X), model.predict(X))  # type: ignore[attr-defined]


def test_a_users_estimator_is_written_and_its_class_has_to_be_trusted(tmp_path: Path):
    described = dump_model(OwnEstimator().fit(X), tmp_path)
    (own,) = described["untrusted_types"]
    assert own.endswith("OwnEstimator")
    with pytest.raises(UntrustedModelError, match="OwnEstimator"):
        load_model(tmp_path, described)


def test_what_no_plugin_can_write_is_refused_and_never_pickled(tmp_path: Path):
    with pytest.raises(InvalidTypeError, match=r"type _io\.StringIO"):
        dump_model(io.StringIO(), tmp_path)
    broken = OwnEstimator().fit(X)
    broken.hook_ = (value for value in [1])
    with pytest.raises(InvalidTypeError, match="skops cannot write"):
        dump_model(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_leads_back_to_itself_is_refused_in_words(tmp_path: Path):
    model = OwnEstimator().fit(X)
    model.itself_ = model
    with pytest.raises(InvalidTypeError, match="something in it leads back to itself"):
        dump_model(model, tmp_path)


def test_pickle_is_written_when_asked_for_and_read_only_with_consent(tmp_path: Path):
    model = LogisticRegression().fit(X, Y)
    described = dump_model(model, tmp_path, model_format="pickle")
    assert described["format"] == "pickle"
    with pytest.raises(UntrustedModelError, match=r"trusted=\['pickle'\]"):
        load_model(tmp_path, described)
    assert np.array_equal(load_model(tmp_path, described, trusted=["pickle"]).coef_, model.coef_)  # type: ignore[attr-defined]


def test_what_cannot_be_pickled_is_named(tmp_path: Path):
    with pytest.raises(InvalidTypeError, match=r"builtins\.generator cannot be pickled"):
        dump_model((item for item in [1]), tmp_path, model_format="pickle")


def test_a_format_that_nobody_writes_or_reads_is_said(tmp_path: Path):
    with pytest.raises(InvalidTypeError, match="as 'onnx'; one offers 'skops'"):
        dump_model(LogisticRegression().fit(X, Y), tmp_path, model_format="onnx")
    with pytest.raises(MissingDependencyError, match="'onnx'; it was written with onnx"):
        load_model(tmp_path, {"format": "onnx", "packages": {"onnx": "1"}})


def test_trusted_must_be_a_list_of_names(tmp_path: Path):
    with pytest.raises(InvalidTypeError, match="expected a list of names"):
        load_model(tmp_path, {"format": "skops"}, trusted="sklearn.tree._tree.Tree")


def test_a_plugin_that_breaks_its_contract_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plugin_manager(), "call", lambda *args, **kwargs: "done")
    with pytest.raises(InvalidArgumentError, match="expected a map with 'format'"):
        dump_model(LogisticRegression(), tmp_path)


def test_a_model_taken_earlier_is_written_as_it_was(tmp_path: Path):
    taken = DumpedModel({"model.bin": b"abc"}, {"format": "bin"}, lambda: {"untrusted_types": ["a.B"]})
    described = dump_model(taken, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == b"abc"
    assert described["format"] == "bin"
    assert described["untrusted_types"] == ["a.B"]


def test_a_file_that_is_no_skops_file_is_refused(tmp_path: Path):
    (tmp_path / "model.skops").write_bytes(b"not a zip")
    with pytest.raises(Exception, match="not one that skops wrote") as caught:
        load_model(tmp_path, {"format": "skops"})
    assert type(caught.value).__name__ == "IntegrityError"
