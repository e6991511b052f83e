"""What is known of a plugin, and what keeps its mistakes from the caller."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from modeldb_core.errors import ModelDBError
from modeldb_core.runtime.interruptions import is_of_a_signal_handler
from modeldb_core.runtime.notices import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modeldb_core.stores import Backend

BLOCK_VARIABLE = "MODELDB_DISABLE_PLUGINS"
BLOCK_ALL = "*"
OWN_DISTRIBUTION = "modeldb-core"

_MAX_TOLD = 10  # warnings of one plugin in one hook
HARMLESS = ("modeldb_run_", "modeldb_configure", "modeldb_describe_object")
"""Hooks that training scripts meet: there, even an error in ModelDB's own plugins is only a warning."""
_ERRORS_PASS = ("modeldb_dump_model", "modeldb_load_model", "modeldb_anchor_checkpoint", "modeldb_verify_anchor")
"""Hooks whose typed errors are their answer."""


@dataclass(slots=True)
class PluginInfo:
    """What is known of a plugin.

    Attributes:
        name: the name of its entry point, which is the import name of its module.
        distribution: the installed package that brought it; empty for one that was registered by hand.
        version: of that package.
        state: "loaded", "blocked" (by the settings) or "broken".
        error: why it is broken, in a sentence.
        hooks: the hooks that it implements.
        backends: the storage backends that it provides.
        failed_in: the hooks that have raised; a call of one plugin after another begins anew.
    """

    name: str
    distribution: str = ""
    version: str = ""
    state: Literal["loaded", "blocked", "broken"] = "loaded"
    error: str = ""
    hooks: tuple[str, ...] = ()
    backends: tuple[Backend, ...] = field(default=())
    failed_in: set[str] = field(default_factory=set)

    @property
    def is_own(self) -> bool:
        """Whether it comes with ModelDB itself."""
        return self.distribution == OWN_DISTRIBUTION

    def __str__(self) -> str:
        return f"{self.name!r} ({self.distribution} {self.version})" if self.distribution else repr(self.name)


class GuardedPlugin:
    """What is registered in place of a plugin: its hooks, each one guarded."""

    def __init__(self, hooks: Iterable[tuple[str, Callable[..., object]]]) -> None:
        vars(self).update(hooks)


def guarded(function: Callable[..., object], hook: str, info: PluginInfo) -> Callable[..., object]:
    """Return ``function`` such that what it raises becomes a warning where it must not reach the caller."""
    if info.is_own and not hook.startswith(HARMLESS):
        return function

    told: set[str] = set()

    @functools.wraps(function)
    def call(*arguments: object) -> object:
        try:
            return function(*arguments)
        except Exception as error:
            if is_of_a_signal_handler(error) or (hook in _ERRORS_PASS and isinstance(error, ModelDBError)):
                raise
            info.failed_in.add(hook)
            said = f"plugin {info} failed in {hook} and is left out of it: {describe(error)}"
            if said not in told and len(told) < _MAX_TOLD:  # once, and not again for every run
                told.add(said)
                warn(said)
            return None

    return call


def leave_out(info: PluginInfo, reason: str) -> None:
    """Mark a plugin as broken, and say so."""
    info.state, info.error = "broken", reason
    warn(f"plugin {info} is left out: {reason}; update or uninstall it, or set {BLOCK_VARIABLE}={info.name}")


def describe(error: BaseException) -> str:
    """Return the type of an exception and the first line of its message."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
