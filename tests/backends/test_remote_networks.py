"""The same calls over TLS, through a proxy, and both: what is sent arrives, and a refusal is read as one."""

from __future__ import annotations

import io
import os
import socket
import ssl
import subprocess
import threading
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.backends.remote.metadata import RemoteMetadataStore
from modeldb_core.errors import PermissionDeniedError
from modeldb_core.testing import StreamWriter
from modeldb_server import ServerSettings
from tests.services.hostile import Gate
from tests.services.server import TOKEN, serving_folder

NAME = "models.test"  # nobody but the proxy knows where that is


class ConnectProxy:
    """A proxy that connects whoever asks to ``target``, whatever name they give."""

    def __init__(self, target: int) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                proxy.asked.append(self.path)
                with socket.create_connection(("127.0.0.1", target)) as upstream:
                    self.send_response(200)
                    self.end_headers()
                    back = threading.Thread(target=pump, args=(upstream, self.connection), daemon=True)
                    back.start()
                    pump(self.connection, upstream)
                    back.join(60)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:localhost,DNS:{NAME}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


@pytest.fixture(params=["https", "proxy", "https through a proxy"])
def network(request, tmp_path, certificate, monkeypatch):
    """Give the URL of a real server behind such a network, and the options that reach it."""
    context, path = certificate
    settings = ServerSettings(port=0, actor="tester", tokens=(TOKEN,), allowed_hosts=(NAME,))
    with serving_folder(tmp_path, settings) as url, closing(Gate(int(url.rpartition(":")[2]))) as gate:
        port = int(gate.url.rpartition(":")[2])
        for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        if request.param == "proxy":
            monkeypatch.setenv("http_proxy", gate.url)
            yield f"http://{NAME}", {}
            return
        gate._server.socket = context.wrap_socket(gate._server.socket, server_side=True)
        if request.param == "https":
            yield f"https://localhost:{port}", {"ca_bundle": str(path)}
            return
        with closing(ConnectProxy(port)) as proxy:
            monkeypatch.setenv("https_proxy", proxy.url)
            yield f"https://{NAME}", {"ca_bundle": str(path)}
            assert set(proxy.asked) == {f"{NAME}:443"}


@pytest.mark.filterwarnings("ignore:the token goes to")
def test_what_is_sent_over_it_arrives_and_a_refusal_is_read_as_one(network):
    url, options = network
    content = os.urandom(7 << 20)  # in two parts
    writer = StreamWriter()
    run_id = writer.create_run(name="far away").entity_id
    writer.append(run_id, {"loss": [1.0, 0.5]})
    with RemoteMetadataStore(url, token=TOKEN, **options) as store:
        store.apply(writer.changes)
        store.apply(writer.changes)
        assert store.get("run", run_id).name == "far away"
        assert store.read_series(run_id, "loss").total == 2
        assert store.heads()[writer.stream_id].seq == writer.changes[-1].seq
    artifacts = RemoteArtifactStore(url, token=TOKEN, **options)
    info = artifacts.put(io.BytesIO(content))
    with artifacts.open(info.digest) as blob:
        assert blob.read() == content
    with pytest.raises(PermissionDeniedError, match="does not know the token"):
        RemoteArtifactStore(url, token="wrong-token-of-someone", **options).put(io.BytesIO(content))
