"""Who is logged in."""

from __future__ import annotations

import getpass
import os


def login_name() -> str:
    """Return the name of the user of this process, or a number where the system has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name; ImportError: on Windows
        return f"uid{os.getuid()}" if hasattr(os, "getuid") else "unknown"
