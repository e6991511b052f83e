"""Running the command of a record, in its folder, with a store of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from modeldb_core.config import FINAL_VARIABLE
from modeldb_core.errors import ReproductionError
from modeldb_core.reproduction.checkout import within
from modeldb_core.reproduction.environments import program_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.reproduction.command import Command
    from modeldb_core.reproduction.environments import Environment
    from modeldb_core.reproduction.record import Recording


class OwnStore(NamedTuple):
    """Where a repeated run is logged, as settings."""

    url: str
    artifact_url: str
    journal_dir: str


def store_settings(folder: Path) -> OwnStore:
    """Return the settings of the store that the repeated run goes to, all below ``folder``."""
    return OwnStore(f"sqlite:///{folder / 'record.db'}", f"file://{folder / 'artifacts'}", str(folder / "journals"))


def words_of(command: Command, python: str) -> list[str]:
    """Return the command line for an interpreter; a program of the recorded environment is that of the new one."""
    if command.target == "script" and os.path.isabs(command.name):
        command = replace(command, name=os.path.join(os.path.dirname(python), os.path.basename(command.name)))
    return command.words(python)


def run_command(recording: Recording, environment: Environment, folder: Path, say: Callable[[str], None]) -> str:
    """Run the command and wait for it; what it prints is said line by line.

    The program has the rights of this user: it is not in a sandbox. Its store is one of its own, whatever URL it names.

    Returns:
        What is to be known of how it ended; "" where it ended well.

    Raises:
        ReproductionError: it cannot be started.
    """
    code = folder / "code"
    programs = Path(environment.python).parent
    words = words_of(recording.command, environment.python)
    if recording.command.target == "script" and not os.path.isabs(recording.command.name):
        within(code / recording.place.folder / recording.command.name, code)
    variables = {f"MODELDB_{name.upper()}": value for name, value in store_settings(folder)._asdict().items()}
    variables |= {FINAL_VARIABLE: "1", "MODELDB_ANNOUNCE": "0", "MODELDB_EXIT_TIMEOUT_S": "3600"}
    variables["PATH"] = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
    if not environment.is_here:
        variables["VIRTUAL_ENV"] = str(folder / "environment")
    try:
        process = subprocess.Popen(
            words,
            cwd=within(code / recording.place.folder, code),
            env=program_environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that the programs that it starts can be ended with it
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        msg = f"the program cannot be started: {error}"
        raise ReproductionError(msg) from error
    _follow(process, say)
    return f"the program ended with exit code {process.returncode}" if process.returncode else ""


def _follow(process: subprocess.Popen[str], say: Callable[[str], None]) -> None:
    """Pass on what a program prints until it ends; what it started ends with it, also where this is interrupted."""
    assert process.stdout is not None
    rest = threading.Thread(target=_end_rest, args=(process,), name="modeldb-reproduce", daemon=True)
    rest.start()
    try:
        for line in process.stdout:
            say(line.rstrip("\r\n"))
        rest.join()
    except BaseException:
        _kill(process)
        raise
    finally:
        process.stdout.close()
        rest.join()
        process.wait()


def _end_rest(process: subprocess.Popen[str]) -> None:
    """Once a program has ended, end what it left running, which may hold its output open for ever."""
    if hasattr(os, "waitid"):
        with suppress(OSError):  # it was waited for already
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its number stays taken
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
