"""The file in which a process says which run it is in; the processes that it starts read it whenever that matters.

It is written each time a block begins or ends, so in place, by one call of the system: a file of the same name put in its
place takes seven. A reader may come in the middle of that, so the content begins with its CRC-32. What the last content was
longer by is blanked: it may have held a secret.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from zlib import crc32

from modeldb_core.runtime import owned

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = ".processes"  # and the number of the user: others may share the folder of journals
_MOST_BYTES = 1 << 20
_ATTEMPTS = 5  # to read what nobody is writing; that takes microseconds
_PID = re.compile("[1-9][0-9]{0,9}")


class ProcessFile:
    """The file of this process. Not thread-safe.

    Attributes:
        path: where it is.
    """

    def __init__(self, journal_dir: Path) -> None:
        self.path = _new_path(journal_dir)
        self._descriptor, self._identity, self._length = -1, (0, 0), 0
        atexit.register(_remove, self.path, os.getpid())

    def write(self, told: dict[str, Any]) -> None:
        """Say something instead of what was said before."""
        found = self._opened()
        if found is None or not found.st_nlink:
            self.forget()
            self._make()
        text = json.dumps(told).encode()
        self._length = max(self._length, len(text))
        text = text.ljust(self._length)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, b"%08x\n" % crc32(text) + text)

    def forget(self) -> None:
        """Release the file without touching it: it is the parent's after a fork, or somebody removed it."""
        if self._opened() is not None:
            os.close(self._descriptor)
        self._descriptor = -1

    def _opened(self) -> os.stat_result | None:
        """Return what is known of the file, where the descriptor still stands for it: programs close what they do not know."""
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return None
        return found if (found.st_dev, found.st_ino) == self._identity else None

    def _make(self) -> None:
        with owned.make_folder(self.path.parent) as folder:
            folder.replace_file(self.path.name, b"")
            descriptor = folder.open_file(self.path.name, os.O_WRONLY)
        made = os.fstat(descriptor)
        self._descriptor, self._identity, self._length = descriptor, (made.st_dev, made.st_ino), 0


def read(path: Path) -> Any:  # noqa: ANN401 - JSON data
    """Return what a process says.

    Raises:
        OSError: there is no such file, or it is not this user's.
        ValueError, RecursionError: it holds something else than a process writes.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(0.0005 * 2**attempt)
        check, _, text = owned.read_file(path, _MOST_BYTES).partition(b"\n")
        if check == b"%08x" % crc32(text):
            return json.loads(text)
    msg = f"{path} is not what a process of ModelDB writes"
    raise ValueError(msg)


def _new_path(journal_dir: Path) -> Path:
    """Return the path of this process's file, after removing those of dead ones."""
    host = socket.gethostname()
    with owned.make_folder(journal_dir / f"{_FOLDER}-{owned.user_suffix()}") as folder:
        for name in folder.names():
            of_host, _, rest = name.rpartition("@")
            pid, _, kind = rest.partition(".")  # half-written ones begin with a dot, and end in something random
            is_told = of_host.removeprefix(".") == host and kind.partition(".")[0] == "json"
            if is_told and _PID.fullmatch(pid) and not _is_alive(int(pid)):
                folder.unlink(name)
        return folder.path / f"{host}@{os.getpid()}.json"


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 interrupts programs
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _remove(path: Path, pid: int) -> None:
    if pid == os.getpid():
        with suppress(OSError):
            owned.unlink_file(path)
