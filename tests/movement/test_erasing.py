"""Nobody erases what others recorded, unless it was deleted and can be restored no more; and who does is seen."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import InvalidArgumentError, PermissionDeniedError
from modeldb_core.model.entities import now_us
from modeldb_core.movement.copying import copy
from modeldb_core.testing import StreamWriter
from modeldb_core.testing.scene import Scene
from modeldb_core.testing.streams import read_stream

if TYPE_CHECKING:
    from pathlib import Path

MONTH_US = 30 * 24 * 3600 * 1_000_000


@pytest.fixture(params=["memory", "sqlite", "folder"])
def store(request: Any, tmp_path: Path) -> Any:
    from modeldb_core.plugins import open_store

    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/modeldb.db", "folder": f"file://{tmp_path}/bucket"}
    with open_store(urls[request.param]) as store:
        yield store


def strangers(*changes: Any, at: int | None = None) -> StreamWriter:
    writer = StreamWriter(actor="stranger", at=at)
    writer.open()
    for change in changes:
        writer.erase(change)
    return writer


def test_a_strangers_erasures_of_a_living_run_have_no_effect_and_the_audit_says_so(store: Any) -> None:
    scene = Scene(store)
    run_id = scene.run("living", metrics={"auc": 0.5})
    scene.writer.append(run_id, {"loss": [1.0]})
    scene.ship()
    stranger = strangers(*(change for change in scene.writer.changes if change.kind != "stream"))
    store.apply(stranger.changes)
    scene.writer.append(run_id, {"loss": [2.0]})
    scene.ship()
    assert scene.get(run_id).name == "living"
    assert store.read_series(run_id, "loss").values.tolist() == [1.0, 2.0]
    report = verify(store)
    assert report.findings == []
    assert report.idle_erasures == len(stranger.changes) - 1
    assert f"{report.idle_erasures} erase changes had no effect" in str(report)
    assert (report.erased, report.undeleted) == (0, [])


def test_what_its_own_author_erased_is_named_as_not_deleted(store: Any) -> None:
    scene = Scene(store)
    run_id = scene.run("kept")
    scene.writer.erase(scene.writer.update("run", run_id, put={"attributes": {"secret": 1}}))
    scene.ship()
    report = verify(store)
    assert report.ok
    assert "secret" not in scene.get(run_id).attributes
    (sentence,) = report.undeleted
    assert run_id in sentence
    assert "1 payloads were erased by tester without having been deleted" in sentence


def test_what_was_deleted_long_ago_is_erased_and_not_named(store: Any) -> None:
    scene = Scene(store)
    run_id = scene.run("old")
    created = scene.writer.changes[-1]
    scene.writer.at = now_us() - MONTH_US - 10
    scene.writer.delete("run", run_id)
    scene.ship()
    store.apply(strangers(created).changes)
    report = verify(store)
    assert (report.findings, report.undeleted, report.idle_erasures, report.erased) == ([], [], 0, 1)


@pytest.mark.parametrize("data", [{"seq": 1}, {"stream_id": "s", "seq": 1}, {"stream_id": "s", "seq": 1, "hash": "ab"}])
def test_an_erasure_that_names_nothing_is_refused(store: Any, data: dict[str, Any]) -> None:
    writer = StreamWriter()
    writer.write("erase", "run", "r", data)
    with pytest.raises(InvalidArgumentError, match="hash"):
        store.apply(writer.changes)


def test_a_copy_counts_what_it_would_erase_and_asks_before(tmp_path: Path) -> None:
    with SQLiteStore(f"sqlite:///{tmp_path}/target.db") as target:
        scene, source = Scene(target), MemoryStore()
        run_id = scene.run("mine")
        created = scene.writer.changes[-1]
        scene.ship()
        copy(target, source)
        stranger = StreamWriter(actor="stranger", at=now_us() - MONTH_US - 10)
        stranger.delete("run", run_id)
        stranger.at += MONTH_US
        stranger.erase(created)
        source.apply(stranger.changes)
        asked: list[Any] = []

        def refuse(count: int, names: Any) -> bool:
            asked.append((count, list(names)))
            return False

        assert copy(source, target, dry_run=True, may_erase=refuse).erased == 1
        assert asked == []
        with pytest.raises(PermissionDeniedError, match=f"run mine \\({run_id}\\)"):
            copy(source, target, may_erase=refuse)
        assert asked == [(1, [f"run mine ({run_id})"])]
        assert scene.get(run_id).name == "mine"
        done = copy(source, target)
        assert (done.erased, done.erased_names) == (1, asked[0][1])
        assert read_stream(target, scene.writer.stream_id)[created.seq - 1].payload is None
        assert copy(source, target).erased == 0


def test_import_and_the_log_show_erasures(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    from modeldb_core.cli.program import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    mine, bundle = f"sqlite:///{tmp_path}/mine.db", str(tmp_path / "x.bundle")
    with SQLiteStore(mine) as target, SQLiteStore(f"sqlite:///{tmp_path}/other.db") as source:
        scene = Scene(target)
        run_id = scene.run("mine")
        created = scene.writer.changes[-1]
        scene.ship()
        copy(target, source)
        stranger = strangers(created)  # of a living run: without effect
        stranger.delete("run", run_id, window_s=0)
        stranger.erase(created)
        source.apply(stranger.changes)

    def command(*arguments: str) -> tuple[int, str]:
        code = run(arguments)
        told = capsys.readouterr()
        return code, told.out + told.err

    assert command("export", bundle, "--no-artifacts", "--url", f"sqlite:///{tmp_path}/other.db")[0] == 0
    code, told = command("import", bundle, "--no-artifacts", "--dry-run", "--url", mine)
    assert code == 0
    assert "1 payloads of what was there would be erased" in told
    code, told = command("import", bundle, "--no-artifacts", "--url", mine)
    assert code != 0
    assert "--allow-erasing" in told
    code, told = command("import", bundle, "--no-artifacts", "--allow-erasing", "--url", mine)
    assert code == 0
    assert "were erased" in told
    code, told = command("audit", "log", "--entity", run_id, "--url", mine)
    assert told.count("erase ") == 2
    assert "stranger" in told
