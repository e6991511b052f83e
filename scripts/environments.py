"""Run the environments of tox that make up the test command: one as it prints, the others beside it.

Lightning brings torch, so its tests have an environment of their own; what depends on the version of Python runs on each one
that is installed, and ``check`` is one of them. Tests wait often: the others run on what ``check`` leaves of the machine.

Arguments go to pytest. The exit status is 0 where every environment passed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSIONS = ("3.11", "3.12", "3.13")
NO_TESTS = 5  # pytest's, where an environment has none of those that were asked for
BROKEN = 1
LOOK_S = 0.1

_came: list[int] = []
"""Signals that end the command. Nothing is raised where they come: it could be in the middle of starting a process, or of
waiting for one, which would then be left running."""


def main(arguments: list[str]) -> int:
    """Run all, and return the last status that is none of success."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the first also for what is started, whatever the shell said
        signal.signal(number, lambda number, _: _came.append(number))
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    pythons = {version: found for version in VERSIONS if version != own and (found := find_python(version))}
    others: dict[str, Path | None] = {"lightning": None}
    others |= {f"interpreter-py{version.replace('.', '')}": found.parent for version, found in pythons.items()}
    say(f"Beside the environment check, these run: {', '.join(others)}. What they print follows it.")
    with tempfile.TemporaryDirectory() as folder, Beside(others, arguments, Path(folder)) as beside:
        statuses = [run_check(arguments)]
        for name in others:
            statuses.append(beside.wait(name))
            with Path(folder, name).open("rb") as output:
                shutil.copyfileobj(output, sys.stdout.buffer)
            sys.stdout.flush()
    for name, status in zip(("check", *others), statuses, strict=True):
        if status == NO_TESTS:
            say(f"In the environment {name} there are no such tests.")
    missing = [version for version in VERSIONS if version != own and version not in pythons]
    say(
        f"Tested with Python {own}, and what depends on the version of Python with {', '.join((own, *pythons))}."
        + (f" Not installed: {', '.join(missing)}." if missing else "")
    )
    return status_of(statuses, asked=bool(arguments))


def status_of(statuses: Iterable[int], *, asked: bool) -> int:
    """Return the status of all: where tests are asked for by name, some environments may have none of them."""
    statuses = list(statuses)
    if asked and set(statuses) == {NO_TESTS}:
        say("error: there are no such tests")
        return BROKEN
    passed = {0, NO_TESTS} if asked else {0}
    return next((status for status in reversed(statuses) if status not in passed), 0)


def find_python(version: str) -> Path | None:
    """Return the path of a version of Python that is installed, also by pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    on_path = shutil.which(f"python{version}")
    for found in [*([Path(on_path)] if on_path else []), *sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]:
        asked = [str(found), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.strip() == version:
            return found
    return None


def run_check(arguments: list[str]) -> int:
    """Run the environment that is looked at. Ctrl-C reaches it as well, a SIGTERM does not."""
    process = start("check", arguments)
    while process.poll() is None and not _came:
        time.sleep(LOOK_S)
    if _came and _came[0] == signal.SIGTERM:
        process.send_signal(signal.SIGINT)
    status = process.wait()
    end_if_told()
    return status


def end_if_told() -> None:
    """Raise SystemExit where a signal has come that ends the command."""
    if _came:
        sys.exit(128 + _came[0])


def start(
    name: str, arguments: list[str], programs: Path | None = None, output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start an environment; one that prints to a file is in a group of its own, which Ctrl-C does not reach."""
    path = os.environ["PATH"] if programs is None else f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [Path(sys.executable).with_name("tox"), "run", "-e", name, "--", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        env={**os.environ, "PATH": path, "UV_PYTHON_DOWNLOADS": "never"},
        process_group=0 if output else None,
    )


class Beside:
    """Environments that run one after the other in the background; the end of the block ends what still runs."""

    def __init__(self, environments: dict[str, Path | None], arguments: list[str], folder: Path) -> None:
        self._environments, self._arguments, self._folder = environments, arguments, folder
        self._ended = {name: threading.Event() for name in environments}
        self._statuses = dict.fromkeys(environments, BROKEN)
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Beside:
        for name in self._environments:
            (self._folder / name).touch()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopping = True
            if self._process is not None and self._process.poll() is None:
                with suppress(ProcessLookupError):  # the thread has just seen its end
                    os.killpg(self._process.pid, signal.SIGINT)
        self._thread.join()

    def wait(self, name: str) -> int:
        """Wait for the end of one, and return its status."""
        while not self._ended[name].wait(LOOK_S):
            end_if_told()
        return self._statuses[name]

    def _run(self) -> None:
        for name, programs in self._environments.items():
            try:
                with (self._folder / name).open("wb") as output:
                    with self._lock:
                        if self._stopping:
                            return
                        self._process = start(name, self._arguments, programs, output)
                    self._statuses[name] = self._process.wait()
            finally:
                self._ended[name].set()


def say(text: str) -> None:
    """Tell on standard error, after what was printed before."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
