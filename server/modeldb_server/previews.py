"""Previews of artifacts as data: the beginning of a text, or the first rows of a table.

The pages draw them as text nodes. Nothing that was uploaded is rendered, run, unpickled or unpacked to make one.
"""

from __future__ import annotations

import codecs
import csv
import io
from typing import TYPE_CHECKING, Any

from modeldb_server.blobs import BINARY

if TYPE_CHECKING:
    from modeldb_server.blobs import Artifact

MAX_COLUMNS = 200
MAX_CELL = 2000
_DELIMITERS = ",\t;|"
_TABLE_SUFFIXES = (".csv", ".tsv")


def preview(artifact: Artifact, head: bytes, *, max_rows: int) -> dict[str, Any]:
    """Return what can be shown of an artifact that begins with ``head``.

    ``view`` is ``table`` (with ``columns`` and ``rows``), ``text`` (with ``text``), ``image`` or ``none``;
    ``truncated`` says that there is more than is shown.
    """
    document: dict[str, Any] = {
        "path": artifact.path,
        "media_type": artifact.media_type,
        "size_bytes": artifact.size_bytes,
        "digest": artifact.digest,
        "truncated": len(head) < artifact.size_bytes,
    }
    if artifact.is_image:
        return {**document, "view": "image", "truncated": False}
    text = decode_head(head, is_whole=not document["truncated"])
    if text is None:
        return {**document, "view": "none"}
    if artifact.media_type == "text/csv" or artifact.path.lower().endswith(_TABLE_SUFFIXES):
        table = read_table(text, max_rows=max_rows, is_whole=not document["truncated"])
        if table is not None:
            columns, rows, is_cut = table
            truncated = document["truncated"] or is_cut
            return {**document, "view": "table", "columns": columns, "rows": rows, "truncated": truncated}
    if document["media_type"] == BINARY:
        document["media_type"] = "text/plain"
    return {**document, "view": "text", "text": text}


def decode_head(head: bytes, *, is_whole: bool) -> str | None:
    """Return the beginning of a file as text, ``None`` where it is not text in UTF-8."""
    if b"\0" in head:
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=is_whole)
    except UnicodeDecodeError:
        return None
    return text.removeprefix("\ufeff")


def read_table(text: str, *, max_rows: int, is_whole: bool) -> tuple[list[str], list[list[str]], bool] | None:
    """Return the columns and first rows of delimited text, and whether something of it was left out.

    ``None`` where it is not a table. A last line that may be incomplete is dropped.
    """
    if not is_whole:
        text = text[: text.rfind("\n") + 1]
    first_line = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    lines: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if len(lines) > max_rows:
                break
            lines.append(row)
    except csv.Error:
        return None
    if not lines:
        return None
    kept = [[cell[:MAX_CELL] for cell in row[:MAX_COLUMNS]] for row in lines[: max_rows + 1]]
    is_cut = kept != lines or text.count("\n") > len(lines)
    return kept[0], kept[1:], is_cut
