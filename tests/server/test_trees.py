"""Content trees over HTTP: pages of what is in them, and files, for those who see the entity."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from modeldb_core.trees import TreeStore
from tests.server.test_scoped import ADA, BOB, Two, ask, two  # noqa: F401 - a fixture


@pytest.fixture
def commits(two: Two) -> dict[str, str]:  # noqa: F811
    """Return a commit of each workspace, with the same tree."""
    trees = TreeStore(two.artifacts)
    info = two.artifacts.put(io.BytesIO(b"a, b\n1, 2\n"))
    file = {"digest": info.digest, "size_bytes": info.size_bytes}
    parts = trees.build({"x/part.csv": file})
    tree = trees.build(
        {
            **{f"many/{number:03d}": {"n": number, "size_bytes": 1} for number in range(300)},
            "file.csv": file,
            "kept": {"sha256": info.digest, "observed": {"digest": info.digest, "media_type": "text/csv"}},
            "parts": {"tree": parts.root},
            "lost": {"digest": "0" * 64},
        }
    )
    made = {}
    for place in (two.seen, two.other):
        place.writer.create("repository", name="r", workspace_id=place.workspace)
        repository_id = place.writer.changes[-1].entity_id
        place.writer.create("commit", repository_id=repository_id, tree=tree.root)
        made[place.word] = place.writer.changes[-1].entity_id
        place.writer.create("commit", repository_id=repository_id)
        made[f"{place.word} bare"] = place.writer.changes[-1].entity_id
        two.store.apply(place.writer.changes)
    return made


def get(app: Flask, path: str, **options: Any) -> Any:
    return ask(app, f"/api/v2/commits/{path}", **options)


def test_a_tree_is_listed_in_pages_and_by_folders(two: Two, commits: dict[str, str]) -> None:  # noqa: F811
    base = f"{commits['open']}/tree"
    page = get(two.app, f"{base}?limit=2").json
    assert [item["location"] for item in page["items"]] == ["file.csv", "kept"]
    assert (page["count"], page["size_bytes"], page["cursor"]) == (304, 310, "kept")
    assert page["root"] != page["content"]
    following = get(two.app, f"{base}?limit=2&after=kept").json
    assert [item["location"] for item in following["items"]] == ["lost", "many/000"]
    top = get(two.app, f"{base}?folder=").json
    assert [(item["location"], item["entry"] is None) for item in top["items"]] == [
        *[("file.csv", False), ("kept", False), ("lost", False), ("many", True), ("parts", False)]
    ]
    found = get(two.app, f"{base}?folder=many&limit=2&after=297").json
    assert ([item["location"] for item in found["items"]], found["cursor"]) == (["many/298", "many/299"], None)
    assert len(get(two.app, f"{base}?prefix=many/00").json["items"]) == 10
    assert [item["location"] for item in get(two.app, f"{base}?inside=parts").json["items"]] == ["x/part.csv"]


def test_a_file_that_an_entry_names_is_given_out(two: Two, commits: dict[str, str]) -> None:  # noqa: F811
    base = f"{commits['open']}/tree/file"
    for query in ("path=file.csv", "path=kept", "inside=parts&path=x/part.csv"):
        answer = get(two.app, f"{base}?{query}")
        assert (answer.status_code, answer.data) == (200, b"a, b\n1, 2\n"), query
        assert answer.headers["Content-Disposition"].startswith("attachment")
    assert get(two.app, f"{base}?path=kept").headers["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tree?folder=a&prefix=b", 400),
        ("/tree?folder=../x", 400),
        ("/tree?after=a//b", 400),
        ("/tree?inside=nothing", 404),
        ("/tree?inside=file.csv", 404),
        ("/tree?field=other", 400),
        ("/tree/file", 400),
        ("/tree/file?path=nothing", 404),
        ("/tree/file?path=many", 404),
        ("/tree/file?path=many/000", 404),
        ("/tree/file?path=lost", 404),
        ("/tree/file?path=parts", 404),
        ("/tree/file?path=" + quote("a\0b"), 400),
    ],
)
def test_what_is_not_there_is_said(two: Two, commits: dict[str, str], path: str, status: int) -> None:  # noqa: F811
    assert get(two.app, commits["open"] + path).status_code == status
    assert get(two.app, commits["open bare"] + path).status_code in (400, 404)


def test_a_tree_and_its_files_are_seen_by_those_who_see_the_entity(two: Two, commits: dict[str, str]) -> None:  # noqa: F811
    secret = next(commit_id for word, commit_id in commits.items() if not word.startswith("open"))
    for path in ("/tree", "/tree/file?path=file.csv"):
        assert get(two.app, secret + path, token=BOB).status_code == 200
        answer = get(two.app, secret + path, token=ADA)
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")
        assert b"csv" not in answer.data
