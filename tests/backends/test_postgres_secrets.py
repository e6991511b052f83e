"""A password of PostgreSQL goes to the server that it was given for, whatever server a project's file names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modeldb_core.config.trust import user_config_file
from modeldb_core.errors import ConfigurationError
from modeldb_core.plugins import load_settings, open_store
from tests.services.postgres import PASSWORD


@pytest.fixture
def named(postgres, postgres_url, tmp_path, monkeypatch):
    """Return a function that opens the database that a project's file names, as a user with this environment."""
    folder = tmp_path / "clone"
    folder.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    bare = postgres_url.replace(re.search(":[^:@]*@", postgres_url)[0], "@")
    for name in ("PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGHOST", "PGPORT", "PGUSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    (folder / "modeldb.toml").write_text(f'url = "{bare}"\n')

    def opened(url: str = "", **environment: str) -> None:
        if url:
            (folder / "modeldb.toml").write_text(f'url = "{url}"\n')
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = load_settings(directory=folder)
        with open_store(settings.url, settings) as store:
            store.heads()

    opened.url, opened.home, opened.port = bare, home, postgres.port
    return opened


def pgpass(home: Path, line: str) -> str:
    path = home / "passwords"
    path.write_text(f"# mine\nother.example.org:*:*:*:another\n{line}\n")
    path.chmod(0o600)
    return str(path)


def escaped(password: str) -> str:
    return password.replace("\\", "\\\\").replace(":", "\\:")


def test_a_password_of_the_environment_is_not_shown_to_a_server_of_a_project(named):
    with pytest.raises(ConfigurationError, match=r"wants a password.*only a project's modeldb\.toml names"):
        named(PGPASSWORD=PASSWORD)
    named(MODELDB_URL=named.url)  # now it is the user who names it


def test_a_password_for_any_host_is_not_shown_to_a_server_of_a_project(named):
    with pytest.raises(ConfigurationError, match="wants a password"):
        named(PGPASSFILE=pgpass(named.home, f"*:*:*:*:{escaped(PASSWORD)}"))
    named(PGPASSFILE=pgpass(named.home, f"127.0.0.1:{named.port}:*:postgres:{escaped(PASSWORD)}"))
    with pytest.raises(ConfigurationError, match="wants a password"):
        named(PGPASSFILE=pgpass(named.home, f"127.0.0.1:1:*:postgres:{escaped(PASSWORD)}"))


def test_the_file_of_passwords_in_the_home_is_read_unless_others_may_read_it(named):
    path = named.home / ".pgpass"
    path.write_text(f"127.0.0.1:*:*:*:{escaped(PASSWORD)}\n")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="wants a password"):
        named()
    path.chmod(0o600)
    named()


def test_a_password_for_one_of_several_hosts_is_shown_to_none(named):
    line = f"127.0.0.1:*:*:*:{escaped(PASSWORD)}"
    url = named.url.replace("127.0.0.1", f"127.0.0.1:{named.port},localhost")
    with pytest.raises(ConfigurationError, match="wants a password"):
        named(url, PGPASSFILE=pgpass(named.home, line))
    named(PGPASSFILE=pgpass(named.home, f"{line}\nlocalhost:*:*:*:{escaped(PASSWORD)}"))


@pytest.mark.parametrize("name", ["password", "service"])
def test_a_password_in_the_users_own_file_is_for_the_users_own_servers(named, monkeypatch, name):
    service = named.home / "services"
    service.write_text(f"[mine]\npassword={PASSWORD}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    file = user_config_file()
    file.parent.mkdir(parents=True)
    file.write_text(f'[stores.postgresql]\n{name} = "{PASSWORD if name == "password" else "mine"}"\n')
    with pytest.raises(ConfigurationError, match="wants a password"):
        named()
    with pytest.raises(ConfigurationError, match="wants a password"):
        named(PGSERVICE="mine")
    named(MODELDB_URL=named.url)


def test_a_server_that_the_users_environment_names_gets_its_password(named):
    named(PGHOST="127.0.0.1", PGPORT=str(named.port), PGPASSWORD=PASSWORD)  # the project's file names the same one
    named(re.sub("@[^/]*/", "@/", named.url))


def test_a_password_that_a_project_names_with_its_server_is_used(named):
    named(named.url.replace("@", f":{PASSWORD.replace(' ', '%20')}@"), PGPASSWORD="mine")
