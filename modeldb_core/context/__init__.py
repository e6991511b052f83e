"""The plugin that records the circumstances of a run: code, command line, environment and machine.

Each part can be switched off (``capture.*`` in ``modeldb.toml``), and one that fails or takes too long is left out:
what could not be recorded is said under ``capture_errors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modeldb_core.context import script as script  # at once: Python forgets it at the end of the script
from modeldb_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from modeldb_core.config import Settings
    from modeldb_core.context.deadline import Deadline

Sections = dict[str, dict[str, Any]]


@hookimpl
def modeldb_run_context(settings: Settings) -> Sections:
    """Return what the settings want recorded about this process; takes at most ``capture_timeout_s``."""
    from modeldb_core.context.deadline import Deadline

    sections: Sections = {"code": {}, "environment": {}, "context": {}}
    if not settings.capture_enabled:
        return sections
    deadline = Deadline(settings.capture_timeout_s)
    errors = []
    for section, name, collect in _parts(settings):
        try:
            if deadline.remaining_s() > 0:
                sections[section].update(collect(settings, deadline))
            else:
                errors.append(f"{name}: left out, since there was no time left")
        except Exception as error:
            errors.append(f"{name}: {type(error).__name__}: {error}")
    if errors:
        sections["context"]["capture_errors"] = errors
    return sections


def _parts(settings: Settings) -> list[tuple[str, str, Callable[[Settings, Deadline], dict[str, Any]]]]:
    """Return (section, name, function) of what is switched on, the quick ones first."""
    from modeldb_core.context import code, environment, host

    wanted = (
        (settings.capture_command, "context", "command", code.describe_command),
        (settings.capture_command, "code", "script", code.describe_script),
        (True, "environment", "python", environment.describe_python),
        (settings.capture_packages, "environment", "packages", environment.describe_packages),
        (settings.capture_host, "context", "host", host.describe_host),
        (settings.capture_git, "code", "git", code.describe_git),
        (settings.capture_host, "context", "gpu", host.describe_gpus),
    )
    return [part[1:] for part in wanted if part[0]]
