from __future__ import annotations

import hashlib
import http.client
import io
import os
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from modeldb_core.errors import NotFoundError
from modeldb_core.journal.uploads import Uploads, spool
from modeldb_core.plugins import open_artifacts
from modeldb_core.stores import ArtifactStore
from modeldb_server.blobs import Artifact, disposition
from modeldb_server.previews import decode_head, read_table
from tests.waiting import wait_until


def url(filled: Any, path: str, more: str = "") -> str:
    return f"/api/v2/runs/{filled.run_id}/artifacts{more}?path={quote(path, safe='')}"


# -- bytes ------------------------------------------------------------------------------------------------------------


def test_every_artifact_comes_back_byte_by_byte(client: Any, filled: Any) -> None:
    for path, digest in filled.blobs.items():
        response = client.request("GET", url(filled, path))
        assert response.status_code == 200
        assert hashlib.sha256(response.data).hexdigest() == digest, path
        assert response.content_length == len(response.data)
        assert response.headers["ETag"] == f'"{digest}"'


@pytest.mark.parametrize(
    ("path", "media_type", "kind"),
    [
        ("plots/confusion.png", "image/png", "inline"),
        ("report.html", "application/octet-stream", "attachment"),
        ("picture.svg", "application/octet-stream", "attachment"),
        ("table.csv", "text/csv; charset=utf-8", "attachment"),
        ("notes.txt", "text/plain; charset=utf-8", "attachment"),
        ("model.pkl", "application/octet-stream", "attachment"),
    ],
)
def test_only_harmless_types_keep_theirs_and_only_pictures_are_inline(
    client: Any, filled: Any, path: str, media_type: str, kind: str
) -> None:
    response = client.request("GET", url(filled, path))
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Content-Disposition"].startswith(kind)
    assert response.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    downloaded = client.request("GET", url(filled, path) + "&download=1")
    assert downloaded.headers["Content-Disposition"].startswith("attachment")


def test_a_media_type_in_the_document_cannot_make_a_file_more_than_it_may_be(client: Any, filled: Any) -> None:
    claims = (
        "text/html",
        "image/svg+xml",
        "TEXT/HTML ; charset=x",
        "application/xhtml+xml",
        "text/xml",
        "a\r\nb: c",
        7,
    )
    for index, claim in enumerate(claims):
        filled.add_artifact(f"claim-{index}", b"<script>alert(1)</script>%d" % index, media_type=claim)
        response = client.request("GET", url(filled, f"claim-{index}"))
        assert response.headers["Content-Type"] == "application/octet-stream", claim
    filled.add_artifact("claimed", b"x", media_type="image/PNG; a=b")
    assert client.request("GET", url(filled, "claimed")).headers["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b/model.bin", "attachment; filename=\"model.bin\"; filename*=UTF-8''model.bin"),
        ("große Datei.bin", "attachment; filename=\"gro_e_Datei.bin\"; filename*=UTF-8''gro%C3%9Fe%20Datei.bin"),
        ('x"; filename="y.exe', "attachment; filename=\"x_filename_y.exe\"; filename*=UTF-8''x%3B%20filename%3Dy.exe"),
        ("..\\..\\evil.dll", "attachment; filename=\"evil.dll\"; filename*=UTF-8''evil.dll"),
        ("a/..", "attachment; filename=\"artifact\"; filename*=UTF-8''artifact"),
        ("inv\u202egnp.exe", "attachment; filename=\"invgnp.exe\"; filename*=UTF-8''invgnp.exe"),
        ("a\r\nSet-Cookie: x", "attachment; filename=\"aSet-Cookie_x\"; filename*=UTF-8''aSet-Cookie%20x"),
        ("/", "attachment; filename=\"artifact\"; filename*=UTF-8''artifact"),
        ("日本", "attachment; filename=\"artifact\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
    ],
)
def test_the_name_of_a_download_is_the_last_part_and_harmless(path: str, expected: str) -> None:
    assert disposition(Artifact(path, "0" * 64, "application/octet-stream", 0), attachment=True) == expected


# -- ranges and conditions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("bytes=1000000-", 1_000_000, None), ("bytes=-7", -7, None)],
)
def test_a_range_gives_that_part(client: Any, filled: Any, header: str, start: int, stop: int | None) -> None:
    content = bytes(range(256)) * 4096
    response = client.request("GET", url(filled, "große Datei.bin"), headers={"Range": header})
    assert response.status_code == 206
    assert response.data == content[start:stop]
    first, last, total = response.headers["Content-Range"].removeprefix("bytes ").replace("/", "-").split("-")
    assert content[int(first) : int(last) + 1] == response.data
    assert int(total) == len(content)


@pytest.mark.parametrize("header", ["bytes=2-1", "lines=0-1", "bytes=0-1,4-5", "nonsense", "bytes=a-b"])
def test_a_range_that_means_nothing_usable_gives_the_whole(client: Any, filled: Any, header: str) -> None:
    response = client.request("GET", url(filled, "große Datei.bin"), headers={"Range": header})
    assert response.status_code == 200
    assert len(response.data) == 1024 * 1024


def test_a_range_beyond_the_end_is_refused_with_the_size(client: Any, filled: Any) -> None:
    response = client.request("GET", url(filled, "notes.txt"), headers={"Range": "bytes=100-"})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */8"
    assert response.json["error"]["code"] == "range_not_satisfiable"


def test_a_copy_that_is_current_is_not_sent_again(client: Any, filled: Any) -> None:
    tag = f'"{filled.blobs["table.csv"]}"'
    response = client.request("GET", url(filled, "table.csv"), headers={"If-None-Match": tag})
    assert (response.status_code, response.data) == (304, b"")
    stale = {"Range": "bytes=0-3", "If-Range": '"other"'}
    assert client.request("GET", url(filled, "table.csv"), headers=stale).status_code == 200
    fresh = {"Range": "bytes=0-3", "If-Range": tag}
    assert client.request("GET", url(filled, "table.csv"), headers=fresh).status_code == 206


def test_head_gives_the_headers_alone(client: Any, filled: Any) -> None:
    response = client.request("HEAD", url(filled, "table.csv"))
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == "41"


# -- integrity --------------------------------------------------------------------------------------------------------


def corrupt(filled: Any, path: str, tmp_path: Any, at: int) -> None:
    digest = filled.blobs[path]
    (file,) = (tmp_path / "blobs").rglob(digest)
    file.chmod(0o600)
    with file.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 1]))


def test_a_small_blob_that_was_altered_is_an_error(client: Any, filled: Any, tmp_path: Any) -> None:
    corrupt(filled, "table.csv", tmp_path, 3)
    response = client.request("GET", url(filled, "table.csv"))
    assert (response.status_code, response.json["error"]["code"]) == (500, "integrity")
    assert str(tmp_path) not in response.text
    preview = client.request("GET", url(filled, "table.csv", "/preview"))
    assert (preview.status_code, preview.json["error"]["code"]) == (500, "integrity")


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=900000-"])
def test_a_large_blob_that_was_altered_never_arrives_as_a_whole(
    live: Any, filled: Any, tmp_path: Any, header: str
) -> None:
    corrupt(filled, "große Datei.bin", tmp_path, 1_000_000)
    connection = live.connect()
    connection.request("GET", url(filled, "große Datei.bin"), headers={"Range": header})
    response = connection.getresponse()
    if response.status in (200, 206):
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    else:
        assert response.status == 500
        assert b"integrity" in response.read()
    connection.close()


def test_a_large_artifact_is_streamed_in_constant_memory(live: Any, filled: Any) -> None:
    size = 64 * 1024 * 1024
    digest = filled.add_artifact("large.bin", b"\0" * size)
    connection = live.connect()
    tracemalloc.start()
    connection.request("GET", url(filled, "large.bin"))
    response = connection.getresponse()
    hashed, received = hashlib.sha256(), 0
    while piece := response.read(1 << 20):
        hashed.update(piece)
        received += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    connection.close()
    assert (received, hashed.hexdigest()) == (size, digest)
    assert peak < 24 * 1024 * 1024


# -- not found --------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_not_found(client: Any, filled: Any) -> None:
    assert client.error(url(filled, "none"), 404)["code"] == "not_found"
    assert client.error("/api/v2/runs/none/artifacts?path=table.csv", 404)["code"] == "not_found"
    filled.artifacts.delete(filled.blobs["table.csv"])
    assert "not uploaded yet" in client.error(url(filled, "table.csv"), 404)["message"]


@pytest.mark.parametrize("entry", ["text", 3, None, {}, {"digest": None}, {"digest": "ab"}, {"digest": ["x"]}, [1]])
def test_an_entry_that_names_no_blob_is_not_found(client: Any, filled: Any, entry: Any) -> None:
    filled.writer.update("run", filled.run_id, put={"artifacts": {"odd": entry}})
    filled.apply()
    assert client.error(url(filled, "odd"), 404)["code"] == "not_found"
    assert client.get(f"/api/v2/runs/{filled.run_id}/artifacts/index")["total"] == 9


# -- list and preview -------------------------------------------------------------------------------------------------


def test_artifacts_are_listed_in_pages(client: Any, filled: Any) -> None:
    path = f"/api/v2/runs/{filled.run_id}/artifacts/index"
    first = client.get(path, limit=3)
    assert [item["path"] for item in first["items"]] == sorted(filled.blobs)[:3]
    second = client.get(path, limit=100, after=first["cursor"])
    assert [item["path"] for item in second["items"]] == sorted(filled.blobs)[3:]
    assert (second["cursor"], second["total"]) == (None, len(filled.blobs))
    assert [item["path"] for item in client.get(path, prefix="plots/")["items"]] == ["plots/confusion.png"]


def test_a_table_is_previewed_as_rows(client: Any, filled: Any) -> None:
    preview = client.get(url(filled, "table.csv", "/preview"))
    assert preview["view"] == "table"
    assert preview["columns"] == ["name", "auc"]
    assert preview["rows"] == [["forest", "0.91"], ["boost, tuned", "0.93"]]
    assert preview["truncated"] is False
    cut = client.get(url(filled, "table.csv", "/preview") + "&max_rows=1")
    assert (len(cut["rows"]), cut["truncated"]) == (1, True)


def test_markup_is_previewed_as_text_and_binary_not_at_all(client: Any, filled: Any) -> None:
    for path in ("report.html", "picture.svg"):
        preview = client.get(url(filled, path, "/preview"))
        assert preview["view"] == "text"
        assert "<script>" in preview["text"]
        assert preview["media_type"] == "text/plain"
    assert client.get(url(filled, "große Datei.bin", "/preview"))["view"] == "none"
    assert client.get(url(filled, "plots/confusion.png", "/preview"))["view"] == "image"
    assert client.get(url(filled, "empty.txt", "/preview"))["text"] == ""
    assert client.get(url(filled, "notes.txt", "/preview"))["text"] == "Grüße\n"


def test_a_preview_stops_within_a_character_without_harm(client: Any, filled: Any) -> None:
    preview = client.get(url(filled, "notes.txt", "/preview") + "&max_bytes=3")
    assert (preview["text"], preview["truncated"]) == ("Gr", True)
    assert decode_head(b"\xff\xfe", is_whole=True) is None
    assert decode_head("ü".encode()[:1], is_whole=True) is None
    assert decode_head(b"\xef\xbb\xbfx", is_whole=True) == "x"


def test_a_table_drops_its_incomplete_last_line_and_is_bounded() -> None:
    assert read_table("a\tb\n1\t2\n3", max_rows=10, is_whole=False) == (["a", "b"], [["1", "2"]], False)
    wide = ",".join("x" * 3000 for _ in range(300)) + "\n"
    columns, _, is_cut = read_table(wide, max_rows=1, is_whole=True) or ([], [], False)
    assert (len(columns), len(columns[0]), is_cut) == (200, 2000, True)
    assert read_table("", max_rows=1, is_whole=True) is None
    assert read_table('"' + "x" * 200_000, max_rows=1, is_whole=True) is None


def test_the_digest_of_equal_content_is_one_blob(client: Any, filled: Any) -> None:
    info = filled.artifacts.put(io.BytesIO(b"same"))
    filled.add_artifact("one.txt", b"same")
    filled.add_artifact("two.txt", b"same")
    items = {
        item["path"]: item["digest"] for item in client.get(f"/api/v2/runs/{filled.run_id}/artifacts/index")["items"]
    }
    assert items["one.txt"] == items["two.txt"] == info.digest


def _puts(app: Any) -> int:
    """Return how many requests have put blobs."""
    lines = app.extensions["modeldb_server"].metrics.exposition().decode().splitlines()
    routes = ('route="api.put_blob"', 'route="api.put_blobs"', 'route="api.join_blob"')
    found = [
        line for line in lines if line.startswith("modeldb_http_requests_total") and any(r in line for r in routes)
    ]
    return sum(int(float(line.rpartition(" ")[2])) for line in found)


def test_many_small_files_reach_a_server_in_few_requests(app: Any, live: Any, tmp_path: Path) -> None:
    """300 requests before; a file that is not what its name says keeps no other from being sent."""
    folder, is_open = tmp_path / "journal" / "stream" / "spool", threading.Event()
    contents = [os.urandom(2_000) for _ in range(300)]
    with closing(open_artifacts(f"http://{live.server.host}:{live.server.port}")) as artifacts:
        before = _puts(app)

        def opened() -> ArtifactStore:
            assert is_open.wait(60)
            return artifacts

        uploads = Uploads(opened)
        paths = [folder / spool(io.BytesIO(content), folder).digest for content in contents]
        paths[150].write_bytes(b"something else")
        for path in paths:
            assert uploads.add(path)
        is_open.set()
        wait_until(lambda: uploads.waiting[0] <= 1)
        uploads.stop()
        assert [path for path in paths if path.exists()] == [paths[150]]
        assert [path.name for path in paths if _is_there(artifacts, path.name)] == [
            path.name for path in paths if path != paths[150]
        ]
        # Four threads take what has been added by then; the others wait, and go by 128.
        assert _puts(app) - before <= 4 + 3 + 1


def _is_there(artifacts: Any, digest: str) -> bool:
    try:
        return bool(artifacts.stat(digest))
    except NotFoundError:
        return False
