"""Settings: argument > environment > file > default; origins; checks; secrets."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from modeldb_core.config import Settings, config_files, named
from modeldb_core.config.sources import ENVIRONMENT_PREFIX, key_of
from modeldb_core.config.trust import user_config_file
from modeldb_core.errors import ConfigurationError, ModelDBWarning
from modeldb_core.plugins import load_settings, places_for
from modeldb_core.runtime.users import login_name

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def write(folder: Path, text: str) -> Path:
    path = folder / "modeldb.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_the_defaults_are_a_sqlite_file_and_a_folder_beside_it(tmp_path: Path) -> None:
    settings = load_settings(directory=tmp_path, environ={})
    assert settings.url == f"sqlite:///{tmp_path}/modeldb.db"
    assert settings.artifact_url == f"file://{tmp_path}/modeldb-artifacts"
    assert settings.origin("url") == "default"
    assert settings.journal_dir.name == "journals"


TYPES = {
    "bool": bool,
    "choice": str,
    "float": float,
    "int": int,
    "list": named.Texts,
    "name": str,
    "path": named.Path,
    "table": named.Tables,
    "text": str,
}


def test_each_setting_has_its_name_and_type_for_those_who_check_types() -> None:
    settings = {one.name: one.metadata["kind"] for one in fields(Settings) if one.metadata.get("kind", "url") != "url"}
    assert get_type_hints(named.NamedSettings) == {name: TYPES[kind] | None for name, kind in settings.items()}


def test_a_file_beats_the_default_a_variable_beats_the_file_an_argument_beats_all(tmp_path: Path) -> None:
    path = write(tmp_path, 'project = "of-file"\nexperiment = "of-file"\nworkspace = "of-file"\n')
    environ = {"MODELDB_EXPERIMENT": "of-variable", "MODELDB_WORKSPACE": "of-variable"}
    settings = load_settings(directory=tmp_path, environ=environ, workspace="of-argument", user=None)
    assert (settings.project, settings.origin("project")) == ("of-file", str(path))
    assert (settings.experiment, settings.origin("experiment")) == ("of-variable", "MODELDB_EXPERIMENT")
    assert (settings.workspace, settings.origin("workspace")) == ("of-argument", "argument")
    assert (settings.user, settings.origin("user")) == ("", "default")


def test_the_nearest_file_upwards_is_found_and_the_users_own_fills_the_rest(tmp_path: Path) -> None:
    write(tmp_path, 'project = "outer"\n')
    nearest = write(tmp_path / "a", 'project = "inner"\n')
    own = write(user_config_file().parent, 'project = "own"\nexperiment = "own"\n')
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert config_files(deep, {}) == [(nearest, True), (own, False)]
    settings = load_settings(directory=deep, environ={})
    assert (settings.project, settings.experiment) == ("inner", "own")


def test_modeldb_config_names_a_file_that_is_used_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 'project = "near"\n')
    other = tmp_path / "other.toml"
    other.write_text('project = "named"\n')
    assert load_settings(directory=tmp_path, environ={"MODELDB_CONFIG": str(other)}).project == "named"
    with pytest.raises(ConfigurationError, match=r"MODELDB_CONFIG names the file .*gone.toml.* does not exist"):
        load_settings(directory=tmp_path, environ={"MODELDB_CONFIG": "gone.toml"})
    home = tmp_path / "home"
    home.mkdir()
    (home / "mine.toml").write_text('project = "of the home"\n')
    monkeypatch.setenv("HOME", str(home))
    assert load_settings(directory=tmp_path, environ={"MODELDB_CONFIG": "~/mine.toml"}).project == "of the home"


def test_modeldb_config_with_the_null_device_means_no_file(tmp_path: Path) -> None:
    write(tmp_path, 'project = "near"\n')
    write(user_config_file().parent, 'project = "own"\n')
    (tmp_path / "masked.toml").symlink_to(os.devnull)
    for name in (os.devnull, "masked.toml"):
        settings = load_settings(directory=tmp_path, environ={"MODELDB_CONFIG": name})
        assert settings.origin("project") == "default"


def test_what_is_no_file_is_named_as_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match=r"which is a folder; name a file, such as '.*modeldb.toml', or unset"):
        load_settings(directory=tmp_path, environ={"MODELDB_CONFIG": "."})
    with pytest.raises(ConfigurationError, match=r"/pipe', which is not a regular file"):
        load_settings(directory=tmp_path, environ={"MODELDB_CONFIG": "pipe"})


def test_relative_paths_of_a_file_are_relative_to_the_file(tmp_path: Path) -> None:
    write(tmp_path, 'url = "sqlite:///runs.db"\n')
    below = tmp_path / "below"
    below.mkdir()
    own = user_config_file()
    own.parent.mkdir(parents=True)
    own.write_text('journal_dir = "journals"\n', "utf-8")
    settings = load_settings(directory=below, environ={})
    assert settings.url == f"sqlite:///{tmp_path}/runs.db"
    assert settings.journal_dir == own.parent / "journals"
    assert settings.artifact_url == f"file://{tmp_path}/runs-artifacts"


def test_a_later_change_of_folder_does_not_move_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(url="sqlite:///x.db", artifact_url="files", environ={})
    assert settings.url == f"sqlite:///{tmp_path}/x.db"
    assert settings.artifact_url == f"file://{tmp_path}/files"


def test_a_folder_with_spaces_and_percent_signs_is_quoted_in_the_url(tmp_path: Path) -> None:
    folder = tmp_path / "50% of é"
    folder.mkdir()
    settings = load_settings(directory=folder, environ={})
    assert places_for(settings).path_in(settings.url) == folder / "modeldb.db"
    assert settings.artifact_url == f"file://{folder}/modeldb-artifacts"


@pytest.mark.parametrize(
    ("url", "artifact_url"),
    [("memory://", "memory://"), ("s3://bucket/prefix", "s3://bucket/prefix")],
)
def test_other_stores_keep_artifacts_with_them_unless_told_otherwise(url: str, artifact_url: str) -> None:
    assert load_settings(url=url, environ={}).artifact_url == artifact_url
    assert load_settings(url=url, artifact_url="file:///data", environ={}).artifact_url == "file:///data"


def test_nested_tables_and_plugin_tables_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'disable_plugins = ["a", "b"]\n[capture]\ngit = false\n[server]\nport = 8080\n[plugins.mine]\nlevel = 3\n',
    )
    settings = load_settings(directory=tmp_path, environ={"MODELDB_CONFIG": str(path)})
    assert settings.disable_plugins == ("a", "b")
    assert settings.capture_git is False
    assert settings.server_port == 8080
    assert settings.plugins["mine"] == {"level": 3}


def test_variables_are_read_in_their_types() -> None:
    environ = {
        "MODELDB_CAPTURE_GIT": "off",
        "MODELDB_SERVER_PORT": "0",
        "MODELDB_LEASE_S": "2.5",
        "MODELDB_DISABLE_PLUGINS": " a, b ,",
        "MODELDB_PROJECT": "",
    }
    settings = load_settings(environ=environ)
    assert settings.capture_git is False
    assert settings.server_port == 0
    assert settings.lease_s == 2.5
    assert settings.disable_plugins == ("a", "b")
    assert settings.origin("project") == "default"  # an empty variable is not set


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('artifact_ulr = "x"', r"modeldb.toml: the key 'artifact_ulr' is unknown; did you mean 'artifact_url'\?"),
        ("[server]\nprot = 1", r"the key 'server.prot' is unknown; did you mean 'server.port'\?"),
        ("server = 1", "the key 'server' is unknown"),
        ("project = 3", "project has the value 3 of type int; expected a string of 1 to 256"),
        ('experiment = ""', "experiment has the value '' of type str; expected a string of 1 to 256 characters"),
        (f"project = '{'p' * 257}'", "expected a string of 1 to 256 characters"),
        ("lease_s = true", "lease_s has the value True of type bool; expected a number"),
        ('lease_s = "30"', "lease_s has the value '30' of type str; expected a number"),
        ("lease_s = 0", "expected a finite number from 1"),
        ("lease_s = inf", "expected a finite number"),
        ("[server]\nport = 1.5", "expected a whole number"),
        ("[server]\nport = 70000", "expected a finite number from 0 to 65535"),
        ("[capture]\ngit = 1", "expected true or false"),
        ('durability = "maybe"', "expected 'process' or 'fsync'"),
        ('disable_plugins = "a"', "expected a list of strings"),
        ("[plugins]\na = 1", "expected a table of tables"),
        ("journal_dir = ''", "expected a path"),
        ("x = ", "is not valid TOML"),
    ],
)
def test_a_bad_file_is_an_error_that_names_file_key_and_what_is_expected(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=re.escape(str(path))) as caught:
        load_settings(directory=tmp_path, environ={})
    assert re.search(message, str(caught.value))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("SERVER_PORT", "many", "a whole number"),
        ("LEASE_S", "long", "a number"),
        ("LEASE_S", "nan", "a finite number"),
        ("CAPTURE_GIT", "perhaps", "1, true, yes, on, 0, false, no or off"),
    ],
)
def test_a_bad_variable_is_an_error_that_names_it(name: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MODELDB_{name} has the value .*{text}.*expected {expected}"):
        load_settings(environ={f"MODELDB_{name}": text})


def test_a_bad_argument_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigurationError, match=r"the setting 'jurnal_dir' is unknown; did you mean 'journal_dir'\?"):
        load_settings(environ={}, jurnal_dir="x")
    with pytest.raises(ConfigurationError, match="server_port has the value '80' of type str"):
        load_settings(environ={}, server_port="80")


def test_a_misspelt_variable_is_warned_of_and_strange_ones_are_left_alone() -> None:
    with pytest.warns(ModelDBWarning, match=r"MODELDB_ARTIFACT_ULR is not used; did you mean 'MODELDB_ARTIFACT_URL'\?"):
        load_settings(environ={"MODELDB_ARTIFACT_ULR": "x", "MODELDB_OF_SOMEBODY_ELSE": "y"})


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "modeldb.toml").write_bytes(b'project = "\xff"')
    with pytest.raises(ConfigurationError, match="is not valid TOML"):
        load_settings(directory=tmp_path, environ={})


def test_secrets_are_hidden_wherever_settings_are_shown(tmp_path: Path) -> None:
    write(tmp_path, '[plugins.mine]\napi_key = "hush-1"\nname = "shown"\nurl = "https://me:hush-2@host/"\n')
    settings = load_settings(
        directory=tmp_path,
        environ={"MODELDB_ARTIFACT_URL": "s3://bucket?secret=hush-3"},
        url="postgresql://me:hush-4@host/db?sslpassword=hush-5",
    )
    shown = repr(settings) + str(settings) + str(list(settings.describe()))
    assert "hush" not in shown
    assert "postgresql://me:***@host/db" in shown
    assert "shown" in shown
    assert "hush-4" in settings.url


def test_a_bad_value_with_a_secret_is_not_shown_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={}, server_port="postgresql://me:hush@host")
    assert "hush" not in str(caught.value)


def test_every_setting_is_described_and_documented() -> None:
    text = DOCS.read_text("utf-8")
    described = {key for key, _, _, _ in Settings().describe()}
    for spec in fields(Settings):
        if not spec.metadata:
            continue
        key = key_of(spec)
        assert key in described
        assert spec.metadata["help"]
        assert f"`{key}`" in text, f"docs/configuration.md does not name {key}"
        if spec.metadata["kind"] != "table":
            row = re.search(
                rf"^\| `{re.escape(key)}` \| `{ENVIRONMENT_PREFIX}{spec.name.upper()}` \| (.*?) \|", text, re.M
            )
            assert row, f"docs/configuration.md has no row for {key} and its variable"
            if spec.metadata["kind"] in ("int", "float"):
                assert row[1].replace(",", "") == f"{spec.default:g}".replace("1e+06", "1000000")
            if spec.metadata["kind"] == "bool":
                assert row[1] == str(spec.default).lower()


@pytest.mark.parametrize("user", ["x" * 257, "a\0b", "a\udcff"], ids=["long", "NUL", "not UTF-8"])
def test_an_author_that_no_store_takes_is_refused_before_anything_is_logged(tmp_path: Path, user: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"MODELDB_USER has the value .*; expected (a string of 0 to 256|text)"
    ):
        load_settings(directory=tmp_path, environ={"MODELDB_USER": user})


def test_a_login_name_of_any_bytes_is_an_author(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "a\udcff" + "b" * 500)
    assert login_name() == ("a\\udcff" + "b" * 500)[:256]
