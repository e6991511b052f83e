"""Moving versions between stages and aliases: one batch under conditions, with a reason, so that two who decide at once do not both win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from modeldb_core.commands.edits import check_living
from modeldb_core.commands.operation import Operation
from modeldb_core.commands.registry.approvals import check_approved
from modeldb_core.commands.registry.references import check_stage_names, check_word, stage_names, versions_by_id
from modeldb_core.commands.registry.versions import MODEL, VERSION, unchanged, updating
from modeldb_core.errors import ConflictError, InvalidArgumentError, NotFoundError
from modeldb_core.log.conditions import Condition, RevisionIs, Unset
from modeldb_core.model.decisions import clash_at
from modeldb_core.model.values import check_text
from modeldb_core.queries import Query, condition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from modeldb_core.log.stream import Entry
    from modeldb_core.model.registry import ModelVersion, RegisteredModel
    from modeldb_core.stores import MetadataStore


def promote(
    store: MetadataStore,
    model: RegisteredModel,
    version: ModelVersion,
    *,
    reason: str,
    stage: str = "",
    alias: str = "",
) -> Operation:
    """Move a version into a stage, give it an alias, or both: all together, or nothing.

    A version that has the stage to itself makes room: it goes into the last one. An alias leaves the version that had it.

    Args:
        store: where approvals, and the version that makes room, are looked up.
        model: as it was read; what somebody moves meanwhile makes the operation fail.
        version: of that model, likewise.
        reason: why, for the history.
        stage: one of the model's; empty: it stays where it is.
        alias: such as ``champion``; empty: none moves.

    Raises:
        InvalidArgumentError: there is no such stage, the alias or the reason cannot be that, or the version is another model's.
        ConflictError: something is deleted, nothing would move, or approvals are missing.
    """
    why = check_reason(reason)
    _check_pair(model, version)
    if not stage and not alias:
        msg = "neither stage nor alias is given; name a stage to move the version to, an alias to give it, or both"
        raise InvalidArgumentError(msg)
    move = _Move(model, version, why)
    if stage:
        check_stage(model, stage)
        check_approved(store, model, version, stage)
        has_it_to_itself = stage in stage_names(model)[1:-1]
        is_there = version.stage == stage and (not has_it_to_itself or model.stages.get(stage) == version.entity_id)
        if not is_there or clash_at(model.document, "stages", stage) or clash_at(version.document, "stage"):
            move.to_stage(store, stage)
        move.expect.append(unchanged(model, "approvals_needed", stage))
        if model.approvals_needed.get(stage):  # a verdict alters the version
            move.expect.append(RevisionIs(VERSION, version.entity_id, version.revision))
    has_alias = bool(alias) and model.aliases.get(check_alias(model, alias)) == version.entity_id
    if alias and (not has_alias or clash_at(model.document, "aliases", alias)):
        move.to_alias(alias)
    if not move.put and not move.set:
        there = " and ".join([f"is in {stage!r}"] * bool(stage) + [f"has the alias {alias!r}"] * bool(alias))
        msg = f"v{version.version} of {model.name!r} {there} already; nothing would move"
        raise ConflictError(msg)
    return move.operation()


class _Move:
    """Gathers what a promotion changes, and what must still be as it was seen."""

    def __init__(self, model: RegisteredModel, version: ModelVersion, reason: str) -> None:
        self.model, self.version = model, version
        self.said: dict[str, Any] = {
            "version": version.version,
            "model_version_id": version.entity_id,
            "reason": reason,
        }
        self.put: dict[str, dict[str, str]] = {}
        self.removed: list[str] = []
        self.set: list[tuple[ModelVersion, str]] = []
        self.expect: list[Condition] = [
            Unset(MODEL, model.entity_id, "deleted_at"),
            Unset(VERSION, version.entity_id, "deleted_at"),
        ]

    def to_stage(self, store: MetadataStore, stage: str) -> None:
        """Move the version into a stage."""
        model, version, stages = self.model, self.version, stage_names(self.model)
        self.said |= {"from": version.stage, "to": stage}
        self.expect += [unchanged(version, "stage"), unchanged(model, "stage_names")]
        self.set.append((version, stage))
        left = [name for name, holder in model.stages.items() if holder == version.entity_id and name != stage]
        self.removed += left
        self.expect += [unchanged(model, "stages", name) for name in left]
        if stage in (stages[0], stages[-1]):
            return
        self.put["stages"] = {stage: version.entity_id}
        self.expect.append(unchanged(model, "stages", stage))
        others = clash_at(model.document, "stages", stage)  # which other stores put there
        found = versions_by_id(store, [model.stages.get(stage), *others])
        for holder in found.values():
            if holder.entity_id == model.stages.get(stage) != version.entity_id:
                self.said |= {"replaced": holder.version, "replaced_id": holder.entity_id}
            elif holder.entity_id == version.entity_id or holder.stage != stage:
                continue
            self.set.append((holder, stages[-1]))
            self.expect.append(unchanged(holder, "stage"))

    def to_alias(self, alias: str) -> None:
        """Give the version an alias."""
        self.said["alias"] = alias
        self.put["aliases"] = {alias: self.version.entity_id}
        self.expect += [unchanged(self.model, "aliases", alias), unchanged(self.model, "stage_names")]

    def operation(self) -> Operation:
        """Return all of it as one operation."""
        versions = [updating(each, {"set": {"stage": stage}}) for each, stage in self.set]
        return _moving(self.model, self.said, self.put, {"stages": self.removed}, versions, self.expect)


def remove_alias(model: RegisteredModel, alias: str, *, reason: str) -> Operation:
    """Take an alias away from the version that has it.

    Raises:
        NotFoundError: no version has it.
    """
    check_living(model)
    if alias not in model.aliases:
        msg = f"no version of {model.name!r} has the alias {alias!r:.80}; aliases: {', '.join(sorted(model.aliases)) or 'none'}"
        raise NotFoundError(msg)
    said = {"model_version_id": model.aliases[alias], "alias_removed": alias, "reason": check_reason(reason)}
    expect = [Unset(MODEL, model.entity_id, "deleted_at"), unchanged(model, "aliases", alias)]
    return _moving(model, said, {}, {"aliases": [alias]}, [], expect)


def _moving(
    model: RegisteredModel,
    said: Mapping[str, Any],
    put: Mapping[str, Mapping[str, str]],
    removed: Mapping[str, Sequence[str]],
    versions: Sequence[Entry],
    expect: Sequence[Condition],
) -> Operation:
    data: dict[str, Any] = {"set": {"last_move": dict(said)}}
    if put:
        data["put"] = {name: dict(values) for name, values in put.items()}
    if gone := {name: list(names) for name, names in removed.items() if names}:
        data["remove"] = gone
    entries = (*versions, updating(model, data))
    names = sorted({*removed.get("stages", ()), *(name for values in put.values() for name in values)})
    what = " or ".join(map(repr, names)) or "the version"
    lost = f"somebody has moved {what} of {model.name!r} meanwhile; look at its history and decide again"
    return Operation(entries, tuple(expect), model.entity_id, lost=lost)


def moved_on(store: MetadataStore, version_ids: Iterable[str]) -> Iterator[Entry]:
    """Iterate over what puts versions that come back into the last stage, where theirs is gone or has another version by now."""
    versions = versions_by_id(store, version_ids).values()
    wanted = {each.registered_model_id for each in versions}
    models = {each: cast("RegisteredModel", store.get(MODEL, each)) for each in wanted if each}
    for version in versions:
        model = models.get(version.registered_model_id)
        if model is None or not version.stage:
            continue
        stages = stage_names(model)
        is_alone = version.stage in stages[1:-1]
        if version.stage not in stages or (is_alone and model.stages.get(version.stage) != version.entity_id):
            yield updating(version, {"set": {"stage": stages[-1]}})


# -- what a model demands ---------------------------------------------------------------------------------------------


def set_stages(store: MetadataStore, model: RegisteredModel, names: Sequence[str]) -> Operation:
    """Say which stages the versions of a model go through, in order: they begin in the first and end in the last.

    Args:
        store: where the versions are looked up; who moves or registers one meanwhile makes the operation fail.
        model: as it was read.
        names: of the stages.

    Raises:
        InvalidArgumentError: there are fewer than two, one comes twice, or one cannot be a stage.
        ConflictError: a version is in a stage that would be none any more, or that another one would have to itself.
    """
    check_living(model)
    stages = check_stage_names(names)
    for what, used in (("stages", model.stages), ("approvals_needed", model.approvals_needed)):
        if gone := sorted(set(used) - set(stages[1:-1] if what == "stages" else stages[1:])):
            msg = f"{gone[0]!r} of {model.name!r} is in use ({what}); empty it first, or keep it between the first and the last stage"
            raise ConflictError(msg)
    if taken := sorted(set(stages) & set(model.aliases)):
        msg = f"{taken[0]!r} is an alias of {model.name!r}; name the stage otherwise, or remove the alias"
        raise ConflictError(msg)
    _check_versions(store, model, stages)
    # every move, alias and new version alters the model, so that its revision stands for the stages of its versions too
    return _settled(model, {"stage_names": stages}, (RevisionIs(MODEL, model.entity_id, model.revision),))


def _check_versions(store: MetadataStore, model: RegisteredModel, stages: Sequence[str]) -> None:
    """See that each version is in a stage of some names, and in one between the first and the last only if that is its own."""
    outside = condition("stage not in ?", stages)
    for which, wrong in ((outside, "would be none any more"), *_shared(model, stages)):
        found = store.find(Query(VERSION, which, "version", within=model.entity_id, limit=1)).entities
        if found:
            version = cast("ModelVersion", found[0])
            msg = (
                f"v{version.version} of {model.name!r} is in {version.stage!r:.80}, which {wrong}; promote it to another stage "
                "first, one that stays"
            )
            raise ConflictError(msg)


def _shared(model: RegisteredModel, stages: Sequence[str]) -> Iterator[tuple[str, str]]:
    for stage in stages[1:-1]:
        which = condition("stage = ? and entity_id != ?", stage, str(model.stages.get(stage, "")))
        yield which, "one version would have to itself, and it is not that one"


def require_approvals(model: RegisteredModel, stage: str, count: int) -> Operation:
    """Say how many people have to approve a version before it comes into a stage; 0: nobody has to.

    Raises:
        InvalidArgumentError: there is no such stage, versions begin in it, or the number is none.
    """
    check_living(model)
    check_stage(model, stage)
    if type(count) is not int or not 0 <= count <= 100:
        msg = f"count is {count!r:.40}; expected how many people have to approve, 0 to 100"
        raise InvalidArgumentError(msg)
    if stage == stage_names(model)[0]:
        msg = f"versions begin in {stage!r}; approvals can be needed before a later stage only"
        raise InvalidArgumentError(msg)
    needed = {name: number for name, number in model.approvals_needed.items() if name != stage}
    expect = (unchanged(model, "approvals_needed"), unchanged(model, "stage_names"))
    return _settled(model, {"approvals_needed": needed | ({stage: count} if count else {})}, expect)


def _settled(model: RegisteredModel, values: Mapping[str, Any], expect: Sequence[Condition]) -> Operation:
    entry = updating(model, {"set": dict(values)})
    lost = f"somebody has changed {model.name!r} meanwhile; look at it and decide again"
    return Operation((entry,), (*expect, Unset(MODEL, model.entity_id, "deleted_at")), model.entity_id, lost=lost)


# -- what may be said -------------------------------------------------------------------------------------------------


def check_stage(model: RegisteredModel, stage: str) -> str:
    """Return a stage of a model.

    Raises:
        InvalidArgumentError: it has no such stage.
    """
    stages = stage_names(model)
    if stage not in stages:
        msg = f"{model.name!r} has no stage {stage!r:.80}; its stages are {', '.join(stages)}"
        raise InvalidArgumentError(msg)
    return stage


def check_alias(model: RegisteredModel, alias: str) -> str:
    """Return an alias, if it may be one.

    Raises:
        InvalidArgumentError: it means something else already.
    """
    word = check_word(alias, "alias")
    if word in stage_names(model):
        msg = f"{alias!r} is a stage of {model.name!r}; move versions there by stage={alias!r}"
        raise InvalidArgumentError(msg)
    return word


def check_reason(reason: str) -> str:
    """Return a reason, if it says anything.

    Raises:
        InvalidArgumentError: it does not.
    """
    text = check_text(reason, "reason").strip()
    if not text:
        msg = "reason is empty; say why, for those who read the history"
        raise InvalidArgumentError(msg)
    return text


def _check_pair(model: RegisteredModel, version: ModelVersion) -> None:
    check_living(model)
    check_living(version)
    if version.registered_model_id != model.entity_id:
        msg = f"version {version.entity_id} is none of {model.name!r}"
        raise InvalidArgumentError(msg)
