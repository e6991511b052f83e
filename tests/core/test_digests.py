"""Different content never has one digest, and equal content never two, whatever holds it."""

from __future__ import annotations

import datetime
import decimal
import io
import os
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from PIL import Image
from sklearn.utils import Bunch

import modeldb_core
from modeldb_core.errors import ModelDBError
from modeldb_core.tracking.description.datasets import Labelled, describe


def digest(data: object) -> str:
    return str(describe(data)["digest"])


class Own:
    def __init__(self, value: int) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Own()"


class Array:
    """Somebody's class that turns into an array, and prints as short as a long tensor."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self.dtype, self.shape = self.values.dtype, self.values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values

    def __repr__(self) -> str:
        return "tensor([...])"


class Metres(np.ndarray):
    """An array with a unit, as astropy, MONAI and others have them."""

    def __new__(cls, values: Any, unit: str = "m") -> Metres:
        made = np.asarray(values).view(cls)
        made.unit = unit
        return made


class Quantity(Array):
    def __init__(self, values: Any, unit: str) -> None:
        super().__init__(values)
        self.unit = unit


class Weighed(Array):
    def __init__(self, values: Any, weights: Any) -> None:
        super().__init__(values)
        self.weights = np.asarray(weights)


class Frame(pd.DataFrame):
    """A table that keeps more than its columns, in pandas' own way for such classes."""

    _metadata = ["unit"]

    @property
    def _constructor(self) -> type[Frame]:
        return Frame


class Rows(list[Any]):
    pass


class Tagged(str):
    __slots__ = ("tag",)


def with_attribute(made: Any, name: str = "unit", value: object = "m") -> Any:
    setattr(made, name, value)
    return made


class Hidden:
    __slots__ = ("_Hidden__seed", "hidden")


@dataclass(slots=True)
class Slotted(Hidden):
    x: int


@dataclass
class Batch(list[Any]):
    label: str


@dataclass
class Point:
    x: Any
    y: Any = None


Pair = namedtuple("Pair", "a b")
Other = namedtuple("Other", "c d")


class Colour(Enum):
    RED = 1
    BLUE = 2


def image(colour: Any, mode: str = "RGB") -> Any:
    return Image.new(mode, (4, 3), colour)


def palette(colour: int, alpha: int | None = None) -> Any:
    made = Image.new("P", (2, 2))
    made.putpalette(
        [colour, 0, 0] * 256 if alpha is None else [colour, 0, 0, alpha] * 256, "RGB" if alpha is None else "RGBA"
    )
    return made


def transparent(mode: str, colour: Any) -> Any:
    made = Image.new(mode, (2, 2))
    made.info["transparency"] = colour
    return made


TIMES = pd.date_range("2020", periods=2, tz="UTC")
LONG = np.arange(5000)
CHANGED = np.where(LONG == 2500, -1, LONG)
ALMOST = np.nextafter(np.longdouble(1), np.longdouble(2))
SHORT = np.array([1.0, 2.0])
DIFFERENT: dict[str, tuple[Any, Any]] = {
    "images in a list": ([image("red")], [image("blue")]),
    "images": (image("red"), image("blue")),
    "sizes of images": (Image.new("L", (2, 3)), Image.new("L", (3, 2))),
    "palettes": ([palette(1)], [palette(2)]),
    "lists in cells": (pd.DataFrame({"a": [[1, 2], [3]]}), pd.DataFrame({"a": [[1, 2], [4]]})),
    "long arrays in cells": (pd.DataFrame({"a": [LONG]}), pd.DataFrame({"a": [CHANGED]})),
    "long arrays in a list": ([LONG, LONG], [LONG, CHANGED]),
    "long tensors": ([Array(LONG)], [Array(CHANGED)]),
    "sparse in a list": ([sp.eye(3).tocsr()], [2 * sp.eye(3).tocsr()]),
    "long sparse in a cell": (np.array([sp.csr_array(LONG)], object), np.array([sp.csr_array(CHANGED)], object)),
    "polars frames in a list": ([pl.DataFrame({"a": LONG})], [pl.DataFrame({"a": CHANGED})]),
    "pandas frames in a map": ({"a": pd.DataFrame({"a": LONG})}, {"a": pd.DataFrame({"a": CHANGED})}),
    "series in a list": ([pd.Series(LONG)], [pd.Series(CHANGED)]),
    "longdouble": (np.array([ALMOST]), np.array([np.longdouble(1)])),
    "longdouble in a list": ([ALMOST], [np.longdouble(1)]),
    "sparse longdouble": (sp.csr_array(np.array([[ALMOST]])), sp.csr_array(np.array([[np.longdouble(1)]]))),
    "field names": (np.zeros(2, [("a", "i4"), ("b", "f8")]), np.zeros(2, [("a", "i4"), ("c", "f8")])),
    "fields": (np.array([(1, 2)], [("a", "i4"), ("b", "i4")]), np.array([(1, 3)], [("a", "i4"), ("b", "i4")])),
    "shape of one row": (sp.coo_array(SHORT), sp.coo_array(SHORT.reshape(1, 2))),
    "shape of sparse": (sp.csr_array((2, 3)), sp.csr_array((3, 2))),
    "zones": (
        pd.Series(pd.to_datetime(["2020-01-01"]).tz_localize("UTC").tz_convert("Asia/Tokyo")),
        pd.Series(pd.to_datetime(["2020-01-01"]).tz_localize("UTC").tz_convert("Asia/Seoul")),
    ),
    "zones in a list": (
        [pd.Timestamp("2020-01-01", tz="Asia/Tokyo")],
        [pd.Timestamp("2020-01-01", tz="Asia/Seoul")],
    ),
    "nanoseconds": ([pd.Timestamp(1)], [pd.Timestamp(2)]),
    "durations": ([pd.Timedelta(1)], [pd.Timedelta(2)]),
    "durations of NumPy": ([np.timedelta64(1, "s")], [np.timedelta64(1, "m")]),
    "a number and a duration": ([1], [np.timedelta64(1, "s")]),
    "intervals": ([pd.Interval(0, 1)], [pd.Interval(0, 1, "left")]),
    "periods": ([pd.Period("2020", "Y")], [pd.Period("2020-12", "M")]),
    "categories": (pd.Series(["a", "b"], dtype="category"), pd.Series(["a", "c"], dtype="category")),
    "column names": (pd.DataFrame({0: [1]}), pd.DataFrame({"0": [1]})),
    "column names of two levels": (pd.DataFrame({("a", 1): [1]}), pd.DataFrame({("a", "1"): [1]})),
    "data classes": ([Point(1, Point(2))], [Point(1, Point(3))]),
    "fields of tuples": ([Pair(1, 2)], [Other(1, 2)]),
    "enumerations": ([Colour.RED], [Colour.BLUE]),
    "keys": ([{"a": 1}], [{"b": 1}]),
    "keys and types": ([{1: 0}], [{"1": 0}]),
    "sets": ([{1, 2}], [{1, 3}]),
    "ranges": ([range(3)], [range(4)]),
    "paths": ([Path("a")], [Path("b")]),
    "decimals": ([decimal.Decimal("0.1")], [decimal.Decimal("0.10000000000000001")]),
    "complex": ([1j], [2j]),
    "masks": (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0])),
    "masks in a list": ([np.ma.array([1, 2], mask=[0, 1])], [np.ma.array([1, 2], mask=[1, 0])]),
    "bytes": ([b"a"], [bytearray(b"b")]),
    "dtypes in a list": ([np.array([1], "i1")], [np.array([1], "i8")]),
    "Bunch": (Bunch(data=LONG), Bunch(data=CHANGED)),
    "missing and empty": ([None], [""]),
    "signs of zero": ([0.0], [-0.0]),
    "a truth and a number": ([True], [1]),
    "targets": (Labelled(LONG, LONG), Labelled(LONG, CHANGED)),
    "transparent colours": (transparent("P", 0), transparent("P", 1)),
    "transparent colours without a palette": (transparent("RGB", (0, 0, 0)), transparent("RGB", (9, 9, 9))),
    "palettes with an alpha channel": (palette(1, 10), palette(1, 20)),
    "records without fields": (np.zeros(1, []), np.zeros(2, [])),
    "nanoseconds of the day in polars": tuple(pl.Series([at], dtype=pl.Time) for at in (1, 2)),
    "nanoseconds of the day in Arrow": tuple(pa.table({"a": pa.array([at], pa.time64("ns"))}) for at in (1, 2)),
    "zones of an index": (TIMES.tz_convert("Asia/Tokyo"), TIMES.tz_convert("Asia/Seoul")),
    "zones of an array of pandas": (TIMES.tz_convert("Asia/Tokyo").array, TIMES.tz_convert("Asia/Seoul").array),
    "128 bits": (pl.Series([2**100], dtype=pl.Int128), pl.Series([2**100 + 1], dtype=pl.Int128)),
    "types of memory": ([memoryview(np.array([1], "i4"))], [memoryview(np.array([1], "u4"))]),
    "signs of bytes in memory": ([memoryview(np.array([-1], "i1"))], [memoryview(np.array([255], "u1"))]),
    "shapes of memory": ([memoryview(np.zeros((2, 3), "u1"))], [memoryview(np.zeros((3, 2), "u1"))]),
    "levels of an index": (pd.MultiIndex.from_tuples([(1, "a")]), pd.MultiIndex.from_tuples([(1, "b")])),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_content_has_another_digest(name: str) -> None:
    first, second = DIFFERENT[name]
    assert len(digest(first)) == 64, describe(first).get("note")
    assert len(digest(second)) == 64
    assert digest(first) != digest(second)


DAY = datetime.date(2020, 1, 2)
DENSE = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
NAN_BITS = np.array([0x7FF8000000000000, 0xFFF8000000000001], np.uint64).view(np.float64)
RECORDS = np.array([(1, 2.0), (3, 4.0)], [("a", "i4"), ("b", "f8")])
ALIGNED = np.zeros(2, np.dtype([("a", "i4"), ("b", "f8")], align=True))
ALIGNED[:] = RECORDS
BYTES_TRUE = np.array([1, 2, 0], np.uint8).view(bool)


def repeated() -> Any:
    return sp.coo_array((np.array([1.0, 1.0, 1.0, 3.0, 4.0]), ([0, 0, 0, 2, 2], [2, 2, 1, 0, 2])), shape=(3, 3))


def unsorted(kind: str) -> Any:
    made = sp.csr_array(DENSE) if kind == "csr" else sp.csc_array(DENSE)
    for start, stop in zip(made.indptr[:-1], made.indptr[1:], strict=True):
        made.indices[start:stop] = made.indices[start:stop][::-1].copy()
        made.data[start:stop] = made.data[start:stop][::-1].copy()
    made.has_sorted_indices = False
    return made


def explicit_zeros() -> Any:
    made = sp.csr_array(np.where(DENSE == 0, 9.0, DENSE))
    made.data[made.data == 9.0] = 0.0
    return made


EQUAL: dict[str, tuple[Any, Any]] = {
    **{
        f"sparse {kind}": (sp.csr_array(DENSE), getattr(sp, f"{kind}_array")(DENSE))
        for kind in ("csc", "coo", "bsr", "dia", "dok", "lil")
    },
    "sparse repeats": (sp.csr_array(DENSE), repeated()),
    "sparse zeros": (sp.csr_array(DENSE), explicit_zeros()),
    "sparse unsorted": (sp.csr_array(DENSE), unsorted("csr")),
    "sparse unsorted columns": (sp.csr_array(DENSE), unsorted("csc")),
    "sparse matrix and array": (sp.csr_array(DENSE), sp.csr_matrix(DENSE)),
    "sparse 64-bit indices": (
        sp.csr_array(DENSE),
        sp.csr_array(
            (
                sp.csr_array(DENSE).data,
                sp.csr_array(DENSE).indices.astype("i8"),
                sp.csr_array(DENSE).indptr.astype("i8"),
            ),
            shape=(3, 3),
        ),
    ),
    "NaNs": (np.array([np.nan, np.nan]), NAN_BITS),
    "NaNs in a list": ([float("nan"), float("nan")], NAN_BITS.tolist()),
    "complex NaNs": (np.array([complex(np.nan, 1)]), np.array([complex(NAN_BITS[1], 1)])),
    "truths": (np.array([True, True, False]), BYTES_TRUE),
    "records that are padded": (RECORDS, ALIGNED),
    "records big-endian": (RECORDS, RECORDS.astype([("a", ">i4"), ("b", ">f8")])),
    "order of keys": ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}]),
    "sets": ([frozenset(["a", "b", "c"])], [frozenset(["c", "b", "a"])]),
    "arrays in a list": ([np.asfortranarray(DENSE)], [np.ascontiguousarray(DENSE)]),
    "big-endian in a list": ([DENSE], [DENSE.astype(">f8")]),
    "strides in a cell": (pd.DataFrame({"a": [LONG[::2]]}), pd.DataFrame({"a": [LONG[::2].copy()]})),
    "memory views": ([memoryview(b"abcd")], [memoryview(b"a.b.c.d.")[::2]]),
    "sparse columns": (
        pd.DataFrame({"a": [0.0, 1.0]}),
        pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 1.0])}),
    ),
    "zones": (
        pd.Series(pd.to_datetime(["2020-01-01"]).tz_localize("UTC")),
        pd.Series(pd.to_datetime(["2020-01-01"]).tz_localize(datetime.UTC)),
    ),
    "unused categories": (
        pd.Series(pd.Categorical(["a"], categories=["a", "b"])),
        pd.Series(pd.Categorical(["a"], categories=["b", "a"])),
    ),
    "chunks of polars": (
        pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})], rechunk=False),
        pl.DataFrame({"a": [1, 2]}),
    ),
    "fragmented frames": (
        pd.DataFrame({"a": [1, 2], "b": [3, 4]}),
        pd.concat([pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": [3, 4]})], axis=1),
    ),
    "scalars of NumPy": ([np.int64(3), np.float64(0.5), np.str_("a"), np.bool_(True)], [3, 0.5, "a", True]),
    "times": ([pd.Timestamp("2020-01-01")], [datetime.datetime(2020, 1, 1)]),
    "data classes": ([Point([1], {"a": 2})], [Point([1], {"a": 2})]),
    "missing": ([None, None], [pd.NA, pd.NaT]),
    "Bunch": (Bunch(data=DENSE, target=[1]), {"target": [1], "data": np.asfortranarray(DENSE)}),
    "masked": (np.ma.array([1.0, 7.0], mask=[0, 1]), np.ma.array([1.0, 9.0], mask=[0, 1], fill_value=3)),
    "memory maps": (DENSE, "memmap"),
    "times of Arrow in pandas": (TIMES.to_series(), TIMES.to_series().astype("timestamp[us, UTC][pyarrow]")),
    "dates": (pl.DataFrame({"a": [DAY]}), pd.DataFrame({"a": pd.Series([DAY], dtype="date32[pyarrow]")})),
    "durations": (
        pl.DataFrame({"a": [datetime.timedelta(1), None]}),
        pd.DataFrame({"a": pd.Series([datetime.timedelta(1), None], dtype="duration[us][pyarrow]")}),
    ),
    "lists of Arrow in pandas": (
        pl.Series([[1, 2], [3]]),
        pd.Series([[1, 2], [3]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    ),
    "times of the day": (
        pd.DataFrame({"a": [datetime.time(1)]}),
        pa.table({"a": pa.array([datetime.time(1)], pa.time64("ns"))}),
    ),
    "nanoseconds of the day": (
        pl.DataFrame({"a": pl.Series([1, None], dtype=pl.Time)}),
        pa.table({"a": pa.array([1, None], pa.time64("ns"))}),
    ),
    "missing objects": (pd.Series(["a", np.nan], dtype=object), pd.Series(["a", None], dtype="str")),
    "an index": (pd.Index([1, 2], name="a"), pd.Series([1, 2])),
    "matrices of texts": (np.matrix([["a", "b"], ["c", "d"]]), np.array([["a", "b"], ["c", "d"]])),
    "own arrays without more": (DENSE.view(Metres), DENSE),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_content_has_an_equal_digest(name: str, tmp_path: Path) -> None:
    first, second = EQUAL[name]
    if isinstance(second, str):
        second = np.memmap(tmp_path / "data", DENSE.dtype, "w+", shape=DENSE.shape)
        second[:] = DENSE
    assert len(digest(first)) == 64, describe(first).get("note")
    assert digest(first) == digest(second)


def loop() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def cut_off() -> Any:
    content = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(content, "PNG")
    return Image.open(io.BytesIO(content.getvalue()[:500]))


UNREADABLE = {
    "own objects": [Own(1)],
    "own objects in cells": pd.DataFrame({"a": [Own(1)]}),
    "own objects in an array": np.array([Own(1)], dtype=object),
    "own objects deep": {"a": [{"b": (1, Own(1))}]},
    "generators": [(number for number in range(3))],
    "functions": [len],
    "what a list holds itself": loop(),
    "texts that hold more": [type("Text", (str,), {})("a")],
    "arrays with a unit": Metres([1.0]),
    "arrays with a unit in a list": [Metres([1.0])],
    "what turns into an array and has a unit": Quantity([1.0], "m"),
    "what turns into one of its arrays": [Weighed([1.0], [2.0])],
    "tables that keep more": with_attribute(Frame({"a": [1.0]})),
    "lists that hold more": with_attribute(Rows([1])),
    "texts with slots": [with_attribute(Tagged("a"), "tag")],
    "data classes over slots": [with_attribute(Slotted(1), "hidden")],
    "data classes that are lists": [Batch("a")],
    "features": Labelled([Own(1)], [1]),
    "targets": Labelled([1], [Own(1)]),
    "images that are cut off": cut_off(),
    "nanoseconds in lists": pl.Series([[1]], dtype=pl.List(pl.Datetime("ns"))),
    "nanoseconds in lists of Arrow": pa.table({"a": pa.array([[1]], pa.list_(pa.time64("ns")))}),
}
UNREADABLE["texts that hold more"][0].more = 1


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_has_no_digest_and_a_note_says_why(name: str) -> None:
    described = describe(UNREADABLE[name], "train")
    assert described["digest"] == ""
    assert "it has no digest" in described["note"]


@pytest.mark.parametrize(
    "data", ["", "a" * 300, "text\0with nothing.csv", pl.LazyFrame({"a": [1]})], ids=["empty", "long", "zero", "lazy"]
)
def test_what_is_no_data_is_refused_and_not_taken_for_the_working_folder(data: object) -> None:
    with pytest.raises(ModelDBError, match="pass|convert"):
        describe(data)


def test_a_digest_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from modeldb_core.tracking.description.datasets import describe\n"
        "data = [frozenset('abcdef'), {'a', 'b', 'c'}, {frozenset('xy'): {'k', 'l'}}]\n"
        "print(describe(data)['digest'])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == 64


# -- folders -----------------------------------------------------------------------------------------------------------


def test_folders_of_linked_folders_are_told_apart_by_what_they_lead_to(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"real-{name}").mkdir()
        (tmp_path / f"real-{name}" / "data").write_text(name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "linked").symlink_to(tmp_path / f"real-{name}")
    (tmp_path / "plain" / "linked").mkdir(parents=True)
    (tmp_path / "plain" / "linked" / "data").write_text("one")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "plain")


def test_what_is_left_out_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    plain = describe(tmp_path)
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "back").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    described = describe(tmp_path)
    assert described["digest"] not in ("", plain["digest"])
    for name in ("broken", "back", "pipe"):
        assert name in described["note"]


def test_a_run_says_that_a_data_set_has_no_digest(tmp_path: Path) -> None:
    with modeldb_core.connect(f"sqlite:///{tmp_path}/modeldb.db") as client:
        with client.start_run("run", capture=False) as run:
            first = run.log_dataset([Own(1)], "train")
            assert run.log_dataset([Own(1)], "test") != first, "what cannot be compared is never the same"
        assert run.entity.datasets["train"]["digest"] == ""
        assert [note for note in run.notes if "'train'" in note and "Own" in note]
