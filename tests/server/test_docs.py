"""The examples of docs/api.md are run against a listening server, and its tables compared with the code."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright._impl._driver import compute_driver_executable

from modeldb_core.model.entities import Run, new_id
from modeldb_core.plugins import load_settings
from modeldb_core.queries import Query
from modeldb_server.entity_routes import served_kinds
from modeldb_server.errors import HTTP_CODES, STATUS

DOCS = Path(__file__).parents[2] / "docs"
ANYTHING = "…"


def examples() -> list[tuple[str, Any]]:
    """Return the commands of the page, each with the answer that is shown below it."""
    found = []
    pattern = re.compile(r"```console\n(.*?)```(?:\n```json\n(.*?)```)?", re.DOTALL)
    for commands, answer in pattern.findall((DOCS / "api.md").read_text("utf-8")):
        lines = [line.removeprefix("$ ") for line in commands.splitlines()]
        found += [(line, None) for line in lines[:-1]]
        found.append((lines[-1], json.loads(answer) if answer else None))
    return found


def curl(command: str) -> bytes:
    """Do what curl does with the options that the page uses."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-G", action="store_true", dest="in_query")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-o", dest="output")
    parser.add_argument("-H", action="append", dest="headers", default=[])
    parser.add_argument("-d", action="append", dest="data", default=[])
    parser.add_argument("--data-binary", action="append", dest="data")
    parser.add_argument("--data-urlencode", action="append", dest="encoded", default=[])
    program, *words = shlex.split(command)
    assert program == "curl"
    given = parser.parse_args(words)
    data = given.data + [f"{name}={quote(value)}" for name, _, value in (item.partition("=") for item in given.encoded)]
    url, body = given.url, "&".join(data).encode() or None
    if given.in_query:
        url, body = f"{url}?{'&'.join(data)}", None
    headers = dict(item.split(": ", 1) for item in given.headers)
    request = urllib.request.Request(url, body, headers, method=given.method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


def assert_like(shown: Any, real: Any, where: str = "") -> None:
    if shown == ANYTHING:
        return
    if isinstance(shown, dict):
        assert isinstance(real, dict), where
        assert set(shown) == set(real), where
        for key in shown:
            assert_like(shown[key], real[key], f"{where}.{key}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), where
        for index, item in enumerate(shown):
            assert_like(item, real[index], f"{where}[{index}]")
    else:
        assert shown == real, where


def test_the_examples_of_the_api_page_are_true(live: Any, filled: Any) -> None:
    found = examples()
    assert len(found) > 10
    new = new_id()
    for command, answer in found:
        line = (
            command.replace("$URL", live.server.url)
            .replace("'$NEW'", new)
            .replace("$NEW", new)
            .replace("'$RUN'", filled.run_id)
            .replace("$RUN", filled.run_id)
        )
        body = curl(line)
        if answer is not None:
            assert_like(answer, json.loads(body), command)
        else:
            assert b'"error"' not in body, command
    by_hand = filled.store.get("run", new)
    assert isinstance(by_hand, Run)
    assert (by_hand.status, by_hand.series["loss"].count, by_hand.tags) == ("finished", 3, ())
    run = filled.store.get("run", filled.run_id)
    assert (run.name, run.description, run.tags) == ("forest 8", "depth 8", ("best",))


def test_the_javascript_of_the_api_page_tracks_a_training(live: Any, filled: Any, tmp_path: Path) -> None:
    (example,) = re.findall(r"```javascript\n(.*?)```", (DOCS / "api.md").read_text("utf-8"), re.DOTALL)
    program = tmp_path / "example.mjs"
    program.write_text(f"const url = {json.dumps(live.server.url)}, token = '';\n{example}")
    node, _ = compute_driver_executable()  # the one that comes with the browser tests
    done = subprocess.run([node, str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = filled.store.find(Query("run", "name = 'from JavaScript'")).entities
    assert isinstance(run, Run)
    assert (run.status, run.series["loss"].count, list(run.artifacts)) == ("finished", 100, ["notes.txt"])


def test_the_api_page_names_every_kind_code_and_argument() -> None:
    text = (DOCS / "api.md").read_text("utf-8")
    for name in (*served_kinds(), *STATUS, *HTTP_CODES.values()):
        assert f"`{name}`" in text, name
    table = dict(re.findall(r"^\| (\d{3}) \| (.*) \|$", text, re.MULTILINE))
    for code, status in STATUS.items():
        assert f"`{code}`" in table[str(status)], code


def test_the_server_page_names_every_module_and_setting() -> None:
    text = (DOCS / "server.md").read_text("utf-8")
    package = DOCS.parent / "server" / "modeldb_server"
    for path in package.glob("*.py"):
        assert path.stem == "__init__" or f"`{path.stem}`" in text, path.stem
    for key, *_ in load_settings(environ={}).describe():
        assert not key.startswith("server.") or f"`{key}`" in text, key
