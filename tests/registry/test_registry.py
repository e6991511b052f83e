"""Registering, promoting and loading models from Python."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import modeldb_core as modeldb
from modeldb_core.commands.operation import execute
from modeldb_core.commands.registry import cards, promotion, versions
from modeldb_core.errors import (
    ConflictError,
    ErasedError,
    IntegrityError,
    InvalidArgumentError,
    InvalidTypeError,
    NoRunError,
    NotFoundError,
    PreconditionError,
    UntrustedModelError,
)
from modeldb_core.log.changes import UPDATE
from modeldb_core.log.stream import Entry
from modeldb_core.movement.collection import Collected, erase_deleted, remove_blobs
from modeldb_core.queries import Linked, Query
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking import Client
from modeldb_core.tracking.deletion import delete, restore

X, Y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])


def trained() -> modeldb.RunHandle:
    """Return a finished run that has logged a model."""
    with modeldb.start_run("churn") as run:
        run.log_hyperparameters({"depth": 3})
        run.log_metrics({"auc": 0.9})
        run.log_model(fitted())
    return run


def fitted() -> LogisticRegression:
    return LogisticRegression().fit(X, Y)


def test_a_run_s_model_is_registered_promoted_and_loaded_by_its_alias(client: Client) -> None:
    run = trained()
    first = modeldb.register_model("churn", run=run, description="the first", tags=["good"])
    assert (first.reference, first.stage, first.run_id) == ("churn@v1", "development", run.run_id)
    with modeldb.start_run("churn"):
        modeldb.log_model(fitted())
        second = modeldb.register_model("churn")  # of the current run
    assert second.number == 2
    model = modeldb.registered_model("churn")
    model.promote(1, stage="production", alias="champion", reason="there is no other")
    with modeldb.start_run("scoring") as scoring:
        loaded = modeldb.load_model("churn@champion")
    assert loaded.predict(X).tolist() == Y.tolist()
    used = client.get_run(scoring.run_id).entity.models["churn@champion"]
    assert (used["name"], used["version"], used["model_version_id"]) == ("churn", 1, first.entity.entity_id)
    users = client.store.find(Query("run", linked=Linked("model_version", first.entity.entity_id))).entities
    assert [each.entity_id for each in users] == [scoring.run_id]
    promoted = model.promote(second, stage="production", alias="champion", reason="better")
    assert (promoted.number, promoted.stage, promoted.aliases) == (2, "production", ("champion",))
    assert model.stages == {"production": 2}
    assert [each.stage for each in model.versions()] == ["production", "archived"]
    assert model.version("latest").number == model.version("v2").number == model.version(2).number == 2


def test_files_are_registered_and_fetched(client: Client, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "model.onnx").write_bytes(b"weights")
    version = modeldb.register_model("net", files=tmp_path / "export")
    assert (version.download(tmp_path / "back") / "model.onnx").read_bytes() == b"weights"
    (tmp_path / "one.bin").write_bytes(b"one")
    modeldb.register_model("net", files=tmp_path / "one.bin").download(tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == b"one"
    with pytest.raises(InvalidArgumentError, match="download"):
        modeldb.load_model("net@v1")


def test_whoever_decided_on_what_is_no_longer_so_is_told(client: Client) -> None:
    run = trained()
    for _ in range(3):
        modeldb.register_model("churn", run=run)
    mine, yours = modeldb.registered_model("churn"), modeldb.registered_model("churn")
    mine.promote(1, stage="production", reason="mine")
    with pytest.raises(PreconditionError, match="moved 'production' of 'churn' meanwhile"):
        yours.promote(2, stage="production", reason="yours")
    assert yours.stages == {"production": 1}
    yours.promote(2, stage="production", reason="all the same")
    mine.promote(3, alias="challenger", reason="another place")  # what others did elsewhere does not matter
    with pytest.raises(ConflictError, match="nothing would move"):
        mine.promote(3, alias="challenger", reason="again")
    mine.remove_alias("challenger", reason="done")
    assert mine.aliases == {}
    assert [move.reason for move in mine.history()] == ["mine", "all the same", "another place", "done"]


def test_whoever_decided_on_other_stages_than_there_are_is_told(client: Client) -> None:
    run = trained()
    modeldb.register_model("churn", run=run)
    mine, yours, hers = (modeldb.registered_model("churn") for _ in range(3))
    late = versions.register_next(client.store, yours.entity, versions.Source(artifacts={}), versions.Said())
    mine.set_stages("development", "champion", "archived")
    with pytest.raises(PreconditionError):
        hers.require_approvals("staging", 1)
    with pytest.raises(PreconditionError):
        yours.promote(1, alias="champion", reason="it is a stage by now")
    with pytest.raises(PreconditionError), DirectWriter(client.store, "ada") as writer:
        execute(writer, late)
    assert len(mine.versions()) == 1
    mine.reload()
    yours.reload()
    yours.require_approvals("champion", 1)
    with pytest.raises(PreconditionError):
        mine.set_stages("development", "live", "archived")
    assert mine.stage_names == ("development", "champion", "archived")


def test_what_cannot_be_is_refused_and_nothing_is_written(client: Client, tmp_path: Path) -> None:
    run = trained()
    with pytest.raises(NotFoundError, match="no artifact 'nothing'"):
        modeldb.register_model("churn", run=run, artifact="nothing")
    with pytest.raises(NoRunError):
        modeldb.register_model("churn")
    with pytest.raises(InvalidArgumentError, match="both run and files"):
        modeldb.register_model("churn", run=run, files=tmp_path)
    for name, error in (("", InvalidArgumentError), ("x" * 300, InvalidArgumentError), (3, InvalidTypeError)):
        with pytest.raises(error):
            modeldb.register_model(name, run=run)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="pickle"):
        modeldb.register_model("churn", run=run, trusted=["pickle"])
    assert modeldb.registered_models() == ()
    modeldb.register_model("Kündigung/v2 é.", run=run)
    model = modeldb.registered_model("Kündigung/v2 é.")
    modeldb.load_model("Kündigung/v2 é.@latest")
    for options in (
        {"stage": "live"},
        {"alias": "v3"},
        {"alias": "3"},
        {"alias": "latest"},
        {"alias": "production"},
        {"alias": "a@b"},
        {"alias": "x" * 300},
        {"alias": " x"},
        {},
        {"alias": "champion", "reason": " "},
    ):
        with pytest.raises(InvalidArgumentError):
            model.promote(1, **{"reason": "why", **options})
    for reference in ("churn", "churn@", "@v1", ""):
        with pytest.raises(InvalidArgumentError, match="names no version"):
            modeldb.load_model(reference)
    for reference in ("other@v1", "Kündigung/v2 é.@v2", "Kündigung/v2 é.@champion", "Kündigung/v2 é.@production"):
        with pytest.raises(NotFoundError):
            modeldb.load_model(reference)
    with pytest.raises(InvalidArgumentError, match="any number of versions"):
        modeldb.load_model("Kündigung/v2 é.@development")
    assert (model.history(), model.stages, model.aliases) == ((), {}, {})


def test_stages_of_one_s_own_and_approvals(client: Client) -> None:
    modeldb.register_model("churn", run=trained())
    model = modeldb.registered_model("churn")
    for wrong in (("live",), ("a", "a"), ("a", "v1"), ("a", "")):
        with pytest.raises(InvalidArgumentError):
            model.set_stages(*wrong)
    model.promote(1, stage="staging", reason="try")
    with pytest.raises(ConflictError, match="'staging'"):
        model.set_stages("candidate", "live", "retired")
    model.promote(1, stage="development", reason="back")
    with pytest.raises(ConflictError, match="v1 of 'churn' is in 'development', which would be none any more"):
        model.set_stages("candidate", "live", "retired")
    model.set_stages("candidate", "live", "retired", "development")
    model.promote(1, stage="candidate", reason="again")
    model.set_stages("candidate", "live", "retired")
    model.require_approvals("live", 2)
    version = model.version(1)
    version.request_approval("live", "please look")
    version.approve("live")
    version.approve("live", "once more")  # of one person it counts once
    with pytest.raises(ConflictError, match="needs 2 approvals before 'live'.*approved by ada"):
        model.promote(1, stage="live", reason="now")
    with modeldb.connect(user="grace") as other:
        modeldb.registered_model("churn", client=other).version(1).approve("live", "fine by me")
    model.promote(1, stage="live", reason="two have said so")
    assert [(each.owner, each.verdict, each.reason) for each in version.approvals()] == [
        ("ada", "requested", "please look"),
        ("ada", "approved", ""),
        ("ada", "approved", "once more"),
        ("grace", "approved", "fine by me"),
    ]
    with pytest.raises(InvalidArgumentError, match="say why"):
        version.reject("live", "")


def test_a_stage_that_one_version_has_to_itself_is_never_that_of_two(client: Client) -> None:
    run = trained()
    modeldb.register_model("churn", run=run)
    model = modeldb.registered_model("churn")
    with pytest.raises(
        ConflictError, match="v1 of 'churn' is in 'development', which one version would have to itself"
    ):
        model.set_stages("new", "development", "live", "gone")
    late = promotion.set_stages(client.store, model.entity, ("development", "live"))
    model.promote(1, stage="archived", reason="old")
    with pytest.raises(PreconditionError), DirectWriter(client.store, "ada") as writer:
        execute(writer, late)
    with DirectWriter(client.store, "ada") as writer:  # what another program has left
        writer.apply([Entry(UPDATE, "model_version", model.version(1).entity.entity_id, {"set": {"stage": "staging"}})])
    with pytest.raises(NotFoundError):
        model.version("staging")
    model.promote(1, stage="staging", reason="really")
    assert model.stages == {"staging": 1}
    with pytest.raises(ConflictError, match="nothing would move"):
        model.promote(1, stage="staging", reason="twice")


def test_models_to_come_have_the_stages_that_the_settings_name(client: Client, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    modeldb.register_model("before", files=tmp_path / "weights")
    with modeldb.connect(model_stages=["new", "live", "old"]) as other:
        made = modeldb.register_model("after", files=tmp_path / "weights", client=other)
        modeldb.register_model("before", files=tmp_path / "weights", client=other)
    assert made.stage == "new"
    assert modeldb.registered_model("after").stage_names == ("new", "live", "old")
    assert modeldb.registered_model("before").stage_names[0] == "development"
    with (
        modeldb.connect(model_stages=["one"]) as wrong,
        pytest.raises(InvalidArgumentError, match="at least two different"),
    ):
        modeldb.register_model("never", files=tmp_path / "weights", client=wrong)


def test_a_version_that_comes_back_is_in_no_stage_that_is_gone_or_another_s(client: Client, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    for _ in range(4):
        modeldb.register_model("churn", files=tmp_path / "weights", client=client)
    model = modeldb.registered_model("churn")
    model.set_stages("development", "qa", "staging", "production", "archived")
    ids = {number: model.version(number).entity.entity_id for number in range(1, 5)}
    model.promote(1, stage="qa", reason="look at it")
    model.promote(2, stage="production", reason="good")
    model.promote(4, stage="staging", reason="nearly")
    for number in (1, 2, 4):
        assert delete(client, "model_version", ids[number]) == 1
    model.promote(3, stage="qa", reason="the other one is gone")
    model.promote(3, stage="archived", reason="done")
    model.set_stages("development", "staging", "production", "archived")
    model.promote(3, stage="production", reason="better")
    assert restore(client, "model_version", ids[1]) == 1
    assert restore(client, "model_version", ids[2]) == 1
    assert restore(client, "model_version", ids[4]) == 1
    client.flush()
    stages = {number: model.version(number).stage for number in range(1, 5)}
    assert stages == {1: "archived", 2: "archived", 3: "production", 4: "staging"}
    model.set_stages("development", "staging", "production", "retired", "archived")  # each version is in one of these
    assert delete(client, "registered_model", model.entity.entity_id, recursive=True) == 5
    assert restore(client, "registered_model", model.entity.entity_id) == 5
    client.flush()
    assert modeldb.registered_model("churn").version(3).stage == "production"


def test_a_version_outlives_its_run_and_says_what_is_gone(client: Client, tmp_path: Path) -> None:
    run = trained()
    version = modeldb.register_model("churn", run=run)
    client.get_run(run.run_id).delete()
    with pytest.raises(ConflictError, match="deleted"):
        modeldb.register_model("churn", run=run.run_id)
    assert "(deleted)" in version.card().replace("\\", "")
    assert modeldb.load_model("churn@v1").predict(X).tolist() == Y.tolist()
    ends = {entry["digest"][-40:] for entry in version.entity.artifacts.values()}
    (blob,) = (path for path in (tmp_path / "artifacts").rglob("*") if path.name[-40:] in ends)
    content = blob.read_bytes()
    blob.chmod(0o600)
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError):
        modeldb.load_model("churn@v1")
    blob.unlink()
    with pytest.raises(NotFoundError, match="churn@v1 cannot be read"):
        modeldb.load_model("churn@v1")
    client.get_run(run.run_id).restore()
    with pytest.raises(NotFoundError, match="no longer in the artifact store"):
        modeldb.register_model("churn", run=run.run_id)


def test_an_alias_says_when_its_version_is_deleted_or_erased(client: Client, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    version = modeldb.register_model("net", files=tmp_path / "weights")
    model = modeldb.registered_model("net")
    model.promote(1, stage="production", alias="champion", reason="the only one")
    delete(client, "model_version", version.entity.entity_id)
    client.flush()
    for selector in (1, "champion", "production"):
        with pytest.raises(ConflictError, match="is deleted; restore it"):
            model.version(selector)
    with DirectWriter(client.store, "ada") as writer:
        erase_deleted(writer, timedelta(0), Collected())
    with pytest.raises(ErasedError, match="deleted and erased; move 'champion' on"):
        model.version("champion")
    assert model.stages == {"production": None}
    assert modeldb.register_model("net", files=tmp_path / "weights").number == 2, "no number comes again"
    model.promote(2, stage="production", alias="champion", reason="the new one")
    assert [move.reason for move in model.history()] == ["the only one", "the new one"]


def test_pickles_are_loaded_by_the_word_of_the_caller_alone(client: Client) -> None:
    with modeldb.start_run("churn") as run:
        run.log_model(fitted(), model_format="pickle")
    modeldb.register_model("guess", run=run)
    with pytest.raises(UntrustedModelError):
        modeldb.load_model("guess@v1")
    # What somebody wrote past the commands does not count either.
    version = modeldb.registered_model("guess").version(1).entity
    client.log_change("update", "model_version", version.entity_id, {"set": {"trusted_types": ["pickle"]}})
    with pytest.raises(UntrustedModelError):
        modeldb.load_model("guess@v1")
    assert modeldb.load_model("guess@v1", trusted=["pickle"]).predict(X).tolist() == Y.tolist()


def test_at_every_instant_the_registry_is_what_a_replay_says(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained()
    names = ("churn", "fraud", "idle")
    for name in names:
        for _ in range(3):
            modeldb.register_model(name, run=run)
    models = {name: modeldb.registered_model(name) for name in names}
    expected: list[tuple[datetime, dict[str, dict[str, int]]]] = []
    now: dict[str, dict[str, int]] = {name: {} for name in names}
    for step in range(50):
        name, number = names[step % 2], 1 + (step * 7 // 3) % 3
        model, stage = models[name], ("production", "staging", "archived")[step % 3]
        if model.version(number).stage == stage:
            stage = "development"
        model.promote(number, stage=stage, reason=f"step {step}")
        places = {place: held for place, held in now[name].items() if held != number}
        now[name] = places | ({stage: number} if stage in ("production", "staging") else {})
        expected.append((model.history()[-1].at, {each: dict(held) for each, held in now.items()}))
    for index, (at, places) in enumerate(expected):
        for moment in (at, *([] if index == 49 else [expected[index + 1][0] - timedelta(microseconds=1)])):
            found = modeldb.models_at(moment)
            assert {name: {s: held.number for s, held in found[name].stages.items()} for name in names} == places
    assert modeldb.models_at(datetime(2020, 1, 1, tzinfo=UTC)) == {}
    read, read_changes = [], client.store.read_changes
    with monkeypatch.context() as patch:
        patch.setattr(client.store, "read_changes", lambda **asked: read.append(asked) or read_changes(**asked))
        modeldb.models_at(expected[-1][0])
        assert read == [], "nothing has changed since"
        modeldb.models_at(expected[0][0])
    assert {each["entity_id"] for each in read} == {models[name].entity.entity_id for name in ("churn", "fraud")}
    assert models["churn"].at(expected[10][0]).stages.keys() == expected[10][1]["churn"].keys()
    for wrong in (datetime(2020, 1, 1), "yesterday"):
        with pytest.raises(InvalidArgumentError):
            modeldb.models_at(wrong)  # type: ignore[arg-type]


def test_a_card_shows_the_record_and_means_nothing_else(client: Client) -> None:
    with modeldb.start_run("churn", name="<script>alert(1)</script>") as run:
        run.log_hyperparameters({"lr|x": "a\n| b | [c](javascript:alert(1))"})
        run.log_metrics({"modeldb/fit_seconds": 0.5, "auc": 0.875})
        run.log_dataset([1, 2, 3], name="churn/train")
        run.log_model(fitted())
    version = modeldb.register_model("churn", run=run, description="# not a heading\n<img src=x onerror=alert(1)>")
    model = modeldb.registered_model("churn")
    model.promote(1, stage="production", alias="champion", reason="*good*")
    version.approve("production", "`fine`")
    text = model.version(1).card()
    for part in (
        "## Metrics",
        "| auc | 0.875 |",
        "churn/train",
        "LogisticRegression",
        "champion",
        "\\*good\\*",
        run.run_id[:8],
    ):
        assert part in text, part
    assert text.index("| auc |") < text.index("fit\\_seconds")
    assert "<" not in text.replace("\\<", "")
    assert "](" not in text
    assert text.count("\n# ") == 0
    assert all(line.count("|") - line.count("\\|") == 3 for line in text.splitlines() if line.startswith("|"))


def test_a_card_of_a_version_in_wide_use_says_that_there_is_more(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    modeldb.register_model("churn", run=trained())
    model = modeldb.registered_model("churn")
    for number in range(9):
        with modeldb.start_run("scoring", name=f"scoring {number}"):
            modeldb.load_model("churn@v1")
        model.promote(1, alias=f"alias {number}", reason=f"reason {number}")
    monkeypatch.setattr(cards, "_MAX_ROWS", 7)
    text = model.version(1).card()
    assert "used by runs | more than 7\\: scoring" in text
    assert sum(f"scoring {number}" in text for number in range(9)) == 7
    assert [f"reason {number}" in text for number in range(9)] == [False] * 2 + [True] * 7
    assert "- … 2 earlier" in text


def test_gc_keeps_the_files_that_a_version_names(client: Client, tmp_path: Path) -> None:
    run = trained()
    modeldb.register_model("churn", run=run)
    run.unlink_artifacts(*client.get_run(run.run_id).artifacts)
    client.flush()
    for path in (tmp_path / "artifacts").rglob("*"):
        os.utime(path, (0, 0))
    remove_blobs(client.store, client.artifacts, timedelta(days=30), Collected())
    assert modeldb.load_model("churn@v1").predict(X).tolist() == Y.tolist()
