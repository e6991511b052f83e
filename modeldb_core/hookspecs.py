"""The hooks that plugins implement.

A plugin is a module, installed with an entry point of the group ``modeldb`` whose name is the module's import name. It
implements a hook by defining a function of the hook's name, marked with ``@modeldb_core.hookimpl``, that takes those
of the hook's arguments that it wants. Hooks may gain arguments in later versions; since an implementation names only
the ones it uses, that breaks no plugin.

Every implementation of every plugin is called unless the hook says that it stops at the first result. What a plugin
raises becomes a :class:`~modeldb_core.errors.ModelDBWarning` that names the plugin, and its result is left out: a
plugin never stops a training script.

The types below are for readers and type checkers: this module imports nothing of the program when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    import click
    from flask import Flask

    from modeldb_core.config import Settings
    from modeldb_core.model.schema import KindDeclaration
    from modeldb_core.stores import Backend

PROJECT = "modeldb"
"""The name under which pluggy knows the hooks, and the group of the entry points."""

HOOKS_VERSION = 3
"""Goes up when a hook or an argument is added; ``docs/plugins.md`` says what each version brought."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook whose name it has; takes pluggy's options such as ``tryfirst``."""


class LoggedRun(Protocol):
    """What a hook can rely on of a run: a part of :class:`~modeldb_core.RunHandle`, which describes each method."""

    run_id: str

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def url(self) -> str:
        """The address of its page."""

    @property
    def project(self) -> str:
        """The name of its project."""

    @property
    def experiment(self) -> str:
        """The name of its experiment."""

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""

    def log_metrics(
        self, metrics: Mapping[str, float], step: int | None = None, *, timestamp: datetime | float | None = None
    ) -> None:
        """Log several metrics at once."""

    def log_hyperparameters(self, hyperparameters: object) -> None:
        """Record settings of the training."""

    def log_artifact(self, artifact: object, name: str | None = None, *, type: str | None = None) -> None:  # noqa: A002
        """Store a file or an object with the run."""

    def log_text(self, text: str, name: str) -> None:
        """Store a text with the run."""

    def set_attributes(self, attributes: object) -> None:
        """Record facts about the run; a finished run takes them too."""

    def add_tags(self, *tags: str) -> None:
        """Add labels; a finished run takes them too."""

    def note(self, text: str) -> None:
        """Leave a note for the reader of the run."""


# -- once -------------------------------------------------------------------------------------------------------------


@hookspec
def modeldb_register_backends() -> list[Backend]:  # type: ignore[empty-body]
    """Return the storage backends that this plugin provides.

    Called once for each process, when the first store is opened. A backend only describes: its class is imported when
    a URL with its scheme is opened. Where two plugins claim one scheme the first one keeps it, the ones that come with
    ModelDB before all others, and a warning names the second.

    :return: The descriptors, see :class:`~modeldb_core.stores.Backend`.
    """


@hookspec
def modeldb_register_kinds() -> list[KindDeclaration]:  # type: ignore[empty-body]
    """Return the kinds of entities that this plugin declares.

    Called once for each process, when the plugins are loaded. Entities of these kinds are stored, found, copied, audited
    and shown like those of ModelDB's own. A kind that is taken already, or whose declaration is wrong, is left out with a
    warning. Where the plugin is not installed, what was stored of its kinds is kept, shipped and proved all the same.

    :return: The declarations, see :class:`~modeldb_core.model.schema.KindDeclaration`.
    """


@hookspec
def modeldb_register_autologgers() -> Mapping[str, Callable[..., object]]:  # type: ignore[empty-body]
    """Return the functions that switch on automatic logging for the frameworks this plugin integrates.

    Called by ``modeldb_core.autolog()``, which then calls the functions of those frameworks that the program has imported,
    and of the others when it imports them, with those of ``client``, ``project``, ``experiment``, ``tags`` and ``disable``
    that they take. The functions must import the framework when they are called and not before.

    :return: From the import name of the framework, such as ``"sklearn"``, to its ``autolog`` function.
    """


@hookspec
def modeldb_configure(settings: Settings) -> None:
    """Look at the settings that are in force.

    Called once for each client that connects, before its store is opened. The settings cannot be changed.

    :param settings: The settings; ``settings.plugins`` holds the table of ``modeldb.toml`` for each plugin.
    """


# -- a run ------------------------------------------------------------------------------------------------------------


@hookspec
def modeldb_run_context(settings: Settings) -> dict[str, dict[str, Any]]:  # type: ignore[empty-body]
    """Return what is to be recorded about the circumstances of a run.

    Called once for each run that starts, in a background thread, so it may take up to two seconds, and must not touch
    what the training script is working with.

    :param settings: The settings; those named ``capture_...`` say what the user wants recorded.
    :return: Maps from key to value for the sections ``"code"``, ``"environment"`` and ``"context"``. The maps of all
        plugins are merged; where two give one key, the plugin that was registered later wins, ModelDB's own being the
        first. Another section, and what cannot be stored, is left out with a warning that names the plugin.
    """


@hookspec
def modeldb_run_started(run: LoggedRun) -> None:
    """Take notice that a run has started.

    Called in the thread that started it, before ``start_run`` returns: be quick.

    :param run: The run, a :class:`~modeldb_core.RunHandle`; it may be logged to.
    """


@hookspec
def modeldb_run_finished(run: LoggedRun, status: str) -> None:
    """Take notice that a run is about to finish.

    Called in the thread that finishes it, before the end is recorded. Not called for a process that was killed.

    :param run: The run; it may still be logged to.
    :param status: ``"finished"``, ``"failed"``, ``"killed"`` or ``"pruned"``.
    """


# -- objects ----------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def modeldb_describe_object(obj: object) -> dict[str, Any] | None:
    """Describe an object that was logged as a dataset.

    Called by ``run.log_dataset`` for objects of types that ModelDB does not know. Stops at the first non-None result.

    :param obj: The object; it must not be changed.
    :return: A map from names to values that can be stored, such as ``{"type": ..., "shape": [...], "digest": ...}``,
        or ``None`` for an object that this plugin does not know.
    """


@hookspec(firstresult=True)
def modeldb_dump_model(model: object, path: Path) -> dict[str, Any] | None:
    """Write a model into a folder.

    Called for ``run.log_model``. Stops at the first non-None result.

    :param model: The model; it must not be changed.
    :param path: An existing empty folder to write into.
    :return: What ``modeldb_load_model`` needs to know, with at least ``"format"``: the name of the format, or ``None``
        for a model that this plugin cannot write.
    """


@hookspec(firstresult=True)
def modeldb_load_model(path: Path, model_format: str, trusted: Iterable[str]) -> object | None:
    """Read a model that ``modeldb_dump_model`` wrote.

    Called when a model is loaded. Stops at the first non-None result.

    :param path: The folder that holds the model.
    :param model_format: The format it was written in.
    :param trusted: The names of types that the caller allows to be built beyond those known to be harmless.
    :return: The model, or ``None`` where this plugin does not read the format.
    :raises modeldb_core.errors.UntrustedModelError: the model holds types that the caller did not allow. Unlike other
        errors of plugins this one reaches the caller.
    """


# -- checkpoints ------------------------------------------------------------------------------------------------------


@hookspec
def modeldb_anchor_checkpoint(content: bytes, settings: Settings) -> dict[str, Any] | None:
    """Have somebody else witness a checkpoint of the log: a time-stamp authority, a ledger, a notary.

    Called when a checkpoint is made, by a command or by the server's schedule, before it is written. Every plugin may
    witness it.

    :param content: What the checkpoint says, as bytes whose SHA-256 is its ``digest``. It names streams: show others the digest.
    :param settings: The settings; ``settings.plugins`` has the table of the plugin.
    :return: What proves it, as a map that can be written as JSON, with the name of the plugin as ``by``; ``None`` where this
        plugin is not set up.
    :raises modeldb_core.errors.ModelDBError: the witness could not be asked. It reaches the caller.
    """


@hookspec(firstresult=True)
def modeldb_verify_anchor(anchor: Mapping[str, Any], content: bytes, settings: Settings) -> str | None:
    """Verify what ``modeldb_anchor_checkpoint`` returned.

    Called when a store is held against a checkpoint. Stops at the first non-None result.

    :param anchor: What proves it.
    :param content: What the checkpoint says.
    :param settings: The settings.
    :return: A sentence on what is proved, such as who saw it when; ``None`` for an anchor of another plugin.
    :raises modeldb_core.errors.IntegrityError: It does not prove it. It reaches the caller.
    """


# -- server and command line ------------------------------------------------------------------------------------------


@hookspec
def modeldb_register_blueprints(app: Flask) -> None:
    """Add pages or routes to the server.

    Called once while the server's application is built, after its own blueprints have been registered. A page gets into
    the frame and the navigation of the web UI with ``modeldb_webui.add_page``; within a request,
    ``modeldb_server.server_context()`` has the store and knows who asks (``docs/plugins.md``). Where this raises, what was
    registered before is closed.

    :param app: The Flask application to register blueprints with.
    """


@hookspec
def modeldb_register_commands(group: click.Group) -> None:
    """Add commands to ``modeldb``.

    Called when the command line starts.

    :param group: The ``modeldb`` group; add commands with ``group.add_command``. A name that is taken is refused.
    """
