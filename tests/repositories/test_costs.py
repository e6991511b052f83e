"""What one question reads, however long a history is: counted, not timed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modeldb_core.commands.operation import execute
from modeldb_core.commands.registry import history, promotion
from modeldb_core.errors import InvalidArgumentError
from modeldb_core.stores.direct import DirectWriter
from tests.movement.test_clashes import MODEL, base, model, version

if TYPE_CHECKING:
    from modeldb_core import Client
    from modeldb_core.tracking.repositories.repository import RepositoryHandle

COMMITS = 60


class Counted:
    """Passes everything on, and counts the calls of one method and what they return."""

    def __init__(self, inner: Any, method: str) -> None:
        self._inner, self._method = inner, method
        self.calls, self.items = 0, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._method:
            return found

        def counted(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            result = found(*arguments, **options)
            self.items += len(getattr(result, "changes", ()))
            return result

        return counted


def test_a_page_of_the_log_or_the_blame_of_a_location_looks_at_a_bounded_number_of_commits(
    repository: RepositoryHandle,
) -> None:
    for number in range(COMMITS):
        with repository.commit(f"commit {number}") as commit:
            commit["other"] = {"n": number}
            if number % 20 == 0:
                commit["config"] = {"lr": number, "depth": 3}
    for branch, at in (("left", 0), ("right", 1)):
        with repository.commit(branch, branch=branch, base="main") as commit:
            commit[branch] = {"n": at}
    merged = repository.merge("left", into="main")
    merged = repository.merge("right", into="main")
    reader, head = repository.reader, merged.entity
    whole = [each.digest for each in reader.log(head)]
    paged: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = reader.log_page(head, cursor=cursor, limit=7)
        assert len(page.commits) <= 7
        paged += [each.digest for each in page.commits]
        cursor = page.cursor
    assert paged == whole
    assert len(whole) == COMMITS + len({"left", "right"}) + 1, "the first merge only moved the branch"

    found: list[str] = []
    pages, cursor = 0, ""
    while cursor is not None:
        page = reader.log_page(head, "config", cursor=cursor, look_at=10)
        found += [each.name for each in page.commits]
        cursor = page.cursor
        pages += 1
    assert found == ["commit 40", "commit 20", "commit 0"]
    assert pages == -(-len(whole) // 10), "pages without any are pages"
    with pytest.raises(InvalidArgumentError, match="begin without one"):
        reader.log_page(head, cursor="nonsense")

    origins, older = reader.blame_page(head, "config", look_at=10)
    assert origins == []
    assert {each.name for each in older} == {"lr", "depth"}
    known = {each.name: each.commit.digest for each in reader.blame(head, "config")}
    for _ in range(pages):
        if not older:
            break
        missing = {each.path for each in older}
        more, older = reader.blame_page(older[0].commit, "config", look_at=10)
        origins += [each for each in more if each.path in missing]
        older = [each for each in older if each.path in missing]
    assert {each.name: each.commit.digest for each in origins} == known
    assert {each.name: each.commit.name for each in origins} == {"lr": "commit 40", "depth": "commit 0"}


def test_what_differs_below_a_folder_is_read_without_the_rest(repository: RepositoryHandle) -> None:
    with repository.commit("first") as commit:
        for number in range(3000):
            commit[f"a/{number:04}"] = {"n": number}
    with repository.commit("second") as commit:
        for number in range(3000):
            commit[f"a/{number:04}"] = {"n": -number}
        commit["b/one"] = {"n": 1}
    artifacts = Counted(repository.reader.artifacts, "open")
    reader = type(repository.reader)(repository.reader.store, artifacts, repository.reader.repository)
    first, second = reader.commit("main~"), reader.commit("main")
    assert [each.location for each in reader.differences(first, second, "b")] == ["b/one"]
    few = artifacts.calls
    assert [each.location for each in reader.differences(first, second, "a/0007")] == ["a/0007"]
    assert len(list(reader.differences(first, second))) == 3000
    assert few * 5 < artifacts.calls


def test_moves_of_a_model_are_read_page_by_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    store = base(client.store)
    writer = DirectWriter(store, "ada")
    for number in range(40):
        to = {"stage": "production", "alias": "champion"} if number % 3 else {"stage": "staging", "alias": f"a{number}"}
        one = promotion.promote(store, model(store), version(store, 1 + number % 5), reason=f"move {number}", **to)
        execute(writer, one)
    whole = list(history.history(store, MODEL))
    counted = Counted(store, "read_changes")
    paged: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        before = counted.items
        page = history.history_page(counted, MODEL, cursor, 10)
        assert counted.items - before <= 11, "and one to see whether there is more"
        paged += page.moves
        cursor = page.cursor
    assert paged == whole
    assert len(whole) == 41
    first = history.history_page(store, MODEL, "", 10)
    second = history.history_page(store, MODEL, first.cursor or "", 10)
    monkeypatch.setattr(history, "_MAX_CURSOR", 0)
    short = history.history_page(store, MODEL, "", 10).cursor or ""
    assert len(short) < 100
    assert history.history_page(store, MODEL, short, 10).moves == second.moves, "what was before is read again"
