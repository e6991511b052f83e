"""What the services have in common: a free port, waiting until it answers, a process that ends with its owner."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START_TIMEOUT_S = 60.0


def free_port(*beside: int) -> int:
    """Return a port of the loopback address that nobody has now, and nobody those that lie so far beside it.

    Not one of those that the system gives to the near ends of connections: while a service that was killed is away,
    a connection of somebody else could sit on its port.
    """
    choose = random.SystemRandom().randrange  # tests seed the common one
    while True:
        port = choose(10_000, _first_ephemeral_port() - max(beside, default=0))
        with contextlib.ExitStack() as listeners, contextlib.suppress(OSError):
            for number in (port, *(port + distance for distance in beside)):
                listeners.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port


def _first_ephemeral_port() -> int:
    with contextlib.suppress(OSError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        if first > 25_000:  # else nearly all ports are given to connections, and any is as good
            return first
    return 49_152  # IANA's first, which macOS and Windows keep to


class Process:
    """A program in a process group of its own, with its output in a file, ended by pid.

    Args:
        command: the program and its arguments.
        log: the file for what it prints.
        is_ready: says whether it does its work already; asked until it does.
        user: who it runs as; default: who we are.
    """

    def __init__(
        self, command: Sequence[str], log: Path, is_ready: Callable[[], bool], *, user: str | None = None
    ) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                start_new_session=True,
                user=user,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                text = log.read_text(errors="replace")[-2000:]
                msg = f"{command[0]} did not start; it ended with {self._process.returncode} and said: {text}"
                raise RuntimeError(msg)
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send a signal to the process and all its children, also those that left its group, as PostgreSQL's do."""
        import os

        import psutil

        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""
        return self._process.wait(START_TIMEOUT_S)

    def kill(self) -> None:
        """End it and its children at once, as a power failure would."""
        self.signal(signal.SIGKILL)
        self._process.wait(START_TIMEOUT_S)


def answers(port: int) -> bool:
    """Say whether somebody accepts connections on a port of the loopback address."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Service:
    """A service with one process and a folder of its own; a subclass starts it."""

    folder: Path
    _process: Process | None = None

    def kill(self) -> None:
        """End it as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pause(self) -> None:
        """Let it hang: it accepts connections and never answers."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after :meth:`pause`."""
        assert self._process is not None
        self._process.signal(signal.SIGCONT)
