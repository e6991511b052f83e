from __future__ import annotations

import socket

import pytest

from modeldb_core.errors import ConfigurationError
from modeldb_core.plugins import load_settings
from modeldb_server.settings import ServerSettings, loopback_address, server_settings


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.8.9.1", "127.8.9.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("localhost", "127.0.0.1"),
    ],
)
def test_loopback_hosts_are_taken(host: str, address: str) -> None:
    assert loopback_address(host) == address


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "8.8.8.8", "fe80::1", "2001:db8::1", "0", "*"])
def test_a_host_that_other_machines_reach_is_refused_with_the_way_out(host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loopback_address(host)
    if "unknown to this machine" not in str(caught.value):
        assert "ssh -L" in str(caught.value)
        assert "--allow-host" in str(caught.value)


def test_a_name_that_also_means_another_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    with pytest.raises(ConfigurationError, match="reachable from other machines"):
        loopback_address("both.test")


@pytest.mark.parametrize(
    "name", ["*", "*.example.org", "a b", "http://example.org", "example.org:80", "", "a/b", "é.org"]
)
def test_an_allowed_host_is_one_plain_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not a host name"):
        ServerSettings(allowed_hosts=(name,))


@pytest.mark.parametrize(
    ("name", "value"), [("threads", 0), ("max_event_streams", 0), ("max_body_bytes", 0), ("port", 65536)]
)
def test_numbers_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=name):
        ServerSettings(**{name: value})  # type: ignore[arg-type]


def test_the_settings_of_modeldb_carry_over() -> None:
    core = load_settings(
        environ={"MODELDB_SERVER_PORT": "0", "MODELDB_SERVER_ALLOWED_HOSTS": "a.test,b.test", "MODELDB_USER": "ada"}
    )
    settings = server_settings(core)
    assert (settings.port, settings.allowed_hosts, settings.actor) == (0, ("a.test", "b.test"), "ada")
    assert server_settings(None) == ServerSettings()
    assert server_settings(settings) is settings
