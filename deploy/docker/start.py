"""Start `modeldb` with the token that make_secrets.py has made: the environment of a service cannot read a file.

Everything else finds its secrets by itself: libpq by PGPASSFILE, the S3 client by AWS_SHARED_CREDENTIALS_FILE.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TOKEN_FILE = Path("/config/token")
FIRST_USER = "admin"


def environment(token: str, environ: dict[str, str]) -> dict[str, str]:
    """Return the variables for `modeldb`: the token is the first user's, who may do everything."""
    return {**environ, "MODELDB_SERVER_ERASE_TOKENS": f"{FIRST_USER}:{token}"}


if __name__ == "__main__":
    program = Path(sys.executable).with_name("modeldb")
    os.execve(program, ["modeldb", *sys.argv[1:]], environment(TOKEN_FILE.read_text("ascii"), dict(os.environ)))
