"""Which entities a command is to change: named one by one, or by a filter; shown and asked for before anything is done."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from modeldb_core.cli.completion import complete_experiment, complete_project, complete_run
from modeldb_core.cli.output import echo
from modeldb_core.cli.tables import print_json, print_table, short_id
from modeldb_core.cli.text import runs_in_words
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.shell_completion import CompletionItem

    from modeldb_core.cli.session import Session
    from modeldb_core.model.entities import Entity

Name = tuple[str, str]
"""Kind and identifier of an entity."""
_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the options of :func:`choosing` say.

    Attributes:
        references: runs, one by one.
        filter: or those that match this, of ``project`` and ``experiment`` where they are given.
        project, experiment: or the experiment or project itself.
        yes: do not ask.
        dry_run: do nothing.
        as_json: print what was done as JSON.
    """

    references: Sequence[str]
    filter: str | None
    project: str | None
    experiment: str | None
    yes: bool
    dry_run: bool
    as_json: bool

    def entities(self, session: Session, *, deleted: bool = False) -> list[Entity]:
        """Return what is meant.

        Args:
            deleted: what a filter matches must be deleted; without it, deleted entities match no filter.

        Raises:
            NotFoundError, InvalidArgumentError: a run or a container is not there, or several fit.
        """
        contained = self.project is not None or self.experiment is not None
        if self.filter is not None and not self.filter.strip() and not contained:  # a variable that is not set
            msg = "--filter is empty, which every run of the store matches; to mean all, write --filter 'created_at exists'"
            raise click.UsageError(msg)
        if self.filter is not None and not self.references:
            return _matching(session, self.filter, session.container_id(self.project, self.experiment), deleted=deleted)
        if self.filter is not None or bool(self.references) == contained:
            msg = "name runs, or --filter, or a project (with --experiment one of its experiments)"
            raise click.UsageError(msg)
        if self.references:
            found = {run.entity_id: run for run in map(session.run, self.references)}
            return list(found.values())
        kind = "project" if self.experiment is None else "experiment"
        return [session.store.get(kind, session.container_id(self.project, self.experiment) or "")]

    def confirm(self, entities: Sequence[Entity], deed: str) -> bool:
        """Return whether to go on: what a filter chose is shown and asked for.

        Raises:
            InvalidArgumentError: there is nobody to ask.
        """
        if not entities:
            echo("No run matches.", err=True)
            return False
        if self.filter is None or (self.as_json and (self.yes or self.dry_run)):
            return True
        rows = [
            [short_id(entity.entity_id), entity.name, entity.tags, entity.created_at] for entity in entities[:_SHOWN]
        ]
        print_table(["run", "name", "tags", "created"], rows)
        if len(entities) > _SHOWN:
            echo(f"... and {len(entities) - _SHOWN:,} more")
        if self.yes or self.dry_run:
            return True
        count = runs_in_words(len(entities))
        if not is_answered():
            msg = f"{count} to be {deed}, and there is no terminal to confirm on; pass --yes, or check with --dry-run"
            raise InvalidArgumentError(msg)
        return click.confirm(f"{count} will be {deed}. Go on?", err=True)

    def report(self, action: str, deed: str, names: Sequence[Name]) -> None:
        """Say what was done, or with ``dry_run`` would have been."""
        if self.as_json:
            changed = [{"kind": kind, "entity_id": entity_id} for kind, entity_id in names]
            print_json({"action": action, "dry_run": self.dry_run, "changed": changed})
        else:
            echo(f"{_counts(names)} {f'would be {deed}. Nothing was altered' if self.dry_run else deed}.")


def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments and options of a :class:`Choice` to a command, which is passed one as ``choice``."""
    return _with_options(
        function, click.argument("references", metavar="[RUN]...", nargs=-1, shell_complete=complete_run)
    )


def choosing_for(value: str, *, several: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add :func:`choosing` to a command that gives what is chosen a value, which is passed as ``value``.

    One run is named, and then its value: ``modeldb rename RUN NAME``. What an option chooses needs the value alone. So a
    word is never taken for a run where a value was meant, nor the other way round.

    Args:
        value: what it is called, such as ``TAG``.
        several: a run may be given several at once; they are passed as a list.
    """
    values = f"{value}..." if several else value

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(*, choice: Choice, **options: Any) -> object:  # noqa: ANN401 - of any type
            words = choice.references
            chosen_by = [name for name in ("filter", "project", "experiment") if getattr(choice, name) is not None]
            references = () if chosen_by else words[:1]
            given = words[len(references) :]
            if not given or (len(given) > 1 and not (several and references)):
                form = f"--{chosen_by[0]} {chosen_by[0].upper()} {value}" if chosen_by else f"RUN {values}"
                got = f"; got {' '.join(map(repr, words))} (quote what has spaces)" if words else ""
                msg = f"expected {click.get_current_context().command_path} {form}{got}"
                raise click.UsageError(msg)
            chosen = replace(choice, references=references)
            return function(choice=chosen, value=list(given) if several else given[0], **options)

        return _with_options(
            command, click.argument("references", metavar=f"[RUN] {values}", nargs=-1, shell_complete=_complete_first)
        )

    return decorate


def _complete_first(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer runs for the first word alone, and only where no option chooses."""
    given = (context.params.get(name) for name in ("references", "filter", "project", "experiment"))
    return [] if any(given) else complete_run(context, parameter, incomplete)


def _with_options(function: Callable[..., Any], words: Callable[..., Any]) -> Callable[..., Any]:
    decorators = (
        words,
        click.option("-f", "--filter", "filter", metavar="FILTER", help="Runs that match; shown and asked for first."),
        click.option(
            "-p",
            "--project",
            metavar="NAME",
            shell_complete=complete_project,
            help="The project of this name; with --filter, its runs.",
        ),
        click.option(
            "-e",
            "--experiment",
            metavar="NAME",
            shell_complete=complete_experiment,
            help="The experiment of this name in the project; likewise.",
        ),
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )

    @functools.wraps(function)
    def command(*args: object, **options: Any) -> object:  # noqa: ANN401 - options of any type
        given = {name: options.pop(name) for name in Choice.__dataclass_fields__}
        return function(*args, choice=Choice(**given), **options)

    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def is_answered() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()


def _matching(session: Session, condition: str, within: str | None, *, deleted: bool) -> list[Entity]:
    gone = "deleted_at >= '1970-01-01'"
    text = f"({condition}) and {gone}" if deleted and condition.strip() else gone if deleted else condition
    query = Query("run", text, within=within, fields=("tags",), include_deleted=deleted)
    return list(pages(session.store, query))


def _counts(names: Sequence[Name]) -> str:
    kinds = [kind for kind, _ in names]
    counted = [f"{kinds.count(kind):,} {kind.replace('_', ' ')}" for kind in dict.fromkeys(kinds)]
    plural = [text if text.startswith("1 ") else f"{text}s" for text in counted]
    return ", ".join(plural) or "Nothing"
