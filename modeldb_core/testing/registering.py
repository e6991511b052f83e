"""The model registry over a store: numbers, promotions and approvals are decided there, and what was where is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from modeldb_core.commands.declaring import declare
from modeldb_core.commands.operation import decide, execute
from modeldb_core.commands.registry import approvals, history, promotion, references, versions
from modeldb_core.errors import ConditionsUnsupportedError, ConflictError, PreconditionError
from modeldb_core.model.entities import DEFAULT_WORKSPACE, new_id
from modeldb_core.stores import MetadataStore
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing.scene import Scene, StoreCase

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.registry import ModelVersion, RegisteredModel

DIGEST = "ab" * 32


class RegistryTests(StoreCase):
    """The part of the suite about registered models."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.apply, MetadataStore.read_changes)

    def test_versions_get_numbers_stages_and_aliases_that_are_read_back(self, scene: Scene) -> None:
        registry = _Registry(scene)
        model = registry.register(3)
        assert [registry.version(number).stage for number in (1, 2, 3)] == ["development"] * 3
        registry.promote(1, stage="production", alias="champion", reason="the first")
        registry.promote(2, stage="staging", reason="to be tried")
        seen = registry.model()
        registry.promote(2, stage="production", alias="champion", reason="better")
        with pytest.raises(PreconditionError, match="meanwhile"):
            registry.promote(3, stage="production", reason="mine", model=seen)
        assert [registry.version(number).stage for number in (1, 2, 3)] == ["archived", "production", "development"]
        assert registry.version("champion").version == registry.version("production").version == 2
        moves = list(history.history(scene.store, model.entity_id))
        assert [(move.reason, move.from_stage, move.to_stage, move.actor) for move in moves] == [
            ("the first", "development", "production", "ada"),
            ("to be tried", "development", "staging", "ada"),
            ("better", "staging", "production", "ada"),
        ]
        then = [history.state_at(scene.store, registry.model(), move.at) for move in moves]
        assert [state and {name: held.number for name, held in state.stages.items()} for state in then] == [
            {"production": 1},
            {"production": 1, "staging": 2},
            {"production": 2},
        ]

    def test_a_stage_that_demands_approvals_waits_for_them(self, scene: Scene) -> None:
        registry = _Registry(scene)
        registry.register(1)
        registry.do(promotion.require_approvals(registry.model(), "production", 1))
        with pytest.raises(ConflictError, match="approved by nobody"):
            registry.promote(1, stage="production", reason="now")
        registry.do(approvals.approve(registry.model(), registry.version(1), stage="production", author="ada"))
        seen = registry.version(1)
        registry.do(
            approvals.approve(registry.model(), seen, stage="production", verdict="rejected", reason="no", author="ada")
        )
        with pytest.raises(ConflictError, match="rejected by ada"):
            registry.promote(1, stage="production", reason="now")
        registry.do(approvals.approve(registry.model(), registry.version(1), stage="production", author="ada"))
        registry.promote(1, stage="production", reason="now")
        assert registry.version("production").approval == "approved"

    def test_a_store_that_does_not_decide_refuses_to_register_and_to_promote(self, scene: Scene) -> None:
        if scene.store.decides:
            return
        registry = _Registry(scene, skip=False)
        model_id, version_id = new_id(), new_id()
        scene.writer.create("registered_model", model_id, name=registry.name, workspace_id=registry.workspace_id)
        scene.writer.create("model_version", version_id, registered_model_id=model_id, version=1, stage="development")
        scene.ship()
        with pytest.raises(ConditionsUnsupportedError):
            registry.register(1)
        with pytest.raises(ConditionsUnsupportedError):
            registry.promote(1, stage="production", reason="now")
        assert registry.version(1).stage == "development"


class _Registry:
    """A registered model that nobody else uses, and one person who works on it."""

    def __init__(self, scene: Scene, *, skip: bool = True) -> None:
        if skip and not scene.store.decides:
            pytest.skip("this store does not take conditions: decides is False")
        scene.ship()
        self.store, self.name = scene.store, f"model {new_id()}"
        (self.workspace_id,) = scene.store.identify(("workspace", DEFAULT_WORKSPACE))
        self._writer = DirectWriter(scene.store, "ada")

    def do(self, operation: Operation) -> None:
        execute(self._writer, operation)

    def model(self) -> RegisteredModel:
        return references.find_model(self.store, self.workspace_id, self.name)

    def version(self, selector: str | int) -> ModelVersion:
        return references.find_version(self.store, self.model(), selector)

    def register(self, count: int) -> RegisteredModel:
        source = versions.Source(artifacts={"model": {"digest": DIGEST, "size_bytes": 1}})
        workspace = declare("workspace", self.workspace_id, DEFAULT_WORKSPACE)
        for _ in range(count):
            decide(
                self.do,
                lambda: versions.register(self.store, self.name, source, versions.Said(), workspace=workspace),
            )
        return self.model()

    def promote(
        self, number: int, *, reason: str, stage: str = "", alias: str = "", model: RegisteredModel | None = None
    ) -> None:
        version = self.version(number)
        seen = model or self.model()
        self.do(promotion.promote(self.store, seen, version, reason=reason, stage=stage, alias=alias))
