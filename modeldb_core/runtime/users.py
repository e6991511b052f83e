"""Who is logged in."""

from __future__ import annotations

import getpass
import os

_MOST = 256


def login_name() -> str:
    """Return the name of the user of this process, or a number where the system has no name for it.

    It is text that can be stored anywhere: a variable may hold bytes that are no UTF-8, and any number of them.
    """
    try:
        return getpass.getuser().encode(errors="backslashreplace").decode()[:_MOST]
    except (OSError, KeyError, ImportError):  # a container whose user has no name; ImportError: on Windows
        return f"uid{os.getuid()}" if hasattr(os, "getuid") else "unknown"
