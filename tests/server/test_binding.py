"""Who changed something is who asked for it: streams belong to the user who opened them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import modeldb_core as modeldb
from modeldb_core.config.credentials import store_token
from modeldb_core.errors import PermissionDeniedError
from modeldb_core.journal.recovery import orphans
from modeldb_core.log.batches import MEDIA_TYPE, encode_changes
from modeldb_core.plugins import PluginManager, load_settings, open_store
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter
from modeldb_server import ServerSettings, create_app
from tests.server.conftest import Client
from tests.services.proxy import Proxy
from tests.services.server import serving
from tests.waiting import wait_until

ADA, GRACE, ADMIN, NOBODY = (
    "a-token-of-ada-alone",
    "a-token-of-grace-alone",
    "a-token-of-the-admin",
    "a-token-of-nobody",
)
SETTINGS = ServerSettings(
    port=0, actor="house", tokens=(f"ada:{ADA}", f"grace:{GRACE}", NOBODY), erase_tokens=(f"root:{ADMIN}",)
)


@pytest.fixture
def app(filled: Any) -> Any:
    made = create_app(filled.store, filled.artifacts, SETTINGS, plugins=PluginManager())
    yield made
    made.extensions["modeldb_server"].close()


def headers(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "X-ModelDB": "1", **more}


def ship(app: Flask, token: str, changes: Any) -> int:
    sent = headers(token, **{"Content-Type": MEDIA_TYPE})
    response = Client(app).request("POST", "/api/v2/store/changes", data=encode_changes(changes), headers=sent)
    assert response.status_code == 200 or response.json["error"]["code"] == "permission_denied", response.text
    return int(response.status_code)


def test_what_is_changed_through_the_api_is_recorded_in_the_name_of_who_asked(app: Flask, filled: Any) -> None:
    client = Client(app)
    for token, name in ((ADA, "ada"), (GRACE, "grace"), (NOBODY, "house"), (ADMIN, "root")):
        said = {"parent_id": filled.run_id, "message": "x"}
        comment = client.request("POST", "/api/v2/comments", json=said, headers=headers(token)).json
        assert (comment["author"], comment["owner"]) == (name, name)
        run = client.request("POST", "/api/v2/runs", json={"project": "p"}, headers=headers(token)).json
        assert run["owner"] == name
        (change,) = filled.store.read_changes(entity_id=run["entity_id"]).changes
        assert filled.store.read_changes(stream_id=change.stream_id, limit=1).changes[0].actor == name


def test_no_change_is_taken_in_another_name(app: Flask, filled: Any) -> None:
    before = filled.store.heads()
    forged = StreamWriter(actor="the-cfo")
    forged.open()
    forged.create_run(name="approved")
    assert ship(app, ADA, forged.changes) == 403
    late = StreamWriter(actor="ada")
    late.open()
    late.actor = "the-cfo"
    late.create_run(name="approved")
    assert ship(app, ADA, late.changes) == 403
    remark = StreamWriter(actor="ada")
    remark.create("comment", parent_id=filled.run_id, message="fine by me", author="the-cfo")
    assert ship(app, ADA, remark.changes) == 403
    assert filled.store.heads() == before
    own = StreamWriter(actor="ada")
    comment_id = own.create("comment", parent_id=filled.run_id, message="fine by me", author="ada").entity_id
    assert ship(app, ADA, own.changes) == 200
    own.update("comment", comment_id, set={"author": "the-cfo"})
    assert ship(app, ADA, own.take(1)) == 403
    assert filled.store.get("comment", comment_id).author == "ada"


def test_nobody_adds_to_a_stream_that_somebody_else_opened(app: Flask, filled: Any) -> None:
    stream = StreamWriter(actor="ada")
    stream.open()
    run_id = stream.create_run(name="hers").entity_id
    assert ship(app, ADA, stream.changes) == 200
    assert ship(app, ADA, stream.changes) == 200, "sent again"
    stream.actor = "grace"
    stream.update("run", run_id, set={"name": "taken over"})
    assert ship(app, GRACE, stream.take(2)) == 403
    again = create_app(filled.store, filled.artifacts, SETTINGS, plugins=PluginManager())
    assert ship(again, GRACE, stream.take(2)) == 403, "another server on the same store knows it too"
    assert filled.store.get("run", run_id).name == "hers"
    own = StreamWriter(actor="grace")
    own.update("run", run_id, set={"name": "renamed by her", "owner": "grace", "created_at": 0})
    assert ship(app, GRACE, own.changes) == 200
    run = filled.store.get("run", run_id)
    assert (run.name, run.owner, run.created_at.year > 2000) == ("renamed by her", "ada", True)


def test_an_administrator_brings_in_what_others_recorded(app: Flask, filled: Any) -> None:
    stream = StreamWriter(actor="a colleague")
    stream.open()
    run_id = stream.create_run(name="from elsewhere").entity_id
    assert ship(app, ADA, stream.changes) == 403
    assert ship(app, ADMIN, stream.changes) == 200
    assert filled.store.get("run", run_id).owner == "a colleague"
    stream.update("run", run_id, set={"name": "mine"})
    assert ship(app, ADA, stream.take(2)) == 403


def test_a_key_of_one_user_says_nothing_of_a_request_of_another(app: Flask, filled: Any) -> None:
    client = Client(app)
    answers = [
        client.request(
            "POST", "/api/v2/runs", json={"project": "p"}, headers=headers(token, **{"Idempotency-Key": "same"})
        ).json
        for token in (ADA, GRACE, ADA)
    ]
    assert [answer["owner"] for answer in answers] == ["ada", "grace", "ada"]
    assert answers[0]["entity_id"] == answers[2]["entity_id"] != answers[1]["entity_id"]


def test_a_program_that_begins_offline_records_in_the_name_of_its_token_all_the_same(
    filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    with serving(filled.store, filled.artifacts, SETTINGS) as url, closing(Proxy(int(url.rpartition(":")[2]))) as proxy:
        through = f"http://127.0.0.1:{proxy.port}"
        options = {"url": through, "artifact_url": through, "journal_dir": tmp_path / "journal", "token": GRACE}
        options |= {"capture_enabled": False, "exit_timeout_s": 0.2}
        proxy.mode = "refuse"
        with modeldb.connect(**options) as client, client.start_run("p") as left:  # left to the next process
            left.comment("before")
        with modeldb.connect(**options) as client:
            with client.start_run("p") as run:
                run.comment("hello")
            proxy.mode = "pass"
            assert client.flush(60)
            assert client.actor == "grace"
            client.writer.recover(60)
    for run_id in (left.run_id, run.run_id):
        found = filled.store.find(Query("comment", within=run_id)).entities
        assert (filled.store.get("run", run_id).owner, [each.author for each in found]) == ("grace", ["grace"])


def test_a_program_records_in_the_name_of_its_token(
    filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    with serving(filled.store, filled.artifacts, SETTINGS) as url:
        options = {"url": url, "artifact_url": url, "journal_dir": tmp_path / "journal", "capture_enabled": False}
        with modeldb.connect(token=GRACE, **options) as client, client.start_run("p") as run:
            run.log_metrics({"loss": 1.0}, step=0)
            run.comment("hello")
        assert filled.store.get("run", run.run_id).owner == "grace"
        assert client.actor == "grace"
        with modeldb.connect(token=NOBODY, **options) as client, client.start_run("p") as run:
            pass
        assert filled.store.get("run", run.run_id).owner == "house"
        with modeldb.connect(token=ADMIN, user="a colleague", **options) as client, client.start_run("p") as run:
            pass
        assert filled.store.get("run", run.run_id).owner == "a colleague"


def test_a_server_that_asks_nobody_stays_as_it_is(filled: Any) -> None:
    stream = StreamWriter(actor="anyone")
    stream.create_run(name="x")
    open_app = create_app(filled.store, filled.artifacts, ServerSettings(), plugins=PluginManager())
    assert ship(open_app, "", stream.changes) == 200


def test_a_token_names_its_user_in_one_way() -> None:
    for wrong in (":" + ADA, " ada:" + ADA, "a\0:" + ADA, "ada:short"):
        with pytest.raises(modeldb.errors.ConfigurationError):
            ServerSettings(tokens=(wrong,))
    with pytest.raises(modeldb.errors.ConfigurationError, match="in common"):
        ServerSettings(tokens=(f"ada:{ADA}",), read_tokens=(f"grace:{ADA}",))
    assert issubclass(PermissionDeniedError, modeldb.errors.ModelDBError)


@pytest.mark.parametrize("before", ["", "a-token-that-has-been-revoked"])
def test_a_program_that_runs_takes_the_token_that_is_stored_meanwhile(
    filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, before: str
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.setattr("modeldb_core.journal.retries.REFUSED_PAUSE_S", 0.1)  # in place of ten minutes
    with serving(filled.store, filled.artifacts, SETTINGS) as url:
        if before:
            store_token(url, before)
        options = {"url": url, "artifact_url": url, "journal_dir": tmp_path / "journal", "capture_enabled": False}
        with modeldb.connect(**options) as client, client.start_run("p") as run:
            run.log_metrics({"loss": 1.0}, step=0)
            run.log_artifact(b"content", "file.bin")
            wait_until(lambda: "needs somebody to look" in caplog.text)
            store_token(url, GRACE)
            wait_until(lambda: run.run_id in {each.entity_id for each in filled.store.find(Query("run")).entities})
            wait_until(lambda: client.writer.stream.uploads.waiting == (0, 0))
        found = filled.store.get("run", run.run_id)
        assert (found.owner, run.read_artifact("file.bin")) == ("grace", b"content")
        assert not list(orphans(tmp_path / "journal"))


def test_a_token_that_was_given_to_a_program_is_the_only_one_that_it_shows(filled: Any, tmp_path: Path) -> None:
    with serving(filled.store, filled.artifacts, SETTINGS) as url:
        store_token(url, GRACE)
        with_token = url.replace("://", "://:a-token-that-has-been-revoked@")
        for given in ({"url": url, "token": "a-token-that-has-been-revoked"}, {"url": with_token}):
            options = {"journal_dir": tmp_path / "journal", "exit_timeout_s": 0.1, "capture_enabled": False}
            with modeldb.connect(**given, **options) as client:
                with pytest.raises(PermissionDeniedError, match="does not know the token"):
                    client.store.heads()
        assert open_store(url, load_settings(url=url)).heads()
