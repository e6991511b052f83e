"""Fixtures of the tests of stores: an SQL store of each kind, a further version of the tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modeldb_core.backends._sql import schema
from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.backends.sqlite import SQLiteStore
from tests.backends.versions import MIGRATION, NOW, NextVersion


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        store = SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db")
    else:
        store = PostgresStore(request.getfixturevalue("postgres_url"))
    with store:
        yield store


@pytest.fixture
def make_next_version(tmp_path):
    """Returns a function that makes a further version of the tables, and uses it nowhere."""

    def make(more="", *, readable_since=NOW, writable_since=NOW, oldest_readable=NOW, oldest_writable=NOW):
        folder = tmp_path / "migrations"
        if not folder.exists():
            shutil.copytree(Path(schema.__file__).parent / "migrations", folder)
        (folder / "versions" / "v0099_colour.py").write_text(MIGRATION.format(more=more))
        return NextVersion(folder, readable_since, writable_since, oldest_readable, oldest_writable)

    return make


@pytest.fixture
def next_version(make_next_version, monkeypatch):
    """Returns a function that makes this ModelDB one whose tables have a further version; ``monkeypatch`` undoes it."""

    def use(more="", **compatibility):
        made = make_next_version(more, **compatibility)
        for name, value in made.values.items():
            monkeypatch.setattr(schema, name, value)
        return made

    return use
