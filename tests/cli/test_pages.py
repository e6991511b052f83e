"""What pages show of the command line: each command of a transcript works, and prints what the page says it does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from modeldb_core.cli import choosing, program
from tests.cli.conftest import Command, Scene

DOCS = Path(__file__).parents[2] / "docs"
TRANSCRIPTS = {
    "audit.md": ["audit verify\n"],
    "cli.md": ["modeldb runs 'metrics", "modeldb copy", "modeldb rename"],
    "deletion.md": ["modeldb delete"],
    "movement.md": ["modeldb copy", "export runs", "export x.bundle"],
    "reproduce.md": ["modeldb diff"],
    "tables.md": ["export tables"],
}
"""The blocks of each page that are tried here, by what stands in them. What needs a network or a tool of others is not."""
ELSEWHERE = {
    "postgresql://db.example.org/modeldb --to-artifacts s3://bucket/files": "sqlite:///other.db",
    "postgresql://db.example.org/modeldb": "sqlite:///other.db",
    "s3://bucket/tables": "more-tables",
}


def blocks(page: str) -> Iterator[str]:
    """Iterate over the blocks of a page that are in the language of a shell, or in none, and are to be tried."""
    parts = re.split(r"^```(.*)\n", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE)
    for language, text in zip(parts[1::4], parts[2::4], strict=True):
        if language in ("", "sh", "console") and any(words in text for words in TRANSCRIPTS[page]):
            yield text


CASES = [(page, text) for page in TRANSCRIPTS for text in blocks(page)]


def shape(text: str) -> list[str]:
    """Return the lines of an output without what differs each time: numbers, sizes, identifiers, times and addresses."""
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[^ ]*", "TIME", text)
    text = re.sub(r"\(of [^)]*\)", "(of PROJECTS)", text)
    text = re.sub(r"\b(sqlite|postgresql)://[^ ;]*", "URL", text)
    text = re.sub(r"\b(?=[0-9a-f-]*\d)[0-9a-f]{8}[0-9a-f-]*…?|\b[0-9a-f]{4,}…", "ID", text)
    text = re.sub(r"\d[\d,.]*", "0", text)
    return [re.sub(r"\b([KMGT]iB|B)\b", "BYTES", " ".join(line.split())) for line in text.splitlines()]


def test_every_page_still_has_its_transcripts() -> None:
    for page, wanted in TRANSCRIPTS.items():
        assert [sum(words in text for text in blocks(page)) for words in wanted] == [1] * len(wanted), page


@pytest.mark.parametrize(("page", "text"), CASES, ids=[page for page, _ in CASES])
def test_a_transcript_on_a_page_is_what_happens(
    command: Command, scene: Scene, monkeypatch: pytest.MonkeyPatch, page: str, text: str
) -> None:
    monkeypatch.setattr(choosing, "is_answered", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: True)
    bucket = f"file://{scene.folder}/bucket"
    if "s3://bucket/runs" in text:
        command("copy", "sqlite:///modeldb.db", bucket)
    text = text.replace("s3://bucket/runs", bucket)
    for there, here in ELSEWHERE.items():
        text = text.replace(there, here)
    text = text.replace("3f9a1c2e", scene.first[-8:]).replace("77b0d4aa", scene.second[-8:])
    lines = [line.removeprefix("$ ") for line in text.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith("modeldb ")]
    assert starts
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        words = shlex.split(lines[start], comments=True)
        arguments = words[1 : words.index(">")] if ">" in words else words[1:]
        result = command(*arguments)
        assert result.code == program.OK, (lines[start], result)
        said = [line for line in lines[start + 1 : end] if line.strip()]
        if said:
            printed = shape(result.out + result.err)
            assert [line for line in shape("\n".join(said)) if line != "..." and line not in printed] == [], printed
