"""One switch for the automatic logging of every framework that an installed integration knows."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from modeldb_core.autologging.imports import forget, when_imported
from modeldb_core.autologging.switch import during, is_to_be_decorated
from modeldb_core.commands.names import check_name, check_tags
from modeldb_core.errors import InvalidTypeError, ModelDBError
from modeldb_core.plugins import load_settings, plugin_manager
from modeldb_core.runtime.notices import warn
from modeldb_core.tracking.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.RLock()
_switches: list[AutologSwitch] = []
"""Those that are in force, the last one last."""


@overload
def autolog(client: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def autolog(
    client: Client | None = None,
    project: str | None = None,
    experiment: str | None = None,
    *,
    tags: Iterable[str] = (),
    disable: bool = False,
) -> AutologSwitch: ...


def autolog(
    client: Client | Callable[..., object] | None = None,
    project: str | None = None,
    experiment: str | None = None,
    *,
    tags: Iterable[str] = (),
    disable: bool = False,
) -> AutologSwitch | Callable[..., object]:
    """Log by itself what frameworks train: scikit-learn, Lightning, and every other one with an installed integration.

    Frameworks that are imported are switched on at once, others right after the program imports them. Nothing is imported
    for it. Used as a decorator or in a ``with`` statement it is in force only there::

        modeldb.autolog(project="churn")            # the rest of the program

        @modeldb.autolog(project="churn")           # while train() runs
        def train(): ...

        with modeldb.autolog(project="churn"):      # in the block
            ...

    What only one framework has is an argument of its integration's own function, such as
    ``modeldb_sklearn.autolog(log_models=False)``; called afterwards, it holds for that framework.

    Args:
        client: the client to log with; default: the one connected last, else one by the configuration.
        project: of runs that are started; default: the setting ``project``.
        experiment: likewise.
        tags: of runs that are started.
        disable: switch all off, and undo everything.

    Raises:
        InvalidTypeError: an argument is of a wrong type.
        InvalidArgumentError: a name or a tag is empty or too long. After that nothing raises: an integration that fails is
            named in a warning and left out.
    """
    if is_to_be_decorated(client):
        return autolog()(client)
    if client is not None and not isinstance(client, Client):
        msg = f"client = {client!r:.100} is of type {type(client).__name__}; expected a Client, as modeldb.connect() returns"
        raise InvalidTypeError(msg)
    for name, value in (("project", project), ("experiment", experiment)):
        if value is not None:
            check_name(value, name)
    given = {"client": client, "project": project, "experiment": experiment, "tags": tuple(check_tags(tags))}
    arguments = {name: value for name, value in given.items() if value not in (None, ())}
    functions = _functions(client)
    with _lock:
        while _switches and disable:
            _switches.pop().wait_no_more()
    if disable:
        for framework, function in functions.items():
            if framework in sys.modules:
                _call(framework, function, {"disable": True})
        return AutologSwitch({}, {})
    switch = AutologSwitch(functions, arguments)
    switch.turn_on()
    return switch


class AutologSwitch:
    """What :func:`autolog` returns: it is in force already; as a decorator or with ``with`` it is so only in there."""

    def __init__(self, functions: dict[str, Callable[..., object]], arguments: dict[str, Any]) -> None:
        self._functions = functions
        self._arguments = arguments
        self._on: dict[Callable[..., object], Any] = {}
        self._blocks: list[ExitStack] = []
        self._callbacks: list[Callable[[], None]] = []

    def turn_on(self) -> None:
        """Switch on the frameworks that are imported, and the others when they are."""
        with _lock:
            _switches.append(self)
        for framework in self._functions:
            if framework in sys.modules:
                self._turn_on(framework)
            else:
                then = functools.partial(self._imported, framework)
                self._callbacks.append(then)
                when_imported(framework, then)

    def wait_no_more(self) -> None:
        """Do not switch on what is imported from now on."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            forget(callback)

    def _imported(self, framework: str) -> None:
        if not _is_being_called(self._functions[framework]):  # else the program's own arguments count
            self._turn_on(framework)

    def _turn_on(self, framework: str) -> None:
        function = self._functions[framework]
        with _lock:
            if function in self._on:  # under another name of the same framework
                return
            self._on[function] = None
        made = _call(framework, function, self._arguments)
        self._on[function] = made
        for block in list(self._blocks):
            self._limit(block, framework, function, made)

    def _limit(self, block: ExitStack, framework: str, function: Callable[..., object], made: Any) -> None:  # noqa: ANN401
        """Let what was switched on be so until a block is left."""
        if hasattr(made, "__enter__") and hasattr(made, "__exit__"):
            block.enter_context(made)
        else:
            block.callback(_call, framework, function, {"disable": True})

    def __enter__(self) -> Self:
        """Limit it to the block."""
        block = ExitStack()
        self._blocks.append(block)
        if self not in _switches:  # the block of a decorated function, a second time
            self.turn_on()
        names = {function: framework for framework, function in self._functions.items()}
        for function, made in list(self._on.items()):
            self._limit(block, names[function], function, made)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        block = self._blocks.pop()
        if not self._blocks:
            self.wait_no_more()
            with _lock:
                if self in _switches:
                    _switches.remove(self)
        block.close()
        if not self._blocks:
            self._on.clear()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return ``function`` such that autologging is in force while it runs; also for coroutine functions."""
        with self:
            pass  # from now on it is in force in calls only
        return during(self, function)


def _functions(client: Client | None) -> dict[str, Callable[..., object]]:
    """Return the functions that switch on automatic logging, by framework; of two the first plugin's."""
    manager = plugin_manager(client.settings if client is not None else load_settings())
    functions: dict[str, Callable[..., object]] = {}
    for found in manager.call("modeldb_register_autologgers"):
        items = found.items() if hasattr(found, "items") else [("", found)]
        for framework, function in items:
            if not framework or not isinstance(framework, str) or not callable(function):
                warn(f"{found!r:.200} is not a map from frameworks to functions; this integration is left out")
                continue
            functions.setdefault(framework, function)
    return functions


def _is_being_called(function: Callable[..., object]) -> bool:
    """Return whether this thread is in a call of ``function``, which imports its framework."""
    code, frame = getattr(function, "__code__", None), sys._getframe()
    while frame.f_code is not code:
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return True


def _call(framework: str, function: Callable[..., object], arguments: dict[str, Any]) -> Any:  # noqa: ANN401
    """Call an integration's function with those of the arguments that it takes; one that fails is left out."""
    place = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', 'autolog')}"
    try:
        taken, left = _accepted(function, arguments)
        if left:
            warn(f"{place} takes no {' and no '.join(left)}: what {framework} trains is recorded without")
        return function(**taken)
    except (Exception, SystemExit) as error:
        told = str(error) if isinstance(error, ModelDBError) else f"{type(error).__name__}: {error}"
        warn(f"automatic logging of {framework} by {place} is left out: {told}")
        return None


def _accepted(function: Callable[..., object], arguments: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C, for example
        return arguments, []
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return arguments, []
    taken = {name: value for name, value in arguments.items() if name in parameters}
    return taken, [name for name in arguments if name not in parameters]
