"""Make the secrets of compose.yaml on the first start, and never again: each service sees only its own folder.

`docker compose run --rm secrets show` prints the token with which one signs in for the first time.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path

POSTGRES = Path("/secrets/postgres")
S3 = Path("/secrets/s3")
CONFIG = Path("/config")
USER, DATABASE, BUCKET = "modeldb", "modeldb", "modeldb"
POSTGRES_HOST, S3_URL = "postgres:5432", "http://s3:8333"


def main(arguments: list[str], root: Path = Path("/")) -> int:
    """Make what is missing, or show the token; return the exit status."""
    token_file = _under(root, CONFIG) / "token"
    if arguments == ["show"]:
        sys.stdout.write(token_file.read_text("ascii") + "\n")
        return 0
    if arguments:
        sys.stderr.write("usage: make_secrets.py [show]\n")
        return 2
    if not token_file.exists():
        _make(root)
        _write(token_file, secrets.token_urlsafe(32), 0o400)  # last: with it everything is there
    return 0


def _make(root: Path) -> None:
    """Write all secrets, over those of a start that was interrupted: the services have not used them, they wait for this."""
    password, key, secret = secrets.token_urlsafe(32), secrets.token_hex(10), secrets.token_urlsafe(32)
    _write(_under(root, POSTGRES) / "password", password, 0o444)
    account = {"accessKey": key, "secretKey": secret}
    identity = {"name": USER, "credentials": [account], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    _write(_under(root, S3) / "accounts.json", json.dumps({"identities": [identity]}), 0o444)
    config = _under(root, CONFIG)
    _write(config / "pgpass", f"{POSTGRES_HOST}:{DATABASE}:{USER}:{password}\n", 0o600)
    _write(config / "aws", f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n", 0o400)


def _under(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file of which nobody ever sees a part; the folders are those of volumes, which only their services see."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.chmod(mode)
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
