"""What terminals show: widths, cut and folded texts, trees, the line of a long work."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from modeldb_core.cli import progress, tables
from modeldb_core.cli.terminal import Tree, cut, fold, padded, styled, width_of


class Terminal(io.TextIOWrapper):
    """Standard output or error of a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="replace")

    def isatty(self) -> bool:
        return True

    @property
    def written(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return what standard output and error are from here on; pytest has its own before a test begins."""
    found = Terminal()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout", found)
    monkeypatch.setattr("sys.stderr", found)
    return found


@pytest.mark.parametrize(("text", "width"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("a\u200bb", 2)])
def test_wide_characters_take_two_columns_and_marks_none(text: str, width: int):
    assert width_of(text) == width
    assert width_of(padded(text, 9)) == 9


def test_a_text_is_cut_with_a_mark_and_never_in_the_middle_of_a_wide_character():
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdef", 4) == "abc…"
    assert cut("日本語", 4) == "日…"


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 3, [""]),
        ("one two three", 8, ["one two", "three"]),
        ("one two", 3, ["one", "two"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("日本語", 1, ["日", "本", "語"]),
        ("a  b", 2, ["a", "b"]),
    ],
)
def test_a_text_is_folded_between_words_where_that_is_possible(text: str, width: int, lines: list[str]):
    assert fold(text, width) == lines


def test_a_table_folds_the_column_that_may_be_and_cuts_the_others(monkeypatch: pytest.MonkeyPatch):
    out = terminal(monkeypatch)
    tables.print_table(["name", "what"], [["x" * 60, "some words that take more than one line"]], folded="what")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.written).splitlines()
    assert max(map(width_of, lines)) <= 40
    assert "…" in lines[1]
    assert " ".join(line.rpartition("  ")[2] for line in lines[1:]) == "some words that take more than one line"
    assert "\x1b[1m" in out.written


def test_pairs_keep_their_values_in_a_column(monkeypatch: pytest.MonkeyPatch):
    out = terminal(monkeypatch)
    tables.print_pairs("Title", [("a", "words " * 12), ("longer", 1)])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.written).splitlines()
    assert lines[:2] == ["", "Title"]
    assert all(line.startswith(("          words", "  a       words")) for line in lines[2:-1])
    assert lines[-1] == "  longer  1"
    assert max(map(len, lines)) <= 40


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("a", bold=True) == "a"


@pytest.mark.parametrize(
    ("encoding", "lines"), [("utf-8", ["├── b", "│   └── c", "└── d"]), ("ascii", ["+-- b", "|   `-- c", "`-- d"])]
)
def test_a_tree_has_guides_that_the_output_can_show(monkeypatch: pytest.MonkeyPatch, encoding: str, lines: list[str]):
    monkeypatch.setattr("sys.stdout", Terminal(encoding))
    tree = Tree("a")
    tree.add("b").add("c")
    tree.add("d")
    assert list(tree.lines()) == ["a", *lines]


def test_a_long_work_is_shown_on_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch):
    out = terminal(monkeypatch)
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setenv("COLUMNS", "80")
    with progress.progress_bar("copying\x1b[31m", 200) as advance:
        advance(20)
        assert out.written == ""
        now = 2.0
        advance(80)
    shown: list[Any] = out.written.split("\r\x1b[K")
    assert len(shown) == 3
    assert "50%" in shown[1]
    assert "#####" in shown[1]
    assert "\x1b" not in shown[1]
    assert shown[2] == ""
