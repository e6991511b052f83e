"""Runs other programs for a bounded time."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHUNK_BYTES = 65536


class Deadline:
    """A time that several steps share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining_s(self) -> float:
        """Return how many seconds are left; 0 when none are."""
        return max(0.0, self._end - time.monotonic())


@dataclass(frozen=True, slots=True)
class Output:
    """What a program printed.

    Attributes:
        text: its output, at most as many bytes as asked for.
        size_bytes: the length of the whole output, as far as it was read.
        is_complete: whether the program ended in time.
        exit_code: how it ended.
        errors: the beginning of what it printed as errors.
    """

    text: bytes
    size_bytes: int
    is_complete: bool
    exit_code: int
    errors: str = ""


def run_program(
    arguments: Sequence[str],
    deadline: Deadline,
    *,
    directory: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    limit_bytes: int = 4_000_000,
) -> Output:
    """Run a program without a terminal, reading its output until the deadline; then it is killed with its children.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        arguments,
        cwd=directory,
        env=dict(environ) if environ is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        kept, size, errors, ended = _read(process, deadline, limit_bytes)
        if ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline.remaining_s(), 0.05))
        is_complete = ended and process.returncode is not None
    finally:
        _end(process)
    return Output(kept, size, is_complete, process.returncode, errors.decode("utf-8", "replace").strip())


def _read(process: subprocess.Popen[bytes], deadline: Deadline, limit_bytes: int) -> tuple[bytes, int, bytes, bool]:
    assert process.stdout is not None
    assert process.stderr is not None
    if os.name == "nt":  # where pipes cannot be selected
        return _communicate(process, deadline, limit_bytes)
    output, errors, size = bytearray(), bytearray(), 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, errors)
        while selector.get_map() and (remaining := deadline.remaining_s()) > 0:
            for key, _ in selector.select(remaining):
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.data is output:
                    size += len(chunk)
                    output += chunk[: max(0, limit_bytes - len(output))]
                else:
                    errors += chunk[: max(0, 2000 - len(errors))]
        ended = not selector.get_map()
    return bytes(output), size, bytes(errors), ended


def _communicate(
    process: subprocess.Popen[bytes], deadline: Deadline, limit_bytes: int
) -> tuple[bytes, int, bytes, bool]:
    try:
        output, errors = process.communicate(timeout=max(deadline.remaining_s(), 0.05))
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"")[:limit_bytes], len(error.stdout or b""), b"", False
    return output[:limit_bytes], len(output), errors[:2000], True


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, 9)
            else:
                process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
