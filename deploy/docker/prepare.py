"""Prepare what servers need before they start: the tables of the database and, with --make-bucket, the bucket.

May be run again, and at any time: what is there stays as it is. Tables are upgraded after a copy of them was made.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from modeldb_core.plugins import load_settings, open_store

MAKE_BUCKET = "--make-bucket"
PATIENCE_S = 120.0
PAUSE_S = 1.0
EXISTS = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def make_bucket(name: str) -> None:
    """Create a bucket unless there is one; wait for the service, which may start just now.

    Raises:
        SystemExit: the service does not answer, or refuses.
    """
    client = botocore.session.get_session().create_client("s3", config=Config(s3={"addressing_style": "path"}))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in EXISTS:
                return
            problem: Exception = error
        except BotoCoreError as error:
            problem = error
        else:
            return
        if time.monotonic() > deadline:
            msg = f"the bucket {name!r} cannot be made: {problem}"
            raise SystemExit(msg) from problem
        time.sleep(PAUSE_S)


def main(arguments: list[str]) -> int:
    """Prepare everything; return the exit status."""
    settings = load_settings()
    scheme, _, place = settings.artifact_url.partition("://")
    if MAKE_BUCKET in arguments and scheme == "s3":
        make_bucket(place.partition("/")[0].partition("?")[0])
    open_store(settings.url, settings).close()  # an empty database gets its tables
    program = Path(sys.executable).with_name("modeldb")
    return subprocess.run([program, "db", "upgrade"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
