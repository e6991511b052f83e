"""A real time-stamp authority on this machine: openssl behind a small HTTP server."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

_CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = authority
[authority]
serial = serial
crypto_device = builtin
signer_cert = leaf.pem
signer_key = leaf.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    """A running authority.

    Attributes:
        url: where it is asked.
        roots: the file of its root certificate.
        answer: what it answers in place of a time-stamp, where that is to be something else.
        asked: how often it was asked.
    """

    url: str
    roots: Path
    answer: tuple[int, bytes] | None = None
    asked: list[int] = field(default_factory=list)


@contextmanager
def authority(folder: Path) -> Iterator[Authority]:
    """Run one until the block ends; its keys and certificates lie in ``folder``, which is made."""
    folder.mkdir()
    (folder / "authority.cnf").write_text(_CONFIGURATION.format(name="time-stamps"))
    (folder / "root.cnf").write_text(_CONFIGURATION.format(name="root of time-stamps"))
    (folder / "serial").write_text("01\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=120)

    key = ("-newkey", "rsa:2048", "-nodes", "-days", "30")
    openssl(
        "req", "-x509", *key, "-config", "root.cnf", "-extensions", "root", "-keyout", "root.key", "-out", "root.pem"
    )
    openssl("req", *key[:3], "-config", "authority.cnf", "-keyout", "leaf.key", "-out", "leaf.csr")
    sign = (
        "x509",
        "-req",
        "-in",
        "leaf.csr",
        "-CA",
        "root.pem",
        "-CAkey",
        "root.key",
        "-CAcreateserial",
        "-days",
        "30",
    )
    openssl(*sign, "-extfile", "authority.cnf", "-extensions", "leaf", "-out", "leaf.pem")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.asked.append(1)
            (folder / "query.tsq").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            if found.answer is None:
                openssl("ts", "-reply", "-config", "authority.cnf", "-queryfile", "query.tsq", "-out", "answer.tsr")
            status, data = found.answer or (200, (folder / "answer.tsr").read_bytes())
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Authority(f"http://127.0.0.1:{server.server_port}/", folder / "root.pem")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
