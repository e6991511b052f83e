"""``modeldb model``: the registry of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from modeldb_core.cli.completion import complete_model
from modeldb_core.cli.output import echo
from modeldb_core.cli.registering import (
    alias,
    aliases_of,
    approve,
    json_option,
    model_argument,
    promote,
    register,
    stages,
    version_argument,
    workspace_id_of,
)
from modeldb_core.cli.session import Session, examples, with_session
from modeldb_core.cli.tables import print_json, print_pairs, print_table, short_id
from modeldb_core.commands.registry import cards, history, references, versions
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.log.json_documents import entity_document
from modeldb_core.model.entity import to_datetime
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from modeldb_core.model.registry import ModelVersion, RegisteredModel


@click.group()
def model() -> None:
    """Register versions of models, promote them, and see what was in production when.

    NAME@VERSION is a version: churn@v3, churn@champion (an alias), churn@production (a stage) or churn@latest.
    """


for _command in (register, promote, alias, approve, stages):
    model.add_command(_command)


@model.command("list", epilog=examples("modeldb model list", "modeldb model list --json"))
@json_option
@with_session
def list_(session: Session, *, as_json: bool) -> None:
    """List the registered models, with the versions that have their stages and aliases."""
    found = [cast("RegisteredModel", each) for each in _all_models(session)]
    if as_json:
        print_json({"models": [entity_document(each) for each in found]})
    elif found:
        numbers = _numbers(session, found)
        rows = [
            [
                each.name,
                each.last_version,
                _places(each.stages, numbers),
                _places(each.aliases, numbers),
                each.updated_at,
            ]
            for each in found
        ]
        print_table(["model", "newest", "stages", "aliases", "updated"], rows, right=["newest"])
    else:
        echo("No model is registered.", err=True)


@model.command(epilog=examples("modeldb model show churn", "modeldb model show churn@champion --json"))
@click.argument("reference", metavar="NAME[@VERSION]", shell_complete=complete_model)
@json_option
@with_session
def show(session: Session, *, reference: str, as_json: bool) -> None:
    """Show a registered model with its versions, or one version of it."""
    found = references.model_of_name(session.store, workspace_id_of(session), reference)
    if found is None and "@" in reference:
        _show_version(*references.resolve(session.store, workspace_id_of(session), reference), as_json=as_json)
        return
    registered = found or references.find_model(session.store, workspace_id_of(session), reference)
    query = Query("model_version", order_by="version desc", within=registered.entity_id)
    listed = [cast("ModelVersion", each) for each in pages(session.store, query)]
    if as_json:
        print_json({**entity_document(registered), "versions": [entity_document(each) for each in listed]})
        return
    needed = (f"{count} before {stage}" for stage, count in registered.approvals_needed.items())
    facts = (
        ("id", registered.entity_id),
        ("description", registered.description),
        ("stages", " > ".join(references.stage_names(registered))),
        ("approvals needed", ", ".join(needed)),
        ("tags", registered.tags),
    )
    print_pairs(registered.name, ((name, value) for name, value in facts if value))
    rows = [
        [
            f"v{each.version}",
            each.stage,
            ", ".join(aliases_of(registered, each)),
            each.approval,
            short_id(each.run_id) if each.run_id else "",
            each.owner,
            each.created_at,
        ]
        for each in listed
    ]
    if rows:
        echo("")
        print_table(["version", "stage", "aliases", "approval", "run", "registered by", "at"], rows)


@model.command("history", epilog=examples("modeldb model history churn", "modeldb model history churn --json"))
@model_argument
@json_option
@with_session
def history_(session: Session, *, name: str, as_json: bool) -> None:
    """Show who moved which version from where to where, when and why: the oldest move first, read from the log."""
    registered = references.find_model(session.store, workspace_id_of(session), name)
    moves = list(history.history(session.store, registered.entity_id))
    if as_json:
        print_json({"moves": [history.move_document(move) for move in moves]})
    elif moves:
        rows = [[move.at, move.actor, cards.move_text(move)] for move in moves]
        print_table(["at", "by", "move"], rows, folded="move")
    else:
        echo(f"No version of {registered.name} was moved.", err=True)


@model.command(epilog=examples("modeldb model card churn@champion", "modeldb model card churn@v3 -o CARD.md"))
@version_argument
@click.option("-o", "--output", metavar="PATH", type=click.Path(path_type=Path), help="Write it to a file.")
@json_option
@with_session
def card(session: Session, *, reference: str, output: Path | None, as_json: bool) -> None:
    """Print the card of a version in Markdown, filled from the record; what others recorded is escaped."""
    registered, found = references.resolve(session.store, workspace_id_of(session), reference)
    text = cards.card(session.store, registered, found, resolve=session.resolve)
    if output is not None:
        output.write_text(text, "utf-8")
    if as_json:
        print_json({"model_version_id": found.entity_id, "version": found.version, "card": text})
    elif output is None:
        echo(text, nl=False)


@model.command(
    epilog=examples("modeldb model download churn@champion -o model/", "modeldb model download churn@v3 --json")
)
@version_argument
@click.option(
    "-o", "--output", metavar="PATH", type=click.Path(path_type=Path), help="Where to; default: its name, here."
)
@json_option
@with_session
def download(session: Session, *, reference: str, output: Path | None, as_json: bool) -> None:
    """Fetch the files of a version, checked against their digests."""
    from modeldb_core.tracking import artifacts as artifact_kinds

    registered, found = references.resolve(session.store, workspace_id_of(session), reference)
    name = versions.folder_of(found)
    target = output or Path(name.rpartition("/")[2])
    versions.check_there(session.artifacts, found)
    written = artifact_kinds.download(found.artifacts, name, target, session.artifacts)
    if as_json:
        print_json({"model_version_id": found.entity_id, "version": found.version, "path": str(written)})
    else:
        echo(f"{registered.name} v{found.version} is in {written}.", err=True)


@model.command(
    epilog=examples(
        "modeldb model at 2026-11-01T12:00:00Z", "modeldb model at 2026-11-01 churn --json", "modeldb model at now"
    )
)
@click.argument("time", metavar="TIME")
@click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_model)
@click.option("--stage", metavar="STAGE", help="Only this stage.")
@json_option
@with_session
def at(session: Session, *, time: str, name: str | None, stage: str | None, as_json: bool) -> None:
    """Show which version of each model, or of the model NAME, was in which stage at TIME, and had which alias.

    TIME is ISO 8601, local without an offset; or now. It means the end of what it names: 2026-11-01 that of the day, and a
    time as `modeldb model history` shows it that of the second.
    """
    moment = _time(time)
    workspace_id = workspace_id_of(session)
    if name is None:
        states = history.registry_at(session.store, workspace_id, moment)
    else:
        found = references.find_model(session.store, workspace_id, name)
        state = history.state_at(session.store, found, moment)
        states = [] if state is None else [state]
    documents = [history.state_document(state) for state in states]
    if stage is not None:
        documents = [{**each, "stages": {stage: each["stages"].get(stage)}, "aliases": {}} for each in documents]
    if as_json:
        print_json({"at": time, "models": documents})
        return
    rows = [
        [each["name"], place, f"v{held['number']}" if held["number"] else held["model_version_id"]]
        for each in documents
        for places in (each["stages"], each["aliases"])
        for place, held in places.items()
        if held is not None
    ]
    if rows:
        print_table(["model", "stage or alias", "version"], rows)
    else:
        echo(f"Nothing had a stage or an alias at {time}.", err=True)


# -- inside -----------------------------------------------------------------------------------------------------------


def _all_models(session: Session) -> Any:  # noqa: ANN401 - entities
    return pages(session.store, Query("registered_model", order_by="name", within=workspace_id_of(session)))


def _numbers(session: Session, found: Sequence[RegisteredModel]) -> dict[str, int]:
    ids = (str(each) for one in found for places in (one.stages, one.aliases) for each in places.values())
    return {entity_id: each.version for entity_id, each in references.versions_by_id(session.store, ids).items()}


def _places(places: Any, numbers: dict[str, int]) -> str:  # noqa: ANN401 - a map
    return ", ".join(f"{name} v{numbers.get(str(each), '?')}" for name, each in sorted(places.items()))


def _show_version(registered: RegisteredModel, found: ModelVersion, *, as_json: bool) -> None:
    document = {**entity_document(found), "model_name": registered.name, "aliases": aliases_of(registered, found)}
    if as_json:
        print_json(document)
        return
    facts = (
        "entity_id",
        "stage",
        "aliases",
        "approval",
        "description",
        "tags",
        "run_id",
        "trusted_types",
        "owner",
        "created_at",
    )
    print_pairs(f"{registered.name} v{found.version}", ((name, document[name]) for name in facts if document.get(name)))
    print_pairs("Model", ((name, value) for name, value in found.model.items() if value))
    print_pairs("Files", ((path, str(entry.get("digest", ""))[:12]) for path, entry in found.artifacts.items()))
    print_pairs("Facts", found.attributes.items())


def _time(text: str) -> datetime | None:
    """Return the end of the second, the day or whatever a time stands for: what is shown as of then has happened."""
    if text == "now":
        return None
    try:
        return to_datetime(parse_time(text, local=True).last)
    except (ValueError, OverflowError) as error:
        msg = f"{text!r:.60} is not a time; expected for example 2026-11-01T12:00:00Z, or now"
        raise InvalidArgumentError(msg) from error
