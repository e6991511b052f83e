"""Hyperparameters of any type are recorded: typed, whole, and never an error."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import enum
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from modeldb_core.model.values import normalize
from modeldb_lightning import ModelDBLogger
from modeldb_lightning.hyperparameters import typed, typed_map
from tests.lightning.small import loader


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Inner:
    size: int = 3
    where: Path = Path("/data")


def activation(x: float, slope: float = 0.1) -> float:
    return max(x, slope * x)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Path("/a/b"), "/a/b"),
        (range(0, 10, 2), {"type": "range", "start": 0, "stop": 10, "step": 2}),
        (Color.RED, {"type": f"{__name__}.Color", "name": "RED", "value": "red"}),
        (
            functools.partial(activation, slope=0.2),
            {"type": "functools.partial", "function": f"{__name__}.activation", "args": [], "keywords": {"slope": 0.2}},
        ),
        (activation, f"{__name__}.activation"),
        (torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
        (torch.float16, "torch.float16"),
        (torch.device("cpu"), "cpu"),
        (torch.tensor(2.5), 2.5),
        (torch.tensor([1, 2]), {"type": "torch.Tensor", "dtype": "torch.int64", "shape": [2], "values": [1, 2]}),
        (torch.zeros(3, device="meta"), {"type": "torch.Tensor", "dtype": "torch.float32", "shape": [3], "device": "meta", "layout": "torch.strided"}),
        (np.float32(0.5), 0.5),
        (np.array([1.5]), {"type": "numpy.ndarray", "dtype": "float64", "shape": [1], "values": [1.5]}),
        (Inner(), {"size": 3, "where": "/data"}),
        ({1: "a", Color.RED: "b"}, {"1": "a", "RED": "b"}),
        ({1: "a", "1": "b"}, {"type": "dict", "items": [[1, "a"], ["1", "b"]]}),
        ({3, 1}, {"type": "set", "items": [1, 3]}),
        (datetime.timedelta(hours=1), {"type": "datetime.timedelta", "repr": "datetime.timedelta(seconds=3600)"}),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (OmegaConf.create({"a": {"b": "${c}"}, "c": 3}), {"a": {"b": 3}, "c": 3}),
        (OmegaConf.create({"a": "${nowhere}"}), {"a": "${nowhere}"}),
        (OmegaConf.create({"a": "???"}), {"a": "???"}),
        (OmegaConf.create([1, {"x": None}]), [1, {"x": None}]),
        ("a" * 100_000, "a" * 100_000),
        (10**30, 10**30),
        ("\ud800", "?"),
        (None, None),
    ],
)  # fmt: skip
def test_values_are_recorded_as_what_they_are(value, expected):
    assert typed(value) == expected
    assert normalize(typed(value), "value") == typed(value)


def test_modules_and_large_tensors_are_described():
    found = typed(torch.nn.Linear(10, 2))
    assert (found["type"], found["parameters"]) == ("torch.nn.modules.linear.Linear", 22)
    large = typed(torch.arange(5000))
    assert large["shape"] == [5000]
    assert large["sha256"] == typed(torch.arange(5000))["sha256"]
    assert "sha256" not in typed(torch.zeros(5000, dtype=torch.bfloat16))


def test_what_refuses_to_be_read_is_described_and_cycles_end():
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError

    assert typed(Hostile())["repr"] == ""
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle
    json.dumps(typed(cycle))


def test_namespaces_are_maps_and_anything_else_stands_under_one_name():
    assert typed_map(argparse.Namespace(lr=1)) == ({"lr": 1}, [])
    assert typed_map([1, 2]) == ({"hyperparameters": [1, 2]}, [])
    assert typed_map(None) == ({"hyperparameters": None}, [])


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.binary() | st.complex_numbers() | st.dates(), lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner) | st.tuples(inner)))  # fmt: skip
def test_any_value_can_be_stored(value):
    normalize(typed(value), "value")


def test_a_module_with_odd_hyperparameters_trains_and_is_recorded(client, only, model, trainer, tmp_path):
    odd = model(
        where=tmp_path,
        steps=range(5),
        act=functools.partial(activation, slope=0.2),
        color=Color.RED,
        weights=torch.tensor([0.5, 0.5]),
        layer_type=torch.nn.Linear,
        config=OmegaConf.create({"depth": 3}),
    )
    trainer(logger=ModelDBLogger(client), enable_checkpointing=False).fit(odd, loader())
    found = client.get_run(only().run_id).hyperparameters
    assert found["where"] == str(tmp_path)
    assert found["steps"]["stop"] == 5
    assert found["act"]["keywords"] == {"slope": 0.2}
    assert found["color"]["name"] == "RED"
    assert found["config"] == {"depth": 3}
    assert only().notes == ()


def test_a_run_takes_what_torch_programs_have_without_a_warning(client):
    loss = torch.tensor(1.5, requires_grad=True) * 2
    with client.start_run(capture=False) as run:
        for step in range(3):
            run.log_metrics({"loss": loss}, step=step)
        run.log_metric("last", loss)
        run.log_hyperparameters(
            {
                "device": torch.device("cpu"),
                "dtype": torch.float16,
                "weights": torch.tensor([1.0, 2.0], requires_grad=True),
                "config": OmegaConf.create({"depth": 3, "data": "${depth}"}),
            }
        )
    assert list(run.history("loss").values) == [3.0] * 3
    assert run.metrics["last"] == 3.0
    assert run.hyperparameters == {
        "device": "cpu",
        "dtype": "torch.float16",
        "weights": {"type": "torch.Tensor", "dtype": "torch.float32", "shape": [2], "values": [1.0, 2.0]},
        "config": {"depth": 3, "data": 3},
    }
    (note,) = run.notes
    assert "hyperparameters.device (torch.device as text)" in note
