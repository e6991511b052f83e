"""Conditions and unique values in SQL: what they cost where there are none, and that tampering with them shows."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends._sql.sqlite import SQLiteDatabase
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.log.conditions import Absent, RevisionIs, Unique
from modeldb_core.testing import StreamWriter


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each prepared statement was run."""
    counts: Counter[str] = Counter()
    for name in ("run", "run_many"):
        plain = getattr(SQLiteDatabase, name)

        def counted(self: Any, connection: Any, build: Any, *rest: Any, plain: Any = plain) -> Any:
            counts[build.__name__] += 1
            return plain(self, connection, build, *rest)

        monkeypatch.setattr(SQLiteDatabase, name, counted)
    return counts


CLAIMS = {"_holders", "_upsert_claim", "_delete_claim"}


def test_batches_that_claim_nothing_new_ask_nothing_more(tmp_path: Path, asked: Counter[str]) -> None:
    with SQLiteStore(f"sqlite:///{tmp_path}/a.db") as store:
        first = StreamWriter()
        first.open()
        ids = first.create_containers("churn", "experiment")
        store.apply(first.changes)
        assert (asked["_holders"], asked["_upsert_claim"], asked["_delete_claim"]) == (1, 1, 0)
        asked.clear()
        later = StreamWriter()
        later.open()
        later.create_containers("churn", "experiment")
        run_id = later.create_run(name="run", **ids, tags=["a"], metrics={"auc": 1.0}).entity_id
        later.append(run_id, {"loss": [1.0, 2.0]})
        later.update("project", ids["project_id"], set={"description": "text"})
        store.apply(later.changes)
        assert not CLAIMS & asked.keys()
        asked.clear()
        change = later.update("project", ids["project_id"], set={"description": "other"})
        expect = [
            RevisionIs("project", ids["project_id"], 2),
            Absent("run", "none"),
            Unique("project", "w", "name", "n"),
        ]
        store.apply([change], expect=expect)
        assert asked["_holders"] == 1
        assert asked["_documents"] == 2, "of conditions together, and of what the batch alters"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM unique_values", "do not say that project .* has the name"),
        ("UPDATE unique_values SET entity_pk = entity_pk + 1000", "do not say"),
        ("INSERT INTO unique_values VALUES ('x', 1)", "1 values that nothing has"),
        ("INSERT INTO unique_values VALUES ('x', 4711)", "unique_values name a entity_pk that is not there"),
    ],
)
def test_an_audit_finds_altered_claims(tmp_path: Path, statement: str, words: str) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with SQLiteStore(url) as store:
        writer = StreamWriter()
        writer.create_containers("churn", "experiment")
        store.apply(writer.changes)
        assert verify(store).ok
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute(statement)
    connection.close()
    with SQLiteStore(url) as store:
        findings = "\n".join(map(str, verify(store).findings))
        assert re.search(words, findings), findings
