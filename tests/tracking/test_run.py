"""What users call: logging, and reading back exactly what was logged."""

from __future__ import annotations

import io
import json
import math
import pickle
import signal
from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import modeldb_core as modeldb
from modeldb_core.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    NotFoundError,
    QuerySyntaxError,
    RunFinishedError,
)
from modeldb_core.model.entities import new_id
from modeldb_core.tracking import Client, endings
from modeldb_core.tracking.description.datasets import Labelled

EXACT_VALUES: dict[str, Any] = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "minus zero": -0.0,
    "smallest": 5e-324,
    "beyond 64 bits": 2**63 + 1,
    "huge": 10**400,
    "negative huge": -(2**200),
    "float that is whole": 3.0,
    "true": True,
    "none": None,
    "empty": "",
    "unicode": "naïve 🙂 \u202e \x01 中文",
    "nested": {"a": [1, [2.5, {"": None}], {"$float": "not a tag", "$$": 1}], "b": {}},
    "empty list": [],
}


def same(left: object, right: object) -> bool:
    """Compare bit for bit: types, NaN and the sign of zero included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and isinstance(right, float):
        return left.hex() == right.hex()
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@pytest.mark.parametrize("section", ["hyperparameters", "attributes"])
@pytest.mark.parametrize("key", EXACT_VALUES)
def test_values_come_back_exactly(client: Client, section: str, key: str) -> None:
    with client.start_run(capture=False) as run:
        log = run.log_hyperparameters if section == "hyperparameters" else run.set_attributes
        log({key: EXACT_VALUES[key]})
    assert same(getattr(run, section)[key], EXACT_VALUES[key])
    assert same(getattr(client.get_run(run.run_id), section)[key], EXACT_VALUES[key])


def test_a_value_of_ten_megabytes_comes_back_exactly_and_lies_in_the_artifact_store(client: Client) -> None:
    text = "mödel " * 1_700_000
    with client.start_run(capture=False) as run:
        run.log_hyperparameters({"text": text, "short": 1})
    assert run.hyperparameters == {"text": text, "short": 1}
    assert len(str(run.entity.document)) < 2000
    assert sum(blob.size_bytes for blob in client.artifacts.list()) > 10_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(7), 7),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.array(2.5), 2.5),
        (np.str_("text"), "text"),
        ((1, 2), [1, 2]),
    ],
)
def test_scalars_of_numpy_are_the_numbers_they_hold(client: Client, value: object, expected: object) -> None:
    with client.start_run(capture=False) as run:
        run.log_hyperparameters({"x": value})
    assert same(run.hyperparameters["x"], expected)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "hyperparameters.bad is of type object"),
        ({"deep": [1, object()]}, r"hyperparameters.bad.deep\[1\] is of type object"),
        ([io.StringIO()], r"hyperparameters.bad\[0\] is of type _io.StringIO"),
        ("\ud800", "lone surrogate"),
    ],
)
def test_what_cannot_be_stored_raises_at_the_call_naming_key_and_type(
    client: Client, value: object, named: str
) -> None:
    with client.start_run(capture=False) as run:
        with pytest.raises(InvalidArgumentError, match=named):
            run.log_hyperparameters({"good": 1, "bad": value})
    assert run.hyperparameters == {}, "nothing is half written"


@pytest.mark.parametrize(
    ("key", "error", "named"),
    [
        (1, InvalidTypeError, "type int"),
        (None, InvalidTypeError, "type NoneType"),
        ("", InvalidArgumentError, "empty"),
        ("k" * 1025, InvalidArgumentError, "1,025 characters"),
        ("nul\0", InvalidArgumentError, "NUL"),
    ],
)
def test_bad_keys_are_refused_everywhere(client: Client, key: Any, error: type[Exception], named: str) -> None:
    with client.start_run(capture=False) as run:
        run.log_metrics({"fine": 1.0}, step=0)
        calls = [
            lambda: run.log_hyperparameters({key: 1}),
            lambda: run.set_attributes({key: 1}),
            lambda: run.log_metric(key, 1.0),
            lambda: run.log_metric(key, 1.0, step=1),
            lambda: run.log_metrics({"fine": 1.0, key: 2.0}, step=1),
            lambda: run.add_tags(key),
            lambda: run.log_dataset([1], key),
        ]
        for call in calls:
            with pytest.raises(error, match=named):
                call()
        with pytest.raises(error, match=named):
            client.start_run(tags=[key])
    assert run.metrics == {"fine": 1.0}
    assert len(run.history("fine")) == 1


@pytest.mark.parametrize("value", ["0.5", None, [1.0], {}, np.zeros(2), object(), 1j])
@pytest.mark.parametrize("step", [None, 3])
def test_a_metric_that_is_no_number_is_refused(client: Client, value: Any, step: int | None) -> None:
    with client.start_run(capture=False) as run:
        run.log_metrics({"m": 1.0, "n": 2.0}, step=0)
        with pytest.raises(InvalidTypeError, match="'m' is of type"):
            run.log_metrics({"m": value, "n": 1.0}, step=step)
    assert len(run.history("m")) == len(run.history("n")) == 1


@pytest.mark.parametrize("step", [1.5, 2.0, "3", 2**63, -(2**63) - 1, math.nan])
def test_a_step_that_is_no_64_bit_integer_is_refused(client: Client, step: Any) -> None:
    with client.start_run(capture=False) as run:
        run.log_metric("m", 1.0, step=0)
        with pytest.raises(InvalidArgumentError, match="step"):
            run.log_metric("m", 1.0, step=step)
    assert list(run.history("m").steps) == [0]


def test_a_series_keeps_every_point_in_the_order_of_logging(client: Client) -> None:
    steps = [5, 3, 3, -1, 2**63 - 1, 0]
    values = [0.5, math.nan, math.inf, -0.0, 5e-324, 1]
    with client.start_run(capture=False) as run:
        for step, value in zip(steps, values, strict=True):
            run.log_metrics({"x": value, "y": 2 * value}, step=np.int64(step))
    history = run.history("x")
    assert list(history.steps) == steps
    assert [value.hex() for value in history.values.tolist()] == [float(value).hex() for value in values]
    assert list(history.times) == sorted(history.times)
    assert abs(history.times[-1] / 1e6 - datetime.now(UTC).timestamp()) < 60


def test_a_metric_without_step_is_a_value_and_with_steps_the_last_of_its_series(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.log_metric("auc", 0.91)
        for step in range(10):
            run.log_metrics({"loss": 1 / (step + 1), "both": step}, step=step)
        run.log_metric("both", 2**70)
    assert run.metrics == {"auc": 0.91, "loss": 0.1, "both": 2**70}
    summary = run.series["loss"]
    assert (summary.count, summary.first, summary.last, summary.minimum, summary.max_step) == (10, 1.0, 0.1, 0.1, 0)


def test_timestamps_can_be_given(client: Client) -> None:
    when = datetime(2020, 2, 2, tzinfo=UTC)
    with client.start_run(capture=False) as run:
        run.log_metric("m", 1.0, step=1, timestamp=when)
        run.log_metric("m", 2.0, step=2, timestamp=when.timestamp() + 1.5)
    assert list(run.history("m").times) == [1580601600_000000, 1580601601_500000]


def test_many_key_sets_and_runs_may_alternate(client: Client) -> None:
    runs = [client.start_run(capture=False) for _ in range(3)]
    for step in range(300):
        for number, run in enumerate(runs):
            run.log_metrics({"train/loss": step + number}, step=step)
            if step % 3 == number:
                run.log_metrics({"val/loss": -step, "val/acc": number}, step=step)
    for number, run in enumerate(runs):
        run.finish()
        assert list(run.history("train/loss").values) == [step + number for step in range(300)]
        assert list(run.history("val/loss").steps) == list(range(number, 300, 3))


def test_a_finished_run_refuses_results_but_takes_remarks(client: Client) -> None:
    with client.start_run(name="done", capture=False) as run:
        run.log_metric("m", 1.0, step=0)
    for call in (
        lambda: run.log_metric("m", 2.0, step=1),
        lambda: run.log_metric("m", 2.0),
        lambda: run.log_hyperparameters({"a": 1}),
        lambda: run.log_artifact(b"x", "x"),
        lambda: client.get_run(run.run_id).log_metric("m", 2.0, step=1),
    ):
        with pytest.raises(RunFinishedError, match="'done'"):
            call()
    run.add_tags("seen")
    run.set_attributes({"checked": True})
    run.comment("good")
    again = client.get_run(run.run_id)
    assert (again.tags, again.attributes, len(again.history("m"))) == (("seen",), {"checked": True}, 1)
    run.finish("failed")
    assert again.refresh().status == "finished", "the first end stands"


def test_what_comes_after_the_end_of_a_run_is_read_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with client.start_run(capture=False) as run:
        run.log_metric("loss", 0.5)
    assert (run.metrics, run.tags) == ({"loss": 0.5}, ())
    run.add_tags("seen")
    assert run.tags == ("seen",)
    run.late().log_metric("test_accuracy", 0.9)
    assert run.metrics == {"loss": 0.5, "test_accuracy": 0.9}
    with client.start_run(run_id=run.run_id) as again:
        again.log_metric("loss", 0.25)
    assert run.metrics["loss"] == 0.25
    reads = []
    get = client.store.get
    monkeypatch.setattr(client.store, "get", lambda *given: reads.append(given) or get(*given))
    assert (run.metrics["loss"], run.tags, run.notes, run.series) == (0.25, ("seen",), (), {})
    assert not reads, "nothing was logged since"
    client.close()
    assert run.metrics["loss"] == 0.25


def test_a_run_can_be_continued(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.log_metric("m", 1.0, step=0)
    with client.start_run(run_id=run.run_id) as again:
        assert client.get_run(run.run_id).status == "running"
        again.log_metric("m", 2.0, step=1)
    assert list(client.get_run(run.run_id).history("m").values) == [1.0, 2.0]
    assert client.get_run(run.run_id).status == "finished"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), "failed"),
        (KeyboardInterrupt(), "killed"),
        (SystemExit(0), "finished"),
        (SystemExit(3), "failed"),
    ],
)
def test_the_end_of_a_block_says_how_the_run_ended(client: Client, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), client.start_run(capture=False) as run:
        raise error
    assert client.get_run(run.run_id).status == status


def test_children_belong_to_their_parent(client: Client) -> None:
    with client.start_run(project="p", experiment="e", capture=False) as parent:
        with parent.start_child("first", hyperparameters={"fold": 0}) as child:
            child.log_metric("score", 0.5)
    assert child.entity.parent_id == parent.run_id
    assert child.entity.experiment_id == parent.entity.experiment_id
    found = client.search_runs(f"parent_id = '{parent.run_id}'", project="p")
    assert [run.name for run in found] == ["first"]


def test_the_current_run_is_that_of_the_innermost_block(client: Client) -> None:
    assert modeldb.current_run() is None
    with client.start_run(capture=False) as outer:
        with client.start_run(capture=False) as inner:
            assert modeldb.current_run() is inner
        assert modeldb.current_run() is outer
    assert modeldb.current_run() is None


def test_artifacts_of_every_kind_come_back(client: Client, tmp_path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([1, 2, 3])
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"a")
    (folder / "deep" / "epoch=00-val_loss=0.78.ckpt").write_bytes(b"b" * 100_000)
    with client.start_run(capture=False) as run:
        run.log_artifact(folder / "a.bin")
        run.log_artifact(str(folder))
        run.log_artifact(figure, "curve")
        run.log_artifact(pd.DataFrame({"x": [1, 2]}), "table")
        run.log_artifact(pl.DataFrame({"x": [1, 2]}), "polars.csv")
        run.log_artifact(b"raw \xff", name="naïve 🙂/raw")
        run.log_artifact({"a": [1, math.nan]}, "notes")
    table = "table.parquet" if find_spec("pyarrow") else "table.csv"
    assert set(run.artifacts) == {
        *("a.bin", "weights/a.bin", "weights/deep/epoch=00-val_loss=0.78.ckpt", "curve.png", table),
        *("polars.csv", "naïve 🙂/raw", "notes.json"),
    }
    assert run.read_artifact("curve.png").startswith(b"\x89PNG")
    assert run.artifacts["curve.png"]["media_type"] == "image/png"
    assert run.read_artifact("table") == run.read_artifact(table)
    assert json.loads(run.read_artifact("notes.json")) == {"a": [1, None]}
    assert run.artifacts["a.bin"]["digest"] == run.artifacts["weights/a.bin"]["digest"]
    target = run.download_artifact("weights", tmp_path / "back")
    assert (target / "deep" / "epoch=00-val_loss=0.78.ckpt").read_bytes() == b"b" * 100_000
    assert run.download_artifact("a.bin", tmp_path / "one.bin").read_bytes() == b"a"


def test_artifacts_that_cannot_be_are_refused_by_name(client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with client.start_run(capture=False) as run:
        with pytest.raises(NotFoundError, match=r"missing\.png"):
            run.log_artifact("missing.png")
        with pytest.raises(InvalidArgumentError, match="no name"):
            run.log_artifact(b"x")
        with pytest.raises(InvalidTypeError, match="type int"):
            run.log_artifact(7, "seven")
        with pytest.raises(InvalidArgumentError, match="no files"):
            run.log_artifact(tmp_path / "empty")
    with pytest.raises(NotFoundError, match="no artifact 'x'"):
        run.read_artifact("x")


def test_a_hostile_artifact_path_does_not_lead_out_of_the_folder(client: Client, tmp_path: Path) -> None:
    with client.start_run(capture=False) as run:
        run.log_artifact(b"x", "set/../../../evil")
    with pytest.raises(InvalidArgumentError, match="outside"):
        run.download_artifact("set", tmp_path / "into" / "here")
    assert not (tmp_path / "evil").exists()


def test_the_same_data_set_is_one_version_wherever_it_is_logged(client: Client) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    with client.start_run(capture=False) as first:
        version = first.log_dataset(frame, name="customers")
    with client.start_run(project="another", capture=False) as second:
        assert second.log_dataset(frame.copy(), "test", name="customers") == version
        assert second.log_dataset(frame.assign(x=[1.0, 2.5]), name="customers") != version
    client.flush()
    stored = client.store.get("dataset_version", version)
    assert stored.document["info"]["shape"] == [2, 2]
    assert stored.name == stored.document["info"]["name"] == "customers"
    assert second.entity.datasets["test"]["digest"] == first.entity.datasets["train"]["digest"]
    assert second.entity.datasets["train"]["dataset_id"] == first.entity.datasets["train"]["dataset_id"]
    other = client.store.get("dataset_version", second.entity.datasets["train"]["dataset_version_id"])
    assert [stored.document["version"], other.document["version"]] == [1, 2], "the store numbers what was logged"
    assert (other.document["parent_id"], other.document["record_count"]) == (version, 2)


def test_a_data_set_that_nobody_names_is_called_after_its_project_and_origin(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "customers.csv").write_text("a,b\n1,2\n")
    spring = pd.DataFrame({"x": [1.0, 2.0]})

    def train(X: pd.DataFrame) -> None:
        run.log_dataset(X)

    named = {}
    for project in ("churn", "fraud"):
        with client.start_run(project=project, capture=False) as run:
            train(spring)
            run.log_dataset("data/customers.csv", "test")
            run.log_dataset("https://user:secret@example.org/sets/a.parquet?token=secret", "remote")
            run.log_dataset(Labelled(spring, [1, 2]), "labelled")
            run.log_dataset([1, 2, 3], "validation")
        client.flush()
        found = {role: data["name"] for role, data in run.entity.datasets.items()}
        assert found == {
            "train": f"{project}/spring",
            "test": f"{project}/data/customers.csv",
            "remote": f"{project}/example.org/sets/a.parquet",
            "labelled": f"{project}/spring",
            "validation": f"{project}/validation",
        }
        named |= {data["dataset_id"]: data["name"] for data in run.entity.datasets.values()}
    assert len(named) == 8
    assert {key: client.store.get("dataset", key).name for key in named} == named


def test_searching_and_frames(client: Client) -> None:
    for depth in range(1, 6):
        with client.start_run(project="churn", experiment="forest", capture=False) as run:
            run.log_hyperparameters({"max_depth": depth, "weights": {"0": 1.0}})
            run.log_metric("auc", depth / 5)
    with client.start_run(project="other", capture=False) as run:
        run.log_metric("auc", 0.99)
    runs = modeldb.search_runs("metrics.auc > 0.5", project="churn", order_by="metrics.auc desc", limit=2, count=True)
    assert [run.hyperparameters["max_depth"] for run in runs] == [5, 4]
    assert runs.total == 3
    rest = runs.next_page()
    assert rest is not None
    assert [run.metrics["auc"] for run in rest] == [0.6]
    assert rest.next_page() is None
    frame = modeldb.search_runs("", project="churn", experiment="forest").to_pandas()
    assert sorted(frame["hyperparameters.max_depth"]) == [1, 2, 3, 4, 5]
    assert frame["status"].unique().tolist() == ["finished"]
    assert modeldb.search_runs("metrics.unknown > 1").entities == ()
    with pytest.raises(QuerySyntaxError, match="metrics.auc >"):
        modeldb.search_runs("metrics.auc >")
    assert [project.name for project in client.projects()] == ["churn", "other"]


def test_handles_show_themselves_in_a_notebook(client: Client) -> None:
    with client.start_run(name="<b>bold</b>", capture=False) as run:
        run.log_metrics({"loss": 1.0}, step=0)
        run.log_metrics({"loss": 0.5}, step=1)
        run.log_hyperparameters({"a": "<script>"})
    shown = run._repr_html_() + client.search_runs()._repr_html_() + run.history("loss")._repr_html_()
    assert "<script>" not in shown
    assert "<b>bold" not in shown
    assert "polyline" in shown
    assert "2 of 2 points" in shown


def test_a_pickled_handle_logs_to_the_same_run(client: Client) -> None:
    with client.start_run(capture=False) as run:
        copy = pickle.loads(pickle.dumps(run))
        copy.log_metric("from the copy", 1.0, step=0)
        run.log_metric("from the run", 1.0, step=0)
    assert set(run.metrics) == {"from the copy", "from the run"}


def test_code_environment_and_host_are_recorded_unless_switched_off(client: Client) -> None:
    with client.start_run() as run:
        pass
    with client.start_run(capture=False) as bare:
        pass
    client.flush()
    assert run.entity.environment["python"]
    assert "numpy" in str(client.resolve(run.entity.environment["packages"]))
    assert run.entity.context["hostname"]
    assert not bare.entity.environment
    assert not bare.entity.context


def test_a_run_without_end_shows_as_running_and_is_finished_with_the_client(environment: dict[str, str]) -> None:
    with modeldb.connect() as client:
        run = client.start_run(capture=False)
        assert run.status == "running"
    with modeldb.connect() as client:
        assert client.get_run(run.run_id).status == "finished"


def test_unknown_schemes_and_runs_are_named(client: Client) -> None:
    from modeldb_core.errors import UnknownSchemeError

    with pytest.raises(UnknownSchemeError, match="mysql.*sqlite"):
        modeldb.connect("mysql://host/db")
    with pytest.raises(NotFoundError, match="no-such-run"):
        client.get_run("no-such-run")


def test_wrong_types_are_named_wherever_they_are_given(client: Client) -> None:
    wrong: Any = 5
    with client.start_run(capture=False) as run:
        for call, named in (
            (lambda: client.start_run(tags=wrong), "tags is of type int"),
            (lambda: client.start_run(description=wrong), "description is of type int"),
            (lambda: client.search_runs(project=wrong), "project name 5"),
            (lambda: client.search_runs(experiment="\ud800"), "lone surrogate"),
            (lambda: client.search_runs(fields="name"), "expected a list of names"),
            (lambda: run.set_description(wrong), "description is of type int"),
            (lambda: run.note(wrong), "note is of type int"),
            (lambda: run.log_artifact("a\0b"), "NUL"),
            (lambda: run.log_metric("m", 1.0, timestamp=1.0), "timestamp is given without a step"),
            (
                lambda: run.log_metric("m", 1.0, 1, timestamp=datetime(2026, 1, 1)),
                "timestamp 2026-01-01.* no time zone",
            ),
        ):
            with pytest.raises(InvalidArgumentError, match=named):
                call()


def test_decimals_are_numbers_from_the_first_point_on(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.log_metric("m", Decimal("1.5"), step=0)  # type: ignore[arg-type]
        run.log_metric("m", Decimal("2.5"), step=1)  # type: ignore[arg-type]
    assert run.history("m").values.tolist() == [1.5, 2.5]


def test_a_filter_may_have_as_many_conditions_as_the_language_allows(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.log_hyperparameters({"k": "x"})
    for word in ("and", "or"):
        found = client.search_runs(f" {word} ".join(["hyperparameters.k != 't'"] * 500))
        assert [hit.run_id for hit in found] == [run.run_id]


def test_a_run_that_has_ended_is_no_current_run(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.finish()
        assert modeldb.current_run() is None


def test_a_run_can_have_an_identifier_that_was_needed_before_it(client: Client) -> None:
    reserved = new_id()
    run = client.start_run(name="late", reserved_id=reserved)
    child = run.start_child("part", reserved_id=new_id())
    assert run.run_id == reserved
    assert client.get_run(child.run_id).entity.parent_id == reserved


def test_stored_blobs_are_named_and_names_taken_away_also_of_a_finished_run(client: Client) -> None:
    with client.start_run() as run:
        info = client.put_blob(io.BytesIO(b"weights"))
    entry = {"digest": info.digest, "size_bytes": info.size_bytes, "type": "checkpoint", "aliases": ["best"]}
    run.link_artifacts({"a.ckpt": entry, "b.ckpt": entry})
    run.unlink_artifacts("a.ckpt")
    found = client.get_run(run.run_id)
    assert found.artifacts == {"b.ckpt": entry}
    assert found.read_artifact("b.ckpt") == b"weights"
    with pytest.raises(InvalidArgumentError, match="artifact name"):
        run.link_artifacts({"": entry})


def test_sigterm_can_be_left_to_a_framework_and_taken_back(client: Client) -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with client.start_run():
            endings.leave_sigterm()
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            endings.take_sigterm()
            assert signal.getsignal(signal.SIGTERM) is endings._on_sigterm
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        endings.leave_sigterm()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tags": ["good", ""]},
        {"tags": [3]},
        {"name": "x" * 300},
        {"description": "\ud800"},
        {"parent": ""},
        {"hyperparameters": {"lr": object()}},
        {"attributes": {"": 1}},
        {"reserved_id": "\0"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_run_that_cannot_be_started_leaves_no_project(client: Client, wrong: dict[str, Any]) -> None:
    with pytest.raises((InvalidArgumentError, InvalidTypeError)):
        client.start_run("nothing", "at all", capture=False, **wrong)
    with client.start_run("something", capture=False):
        pass
    assert [project.name for project in client.projects()] == ["something"]
