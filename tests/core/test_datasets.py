"""Describing data sets: digests, shapes, schemas, and that nothing is copied or made dense."""

from __future__ import annotations

import datetime
import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.model.values import normalize
from modeldb_core.tracking.description.datasets import Described, Labelled, describe


def digest(data: object) -> str:
    return str(describe(data)["digest"])


RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(300, 7))


@pytest.mark.parametrize(
    "same",
    [
        MATRIX.copy(),
        np.asfortranarray(MATRIX),
        np.vstack([MATRIX, MATRIX])[:300],
        np.repeat(MATRIX, 2, axis=1)[:, ::2],
        MATRIX.astype(">f8"),
        MATRIX[::-1][::-1],
    ],
    ids=["copy", "fortran", "slice", "strided", "big-endian", "reversed-twice"],
)
def test_equal_arrays_have_an_equal_digest_however_they_lie_in_memory(same: Any):
    assert digest(same) == digest(MATRIX)


def test_large_arrays_are_hashed_in_pieces_to_the_same_digest():
    large = np.arange(3_000_000, dtype=np.int64).reshape(1000, 3000)
    expected = hashlib.sha256(
        b"modeldb-data-1\n"
        + b"\x05\0\0\0\0\0\0\0array\x03\0\0\0\0\0\0\0<i8"
        + np.array([2, 1000, 3000], "<u8").tobytes()
        + large.tobytes()
    ).hexdigest()
    assert digest(large) == expected
    assert digest(np.asfortranarray(large)) == expected
    assert digest(large.reshape(1, 1000, 3000)[0]) == expected


@pytest.mark.parametrize(
    "other",
    [MATRIX.astype(np.float32), MATRIX.reshape(7, 300), MATRIX[:-1], np.where(np.arange(7) == 3, 0.5, MATRIX), -MATRIX],
    ids=["dtype", "shape", "rows", "values", "sign"],
)
def test_other_content_has_another_digest(other: Any):
    assert digest(other) != digest(MATRIX)


def test_values_that_compare_equal_but_differ_are_told_apart():
    assert digest(np.array([0.0])) != digest(np.array([-0.0]))
    assert digest(np.array([1])) != digest(np.array([True]))


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.5),
        np.empty((0, 4)),
        np.array(["a", "ünï", ""]),
        np.array([b"a", b"\0b"]),
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
        np.array([1 + 2j]),
        np.array([1.5, None, "x", 10**30, b"y", [1, {"k": 2}]], dtype=object),
        np.array([1.5, 2.5], dtype=np.longdouble),
        np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False]),
        np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
    ],
    ids=["scalar", "empty", "text", "bytes", "times", "complex", "objects", "longdouble", "masked", "structured"],
)
def test_every_kind_of_array_is_described(array: Any):
    described = describe(array, "data")
    assert len(described["digest"]) == 64
    assert described["digest"] == digest(array.copy())
    assert described["shape"] == list(array.shape)
    normalize(described, "description")


def test_what_a_mask_hides_is_no_part_of_the_content():
    first = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])
    second = np.ma.masked_array([1.0, 99.0, 3.0], mask=[False, True, False])
    assert digest(first) == digest(second)
    assert digest(first) != digest(np.ma.masked_array([1.0, 2.0, 3.0], mask=[True, False, False]))


def test_text_cannot_run_into_its_neighbour():
    assert digest(np.array(["ab", "c"], dtype=object)) != digest(np.array(["a", "bc"], dtype=object))
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert digest([[1], [2, 3]]) != digest([[1, 2], [3]])


# -- sparse --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array_type", [sp.csr_matrix, sp.csr_array, sp.coo_matrix, sp.lil_matrix, sp.dok_matrix, sp.bsr_matrix]
)
def test_equal_sparse_matrices_have_an_equal_digest(array_type: Any):
    matrix = sp.random(400, 90, 0.05, format="csr", random_state=1)
    assert digest(array_type(matrix)) == digest(matrix)


def test_order_repeats_and_stored_zeros_of_a_sparse_matrix_do_not_count_and_it_stays_as_it_was():
    plain = sp.csr_matrix(np.array([[0.0, 5.0, 1.0], [0.0, 0.0, 0.0]]))
    odd = sp.csr_matrix((np.array([1.0, 2.0, 3.0, 0.0]), np.array([2, 1, 1, 0]), np.array([0, 3, 4])), shape=(2, 3))
    before = (odd.data.copy(), odd.indices.copy(), odd.indptr.copy())
    assert digest(odd) == digest(plain)
    for array, copy in zip((odd.data, odd.indices, odd.indptr), before, strict=True):
        assert np.array_equal(array, copy)


def test_a_sparse_matrix_is_never_made_dense():
    matrix = sp.random(3000, 50_000, 0.0001, format="csr", random_state=0)
    tracemalloc.start()
    try:
        described = describe(matrix)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000  # dense it has 1.2 GB
    assert described["kind"] == "sparse"
    assert described["schema"]["stored"] == 15_000
    assert digest(matrix.tocsc()) == digest(matrix.tocsc().copy())


# -- tables --------------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Any] = {
    "number": [1.0, 2.0, float("nan")],
    "integer": [1, 2, 3],
    "text": ["x", None, "ü"],
    "truth": [True, False, True],
}


def frames() -> tuple[Any, Any]:
    pandas = pd.DataFrame(COLUMNS)
    pandas["nullable"] = pd.array([1, None, 3], dtype="Int64")
    pandas["category"] = pd.Categorical(["u", "v", None])
    pandas["time"] = pd.to_datetime(["2020-01-01", None, "2021-06-01"]).astype("M8[us]")
    pandas["zoned"] = pd.to_datetime(["2020-01-01", None, "2021-06-01"]).astype("M8[us]").tz_localize("UTC")
    polars = pl.DataFrame(COLUMNS).with_columns(
        pl.Series("nullable", [1, None, 3]),
        pl.Series("category", ["u", "v", None], dtype=pl.Categorical),
        pl.Series("time", [datetime.datetime(2020, 1, 1), None, datetime.datetime(2021, 6, 1)]),
        pl.Series("zoned", [datetime.datetime(2020, 1, 1), None, datetime.datetime(2021, 6, 1)]).dt.replace_time_zone(
            "UTC"
        ),
    )
    return pandas, polars


def test_pandas_and_polars_tables_of_the_same_content_have_the_same_digest():
    pandas, polars = frames()
    for name in pandas.columns:
        assert digest(pandas[name]) == digest(polars[name]), name
    assert digest(pandas) == digest(polars)


def test_a_table_is_described_with_its_schema():
    described = describe(frames()[0], "train")
    assert described["name"] == "train"
    assert described["kind"] == "table"
    assert described["type"] == "pandas.DataFrame"
    assert described["shape"] == [3, 8]
    assert described["schema"]["columns"][:2] == [
        {"name": "number", "dtype": "float64"},
        {"name": "integer", "dtype": "int64"},
    ]
    assert described["size_bytes"] > 0
    assert describe(frames()[1])["type"] == "polars.DataFrame"


def test_the_index_does_not_count_but_names_and_order_of_columns_do():
    table = frames()[0]
    assert digest(table.set_index(pd.Index([7, 8, 9]))) == digest(table)
    assert digest(table.rename(columns={"text": "words"})) != digest(table)
    assert digest(table[list(table.columns[::-1])]) != digest(table)


def test_missing_and_present_values_are_told_apart():
    assert digest(pd.Series([1, None], dtype="Int64")) != digest(pd.Series([1, 0], dtype="Int64"))
    assert digest(pl.Series([True, None])) != digest(pl.Series([True, False]))
    assert digest(pd.Series(["a", None])) != digest(pd.Series(["a", ""]))


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([datetime.date(2020, 1, 1), None]),
        pl.Series([datetime.timedelta(1), None]),
        pl.Series([datetime.time(1), None]),
        pl.Series([[1, 2], None]),
        pl.Series(["1.5", None]).cast(pl.Decimal(10, 2)),
        pl.Series(["a", None], dtype=pl.Enum(["a", "b"])),
        pd.Series(pd.period_range("2020-01", periods=2, freq="M")),
        pd.Series([pd.Timestamp("2020-01-01", tz="Europe/Berlin"), pd.NaT]),
    ],
    ids=["date", "duration", "time", "list", "decimal", "enum", "period", "zoned"],
)
def test_every_kind_of_column_is_described(column: Any):
    described = describe(column)
    assert described["kind"] == "column"
    assert len(described["digest"]) == 64


def test_a_column_name_that_is_no_text_and_repeated_names_are_described():
    table = pd.DataFrame(np.eye(3), columns=[0, 0, "a"])
    assert [column["name"] for column in describe(table)["schema"]["columns"]] == ["0", "0", "a"]


# -- lists, pairs, files -------------------------------------------------------------------------------------------


def test_lists_are_described_by_their_items():
    assert describe([[1, 2], [3, 4], [5, 6]])["shape"] == [3, 2]
    assert describe(["a", "b"])["schema"] == {"types": ["str"]}
    assert digest([1, 2]) == digest((1, 2))
    assert describe([])["shape"] == [0]


def test_features_and_target_are_one_data_set_of_which_both_count():
    X, y = MATRIX, MATRIX[:, 0] > 0
    described = describe(Labelled(X, y), "train")
    assert described["kind"] == "labelled"
    assert described["shape"] == [300, 7]
    assert described["features_digest"] == digest(X)
    assert described["target"]["digest"] == digest(y)
    assert described["digest"] != describe(Labelled(X, ~y))["digest"]
    assert describe(Described(described), "again") == {**described, "name": "again"}


def test_a_file_has_the_digest_that_sha256sum_prints(tmp_path: Path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,b\n1,2\n")
    described = describe(path, "raw")
    assert described["digest"] == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert described["size_bytes"] == 8
    assert described["origin"] == {"type": "file", "path": str(path)}
    assert describe(str(path))["digest"] == described["digest"]


def test_a_folder_is_described_by_names_and_contents(tmp_path: Path):
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "b.txt").write_text("b")
        (folder / "a.txt").write_text("a")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert describe(tmp_path / "one")["schema"] == {"files": 2}
    (tmp_path / "two" / "a.txt").rename(tmp_path / "two" / "c.txt")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_a_url_is_recorded_without_its_secrets_and_is_not_read():
    described = describe("s3://user:secret@bucket/data.parquet")
    assert described["digest"] == ""
    assert described["origin"] == {"type": "url", "url": "s3://user:***@bucket/data.parquet"}


def test_what_is_neither_data_nor_a_path_is_refused_with_a_hint(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"missing\.csv"):
        describe(tmp_path / "missing.csv")
    with pytest.raises(InvalidArgumentError, match="neither a path"):
        describe("iris")
    with pytest.raises(InvalidTypeError, match="'train' is of type set"):
        describe({1, 2}, "train")


def test_a_plugin_describes_what_is_unknown_here():
    described = describe({1, 2}, "train", describe_object=lambda obj: {"kind": "set", "shape": [len(obj)]})  # type: ignore[arg-type]
    assert described["kind"] == "set"
    assert described["shape"] == [2]
    assert described["digest"] == ""


def test_lazy_data_is_never_computed_and_has_no_digest_since_its_name_is_none():
    computed = []

    def block(values: np.ndarray) -> np.ndarray:
        computed.append(1)
        return values + 1

    source = dask.array.from_array(np.arange(12.0).reshape(6, 2), chunks=(3, 2))
    meta = np.empty((0, 0))
    lazy = source.map_blocks(block, meta=meta)
    found = describe(lazy)
    assert not computed
    assert (found["kind"], found["shape"], found["schema"]) == ("lazy", [6, 2], {"dtype": "float64", "partitions": 2})
    assert found["origin"] == describe(source.map_blocks(block, meta=meta))["origin"]
    assert found["origin"] != describe(source)["origin"]
    named = [describe(dask.array.from_array(np.arange(3) + number, name="X")) for number in range(2)]
    assert [one["digest"] for one in (found, *named)] == [""] * 3
    assert "no digest" in found["note"]
    unknown = describe(lazy[lazy[:, 0] > 3])
    assert unknown["shape"] == [None, 2]
    assert describe(Labelled(lazy, lazy[:, 0]))["target"]["shape"] == [6]
    assert not computed
    with pytest.raises(InvalidTypeError):
        describe(dask.delayed(block)(np.arange(3)))
