"""What a modeldb.toml that comes with a project may decide, and to whom a secret is shown."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from modeldb_core import plugins
from modeldb_core.config import Settings, credentials, default_journal_dir
from modeldb_core.config import settings as config
from modeldb_core.config.trust import address_of, user_config_file
from modeldb_core.errors import ConfigurationError, ModelDBWarning
from modeldb_core.plugins import load_settings

MINE, THEIRS = "https://models.example.org", "https://stranger.example.net"


@pytest.fixture(autouse=True)
def warned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are given once for each process; the tests are in one."""
    monkeypatch.setattr(config, "_warned", set())


def project_file(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir(exist_ok=True)
    path = folder / "modeldb.toml"
    path.write_text(text, "utf-8")
    return path


def own_file(text: str) -> Path:
    path = user_config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def load(path: Path, environ: dict[str, str] | None = None, **overrides: object) -> Settings:
    return load_settings(directory=path.parent, environ=environ or {}, **overrides)


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "key"),
    [
        ('token = "theirs"', "token", "token"),
        ('user = "the-cfo"', "user", "user"),
        ("gc_grace_days = 0", "gc_grace_days", "gc_grace_days"),
        ("restore_window_days = 0", "restore_window_days", "restore_window_days"),
        ('[server]\nhost = "0.0.0.0"', "server_host", "server.host"),
        ("[server]\nport = 1234", "server_port", "server.port"),
        ('[server]\ntokens = ["known"]', "server_tokens", "server.tokens"),
        ('[server]\nread_tokens = ["known"]', "server_read_tokens", "server.read_tokens"),
        ('[server]\nallowed_hosts = ["x"]', "server_allowed_hosts", "server.allowed_hosts"),
        ('journal_dir = "/home/somebody/documents"', "journal_dir", "journal_dir"),
        ('journal_dir = "../documents"', "journal_dir", "journal_dir"),
        ('journal_dir = "journals"', "journal_dir", "journal_dir"),
        ('cache_dir = "/"', "cache_dir", "cache_dir"),
        ('trusted_folders = ["/"]', "trusted_folders", "trusted_folders"),
    ],
)
def test_a_file_of_the_project_does_not_decide_what_concerns_the_user(
    tmp_path: Path, text: str, name: str, key: str
) -> None:
    path = project_file(
        tmp_path, f'{text if text[0] != "[" else ""}\nproject = "churn"\n{text if text[0] == "[" else ""}'
    )
    with pytest.warns(ModelDBWarning, match=f"{re.escape(str(path))}: {re.escape(key)} is not obeyed"):
        settings = load(path)
    assert settings.project == "churn"
    assert settings.origin(name) == "default"
    assert [(one.file, one.key) for one in settings.refusals] == [(str(path), key)]


def test_no_setting_is_open_to_a_project_without_somebody_having_thought_of_it() -> None:
    """A new setting fails here until it is decided whether a stranger's file may set it."""
    free = {spec.name for spec in config._specs() if not spec.metadata.get("trust")}
    assert free == {
        *("url", "artifact_url", "workspace", "project", "experiment", "stores", "plugins", "disable_plugins"),
        "model_stages",
        *("durability", "lease_s", "flush_interval_s", "exit_timeout_s"),
        *("capture_diff_limit_bytes", "capture_timeout_s"),
    }


def test_what_lies_ready_in_a_project_is_not_taken_for_the_users_own(tmp_path: Path) -> None:
    # An archive may bring journals that would be shipped under the user's name, and replicas that would be believed.
    path = project_file(tmp_path, 'journal_dir = "journals"\ncache_dir = "cache"\n')
    with pytest.warns(ModelDBWarning, match="journal_dir is not obeyed"):
        settings = load(path)
    assert settings.journal_dir == default_journal_dir()
    assert not settings.cache_dir.is_relative_to(tmp_path)


def test_a_project_neither_alters_what_the_user_says_of_a_plugin_nor_brings_one_back(tmp_path: Path) -> None:
    own_file('disable_plugins = ["left_out"]\n[plugins.alerts]\ntoken = "mine"\nurl = "https://example.org"\n')
    text = 'disable_plugins = ["another"]\n[plugins.alerts]\nurl = "https://stranger.example.net"\n[plugins.theirs]\nlevel = 3\n'
    settings = load(project_file(tmp_path, text))
    assert settings.plugins["alerts"] == {"token": "mine", "url": "https://example.org"}
    assert settings.plugins["theirs"] == {"level": 3}
    assert settings.disable_plugins == ("left_out", "another")


def test_a_project_may_record_less_but_not_more_than_the_user_wants(tmp_path: Path) -> None:
    own_file("[capture]\ndiff = false\n")
    path = project_file(tmp_path, "[capture]\ndiff = true\npackages = false\n")
    with pytest.warns(ModelDBWarning, match=r"capture\.diff is not obeyed: you have switched it off"):
        settings = load(path)
    assert (settings.capture_diff, settings.capture_packages) == (False, False)


@pytest.mark.parametrize("way", ["variable", "own file", "named", "argument"])
def test_the_user_decides_everything_and_may_trust_a_folder(tmp_path: Path, way: str) -> None:
    path = project_file(tmp_path, '[server]\nhost = "0.0.0.0"\n')
    environ = {}
    if way == "variable":
        environ = {"MODELDB_TRUSTED_FOLDERS": str(tmp_path)}
    elif way == "own file":
        own_file(f"trusted_folders = [{json.dumps(str(path.parent))}]\n")
    elif way == "named":
        environ = {"MODELDB_CONFIG": str(path)}
    settings = load(
        path, environ, **({"trusted_folders": ("/",), "server_host": "0.0.0.0"} if way == "argument" else {})
    )
    assert settings.server_host == "0.0.0.0"


def test_the_users_own_file_is_obeyed_also_where_it_lies_above_the_working_folder() -> None:
    own = own_file('[server]\nhost = "0.0.0.0"\n')
    below = own.parent / "work"
    below.mkdir()
    settings = load_settings(directory=below, environ={})
    assert settings.server_host == "0.0.0.0"
    assert not settings.refusals


# -- whose file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_a_file_that_others_may_write_is_left_out(tmp_path: Path, mode: int) -> None:
    path = project_file(tmp_path, 'project = "theirs"\n')
    path.chmod(mode)
    with pytest.warns(ModelDBWarning, match="other users may write it"):
        settings = load(path)
    assert settings.project == "default"
    assert [one.key for one in settings.refusals] == [""]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_of_another_user_is_left_out(tmp_path: Path) -> None:
    path = project_file(tmp_path, 'project = "theirs"\n')
    os.chown(path, 12345, -1)
    with pytest.warns(ModelDBWarning, match="belongs to another user"):
        assert load(path).project == "default"
    assert load(path, {"MODELDB_TRUSTED_FOLDERS": str(path.parent)}).project == "theirs"


def test_a_file_that_is_too_large_or_too_deep_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = project_file(tmp_path, "#" * (1 << 20) + "\n#")
    with pytest.warns(ModelDBWarning, match="1,048,578 bytes"):
        load(path)
    path.write_text(f"project = {'[' * 50_000}")
    with pytest.raises(ConfigurationError, match="is not valid TOML"):
        load(path)


# -- secrets ----------------------------------------------------------------------------------------------------------


def token_of(settings: Settings, url: str) -> str:
    """The token with which the store at ``url`` is opened."""
    return str(plugins.store_options(url, "metadata", settings)["token"])


def test_the_token_of_the_environment_does_not_go_to_the_address_of_a_project(tmp_path: Path) -> None:
    path = project_file(tmp_path, f'url = "{THEIRS}"\n')
    settings = load(path, {"MODELDB_TOKEN": "hush"})
    assert settings.url == THEIRS
    assert token_of(settings, settings.url) == ""
    assert token_of(settings, settings.artifact_url) == ""
    assert token_of(settings, f"{THEIRS}:443/other/path") == ""


def test_the_token_of_the_environment_goes_to_the_address_of_the_environment_and_nowhere_else(tmp_path: Path) -> None:
    path = project_file(tmp_path, f'artifact_url = "{THEIRS}"\n')
    settings = load(path, {"MODELDB_URL": MINE, "MODELDB_TOKEN": "hush"})
    assert token_of(settings, MINE) == "hush"
    assert token_of(settings, THEIRS) == ""
    assert token_of(settings, "http://models.example.org") == ""  # not in clear text either
    assert token_of(settings, f"{MINE}:8443") == ""
    assert token_of(settings, "https://elsewhere.example.com") == ""


def test_the_token_of_the_users_file_goes_to_the_server_of_that_file(tmp_path: Path) -> None:
    own_file(f'url = "{MINE}"\ntoken = "hush"\n')
    path = project_file(tmp_path, f'url = "{THEIRS}"\n')
    settings = load(path)
    assert token_of(settings, settings.url) == ""
    assert token_of(settings, MINE) == "hush"


def test_a_token_for_no_address_in_particular_goes_where_the_user_says_but_not_where_a_project_says(
    tmp_path: Path,
) -> None:
    path = project_file(tmp_path, f'url = "{THEIRS}"\n')
    settings = load(path, {"MODELDB_TOKEN": "hush"}, url=MINE)
    assert token_of(settings, MINE) == "hush"
    assert token_of(settings, THEIRS) == ""


def test_a_process_that_is_started_inside_a_run_shows_the_token_to_nobody_else(tmp_path: Path) -> None:
    path = project_file(tmp_path, f'url = "{THEIRS}"\n')
    settings = load(path, {"MODELDB_TOKEN": "hush"})
    told = {"url": settings.url, "project_urls": " ".join(settings.project_urls)}  # as inheritance.py tells it
    child = load_settings(directory=tmp_path, environ={"MODELDB_TOKEN": "hush"}, **told)
    assert token_of(child, THEIRS) == ""


def test_a_stored_token_goes_to_its_address_only(tmp_path: Path) -> None:
    place = credentials.store_token(address_of(MINE), "hush")
    assert place == str(credentials.credentials_file())
    assert stat.S_IMODE(credentials.credentials_file().stat().st_mode) == 0o600
    path = project_file(tmp_path, f'url = "{MINE}"\n')
    settings = load(path, {"MODELDB_TOKEN": "of another server"})
    assert token_of(settings, settings.url) == "hush"
    assert token_of(settings, THEIRS) == "of another server"  # which the project does not name
    assert credentials.forget_token(address_of(MINE))
    assert not credentials.forget_token(address_of(MINE))
    assert token_of(load(path), MINE) == ""


@pytest.mark.parametrize("content", ["[1, 2]", '{"a": 5}', "{", "[" * 100_000, "\x00"])
def test_a_file_of_tokens_that_is_damaged_or_readable_by_others_is_not_used(content: str) -> None:
    credentials.store_token(address_of(MINE), "hush")
    credentials.credentials_file().chmod(0o644)
    with pytest.warns(ModelDBWarning, match="others can access them"):
        assert credentials.stored_token(address_of(MINE)) == ""
    credentials.credentials_file().chmod(0o600)
    credentials.credentials_file().write_text(content)
    with pytest.warns(ModelDBWarning, match="does not hold what .* login` writes"):
        assert credentials.stored_token(address_of(MINE)) == ""


def test_a_keyring_of_the_system_keeps_tokens_where_there_is_one() -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        assert credentials.store_token(address_of(MINE), "hush") == "the keyring of this system"
        assert not credentials.credentials_file().exists()
        assert credentials.stored_token(address_of(MINE)) == "hush"
        assert credentials.forget_token(address_of(MINE))
        assert credentials.stored_token(address_of(MINE)) == ""
    finally:
        keyring.set_keyring(before)


# -- stores -----------------------------------------------------------------------------------------------------------


def test_a_project_does_not_switch_off_the_checks_of_the_users_server(tmp_path: Path) -> None:
    path = project_file(tmp_path, '[stores.https]\nverify = false\nca_bundle = "theirs.pem"\ntimeout_s = 7\n')
    settings = load(path, {"MODELDB_URL": MINE})
    options = plugins.store_options(MINE, "metadata", settings)
    assert "verify" not in options
    assert "ca_bundle" not in options
    assert options["timeout_s"] == 7


@pytest.mark.parametrize(
    "text",
    [
        'url = "s3://bucket"\n[stores.s3]\nendpoint_url = "https://stranger.example.net"\n',
        'url = "s3://bucket?endpoint_url=https://stranger.example.net"\n',
        'artifact_url = "s3://bucket?endpoint_url=https://stranger.example.net"\n',
        'url = "s3://bucket?profile=production"\n',
        'url = "https://models.example.org?verify=false"\n',
    ],
)
def test_a_store_of_a_project_is_not_opened_with_options_that_send_credentials_elsewhere(
    tmp_path: Path, text: str
) -> None:
    settings = load(project_file(tmp_path, text))
    kind = "artifacts" if text.startswith("artifact") else "metadata"
    url = settings.artifact_url if kind == "artifacts" else settings.url
    with pytest.raises(ConfigurationError, match="which a project's file does not decide; set it under"):
        plugins.store_options(url, kind, settings)  # type: ignore[arg-type]


def test_with_the_users_word_for_the_endpoint_the_store_of_a_project_is_opened(tmp_path: Path) -> None:
    own_file('[stores.s3]\nendpoint_url = "https://minio.example.org"\n')
    path = project_file(tmp_path, 'url = "s3://bucket"\n[stores.s3]\nendpoint_url = "https://other.example"\n')
    settings = load(path)
    assert plugins.store_options(settings.url, "metadata", settings)["endpoint_url"] == "https://minio.example.org"
