"""The command line against a server: the same commands, with its URL."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from modeldb_core.cli import program
from modeldb_server import ServerSettings
from tests.cli.conftest import Command, Scene
from tests.services.processes import free_port
from tests.services.server import TOKEN, serving_folder


@pytest.fixture
def url(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on the store of the scene; the token is set."""
    monkeypatch.setenv("MODELDB_TOKEN", TOKEN)
    with serving_folder(scene.folder, ServerSettings(port=0, tokens=(TOKEN,))) as url:
        yield url


def test_questions_have_the_same_answers(command: Command, scene: Scene, url: str) -> None:
    questions = [
        ("projects", "--json"),
        ("runs", "--json", "--project", "churn"),
        ("runs", "metrics.auc > 0.9", "--json"),
        ("show", scene.first, "--json"),
        ("show", "first"),
        ("history", scene.first, "loss", "--json"),
        ("compare", scene.first, scene.second, "--json"),
    ]
    for question in questions:
        local, remote = command(*question), command(*question, "--url", url)
        assert (remote.code, remote.out) == (program.OK, local.out), question
    assert command("audit", "verify", "--url", url).code == 0


def test_config_and_doctor_know_it_and_hide_the_token(
    command: Command, scene: Scene, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELDB_URL", url)
    monkeypatch.setenv("MODELDB_SERVER_TOKENS", f"{TOKEN},another-of-the-tokens")
    result = command("config", "--json")
    shown = {item["key"]: item["value"] for item in json.loads(result.out)["settings"]}
    assert (shown["url"], shown["artifact_url"]) == (url, url)
    assert (shown["token"], shown["server.tokens"], shown["server.read_tokens"]) == ("***", "***", [])
    assert TOKEN not in result.out + command("config").out
    result = command("doctor")
    assert f"{url} answers: 3 runs" in result.out
    assert TOKEN not in result.out + result.err


@pytest.mark.parametrize(
    ("token", "said"), [("", "asks for a token: "), ("not-the-right-token", "does not know the token")]
)
def test_without_the_right_token_a_sentence_says_so(
    command: Command, scene: Scene, url: str, monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    monkeypatch.setenv("MODELDB_TOKEN", token)
    result = command("runs", "--url", url)
    assert result.code == program.STORE
    assert said in result.err
    assert said in command("doctor", "--url", url).out


def test_a_server_that_is_away_is_said_in_a_sentence(
    command: Command, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port()
    result = command("runs", "--url", f"http://127.0.0.1:{port}?retry_s=0")
    assert result.code != 0
    assert "is the server started?" in result.err
    result = command("runs", "--url", f"http://:{TOKEN}@127.0.0.1:{port}?retries=0")
    assert "did you mean 'retry_s'" in result.err
    assert TOKEN not in result.out + result.err + caplog.text


def test_a_token_is_stored_for_a_server_and_used_for_it(
    command: Command, scene: Scene, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELDB_TOKEN")
    monkeypatch.setattr("sys.stdin", io.StringIO("not-the-right-token\n"))
    result = command("login", url)
    assert result.code != 0
    assert "the token is not stored" in result.err
    assert command("runs", "--url", url).code != 0
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TOKEN}\n"))
    result = command("login", url)
    assert (result.code, TOKEN in result.out + result.err) == (0, False)
    assert command("runs", "--url", url).code == 0
    assert command("logout", url).code == 0
    assert command("runs", "--url", url).code != 0
    assert "no token is stored" in command("logout", url).err
    assert "is not the URL of a server" in command("login", "sqlite:///modeldb.db").err
