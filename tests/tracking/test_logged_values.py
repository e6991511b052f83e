"""Numbers, keys and objects of all kinds: they come back as they were, or the call says why not."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import hashlib
import ipaddress
import math
import re
import sys
import uuid
from array import array
from collections import deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pydantic
import pytest

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.log import display
from modeldb_core.tracking import Client
from modeldb_core.tracking.description.plain import Plain


class Loss(float):
    """A float of somebody's own."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float16(0.5), 0.5),
        (np.int8(-3), -3.0),
        (np.uint64(2**63), float(2**63)),
        (np.longdouble(0.1), 0.1),
        (np.array(2.5), 2.5),
        (np.bool_(True), 1.0),
        (2**53, float(2**53)),
        (2**60, float(2**60)),
        (True, 1.0),
        (Loss(0.25), 0.25),
        (Decimal("0.1"), 0.1),
        (Fraction(1, 3), 1 / 3),
        (np.longdouble("inf"), math.inf),
    ],
    ids=repr,
)
def test_a_number_is_the_same_point_on_every_call(client: Client, value: Any, expected: float) -> None:
    with client.start_run(capture=False) as run:
        for step in range(3):
            run.log_metrics({"m": value, "other": 0.5}, step=step)
    assert list(run.history("m").values) == [expected] * 3


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (2**53 + 1, InvalidArgumentError),
        (-(2**63) - 1, InvalidArgumentError),
        (10**400, InvalidArgumentError),
        (10**5000, InvalidArgumentError),
        (np.int64(2**53 + 1), InvalidArgumentError),
        (np.uint64(2**64 - 1), InvalidArgumentError),
        (np.longdouble("0.1"), InvalidArgumentError),
        (Fraction(10**400), InvalidArgumentError),
        (np.datetime64("2026-01-01", "ns"), InvalidTypeError),
        (np.datetime64("NaT", "ns"), InvalidTypeError),
        (np.timedelta64(5, "ns"), InvalidTypeError),
        (np.array(5, "m8[ns]"), InvalidTypeError),
        (np.complex64(1), InvalidTypeError),
        (1 + 0j, InvalidTypeError),
        (np.array([0.5]), InvalidTypeError),
        (datetime.now(UTC), InvalidTypeError),
        ("0.5", InvalidTypeError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_point_is_refused_on_every_call(client: Client, value: Any, error: type[Exception]) -> None:
    with client.start_run(capture=False) as run:
        run.log_metrics({"m": 0.5}, step=0)
        for _ in range(3):
            with pytest.raises(error, match="metric 'm'"):
                run.log_metrics({"m": value}, step=1)
        run.log_metrics({"m": 0.25}, step=2)
    assert list(run.history("m").values) == [0.5, 0.25]


@pytest.mark.parametrize(
    "value", [np.datetime64("2026-01-01", "ns"), np.timedelta64(5, "ns"), np.longdouble("0.1"), 1j]
)
def test_a_value_logged_once_goes_by_the_same_rule(client: Client, value: Any) -> None:
    with client.start_run(capture=False) as run:
        with pytest.raises(InvalidArgumentError, match="metric 'm'"):
            run.log_metric("m", value)
        run.log_metrics({"whole": 2**53 + 1, "huge": 10**5000, "decimal": Decimal("0.1"), "u": np.uint64(2**64 - 1)})
    assert run.metrics == {"whole": 2**53 + 1, "huge": 10**5000, "decimal": 0.1, "u": 2**64 - 1}


def test_an_integer_of_5000_digits_breaks_no_listing(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.log_hyperparameters({"modulus": 10**5000, "deep": {"keys": [10**5000]}})
        run.log_metric("huge", -(10**5000))
    with client.start_run(capture=False) as other:
        other.log_hyperparameters({"modulus": 3})
    found = client.search_runs()
    assert found[1].hyperparameters == {"modulus": 10**5000, "deep": {"keys": [10**5000]}}
    assert "0x" in display.runs_html(found.entities, None)
    assert "0x" in found[1]._repr_html_()
    assert "0x" in str(found.to_pandas()["hyperparameters.modulus"].tolist())
    assert "0x" in found.to_pandas().to_string()


def test_maps_with_keys_of_any_plain_type_come_back_and_are_found(client: Client) -> None:
    config = {
        "id2label": {0: "cat", 1: "dog"},
        "label2id": {"cat": 0},
        "odd": {None: 1, True: 2, 0.5: [{-1: {2: 3}}], "1": "text", "$1": "dollar"},
        "numpy": {np.int64(7): 1},
    }
    with client.start_run(capture=False) as run:
        run.log_hyperparameters({"model": config})
        run.set_attributes({"model": config})
    found = client.get_run(run.run_id)
    assert found.hyperparameters["model"] == found.attributes["model"] == config
    assert [type(key) for key in found.hyperparameters["model"]["odd"]] == [type(None), bool, float, str, str]
    for filter_ in ('id2label.0 = "cat"', "odd.null = 1", "odd.true = 2", 'odd.1 = "text"', "numpy.7 = 1"):
        assert len(client.search_runs(f"hyperparameters.model.{filter_}")) == 1, filter_
    (page,) = client.search_runs(fields=["hyperparameters.model.id2label.0"]).entities
    assert page.hyperparameters == {"model": {"id2label": {0: "cat"}}}


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Inner:
    size: int = 3
    where: Path = dataclasses.field(default=Path("/data"))


class Model(pydantic.BaseModel):
    depth: int = 3
    inner: dict[int, str] = {1: "a"}


def test_the_arguments_of_a_program_are_logged_as_they_are(client: Client) -> None:
    arguments = argparse.Namespace(
        lr=0.1,
        data=Path("/data/train"),
        color=Color.RED,
        inner=Inner(),
        model=Model(),
        func=print,
        when=date(2026, 1, 2),
        steps=range(3),
        some={3, 1},
        rest=SimpleNamespace(a=1),
        weights=np.array([0.5, 0.5]),
        dtype=np.dtype("float32"),
        cost=Decimal("0.1"),
        id=uuid.UUID(int=1),
    )
    with client.start_run(capture=False) as run:
        run.log_hyperparameters(arguments)
    with client.start_run(capture=False, hyperparameters=vars(arguments)) as other:
        pass
    found = client.get_run(run.run_id)
    assert found.hyperparameters == client.get_run(other.run_id).hyperparameters
    expected = {
        "lr": 0.1,
        "data": "/data/train",
        "inner": {"size": 3, "where": "/data"},
        "func": "builtins.print",
        "model": {"depth": 3, "inner": {1: "a"}},
        "when": "2026-01-02",
        "rest": {"a": 1},
        "dtype": "float32",
        "color": {"type": f"{__name__}.Color", "name": "RED", "value": "red"},
        "steps": {"type": "range", "start": 0, "stop": 3, "step": 1},
        "some": {"type": "set", "items": [1, 3]},
        "weights": {"type": "numpy.ndarray", "dtype": "float64", "shape": [2], "values": [0.5, 0.5]},
        "cost": 0.1,
        "id": str(uuid.UUID(int=1)),
    }
    assert found.hyperparameters == expected
    (note,) = found.notes
    for part in (
        "hyperparameters.data (pathlib.PosixPath as text)",
        "hyperparameters.cost (decimal.Decimal as the nearest",
    ):
        assert part in note
    assert "lr" not in note
    assert "weights" not in note, "its type is there"


def test_a_module_that_another_thread_has_only_begun_to_import_is_in_nobodys_way(
    client: Client, monkeypatch: Any
) -> None:
    for name in ("torch", "torch.distributed"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with client.start_run(capture=False) as run:
        run.log_hyperparameters({"data": Path("data"), "weights": np.arange(3)})
    assert run.status == "finished"
    assert run.hyperparameters["data"] == "data"


@pytest.mark.parametrize("value", [Inner(), Model(), SimpleNamespace(size=3), argparse.Namespace(size=3)], ids=repr)
def test_what_has_values_by_name_is_taken_for_a_map(client: Client, value: object) -> None:
    with client.start_run(capture=False, attributes=value) as run:
        run.log_hyperparameters(value)
    assert run.hyperparameters == run.attributes != {}


@pytest.mark.parametrize("value", [[("lr", 0.1)], "lr", 3, None, Inner])
def test_what_has_no_names_is_refused(client: Client, value: Any) -> None:
    with client.start_run(capture=False) as run, pytest.raises(InvalidTypeError, match="expected a map"):
        run.log_hyperparameters(value)


def test_times_are_no_bare_numbers(client: Client) -> None:
    with client.start_run(capture=False) as run:
        run.log_hyperparameters({"at": np.datetime64("2026-01-01", "ns"), "for": timedelta(hours=1)})
    assert run.hyperparameters["at"] == "2026-01-01T00:00:00.000000000"
    assert run.hyperparameters["for"]["type"] == "datetime.timedelta"


def test_a_cycle_is_refused(client: Client) -> None:
    cycle: dict[str, Any] = {"path": Path("x")}
    cycle["again"] = cycle
    with client.start_run(capture=False) as run, pytest.raises(InvalidArgumentError, match="leads back to"):
        run.log_hyperparameters({"cycle": cycle})


def test_settings_that_know_their_parents_are_walked_once_and_refused_or_described(client: Client) -> None:
    whole = SimpleNamespace(rate=0.1, parts=[])
    for _ in range(8):  # of each a way back to all of them
        whole.parts.append(SimpleNamespace(parent=whole, path=Path("x")))
    with client.start_run(capture=False) as run, pytest.raises(InvalidArgumentError, match="leads back to"):
        run.log_hyperparameters(whole)
    found = Plain(lenient=True).value(whole)  # as integrations describe what they find
    assert found["parts"] == [{"parent": {"type": "types.SimpleNamespace"}, "path": "x"}] * 8
    shared: Any = SimpleNamespace(rate=0.1)
    for _ in range(60):
        shared = SimpleNamespace(left=shared, right=[shared])
    assert len(str(Plain(lenient=True).value(shared))) < 20_000_000


def test_a_number_beyond_floats_is_never_an_infinity(client: Client) -> None:
    run = client.start_run("churn")
    for number in (Decimal("1e400"), Decimal("-1e400"), Fraction(10**400)):
        for step in (None, 1, 2):
            with pytest.raises(InvalidArgumentError, match="beyond the range of 64-bit floats"):
                run.log_metrics({"loss": number}, step=step)
    run.log_metrics({"most": Decimal("Infinity"), "least": Decimal("-Infinity")})
    assert (run.metrics["most"], run.metrics["least"]) == (math.inf, -math.inf)
    run.log_hyperparameters({"a": Decimal("1e400"), "b": Fraction(10**400), "c": Decimal("sNaN"), "d": Decimal("0.5")})
    assert run.hyperparameters == {"a": "1E+400", "b": str(10**400), "c": "sNaN", "d": 0.5}


def test_what_programs_keep_among_their_settings_is_accepted(client: Client) -> None:
    frame = pd.DataFrame({"age": [1, 2], "height": [0.5, 1.5]})
    settings = {
        "window": deque([1, 2], maxlen=2),
        "features": frame.columns,
        "ages": frame["age"],
        "pattern": re.compile("a+"),
        "host": ipaddress.ip_address("::1"),
        "rows": slice(1, 5),
        "zone": ZoneInfo("Europe/Berlin"),
        "missing": pd.NA,
        "bin": pd.Interval(0, 1),
    }
    run = client.start_run("churn")
    run.log_hyperparameters(settings)
    found = run.hyperparameters
    assert found["window"] == [1, 2]
    assert (found["features"]["type"], found["features"]["values"]) == ("pandas.Index", ["age", "height"])
    assert (found["ages"]["type"], found["ages"]["dtype"], found["ages"]["values"]) == (
        "pandas.Series",
        "int64",
        [1, 2],
    )
    texts = {"pattern": "re.compile('a+')", "host": "::1", "rows": "slice(1, 5, None)", "zone": "Europe/Berlin"}
    assert {name: found[name] for name in (*texts, "missing", "bin")} == {**texts, "missing": "<NA>", "bin": "(0, 1]"}
    assert any("hyperparameters.zone (zoneinfo.ZoneInfo as text)" in note for note in run.entity.notes)


def test_buffers_records_and_views_of_maps_are_accepted_as_their_like_are(client: Client) -> None:
    record = np.zeros(1, [("width", "i4"), ("height", "f8")])[0]
    settings = {
        "weights": array("d", [0.5, 1.5]),
        "many": array("i", range(2000)),
        "key": memoryview(b"ab.cd.")[::3],
        "box": record,
        "raw": np.void(b"ab"),
        "classes": pd.Categorical(["a", "b"]),
        "names": {"a": 1}.keys(),
        "sizes": {"a": 1}.values(),
        "shift": np.complex64(1j),
        "third": np.longdouble(1) / 3,
    }
    run = client.start_run("churn")
    run.log_hyperparameters(settings)
    found = run.hyperparameters
    assert found["weights"] == {"type": "array.array", "dtype": "d", "shape": [2], "values": [0.5, 1.5]}
    assert found["many"]["sha256"] == hashlib.sha256(settings["many"].tobytes()).hexdigest()
    assert found["key"] == {"type": "memoryview", "size": 2, "sha256": hashlib.sha256(b"ac").hexdigest()}
    assert (found["box"]["type"], found["box"]["values"]) == ("numpy.void", [0, 0.0])
    assert found["raw"]["values"]["size"] == 2
    assert found["classes"]["values"] == ["a", "b"]
    assert (found["names"], found["sizes"], found["shift"], found["third"]) == (["a"], [1], "1j", 1 / 3)
