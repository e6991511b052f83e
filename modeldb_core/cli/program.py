"""The group of commands, and how errors become one sentence and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

import click
from click.shell_completion import shell_complete

from modeldb_core import errors
from modeldb_core.cli import output
from modeldb_core.cli.output import echo
from modeldb_core.plugins import plugin_manager
from modeldb_core.runtime import __version__
from modeldb_core.runtime.notices import as_typed, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, FOUND, USAGE, STORE, MISSING, CONFIGURATION, NOT_REPEATED, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 70, 130

EXIT_CODES = {
    OK: "done",
    FOUND: "a check found a fault (audit verify, doctor, conformance) or a difference (reproduce), or something could not be done (sync, copy, export, import), or the output could not be written",
    USAGE: "the command line or a query is wrong",
    STORE: "the store is not there, cannot be reached, cannot be written, does not let you in, or has another version",
    MISSING: "there is no such run, metric or artifact",
    CONFIGURATION: "a setting is wrong, or something is not installed",
    NOT_REPEATED: "a run could not be repeated (reproduce): refused, something missing, or its program failed",
    INTERNAL: "a fault in ModelDB",
    INTERRUPTED: "interrupted",
}

DEBUG_VARIABLE = "MODELDB_DEBUG"
PROGRAM, COMPLETION_VARIABLE = "modeldb", "_MODELDB_COMPLETE"
_OF_THE_STORE = (
    errors.StoreUnavailableError,
    errors.StoreReadOnlyError,
    errors.StoreVersionError,
    errors.PermissionDeniedError,
)

_COMMANDS = {
    "projects": ("modeldb_core.cli.runs:projects", "List projects and their experiments."),
    "runs": ("modeldb_core.cli.runs:runs", "List runs: filter, order, choose columns."),
    "list": ("modeldb_core.cli.runs:list_", "List entities of any kind."),
    "show": ("modeldb_core.cli.show:show", "Show everything about a run."),
    "compare": ("modeldb_core.cli.show:compare", "Show what differs between runs."),
    "diff": ("modeldb_core.cli.diff:diff", "Explain how two runs differ."),
    "model": ("modeldb_core.cli.models:model", "Register models, promote them, see what was in production."),
    "lineage": ("modeldb_core.cli.lineage:lineage", "Show what made an entity, and what it went into."),
    "reproduce": ("modeldb_core.cli.reproduce:reproduce", "Repeat a run and compare the results."),
    "bom": ("modeldb_core.cli.provenance:bom", "Write the bill of materials of a run or a model."),
    "attest": ("modeldb_core.cli.provenance:attest", "Sign how a run or a model was made, or verify that."),
    "history": ("modeldb_core.cli.history:history", "Show the history of a metric."),
    "artifacts": ("modeldb_core.cli.artifacts:artifacts", "List and fetch the files of a run."),
    "dataset": ("modeldb_core.cli.datasets:dataset", "List, add, compare and check out versions of data sets."),
    "repo": ("modeldb_core.cli.committing:repo", "Version data, code, settings and environments, in git's words."),
    "server": ("modeldb_core.cli.serving:server", "Serve the web pages and the HTTP API."),
    "ui": ("modeldb_core.cli.serving:ui", "Serve the web pages and open them in a browser."),
    "admin": ("modeldb_core.cli.admin:admin", "Make users, tokens, teams and roles."),
    "sync": ("modeldb_core.cli.sync:sync", "Ship what processes that died had logged."),
    "copy": ("modeldb_core.cli.moving:copy", "Copy what one store has and another lacks."),
    "export": ("modeldb_core.cli.moving:export", "Write a store into one file, a bundle."),
    "import": ("modeldb_core.cli.moving:import_", "Take in a bundle."),
    "rename": ("modeldb_core.cli.editing:rename", "Rename runs, an experiment or a project."),
    "describe": ("modeldb_core.cli.editing:describe", "Describe runs, an experiment or a project."),
    "tag": ("modeldb_core.cli.editing:tag", "Tag runs, an experiment or a project."),
    "untag": ("modeldb_core.cli.editing:untag", "Take a tag away from runs, an experiment or a project."),
    "delete": ("modeldb_core.cli.deleting:delete", "Delete runs, an experiment or a project."),
    "restore": ("modeldb_core.cli.deleting:restore", "Bring back what was deleted."),
    "trash": ("modeldb_core.cli.deleting:trash", "List what is deleted and can be restored."),
    "gc": ("modeldb_core.cli.deleting:gc", "Erase what was deleted long ago, and files nothing names."),
    "audit": ("modeldb_core.cli.audit:audit", "Read and verify the record of all changes."),
    "login": ("modeldb_core.cli.login:login", "Store the token for a server."),
    "logout": ("modeldb_core.cli.login:logout", "Remove the stored token of a server."),
    "plugins": ("modeldb_core.cli.setup:plugins", "List plugins and what they provide."),
    "config": ("modeldb_core.cli.setup:config", "Show the settings and where each comes from."),
    "doctor": ("modeldb_core.cli.doctor:doctor", "Check this installation and its store."),
    "conformance": ("modeldb_core.cli.conformance:conformance", "Prove that a store keeps its contract."),
    "db": ("modeldb_core.cli.database:db", "Manage the store's schema."),
}


class CommandGroup(click.Group):
    """The commands by name, each imported when it is needed; after them those of plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        del ctx
        self._load_plugins()
        return [*_COMMANDS, *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; plugins are only loaded for names that are not ModelDB's own."""
        del ctx
        if cmd_name in _COMMANDS:
            return self._load(cmd_name)
        self._load_plugins()
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a name that is nearly right is named in the error."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = get_close_matches(args[0], self.list_commands(ctx), 1)
            if close:
                msg = f"{error.message} Did you mean {close[0]!r}?"
                raise click.UsageError(msg, ctx) from error
            raise

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a plugin's command; ModelDB's own cannot be replaced."""
        if (name or cmd.name) in _COMMANDS:
            warn(f"a plugin's command {name or cmd.name!r} is left out: ModelDB has a command of that name")
            return
        super().add_command(cmd, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        names = self.list_commands(ctx)
        rows = [(name, _COMMANDS[name][1] if name in _COMMANDS else self._short_help(name)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _short_help(self, name: str) -> str:
        return self.commands[name].get_short_help_str(80)

    def _load(self, name: str) -> click.Command:
        module, _, attribute = _COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def _load_plugins(self) -> None:
        if not getattr(self, "_plugins_loaded", False):
            self._plugins_loaded = True
            plugin_manager().call("modeldb_register_commands", group=self)


@click.command(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n  modeldb ui\n  modeldb runs 'metrics.auc > 0.9' --order-by 'metrics.auc desc'\n"
    "  modeldb doctor\n\nSettings come from options, MODELDB_* variables and modeldb.toml; see `modeldb config`. "
    "Exit codes: " + ", ".join(f"{code} {text.partition(' (')[0]}" for code, text in EXIT_CODES.items()) + ".",
)
@click.version_option(__version__, "-V", "--version", prog_name="modeldb", message="%(prog)s %(version)s")
def cli() -> None:
    """Track, version and audit machine-learning models."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line with ``arguments`` and return the exit code; errors go to stderr as one sentence."""
    warnings.showwarning = _show_warning
    output.prepare()
    try:
        result = _invoke(arguments)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, EOFError, KeyboardInterrupt):
        return _fail("Interrupted.", INTERRUPTED)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show(sys.stderr)
        return error.exit_code
    except errors.ModelDBError as error:
        return _fail(f"Error: {error}", exit_code_of(error), error)
    except OSError as error:
        output.discard()
        return OK if output.has_no_reader(error) else _fail(f"Error: {output.sentence(error)}", FOUND, error)
    except Exception as error:
        text = f"{type(error).__name__}: {error}. This is a fault in ModelDB; {DEBUG_VARIABLE}=1 shows the traceback"
        return _fail(f"Error: {text}", INTERNAL, error)
    return result if isinstance(result, int) else OK


def _invoke(arguments: Sequence[str]) -> object:
    """Run a command, or answer the shell that asks how a word may go on.

    ``cli.main`` would end the process by itself, with the code of a failure, where nobody reads the output any more.
    """
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        return shell_complete(cli, {}, PROGRAM, COMPLETION_VARIABLE, instruction)
    with cli.make_context(PROGRAM, list(arguments)) as context:
        return cli.invoke(context)


def exit_code_of(error: errors.ModelDBError) -> int:
    """Return the exit code for an error that a command ends with."""
    if isinstance(error, errors.ConfigurationError):
        return CONFIGURATION
    if isinstance(error, errors.InvalidArgumentError):
        return USAGE
    if isinstance(error, errors.NotFoundError):
        return MISSING
    if isinstance(error, errors.ReproductionError):
        return NOT_REPEATED
    if isinstance(error, _OF_THE_STORE):
        return STORE
    return FOUND


def _fail(message: str, code: int, error: BaseException | None = None) -> int:
    with contextlib.suppress(OSError):
        if error is not None and is_debugging():
            echo("".join(traceback.format_exception(error)), err=True, nl=False)
        echo(as_typed(message), err=True)
    return code


def is_debugging() -> bool:
    """Return whether tracebacks are wanted: ``MODELDB_DEBUG`` is set, and not to a word that means no."""
    return os.environ.get(DEBUG_VARIABLE, "").strip().lower() not in ("", "0", "false", "no", "off")


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Print warnings as one line: where in the code they arose means nothing to who typed a command."""
    if issubclass(category, errors.ModelDBWarning):
        echo(f"Warning: {message}", err=True)
