"""Runs commands of ``modeldb`` and kills them with SIGKILL at the n-th thing that they do to files or databases.

Each command runs in a fork of a process that has imported everything, so that many points cost little. A *point* is a
file that is opened to be written, renamed, linked, removed; a folder that is made or removed; and a statement of SQLite
that writes, begins or commits. The process dies before it is done.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_READING = ("SELECT", "PRAGMA", "WITH", "EXPLAIN")
_EVENTS = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.symlink"})
_connect = sqlite3.connect


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative: the signal that killed it.
        output: what it printed.
        points: how many points it passed; 0 where it was killed.
    """

    code: int
    output: str
    points: int

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Faults:
    """The process that forks. ``before`` is run in it first."""

    def __init__(self, before: str = "") -> None:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.services.faults", before],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )

    def run(self, *arguments: str, cwd: Path, kill_at: int = 0) -> Ended:
        """Run a command, and kill it at a point (0: let it end)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([arguments, str(cwd), kill_at]) + "\n")
        self._process.stdin.flush()
        return Ended(*json.loads(self._process.stdout.readline()))

    def stop(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


class _Points:
    """Counts what a command does, and ends it in time."""

    def __init__(self, kill_at: int) -> None:
        self.count = 0
        self._kill_at = kill_at

    def passed(self) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not str(path).startswith("/dev/"):
                self.passed()
        elif event in _EVENTS:
            self.passed()

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = _connect(*arguments, **options)
        connection.set_trace_callback(self.on_statement)
        return connection

    def on_statement(self, text: str) -> None:
        if not text.lstrip().upper().startswith(_READING):
            self.passed()


def _serve() -> None:
    from modeldb_core.backends import objects, sqlite  # noqa: F401
    from modeldb_core.cli import program
    from modeldb_core.movement import bundle_store, collection, copying, marking  # noqa: F401

    copying.BATCH_CHANGES = 40  # small ones, so that there is a half way
    collection._DOCUMENTS = marking.DOCUMENTS = 2
    exec(sys.argv[1], {})
    for line in sys.stdin:
        arguments, cwd, kill_at = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.chdir(cwd)
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            # Those of the parent remember that they once were other files.
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            points = _Points(kill_at)
            sys.addaudithook(points.on_event)
            sqlite3.connect = points.connect  # type: ignore[assignment]
            code = program.run(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(1, f"\0{points.count}".encode())
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            output, _, points_text = file.read().decode(errors="replace").partition("\0")
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps([code, output, int(points_text or 0)]), flush=True)


if __name__ == "__main__":
    _serve()
