"""Eight processes that register and promote at once: no version and no promotion is lost, and who comes second is told."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from modeldb_core.audit import verify
from modeldb_core.commands.declaring import declare
from modeldb_core.commands.operation import decide, execute
from modeldb_core.commands.registry import history, promotion, references, versions
from modeldb_core.errors import PreconditionError
from modeldb_core.model.entities import DEFAULT_WORKSPACE
from modeldb_core.plugins import open_store
from modeldb_core.stores import MetadataStore
from modeldb_core.stores.direct import DirectWriter
from tests.backends.writers import in_children

PROCESSES, PROMOTIONS = 8, 2
SOURCE = versions.Source(artifacts={"model": {"digest": "ab" * 32, "size_bytes": 1}})


def register(store: MetadataStore, writer: DirectWriter) -> str:
    """Register a version; returns its identifier."""
    (workspace_id,) = store.identify(("workspace", DEFAULT_WORKSPACE))
    workspace = declare("workspace", workspace_id, DEFAULT_WORKSPACE)
    made = decide(
        lambda operation: execute(writer, operation),
        lambda: versions.register(store, "churn", SOURCE, versions.Said(), workspace=workspace),
    )
    return made.entity_id


def test_eight_processes_register_and_promote_and_nothing_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/modeldb.db"
    with open_store(url) as store:
        assert store.heads() == {}
    all_have_looked = multiprocessing.get_context("fork").Barrier(PROCESSES)

    def work() -> None:
        with open_store(url) as store, DirectWriter(store, "ada") as writer:
            own = register(store, writer)
            won = told = 0
            while won < PROMOTIONS:
                model = references.find_model(store, store.identify(("workspace", DEFAULT_WORKSPACE))[0], "churn")
                version = references.find_version(store, model, own)
                if not won and not told:
                    all_have_looked.wait(240)  # so that all but one are told
                stage = "staging" if version.stage == "production" else "production"
                try:
                    reason = f"{own} {won}"
                    execute(
                        writer, promotion.promote(store, model, version, stage=stage, alias="champion", reason=reason)
                    )
                    won += 1
                except PreconditionError as error:
                    assert "meanwhile" in str(error)
                    told += 1
            (tmp_path / f"told {own}").write_text(str(told))

    in_children(PROCESSES, work)
    with open_store(url) as store:
        model = references.find_model(store, store.identify(("workspace", DEFAULT_WORKSPACE))[0], "churn")
        found = [references.find_version(store, model, number + 1) for number in range(PROCESSES)]
        assert model.last_version == len({version.entity_id for version in found}) == PROCESSES
        moves = list(history.history(store, model.entity_id))
        assert len({move.reason for move in moves}) == len(moves) == PROCESSES * PROMOTIONS
        champions = [move.aliases["champion"] for move in moves if move.aliases]
        assert [before for before, _ in champions] == [None, *(after for _, after in champions[:-1])], "one line"
        held = {version.entity_id: version.stage for version in found if version.stage in model.stages}
        assert held == {entity_id: stage for stage, entity_id in model.stages.items()}
        assert verify(store).ok
    told = [int(path.read_text()) for path in tmp_path.glob("told *")]
    assert len(told) == PROCESSES
    assert sum(count > 0 for count in told) >= PROCESSES - 1, "nobody came between: this shows nothing"
