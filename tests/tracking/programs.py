"""Programs that tests start, as users do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 240
"""How long tests wait for what must happen: the machine may be busy."""


def start(script: str | Path, environment: dict[str, str], **variables: str) -> subprocess.Popen[str]:
    """Start a script, given as its text or, as workers that are spawned need it, as a file."""
    arguments = [str(script)] if isinstance(script, Path) else ["-c", textwrap.dedent(script)]
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(script: str | Path, environment: dict[str, str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start a script, and end it with the block whatever happens."""
    process = start(script, environment, **variables)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(script: str | Path, environment: dict[str, str], code: int = 0, **variables: str) -> tuple[str, str]:
    """Run a script to its end; return what it wrote to its outputs."""
    process = start(script, environment, **variables)
    try:
        output, errors = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == code, errors
    return output, without_waiting(errors)


def without_waiting(errors: str) -> str:
    """Return what a program said, but for that it waits: on a busy machine each may have to."""
    return "".join(line for line in errors.splitlines(keepends=True) if not line.startswith("ModelDB waits for "))
