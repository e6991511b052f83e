"""The model registry as programs use it: register versions, and load the one that ``churn@champion`` means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modeldb_core.commands.declaring import declare
from modeldb_core.commands.names import check_tags
from modeldb_core.commands.operation import decide
from modeldb_core.commands.registry import history, references, versions
from modeldb_core.errors import InvalidArgumentError, NoRunError, StoreUnavailableError
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query
from modeldb_core.tracking import artifacts as artifact_kinds
from modeldb_core.tracking import inheritance
from modeldb_core.tracking.connections import default_client
from modeldb_core.tracking.registry.models import (
    ModelVersionHandle,
    RegisteredModelHandle,
    carry_out,
    find_version,
    workspace_id_of,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.registry import ModelVersion, RegisteredModel
    from modeldb_core.tracking.client import Client
    from modeldb_core.tracking.run import RunHandle


def register_model(
    name: str,
    *,
    run: RunHandle | str | None = None,
    artifact: str = "model",
    files: str | os.PathLike[str] | None = None,
    description: str = "",
    tags: Iterable[str] = (),
    attributes: Mapping[str, Any] | None = None,
    trusted: Iterable[str] = (),
    client: Client | None = None,
) -> ModelVersionHandle:
    """Make the next version of a registered model, from a run's model or from files; it is durable when this returns.

    The model is made unless there is one of that name. Its store decides the number, so it must be in reach.

    Args:
        name: of the registered model.
        run: whose model it is, a handle or what :func:`get_run` takes; default: the current run.
        artifact: the name under which the run logged it; a folder of files that :meth:`RunHandle.log_model` did not write
            will do too.
        files: in place of a run: a file, or a folder, that is stored now.
        description: of the version, in words.
        tags: labels of the version.
        attributes: further facts of the version.
        trusted: names of types that loading the version may build although they are not known to be harmless: those that
            the error of loading it without them lists.
        client: default: the one that was connected last.

    Raises:
        InvalidArgumentError: the name cannot be that; both a run and files are given; ``trusted`` names pickle.
        NotFoundError: there is no such run, artifact or file, or a file of the run is no longer in the artifact store.
        ConflictError: the run, or the registered model, is deleted.
        NoRunError: neither a run nor files are given, and no run is current.
        ConditionsUnsupportedError: the store cannot decide numbers.
        StoreUnavailableError: the store cannot be reached, or does not have everything yet that was logged.
    """
    client = client or _client_of(run)
    further = client.blobs.checked_map(attributes or {}, "attributes")
    source = _source(client, run, artifact, files)
    if source.run_id:
        versions.check_there(client.artifacts, source)
    (workspace_id,) = client.store.identify(("workspace", client.settings.workspace))
    workspace = declare("workspace", workspace_id, client.settings.workspace)
    said = versions.Said(
        description=description, tags=check_tags(tags), attributes=further, trusted=versions.check_trusted(trusted)
    )

    def look() -> Operation:
        return versions.register(
            client.store, name, source, said, workspace=workspace, stages=client.settings.model_stages
        )

    made = decide(lambda operation: carry_out(client, operation), look)
    version = cast("ModelVersion", client.store.get("model_version", made.entity_id))
    model = cast("RegisteredModel", client.store.get("registered_model", version.registered_model_id))
    return ModelVersionHandle(client, model, version)


def registered_model(name: str, *, client: Client | None = None) -> RegisteredModelHandle:
    """Return a registered model by its name or identifier.

    Raises:
        NotFoundError: there is none; the message lists some that there are.
    """
    client = client or default_client()
    client.settle()
    return RegisteredModelHandle(client, references.find_model(client.store, workspace_id_of(client), name))


def registered_models(*, client: Client | None = None) -> tuple[RegisteredModelHandle, ...]:
    """Return the registered models of the workspace, by name."""
    client = client or default_client()
    client.settle()
    query = Query("registered_model", order_by="name", within=workspace_id_of(client))
    return tuple(RegisteredModelHandle(client, cast("RegisteredModel", each)) for each in pages(client.store, query))


def models_at(at: datetime | None = None, *, client: Client | None = None) -> dict[str, history.State]:
    """Return which version of each registered model had which stage and alias at a time, by the names of the models.

    ``models_at(time)["churn"].stages["production"].number`` is the version that was in production then.

    Args:
        at: with a time zone; default: now.
        client: default: the one that was connected last.

    Raises:
        InvalidTypeError, InvalidArgumentError: ``at`` is no datetime, or has no time zone.
    """
    client = client or default_client()
    client.settle()
    states = history.registry_at(client.store, workspace_id_of(client), history.check_time(at))
    return {state.model.name: state for state in states}


def load_model(
    reference: str | ModelVersionHandle,
    *,
    trusted: Iterable[str] = (),
    role: str | None = None,
    client: Client | None = None,
) -> Any:  # noqa: ANN401 - a model of any library
    """Return the model that a reference such as ``churn@champion``, ``churn@production`` or ``churn@v3`` means.

    Its files are checked against their digests. If a run is current, it records that it used the version.

    Args:
        reference: NAME@VERSION, where the version is an alias, a stage, a number or ``latest``; or a version.
        trusted: names of types that may be built, beside those that the version was registered with.
        role: what the run does with it, the key among its ``models``; default: the reference.
        client: default: the one that was connected last.

    Raises:
        NotFoundError: there is no such model or version, or a file of it is no longer there.
        ConflictError: the version is deleted.
        InvalidArgumentError: it holds files that are no model which :meth:`RunHandle.log_model` wrote.
        UntrustedModelError: it holds types that nobody allowed; the message lists them.
    """
    from modeldb_core.tracking.description.model_formats import load_model as load_files

    given = versions.check_names(trusted)
    version = find_version(client or _client_of(None), reference)
    described = version.entity.model
    if not described.get("format"):
        msg = f"{version.reference} holds files that log_model did not write; fetch them with download(path)"
        raise InvalidArgumentError(msg)
    with artifact_kinds.scratch_folder() as folder:
        files = version.download(folder / "model")
        names = [*version.trusted_types, *given]
        model = load_files(files, described, trusted=names, settings=version.client.settings)
    run = inheritance.current()
    if run is not None:
        run.use_model(version, role=role or (reference if isinstance(reference, str) else None))
    return model


# -- inside -----------------------------------------------------------------------------------------------------------


def _client_of(run: RunHandle | str | None) -> Client:
    found = inheritance.current() if run is None else run
    return cast("Client", found.client) if found is not None and not isinstance(found, str) else default_client()


def _source(
    client: Client, run: RunHandle | str | None, artifact: str, files: str | os.PathLike[str] | None
) -> versions.Source:
    if files is not None:
        if run is not None:
            msg = "both run and files are given; a version is made from one of them"
            raise InvalidArgumentError(msg)
        stored = artifact_kinds.store(
            Path(files), None, "model", client.put_blob, artifact_kinds.own_places(client.settings)
        )
        _settle(client)
        return versions.Source(artifacts=stored.entries)
    handle = inheritance.current() if run is None else client.get_run(run) if isinstance(run, str) else run
    if handle is None:
        msg = "register_model: name a run or files; no run is current"
        raise NoRunError(msg)
    _settle(client)
    return versions.from_run(client.get_run(handle.run_id).entity, artifact)


def _settle(client: Client) -> None:
    """Wait until the stores have what this process logged: a version names it."""
    if not client.flush(client.settings.exit_timeout_s):
        msg = f"{client.store.url} does not have everything yet that this process logged; nothing was registered: try again"
        raise StoreUnavailableError(msg)
