"""From what people write, such as ``churn@champion``, to a registered model and its version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from modeldb_core.commands.edits import check_living
from modeldb_core.commands.names import check_name
from modeldb_core.errors import ErasedError, InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.model.registry import STAGES, ModelVersion, RegisteredModel
from modeldb_core.queries import Query, condition, portions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modeldb_core.stores import MetadataStore

LATEST = "latest"
"""In place of an alias: the version with the highest number."""
_NUMBER = re.compile(r"v?([0-9]{1,18})", re.ASCII)
_SHOWN = 20


def stage_names(model: RegisteredModel) -> tuple[str, ...]:
    """Return the stages that the versions of a model go through, in order."""
    return tuple(map(str, model.stage_names)) or STAGES


def number_of(text: str) -> int | None:
    """Return the number that ``v3`` or ``3`` means; ``None`` where it is the name of something."""
    found = _NUMBER.fullmatch(text)
    return int(found[1]) if found else None


def check_word(word: str, what: str) -> str:
    """Return the name of a stage or an alias, as it may stand after the @ of a reference.

    Raises:
        InvalidArgumentError: it cannot stand there, or means something else.
    """
    text = check_name(word, what)
    if text != word or "@" in text or text == LATEST or number_of(text) is not None:
        msg = f"{what} {word!r:.80} cannot be that: it has space around it, an '@', or means a number or the latest version"
        raise InvalidArgumentError(msg)
    return text


def check_stage_names(names: Sequence[str]) -> list[str]:
    """Return the names of stages, in order.

    Raises:
        InvalidArgumentError: there are fewer than two, one comes twice, or one cannot be a stage.
    """
    given: object = names
    if isinstance(given, str) or not all(isinstance(name, str) for name in names):
        msg = f"stages is {names!r:.80}; expected a list of names in order, such as ['candidate', 'live', 'retired']"
        raise InvalidArgumentError(msg)
    stages = [check_word(name, "stage") for name in names]
    if len(stages) < 2 or len(set(stages)) < len(stages):
        msg = (
            f"stages are {stages!r:.80}; expected at least two different ones: where versions begin and where they end"
        )
        raise InvalidArgumentError(msg)
    return stages


def find_model(store: MetadataStore, workspace_id: str, name: str) -> RegisteredModel:
    """Return a registered model by its name or identifier, a deleted one too if no other has the name.

    Raises:
        NotFoundError: there is none; the message lists some that there are.
    """
    if (found := model_of_name(store, workspace_id, name)) is not None:
        return found
    known = store.find(Query("registered_model", order_by="name", within=workspace_id, limit=_SHOWN)).entities
    there = ", ".join(repr(each.name) for each in known) or "none"
    msg = f"there is no registered model {name!r:.80}; there are: {there}"
    raise NotFoundError(msg)


def model_of_name(store: MetadataStore, workspace_id: str, name: str) -> RegisteredModel | None:
    """Return the registered model that has a name, or had it when it was deleted, or has it as its identifier."""
    name = check_name(name, "registered model")
    named = condition("name = ? or entity_id = ?", name, name)
    found = store.find(Query("registered_model", named, within=workspace_id, limit=_SHOWN, include_deleted=True))
    models = sorted(found.entities, key=lambda each: (each.deleted_at is not None, each.name != name))
    return cast("RegisteredModel", models[0]) if models else None


def find_version(store: MetadataStore, model: RegisteredModel, selector: str | int) -> ModelVersion:
    """Return the version of a model that a number, ``v3``, an alias, a stage, ``latest`` or an identifier means.

    Raises:
        NotFoundError: there is none; ErasedError: nothing of it is kept.
        ConflictError: it is deleted.
        InvalidArgumentError: many versions may be in the stage.
    """
    given: object = selector
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        msg = (
            f"version {selector!r:.80} is of type {type(given).__name__}; expected a number, 'v3', an alias or a stage"
        )
        raise InvalidTypeError(msg)
    version = _version(store, model, str(given))
    if version is None and str(given) in {**model.aliases, **model.stages}:
        msg = f"nothing is kept of the version that {given!r} of {model.name!r} names: it was deleted and erased; move {given!r} on"
        raise ErasedError(msg)
    if version is None:
        raise NotFoundError(_no_version(model, str(given)))
    check_living(version)
    return version


def resolve(store: MetadataStore, workspace_id: str, reference: str) -> tuple[RegisteredModel, ModelVersion]:
    """Return the model and the version that ``NAME@VERSION`` means, such as ``churn@champion`` or ``churn@v3``.

    Raises:
        InvalidArgumentError: it names no version.
        NotFoundError, ConflictError: as :func:`find_model` and :func:`find_version`.
    """
    if not isinstance(cast("object", reference), str):
        msg = f"reference is of type {type(reference).__name__}; expected a text such as 'churn@champion'"
        raise InvalidTypeError(msg)
    name, at, selector = reference.rpartition("@")
    if not (name and at and selector):
        msg = f"{reference!r:.80} names no version; write NAME@VERSION, such as 'churn@v3', 'churn@champion' or 'churn@production'"
        raise InvalidArgumentError(msg)
    model = find_model(store, workspace_id, name)
    return model, find_version(store, model, selector)


def versions_by_id(store: MetadataStore, ids: Iterable[object]) -> Mapping[str, ModelVersion]:
    """Return versions by their identifiers, deleted ones too; what nothing is kept of is left out."""
    wanted = sorted({each for each in ids if isinstance(each, str) and each})
    found: dict[str, ModelVersion] = {}
    for some in portions(wanted):
        query = Query("model_version", condition("entity_id in ?", some), limit=len(some), include_deleted=True)
        found.update((each.entity_id, cast("ModelVersion", each)) for each in store.find(query).entities)
    return found


def _version(store: MetadataStore, model: RegisteredModel, selector: str) -> ModelVersion | None:
    for names in (model.aliases, model.stages):
        if selector in names:
            return versions_by_id(store, [names[selector]]).get(str(names[selector]))
    stages = stage_names(model)
    if selector in (stages[0], stages[-1]):
        msg = f"any number of versions of {model.name!r} may be in {selector!r}; name one by its number or an alias"
        raise InvalidArgumentError(msg)
    if selector == LATEST:
        return _first(store, model, "version > 0", deleted=False)
    if (number := number_of(selector)) is not None:
        return _first(store, model, condition("version = ?", number), deleted=True)
    return _first(store, model, condition("entity_id = ?", selector), deleted=True)


def _first(store: MetadataStore, model: RegisteredModel, which: str, *, deleted: bool) -> ModelVersion | None:
    query = Query("model_version", which, "version desc", within=model.entity_id, limit=_SHOWN, include_deleted=deleted)
    found = sorted(store.find(query).entities, key=lambda each: each.deleted_at is not None)  # a number may come again
    return cast("ModelVersion", found[0]) if found else None


def _no_version(model: RegisteredModel, selector: str) -> str:
    stages = stage_names(model)
    if selector in stages:
        return f"no version of {model.name!r} is in {selector!r}"
    aliases = ", ".join(sorted(model.aliases)[:_SHOWN]) or "none"
    return (
        f"{model.name!r} has no version {selector!r:.80}; its newest is v{model.last_version or 0}, its aliases: {aliases}, "
        f"its stages: {', '.join(stages)}"
    )
