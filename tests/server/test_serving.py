from __future__ import annotations

import http.client
import os
import re
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modeldb_core import hookimpl
from modeldb_core.errors import ConfigurationError
from modeldb_core.plugins import PluginManager
from modeldb_server import Server, ServerSettings, create_app, serve

PROGRAM = """
    import sys
    from modeldb_core.plugins import open_artifacts, open_store
    from modeldb_server import ServerSettings, serve

    store, artifacts = open_store(sys.argv[1]), open_artifacts(sys.argv[2])
    serve(store, artifacts, ServerSettings(port=0, poll_interval_s=0.05))
    store.close()
    print("stopped", flush=True)
"""


@pytest.fixture
def process(tmp_path: Path) -> Any:
    arguments = [f"sqlite:///{tmp_path}/modeldb.db", f"file://{tmp_path}/blobs"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    started = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    yield started
    if started.poll() is None:
        started.kill()
    started.communicate(timeout=30)


def first_line(process: Any) -> str:
    assert select.select([process.stdout], [], [], 60)[0], "nothing was printed"
    return process.stdout.readline()


def test_serve_prints_its_url_and_ends_cleanly_at_a_signal(process: Any) -> None:
    match = re.search(r"at http://127\.0\.0\.1:(\d+) ", first_line(process))
    assert match
    connection = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=30)
    connection.request("GET", "/health")
    assert connection.getresponse().read() == b'{"status":"ok"}'
    events = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=30)
    events.request("GET", "/api/v2/events")
    stream = events.getresponse()
    assert stream.readline().startswith(b"retry")
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "stopped\n", "")
    stream.read()
    connection.close()
    events.close()


def test_ctrl_c_ends_it_as_well(process: Any) -> None:
    first_line(process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "stopped\n", "")


def test_importing_the_plugin_does_not_load_flask() -> None:
    code = "import sys, modeldb_server; print(sorted({'flask', 'waitress', 'numpy'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip() == "[]"


def test_a_request_that_has_begun_is_answered_before_the_server_ends(filled: Any) -> None:
    app = create_app(filled.store, filled.artifacts, ServerSettings(port=0), plugins=PluginManager())
    entered, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        entered.set()
        assert go_on.wait(30)
        return "done"

    app.add_url_rule("/slow", "slow", slow)
    app.extensions["modeldb_policies"]["slow"] = app.extensions["modeldb_policies"]["api.get_health"]
    server = Server(app)
    runner = threading.Thread(target=server.run)
    runner.start()
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    connection.request("GET", "/slow")
    assert entered.wait(30)
    server.stop()
    go_on.set()
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"done")
    assert server.wait(30)
    runner.join(30)
    connection.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((server.host, server.port), 5)


def test_stopping_a_server_that_has_ended_is_no_error(live: Any) -> None:
    server = live.server
    server._stopping.set()  # as if its loop saw that before whoever stops it goes on
    assert server.wait(30)
    server.stop()
    server.close()


def test_a_port_in_use_is_said(live: Any, filled: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"port {live.server.port} of 127.0.0.1 is in use; choose another"):
        serve(filled.store, filled.artifacts, ServerSettings(port=live.server.port))


def test_another_host_is_refused_before_anything_listens(filled: Any) -> None:
    with pytest.raises(ConfigurationError, match="no authentication"):
        serve(filled.store, filled.artifacts, ServerSettings(host="0.0.0.0", port=0))


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_it_listens_on_ipv6_loopback_when_asked_to(filled: Any) -> None:
    app = create_app(filled.store, filled.artifacts, ServerSettings(host="::1", port=0), plugins=PluginManager())
    server = Server(app)
    runner = threading.Thread(target=server.run)
    runner.start()
    assert server.url == f"http://[::1]:{server.port}"
    with urllib.request.urlopen(f"{server.url}/health", timeout=30) as response:
        assert response.read() == b'{"status":"ok"}'
    server.stop()
    assert server.wait(30)
    runner.join(30)


def test_it_listens_on_loopback_only(live: Any) -> None:
    listener = live.server._server.socket
    assert listener.getsockname()[0] == "127.0.0.1"


def test_two_servers_on_one_store_show_the_same(filled: Any) -> None:
    names = []
    for _ in range(2):
        app = create_app(filled.store, filled.artifacts, ServerSettings(), plugins=PluginManager())
        base, headers = "http://127.0.0.1", {"X-ModelDB": "1"}
        client = app.test_client()
        names.append(client.get(f"/api/v2/runs/{filled.run_id}", base_url=base).json["name"])
        client.patch(f"/api/v2/runs/{filled.run_id}", json={"name": f"by {len(names)}"}, base_url=base, headers=headers)
        app.extensions["modeldb_server"].close()
    assert names == ["first", "by 1"]
    assert filled.store.get("run", filled.run_id).name == "by 2"


class _NoPolicy:
    @hookimpl
    def modeldb_register_blueprints(self, app: Flask) -> None:
        app.add_url_rule("/extra", "extra", lambda: "", methods=["POST"])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc tells which files are open")
def test_a_server_that_does_not_start_leaves_no_accounts_open(filled: Any, tmp_path: Path) -> None:
    plugins = PluginManager()
    plugins.add(_NoPolicy(), "extra")
    accounts = tmp_path / "accounts.db"
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = ServerSettings(port=other.getsockname()[1], accounts=f"sqlite:///{accounts}")
        with pytest.raises(ConfigurationError, match="has no policy"):
            create_app(filled.store, filled.artifacts, settings, plugins=plugins)
        with pytest.raises(ConfigurationError, match="is in use"):
            serve(filled.store, filled.artifacts, settings)
    assert accounts.is_file()
    open_files = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert [path for path in open_files if path.startswith(str(accounts))] == []
