"""Files are written as their names say, keep those names, and what is left out of a folder is said."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

import modeldb_core
from modeldb_core.backends._sql.database import Transaction
from modeldb_core.errors import (
    FolderChangedError,
    IntegrityError,
    InvalidArgumentError,
    MissingDependencyError,
    NotFoundError,
)
from modeldb_core.tracking import Client
from modeldb_core.tracking import artifacts as artifact_kinds

mpl.use("Agg")
HAS_ARROW = find_spec("pyarrow") is not None
TABLE = pd.DataFrame(
    {"small": np.array([1, 2], "i1"), "text": ["a", None], "time": pd.to_datetime(["2020-01-01", None], utc=True)}
)
POLARS = pl.DataFrame({"small": pl.Series([1, 2], dtype=pl.Int8), "text": ["a", None]})


@pytest.fixture
def client(tmp_path: Path) -> Any:
    with modeldb_core.connect(f"sqlite:///{tmp_path}/store/modeldb.db", journal_dir=tmp_path / "journal") as client:
        yield client


@pytest.fixture
def run(client: Any) -> Any:
    with client.start_run("run", capture=False) as run:
        yield run


def figure() -> Any:
    from matplotlib.figure import Figure

    made = Figure()
    made.add_subplot().plot([1, 2, 3])
    return made


# -- pictures ----------------------------------------------------------------------------------------------------------

BEGINNINGS = {
    "plot.svg": b"<?xml",
    "plot.pdf": b"%PDF",
    "plot.jpg": b"\xff\xd8\xff",
    "plot.JPEG": b"\xff\xd8\xff",
    "plot.png": b"\x89PNG",
    "plot.eps": b"%!PS",
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_figure_is_written_as_its_name_says(run: Any, name: str) -> None:
    run.log_artifact(figure(), name)
    assert run.read_artifact(name).startswith(BEGINNINGS[name])
    assert run.artifacts[name]["type"] == "figure"


@pytest.mark.parametrize(
    ("name", "beginning"), [("i.jpg", b"\xff\xd8"), ("i.bmp", b"BM"), ("i.gif", b"GIF8"), ("i.webp", b"RIFF")]
)
def test_an_image_is_written_as_its_name_says(run: Any, name: str, beginning: bytes) -> None:
    run.log_artifact(Image.new("RGB", (2, 2)), name)
    assert run.read_artifact(name).startswith(beginning)


@pytest.mark.parametrize("name", ["loss 0.5", "epoch=3-val_loss=0.78", "net.v2", "deep/x.y/curve"])
def test_what_is_no_extension_is_none_and_the_artifact_goes_by_both_names(run: Any, tmp_path: Path, name: str) -> None:
    run.log_artifact(figure(), name)
    assert set(run.artifacts) == {f"{name}.png"}
    assert run.read_artifact(name) == run.read_artifact(f"{name}.png")
    assert run.download_artifact(name, tmp_path / "here").read_bytes().startswith(b"\x89PNG")


def test_a_name_with_two_artifacts_is_refused_when_it_is_read(run: Any) -> None:
    run.log_artifact(figure(), "result")
    run.log_artifact({"a": 1}, "result")
    with pytest.raises(InvalidArgumentError, match=r"result\.json.*result\.png"):
        run.read_artifact("result")


@pytest.mark.parametrize(
    ("artifact", "name", "able"),
    [
        (figure(), "plot.docx", "svg"),
        (Image.new("RGB", (2, 2)), "image.svg", "png"),
        (TABLE, "table.docx", "parquet"),
        (POLARS, "table.html", "parquet"),
        ({"a": 1}, "map.yaml", "json"),
        ({"a": 1}, "map.jsonl", "json"),
        ([1], "list.csv", "jsonl"),
        (Image.new("RGBA", (2, 2)), "image.jpg", "RGBA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_extension_that_cannot_be_written_is_refused_and_the_message_names_what_can(
    run: Any, artifact: Any, name: str, able: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=able):
        run.log_artifact(artifact, name)
    assert run.artifacts == {}


# -- tables ------------------------------------------------------------------------------------------------------------


def same(found: Any, wanted: Any) -> bool:
    return found.equals(wanted) and list(found.dtypes) == list(wanted.dtypes)


def test_tables_are_written_as_their_names_say(run: Any) -> None:
    for name in ("table.csv", "table.csv.gz", "table.tsv", "table.json", "table.jsonl", "table.html"):
        run.log_artifact(TABLE, name)
    read = run.read_artifact
    assert read("table.csv") == TABLE.to_csv().encode()
    assert gzip.decompress(read("table.csv.gz")) == read("table.csv")
    assert read("table.tsv").splitlines()[0] == b"\tsmall\ttext\ttime"
    rows = [
        {"small": 1, "text": "a", "time": "2020-01-01T00:00:00+00:00"},
        {"small": 2, "text": None, "time": None},
    ]
    assert json.loads(read("table.json")) == rows
    assert [json.loads(line) for line in read("table.jsonl").splitlines()] == rows
    assert read("table.html").startswith(b"<table")


def test_an_index_that_says_something_is_kept_in_json(run: Any) -> None:
    run.log_artifact(TABLE.set_index("text")[["small"]], "table.json")
    assert json.loads(run.read_artifact("table.json")) == [{"text": "a", "small": 1}, {"text": None, "small": 2}]


def test_tables_of_polars_are_written_as_their_names_say(run: Any) -> None:
    run.log_artifact(POLARS["small"], "column")
    assert pl.read_parquet(io.BytesIO(run.read_artifact("column")))["small"].dtype == pl.Int8
    for name in ("t.csv", "t.csv.gz", "t.json", "t.parquet", "t.feather", "t"):
        run.log_artifact(POLARS, name)
    read = run.read_artifact
    assert pl.read_csv(io.BytesIO(gzip.decompress(read("t.csv.gz")))).height == 2
    assert json.loads(read("t.json")) == [{"small": 1, "text": "a"}, {"small": 2, "text": None}]
    assert same(pl.read_ipc(io.BytesIO(read("t.feather"))), POLARS)
    for name in ("t.parquet", "t"):
        assert same(pl.read_parquet(io.BytesIO(read(name))), POLARS)


def test_types_of_columns_of_a_table_without_an_extension_come_back(run: Any) -> None:
    run.log_artifact(TABLE, "table")
    run.log_artifact(TABLE["small"], "column")
    if HAS_ARROW:
        assert same(pd.read_parquet(io.BytesIO(run.read_artifact("table"))), TABLE)
        assert pd.read_parquet(io.BytesIO(run.read_artifact("column")))["small"].dtype == "int8"
        run.log_artifact(TABLE, "t.feather")
        assert same(pd.read_feather(io.BytesIO(run.read_artifact("t.feather"))), TABLE)
        return
    assert set(run.artifacts) == {"table.csv", "column.csv"}
    assert run.artifacts["table.csv"]["columns"] == [
        {"name": name, "dtype": str(dtype)} for name, dtype in TABLE.dtypes.items()
    ]
    assert [note for note in run.notes if "table.csv" in note and "pyarrow" in note]


@pytest.mark.skipif(HAS_ARROW, reason="pyarrow is installed")
@pytest.mark.parametrize("name", ["table.parquet", "table.feather"])
def test_a_format_whose_package_is_not_installed_is_refused_by_name(run: Any, name: str) -> None:
    with pytest.raises(MissingDependencyError, match="pyarrow"):
        run.log_artifact(TABLE, name)


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_a_map_is_stored_as_the_json_that_it_is(run: Any) -> None:
    chart = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "$int": "5",
        "$float": "NaN",
        "$$": {"$blob": 1},
        "big": 10**20,
        "data": {"values": [{"a": 1.5, "b": None, "ü": True}]},
        1: {None: "x", True: "y", 0.5: "z"},
    }
    run.log_artifact(chart, "chart.json")
    assert run.read_artifact("chart.json").decode() == json.dumps(chart, ensure_ascii=False, indent=2)
    assert run.notes == ()


def test_arrays_numbers_and_times_in_a_map_become_json(run: Any) -> None:
    run.log_artifact({"a": np.arange(3), "b": np.float32(0.5), "c": (1, 2), "t": pd.Timestamp("2020-01-01")}, "x")
    assert json.loads(run.read_artifact("x")) == {"a": [0, 1, 2], "b": 0.5, "c": [1, 2], "t": "2020-01-01T00:00:00"}


def test_what_json_cannot_say_is_null_and_a_note_says_so(run: Any) -> None:
    run.log_artifact({"a": [math.nan, math.inf, -math.inf, 1.0]}, "x.json")
    assert run.read_artifact("x.json") == json.dumps({"a": [None, None, None, 1.0]}, indent=2).encode()
    assert [note for note in run.notes if "x.json" in note and "null" in note]


def test_keys_that_are_the_same_in_json_are_refused(run: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="same in JSON"):
        run.log_artifact({1: "a", "1": "b"}, "x.json")


def test_a_list_can_be_lines(run: Any) -> None:
    run.log_artifact([{"a": 1}, {"a": 2}], "rows.jsonl")
    assert run.read_artifact("rows.jsonl") == b'{"a": 1}\n{"a": 2}\n'


# -- folders and links -------------------------------------------------------------------------------------------------


def test_a_linked_file_keeps_the_name_it_was_logged_by(run: Any, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "4f5e6d").write_bytes(b"weights")
    (tmp_path / "best.ckpt").symlink_to(tmp_path / "blobs" / "4f5e6d")
    (tmp_path / "linked").symlink_to(tmp_path / "blobs")
    run.log_artifact(tmp_path / "best.ckpt")
    run.log_artifact(tmp_path / "linked")
    assert set(run.artifacts) == {"best.ckpt", "linked/4f5e6d"}


def test_linked_folders_are_followed_and_what_is_left_out_is_said(run: Any, tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    (other / "deep" / "b").write_bytes(b"b")
    folder.mkdir()
    (folder / "a").write_bytes(b"a")
    (folder / "linked").symlink_to(other)
    (folder / "broken").symlink_to("nowhere")
    (folder / "itself").symlink_to("itself")
    (folder / "back").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.path.relpath(folder / "socket"))
    run.log_artifact(folder)
    listening.close()
    assert set(run.artifacts) == {"folder/a", "folder/linked/deep/b"}
    (note,) = run.notes
    for name in ("broken", "itself", "back", "pipe", "socket"):
        assert repr(name) in note


def test_a_name_that_cannot_be_recorded_is_left_out_and_said(run: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"a")
    Path(os.fsdecode(bytes(tmp_path / "folder") + b"/\xff")).write_bytes(b"b")
    run.log_artifact(tmp_path / "folder")
    assert set(run.artifacts) == {"folder/a"}
    assert "udcff" in run.notes[0]


def test_the_working_folder_is_logged_without_the_store_and_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "train.py").write_text("print()")
    with modeldb_core.connect("sqlite:///modeldb.db", journal_dir="journal", cache_dir="cache") as client:
        with client.start_run("run", capture=False) as run:
            run.log_artifact(b"x", "x.bin")
            client.flush()
            run.log_artifact(".")
            run.log_artifact(tmp_path / "work" / ".." / "work", "again")
        assert set(run.artifacts) == {"x.bin", "work/train.py", "again/train.py"}
        assert "'modeldb.db' (ModelDB's own)" in run.notes[0]


def test_paths_that_are_none_are_refused(run: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="empty text"):
        run.log_artifact("")
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(NotFoundError, match="nowhere"):
        run.log_artifact(tmp_path / "broken")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFoundError, match="not a regular file"):
        run.log_artifact(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "broken").symlink_to("nowhere")
    with pytest.raises(InvalidArgumentError, match="'broken'"):
        run.log_artifact(tmp_path / "folder")


@pytest.mark.parametrize("becomes", ["nothing", "a folder"])
def test_a_folder_that_changes_meanwhile_is_a_typed_error_and_records_nothing(
    client: Any, run: Any, tmp_path: Path, becomes: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(name.encode())

    def put(stream: Any) -> Any:  # another program is at work while the first file is stored
        if (folder / "c").is_file():
            (folder / "c").unlink()
            if becomes == "a folder":
                (folder / "c").mkdir()
        return client.put_blob(stream)

    with pytest.raises(FolderChangedError, match="'c'"):
        artifact_kinds.store(folder, None, None, put)
    assert run.artifacts == {}


# -- figures that were recorded as numbers -----------------------------------------------------------------------------

RECORDED: dict[str, dict[str, Any]] = {
    "confusion": {
        "figure": "confusion_matrix",
        "kind": "matrix",
        "title": "Confusion",
        "rows": ["no", "yes"],
        "columns": ["no", "yes"],
        "values": [[50, 2], [3, None]],
        "x_label": "Predicted",
        "y_label": "True",
    },
    "roc": {"kind": "lines", "diagonal": True, "series": [{"label": "yes", "x": [0, 0.5, 1], "y": [0, None, 1]}]},
    "importances": {"kind": "bars", "labels": ["age", "income"], "values": [0.7, 0.3], "errors": [0.1, 0]},
    "nothing": {"kind": "lines", "series": []},
}


def record_figure(run: Any, name: str, content: bytes) -> None:
    info = run.client.put_blob(io.BytesIO(content))
    media_type = "application/vnd.modeldb.figure+json"
    run.link_artifacts({f"figures/{name}.json": {"digest": info.digest, "size_bytes": 1, "media_type": media_type}})


def test_figures_recorded_as_numbers_are_read_and_drawn_where_asked(run: Any, tmp_path: Path):
    for name, data in RECORDED.items():
        record_figure(run, name, json.dumps(data).encode())
    run.log_artifact({"a": 1}, "figures/other.json")
    assert run.figures == ("confusion", "importances", "nothing", "roc")
    for name, data in RECORDED.items():
        found = run.figure(name)
        assert (found.name, found.kind, found.data) == (name, data["kind"], data)
        found.draw().savefig(tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.size[0] > 100
    axes = run.figure("confusion").draw().axes[0]
    assert [text.get_text() for text in axes.texts] == ["50", "2", "3", "nan"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("Predicted", "True", "Confusion")
    (line, diagonal) = run.figure("figures/roc.json").draw().axes[0].lines
    assert (list(line.get_xdata()), line.get_label()) == ([0, 0.5, 1], "yes")
    assert diagonal.get_linestyle() == ":"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"[]", "kind that is known: None; expected matrix, lines, bars"),
        (b'{"kind": ["bars"]}', "kind that is known"),
        (b'{"kind": "bars", "labels": ["a"], "values": []}', "bars have labels and as many numbers"),
        (b'{"kind": "matrix", "rows": ["a"], "columns": ["b"], "values": [[1, 2]]}', "matrix have rows"),
        (b'{"kind": "lines", "series": [{"label": "a", "x": "0", "y": [0]}]}', "lines have series"),
        (b'{"kind": "bars", "labels": ["a"], "values": [1' + b"0" * 400 + b"]}", "bars have labels"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"kind": "lines", "series": [{"label": "a", "x": [true], "y": [0]}]}', "lines have series"),
    ],
)
def test_a_file_that_is_no_figure_is_refused_when_it_is_read(run: Any, content: bytes, message: str):
    record_figure(run, "wrong", content)
    with pytest.raises(IntegrityError, match=message):
        run.figure("wrong")


def test_a_figure_that_is_not_there_names_those_that_are(run: Any):
    record_figure(run, "roc", json.dumps(RECORDED["roc"]).encode())
    with pytest.raises(NotFoundError, match=r"no figure 'rok'; it has \['roc'\]"):
        run.figure("rok")


# -- calls of the system -------------------------------------------------------------------------------------------------
FILE_CALLS = (
    "stat",
    "lstat",
    "access",
    "open",
    "mkdir",
    "rename",
    "replace",
    "unlink",
    "readlink",
    "listdir",
    "scandir",
)


@pytest.fixture
def deep_folder(tmp_path: Path) -> Path:
    """Return a folder of 64 small files, far from the root."""
    folder = tmp_path / "a" / "deep" / "place" / "for" / "them"
    folder.mkdir(parents=True)
    for number in range(64):
        (folder / f"{number}.bin").write_bytes(number.to_bytes(2) * 1000)
    return folder


@contextmanager
def calls_counted(monkeypatch: Any) -> Iterator[Counter[str]]:
    """Count the calls of the file system by this thread only; the thread that ships is not counted."""
    calls, mine = Counter[str](), threading.current_thread()

    def counted(name: str, call: Any) -> Any:
        def made(*args: Any, **options: Any) -> Any:
            if threading.current_thread() is mine:
                calls[name] += 1
            return call(*args, **options)

        return made

    for name in FILE_CALLS:
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    yield calls
    monkeypatch.undo()


def test_a_small_file_of_a_folder_takes_few_calls_of_the_system(deep_folder: Path, run: Any, monkeypatch: Any) -> None:
    folder, count = deep_folder, 64
    run.log_artifact(b"the folders of the store are there", "first")
    with calls_counted(monkeypatch) as calls:
        run.log_artifact(folder, "many")
    assert len(run.artifacts) == count + 1
    # Three to look at it in its folder; in the store: is it there, a temporary file, its folder, its place. And the folder
    # itself is looked for, from the root, a few times.
    assert sum(calls.values()) - calls["mkdir"] <= 7 * count + 4 * len(folder.parts), calls
    assert calls["mkdir"] <= count, calls


def test_a_small_file_by_itself_takes_no_more_calls_the_deeper_it_lies(
    deep_folder: Path, run: Any, monkeypatch: Any
) -> None:
    run.log_artifact(b"the folders of the store are there", "first")
    with calls_counted(monkeypatch) as calls:
        for file in deep_folder.iterdir():
            run.log_artifact(file)
    assert len(run.artifacts) == 65
    # One to look at it; in the store: is it there, a temporary file, its folder, its place.
    assert sum(calls.values()) - calls["mkdir"] - calls["scandir"] - calls["listdir"] <= 5 * 64, calls


@pytest.mark.parametrize("text", ["word " * 2000, "line\n" * 300], ids=["long", "lines"])
def test_a_text_too_long_for_a_path_is_told_from_one(run: Any, text: str) -> None:
    with pytest.raises(NotFoundError, match=r"artifact '.{1,410}…'.*log_text for a text"):
        run.log_artifact(text)
    with pytest.raises(NotFoundError, match="log_text for a text"):
        run.log_artifact(text, "report.md")
    assert not run.artifacts


def test_an_artifact_of_a_run_that_goes_on_is_read_without_the_rest_of_the_run(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted are the characters that the database gives for it."""
    given, ask = [0], Transaction.rows

    def rows(self: Transaction, *arguments: Any) -> Any:
        found = ask(self, *arguments)
        given[0] += sum(len(value) for row in found for value in row if isinstance(value, (str, bytes)))
        return found

    monkeypatch.setattr(Transaction, "rows", rows)
    run = client.start_run(capture=False)
    run.log_artifact(b"weights", "model.bin")
    assert client.flush(240)
    entry = run.artifacts["model.bin"]
    run.link_artifacts({f"checkpoints/{number}.ckpt": entry for number in range(2000)})
    run.log_hyperparameters({f"p{number}": "a value" for number in range(100)})
    run.log_metrics({f"loss/{number}": 1.0 for number in range(100)}, step=0)
    assert client.flush(240)
    given[0] = 0
    assert len(run.artifacts) == 2001
    whole, given[0] = given[0], 0
    assert run.read_artifact("checkpoints/1999.ckpt") == b"weights"
    alone, given[0] = given[0], 0
    assert whole > 300_000
    assert alone < 6_000
    run.log_artifact(b"others", "checkpoints/1999.ckpt")
    assert run.read_artifact("checkpoints/1999.ckpt") == b"others", "what was logged meanwhile is read"


def test_artifacts_of_a_run_that_goes_on_are_read_by_any_name(client: Client) -> None:
    run = client.start_run(capture=False)
    names = (
        "a.b",
        "a",
        "a/b.c",
        'with "quotes"',
        "it's",
        "line\nbreak",
        "metrics.auc.last",
        "ü 漢",
        " ",
        "*",
        "n" * 1024,
    )
    for number, name in enumerate(names):
        run.log_artifact(f"{number}".encode(), name)
    run.log_artifact({"x": 1}, "a map")
    assert [run.read_artifact(name) for name in names] == [f"{number}".encode() for number in range(len(names))]
    assert json.loads(run.read_artifact("a map")) == {"x": 1}
    for name in ("b", "", "a.b.c", "n" * 5000, "A", "\0"):
        with pytest.raises(NotFoundError, match="has no artifact"):
            run.read_artifact(name)
