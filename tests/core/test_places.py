"""Where a store is, its backend says: a third party's file store has what the built-in ones have."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import modeldb_core
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.cli.doctor import examine
from modeldb_core.cli.program import run as main
from modeldb_core.cli.session import Session
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError
from modeldb_core.hookspecs import hookimpl
from modeldb_core.plugins import Places, load_settings, open_artifacts, plugin_manager
from modeldb_core.stores import Address, Backend, Files
from modeldb_core.tracking.artifacts import own_places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class DuckStore(SQLiteStore):
    """A third party's store in a file."""

    def __init__(self, url: str) -> None:
        super().__init__(url.replace("duck://", "sqlite://", 1))
        self.url = url


class DuckPlugin:
    """What the third party registers."""

    @staticmethod
    @hookimpl
    def modeldb_register_backends() -> list[Backend]:
        place = Files("duck:///", companions=("-wal", "-shm", "-journal"))
        return [Backend("duck", "metadata", f"{__name__}:DuckStore", place=place)]


@pytest.fixture(params=["duck", "sqlite"])
def scheme(request: pytest.FixtureRequest) -> Iterator[str]:
    manager, plugin = plugin_manager(), DuckPlugin()
    manager.add(plugin, "duck")
    yield request.param
    manager.unregister(name="duck")
    del manager.infos["duck"]
    manager._backends = None


def test_a_relative_path_is_taken_from_the_file_that_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    (tmp_path / "modeldb.toml").write_text(f'url = "{scheme}:///data/my%20runs.db?read_only=1"\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    settings = load_settings()
    assert settings.url == f"{scheme}:///{tmp_path}/data/my%20runs.db?read_only=1"
    assert settings.artifact_url == f"file://{tmp_path}/data/my runs-artifacts"
    assert settings.project_urls == {settings.url}
    assert load_settings(url=f"{scheme}:////srv/x.db").url == f"{scheme}:////srv/x.db"
    assert load_settings(url=f"{scheme}:///x").artifact_url == f"file://{tmp_path}/below/x.artifacts"


def test_files_are_kept_beside_the_store_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.txt").write_text("weights")
    with modeldb_core.connect(f"{scheme}:///runs.db") as client:
        with client.start_run(name="first", capture=False) as run:
            run.log_artifact(".", name="folder")
        client.settle()
        assert list(client.get_run(run.run_id).artifacts) == ["folder/model.txt"]
        is_own = own_places(client.settings)
        own = [name for name in ("runs.db", "runs.db-wal", "runs-artifacts", "model.txt") if is_own(tmp_path / name)]
        assert own == ["runs.db", "runs.db-wal", "runs-artifacts"]
        with closing(open_artifacts(client.settings.artifact_url, client.settings)) as artifacts:
            assert artifacts.owners() == {f"{scheme}:../runs.db"}


def test_gc_refuses_a_folder_of_another_store_and_reading_makes_no_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: str
) -> None:
    shared = f"file://{tmp_path}/files"
    for name in ("a", "b"):
        with modeldb_core.connect(f"{scheme}:///{tmp_path}/{name}.db", artifact_url=shared) as client:
            with client.start_run(capture=False) as run:
                run.log_text(name, "name.txt")
    assert main(["gc", "--url", f"{scheme}:///{tmp_path}/a.db", "--artifact-url", shared]) != 0
    assert f"also holds files of {scheme}:../b.db" in capsys.readouterr().err
    assert main(["runs", "--url", f"{scheme}:///{tmp_path}/gone.db"]) != 0
    assert f"there is no store at {tmp_path}/gone.db" in capsys.readouterr().err
    assert not (tmp_path / "gone.db").exists()


def test_doctor_looks_at_the_file_and_its_folders(tmp_path: Path, scheme: str) -> None:
    def findings() -> Counter[tuple[str, str]]:
        session = Session(url=f"{scheme}:///{tmp_path}/runs.db", ships_orphans=False)
        found = [(one.subject, one.text) for one in examine(session) if str(tmp_path) in one.text]
        session.close()
        return Counter(found)

    before = findings()
    assert before["store", f"{tmp_path}/runs.db does not exist yet"] == 1
    assert before["artifacts", f"{tmp_path}/runs-artifacts does not exist yet"] == 1
    assert any(subject == "disk space" for subject, _ in before)
    with modeldb_core.connect(f"{scheme}:///{tmp_path}/runs.db") as client:
        client.start_run(capture=False).finish()
    assert any(subject == "store" and text.endswith("answers: 1 runs") for subject, text in findings())


def test_a_place_that_cannot_be_is_refused_where_it_is_declared() -> None:
    with pytest.raises(InvalidTypeError, match="place of the backend for 'duck' is 'duck:///'; expected Files"):
        Backend("duck", "metadata", "duck:Store", place="duck:///")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="prefix 'sqlite:///'; expected duck://"):
        Backend("duck", "metadata", "duck:Store", place=Files("sqlite:///"))
    assert Backend("duck", "metadata", "duck:Store").place == Address()


def test_folders_and_bundles_have_relative_paths_too(tmp_path: Path) -> None:
    (tmp_path / "modeldb.toml").write_text('url = "bundle://runs.bundle"\nartifact_url = "file://files"\n')
    settings = load_settings(directory=tmp_path)
    assert settings.url == f"bundle://{tmp_path}/runs.bundle"
    assert settings.artifact_url == f"file://{tmp_path}/files"
    assert Places().artifacts_of("bundle:///x.bundle") == "bundle:///x.bundle"
