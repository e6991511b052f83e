"""A client on a store of its own, and a git repository with a commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tracking.conftest import client as client
from tests.tracking.conftest import environment as environment
from tests.tracking.conftest import settings as settings

_GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]


def git(folder: Path, *arguments: str) -> str:
    asked = subprocess.run([*_GIT, *arguments], cwd=folder, check=True, capture_output=True, timeout=60, text=True)
    return asked.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init")
    return folder
