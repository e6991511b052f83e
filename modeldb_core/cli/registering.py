"""``modeldb model register``, ``promote``, ``alias``, ``approve`` and ``stages``: what alters the registry of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from modeldb_core.cli.completion import complete_model, complete_run
from modeldb_core.cli.output import echo
from modeldb_core.cli.session import Session, examples, with_session, writer_for
from modeldb_core.cli.tables import print_json, print_table
from modeldb_core.commands.declaring import declare
from modeldb_core.commands.operation import decide
from modeldb_core.commands.registry import approvals, promotion, references, versions
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.registry import APPROVED, REJECTED, REQUESTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.entities import Entity
    from modeldb_core.model.registry import ModelVersion, RegisteredModel

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
version_argument = click.argument("reference", metavar="NAME@VERSION", shell_complete=complete_model)
model_argument = click.argument("name", metavar="NAME", shell_complete=complete_model)
_reason = click.option("--reason", required=True, metavar="TEXT", help="Why, for the history.")


@click.command(
    epilog=examples(
        "modeldb model register churn --run 3f9a1c2e",
        "modeldb model register churn --files export/ --description 'from the notebook'",
    )
)
@model_argument
@click.option("--run", "run", metavar="RUN", shell_complete=complete_run, help="The run that logged the model.")
@click.option("--artifact", default="model", show_default=True, help="Where the model is among the run's artifacts.")
@click.option("--files", metavar="PATH", type=click.Path(path_type=Path), help="A file or folder, in place of a run.")
@click.option("--description", default="", help="What the version is, in words.")
@click.option("--tag", "tags", multiple=True, help="A label of the version; may be repeated.")
@click.option("--trust", "trusted", multiple=True, metavar="TYPE", help="A type that loading it may build; likewise.")
@json_option
@with_session
def register(
    session: Session,
    *,
    name: str,
    run: str | None,
    artifact: str,
    files: Path | None,
    description: str,
    tags: Sequence[str],
    trusted: Sequence[str],
    as_json: bool,
) -> None:
    """Make the next version of the model NAME, from a run's model or from files. The model is made unless it is there."""
    from modeldb_core.tracking import artifacts as artifact_kinds

    if (run is None) == (files is None):
        msg = "name either --run or --files"
        raise click.UsageError(msg)
    workspace_id = workspace_id_of(session)
    if files is not None:
        is_own = artifact_kinds.own_places(session.settings)
        source = versions.Source(
            artifacts=artifact_kinds.store(files, None, "model", session.artifacts.put, is_own).entries
        )
    else:
        source = versions.from_run(session.run(str(run)), artifact)
        versions.check_there(session.artifacts, source)

    workspace = declare("workspace", workspace_id, session.settings.workspace)
    said = versions.Said(description=description, tags=tags, trusted=trusted)

    def look() -> Operation:
        return versions.register(
            session.store, name, source, said, workspace=workspace, stages=session.settings.model_stages
        )

    made = decide(session.execute, look)
    found = cast("ModelVersion", session.store.get("model_version", made.entity_id))
    _report(found, as_json, f"{name} v{found.version} is registered, in {found.stage}.")


@click.command(
    epilog=examples(
        "modeldb model promote churn@v3 --stage production --alias champion --reason 'auc 0.93 on the new data'",
        "modeldb model promote churn@v3 --stage archived --reason 'drifts'",
    )
)
@version_argument
@click.option("--stage", default="", metavar="STAGE", help="The stage to move it into.")
@click.option("--alias", default="", metavar="ALIAS", help="The alias to give it.")
@_reason
@json_option
@with_session
def promote(session: Session, *, reference: str, stage: str, alias: str, reason: str, as_json: bool) -> None:
    """Move a version into a stage, give it an alias, or both: all together, or nothing.

    Where somebody has moved the same at the same time, nothing is done, and it is said.
    """
    registered, found = references.resolve(session.store, workspace_id_of(session), reference)
    session.execute(promotion.promote(session.store, registered, found, stage=stage, alias=alias, reason=reason))
    moved = cast("ModelVersion", session.store.get("model_version", found.entity_id))
    has = f" and has the alias {alias!r}" if alias else ""
    _report(moved, as_json, f"{registered.name} v{moved.version} is in {moved.stage}{has}.")


@click.command(
    epilog=examples(
        "modeldb model alias churn@v3 challenger --reason 'to be compared'",
        "modeldb model alias churn@challenger challenger --remove --reason 'done'",
    )
)
@version_argument
@click.argument("alias")
@click.option("--remove", is_flag=True, help="Take the alias away instead.")
@_reason
@json_option
@with_session
def alias(session: Session, *, reference: str, alias: str, remove: bool, reason: str, as_json: bool) -> None:
    """Give a version the alias ALIAS, which leaves the version that has it; or take it away."""
    registered, found = references.resolve(session.store, workspace_id_of(session), reference)
    if not remove:
        session.execute(promotion.promote(session.store, registered, found, alias=alias, reason=reason))
    elif registered.aliases.get(alias) != found.entity_id:
        msg = f"{registered.name} v{found.version} does not have the alias {alias!r}; it has: {', '.join(aliases_of(registered, found)) or 'none'}"
        raise NotFoundError(msg)
    else:
        session.execute(promotion.remove_alias(registered, alias, reason=reason))
    _report(
        found, as_json, f"{registered.name} v{found.version} has the alias {alias!r}{' no more' if remove else ''}."
    )


@click.command(
    epilog=examples(
        "modeldb model approve churn@v3 --stage production",
        "modeldb model approve churn@v3 --stage production --request --reason 'please look at the drift'",
        "modeldb model approve churn@v3 --stage production --reject --reason 'biased'",
    )
)
@version_argument
@click.option("--stage", required=True, metavar="STAGE", help="The stage that it is to come into.")
@click.option("--request", is_flag=True, help="Ask others to approve it.")
@click.option("--reject", is_flag=True, help="Refuse it; --reason says why.")
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@json_option
@with_session
def approve(
    session: Session, *, reference: str, stage: str, request: bool, reject: bool, reason: str, as_json: bool
) -> None:
    """Approve a version before a stage, in your name; or ask for that, or refuse it."""
    if request and reject:
        msg = "name --request or --reject, not both"
        raise click.UsageError(msg)
    registered, found = references.resolve(session.store, workspace_id_of(session), reference)
    verdict = REQUESTED if request else REJECTED if reject else APPROVED
    author = writer_for(session.store, session.settings).actor
    said = approvals.approve(registered, found, stage=stage, verdict=verdict, reason=reason, author=author)
    session.execute(said)
    made = session.store.get("approval", said.entity_id)
    _report(made, as_json, f"{registered.name} v{found.version}: {verdict} before {stage}.")


@click.command(
    epilog=examples(
        "modeldb model stages churn",
        "modeldb model stages churn candidate live retired",
        "modeldb model stages churn --need production=2",
    )
)
@model_argument
@click.argument("stages", metavar="[STAGE]...", nargs=-1)
@click.option("--need", "needed", metavar="STAGE=COUNT", multiple=True, help="How many people approve before a stage.")
@json_option
@with_session
def stages(session: Session, *, name: str, stages: tuple[str, ...], needed: tuple[str, ...], as_json: bool) -> None:
    """Show the stages of the model NAME, or say which there are, and before which of them approvals are needed."""
    workspace_id = workspace_id_of(session)
    if stages:
        registered = references.find_model(session.store, workspace_id, name)
        session.execute(promotion.set_stages(session.store, registered, stages))
    for each in needed:
        stage, _, count = each.rpartition("=")
        if not stage or not (count.isascii() and count.isdigit() and len(count) < 4):
            msg = f"--need is {each!r}; expected STAGE=COUNT, such as production=2"
            raise InvalidArgumentError(msg)
        registered = references.find_model(session.store, workspace_id, name)
        session.execute(promotion.require_approvals(registered, stage, int(count)))
    registered = references.find_model(session.store, workspace_id, name)
    if as_json:
        shown = {"stages": references.stage_names(registered), "approvals_needed": dict(registered.approvals_needed)}
        print_json(shown)
    else:
        rows = [[each, registered.approvals_needed.get(each, 0)] for each in references.stage_names(registered)]
        print_table(["stage", "approvals needed"], rows, right=["approvals needed"])


# -- inside -----------------------------------------------------------------------------------------------------------


def workspace_id_of(session: Session) -> str:
    """Return the identifier of the workspace that the settings name, where its models lie."""
    return session.store.identify(("workspace", session.settings.workspace))[-1]


def aliases_of(registered: RegisteredModel, found: ModelVersion) -> list[str]:
    """Return the aliases that a version has."""
    return sorted(name for name, each in registered.aliases.items() if each == found.entity_id)


def _report(entity: Entity, as_json: bool, sentence: str) -> None:
    if as_json:
        print_json(entity_document(entity))
    else:
        echo(sentence)
