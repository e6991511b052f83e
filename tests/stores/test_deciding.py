"""Processes that decide at once: moves of one alias, and numbers of versions, on every store that decides.

``MODELDB_TEST_MOVES=1000`` has each process do a thousand of both, and a hundred on S3; ``tox -e decide`` sets it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.remote.metadata import RemoteMetadataStore
from modeldb_core.errors import PreconditionError, StoreUnavailableError
from modeldb_core.log.conditions import Absent, Condition, RevisionIs, Unique
from modeldb_core.model.entities import new_id
from modeldb_core.plugins import open_store
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore
from modeldb_core.testing import StreamWriter
from tests.backends.writers import in_children
from tests.services.proxy import Proxy
from tests.services.server import TOKEN, ModelDBServer
from tests.waiting import wait_until

PROCESSES = 8
MOVES = int(os.environ.get("MODELDB_TEST_MOVES", "0"))
FEWER = {"sqlite": 6, "postgres": 4, "server": 4, "folder": 2, "s3": 1}
"""How often each process decides in the ordinary tests."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModelDBServer, Path]]:
    """A server, and the folder of its artifacts."""
    folder = tmp_path_factory.mktemp("served")
    server = ModelDBServer(f"sqlite:///{folder}/decided.db", f"file://{folder}/artifacts")
    yield server, folder / "artifacts"
    server.stop()


# A folder decides by the code that S3 does.
@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.thorough) if name == "folder" else name for name in FEWER])
def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, URL and options of an empty store."""
    name: str = request.param
    match name:
        case "postgres":
            yield name, request.getfixturevalue("postgres_url"), {}
        case "server":
            server, _ = request.getfixturevalue("served")
            yield name, server.url, {"token": TOKEN, "retry_s": 60.0, "timeout_s": 120.0}
        case "s3":
            s3 = request.getfixturevalue("s3")
            options = urlencode({**s3.options, "cache_dir": tmp_path / "cache", "max_staleness_s": 0})
            yield name, f"s3://{s3.new_bucket()}/store?{options}", {}
        case "folder":
            options = urlencode({"cache_dir": tmp_path / "cache", "max_staleness_s": 0})
            yield name, f"file://{tmp_path}/bucket?{options}", {}
        case _:
            yield name, f"sqlite:///{tmp_path}/decided.db", {}


def opened(store_of: tuple[str, str, dict[str, Any]]) -> MetadataStore:
    """Return a handle of a store, as each process has its own."""
    _, url, options = store_of
    if not options:
        return open_store(url)
    return RemoteMetadataStore(url, **options)


class Decider:
    """Writes with conditions, in a stream of its own; begins a new one after an unknown outcome."""

    def __init__(self, store: MetadataStore) -> None:
        self.store = store
        self.writer = StreamWriter()
        self.told = 0
        self.meet: Callable[[], object] = int
        """Called once what is there was looked at, and before anything is decided on it."""

    def decide(self, draft: Callable[[StreamWriter], list[Condition]]) -> bool:
        """Return whether a batch was accepted."""
        self.meet()
        seen = len(self.writer.changes)
        expect = draft(self.writer)
        try:
            self.store.apply(self.writer.changes[seen:], expect=expect)
        except PreconditionError:
            del self.writer.changes[seen:]  # its numbers are free
            self.told += 1
            return False
        except StoreUnavailableError:
            self.writer = StreamWriter()
            return False
        return True

    def move(self, project_id: str) -> bool:
        """Move the alias of a project from where it is to a place of its own."""
        seen = self.store.get("project", project_id)
        place = {"champion": new_id(), "before": seen.attributes.get("champion")}

        def draft(writer: StreamWriter) -> list[Condition]:
            writer.update("project", project_id, put={"attributes": place})
            writer.create("comment", place["champion"], message="moved", parent_id=project_id)
            return [RevisionIs("project", project_id, seen.revision)]

        return self.decide(draft)

    def number(self, model_id: str) -> bool:
        """Create the next version of a model."""
        query = Query("model_version", order_by="version desc", within=model_id, limit=1)
        number = max((found.document["version"] for found in self.store.find(query).entities), default=0) + 1
        version_id = new_id()

        def draft(writer: StreamWriter) -> list[Condition]:
            writer.create("model_version", version_id, registered_model_id=model_id, version=number)
            return [Absent("model_version", version_id), Unique("model_version", model_id, "version", number)]

        return self.decide(draft)


def begin(store: MetadataStore) -> tuple[str, str]:
    """Make a project and a model; returns their identifiers."""
    writer = StreamWriter()
    project_id = writer.create_containers(f"decided {new_id()}", "experiment")["project_id"]
    model_id = writer.create("registered_model", name="model", workspace_id=new_id()).entity_id
    store.apply(writer.changes)
    return project_id, model_id


def moves_of(store: MetadataStore, project_id: str) -> list[tuple[str, str]]:
    """Return from where to where the alias moved, in the order of the log."""
    found, after = [], 0
    while True:
        page = store.read_changes(after=after, entity_id=project_id)
        puts = (change.data().get("put", {}).get("attributes") for change in page.changes)
        found += [(put["before"], put["champion"]) for put in puts if put]
        if not page.changes:
            return found
        after = page.cursor


def assert_one_line(moves: list[tuple[str, str]]) -> None:
    assert [before for before, _ in moves] == [None, *(champion for _, champion in moves[:-1])]


@pytest.mark.timeout(36_000 if MOVES else 300)
def test_processes_that_decide_at_once_lose_nothing(store_of: tuple[str, str, dict[str, Any]], tmp_path: Path) -> None:
    each = (MOVES // 10 if store_of[0] == "s3" else MOVES) or FEWER[store_of[0]]
    with opened(store_of) as store:
        assert store.decides
        project_id, model_id = begin(store)

    all_have_looked = multiprocessing.get_context("fork").Barrier(PROCESSES)

    def work() -> None:
        with opened(store_of) as store:
            decider = Decider(store)
            for decide in (lambda: decider.move(project_id), lambda: decider.number(model_id)):
                decider.meet = lambda: all_have_looked.wait(240)  # so that all but one are told the first time
                won = int(decide())
                decider.meet = int
                while won < each:
                    won += decide()
            (tmp_path / f"told {os.getpid()}").write_text(str(decider.told))

    in_children(PROCESSES, work)
    with opened(store_of) as store:
        moves = moves_of(store, project_id)
        assert len(moves) == PROCESSES * each
        assert_one_line(moves)
        query = Query("model_version", order_by="version", within=model_id, limit=PROCESSES * each + 1)
        numbers = [version.document["version"] for version in store.find(query).entities]
        assert numbers == list(range(1, PROCESSES * each + 1))
    name, url, options = store_of
    with opened((name, url.replace("&max_staleness_s=0", ""), options)) as store:  # or each question lists the bucket
        assert verify(store).ok
    told = sum(int(path.read_text()) for path in tmp_path.glob("told *"))
    assert told >= 2 * (PROCESSES - 1), "nobody came between: this shows nothing"


def test_a_process_that_is_killed_has_moved_or_has_not(store_of: tuple[str, str, dict[str, Any]]) -> None:
    with opened(store_of) as store:
        project_id, _ = begin(store)
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                try:
                    with opened(store_of) as own:
                        decider = Decider(own)
                        while True:
                            decider.move(project_id)
                finally:
                    os._exit(1)
            children.append(child)
        try:
            for victim, wanted in enumerate((1, 3, 5)):
                wait_until(lambda wanted=wanted: len(moves_of(store, project_id)) >= wanted)
                os.kill(children[victim], signal.SIGKILL)
                os.waitpid(children[victim], 0)
                children[victim] = 0
        finally:
            for child in filter(None, children):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    with opened(store_of) as store:
        moves = moves_of(store, project_id)
        assert len(moves) >= 5
        assert_one_line(moves)
        comments = {found.entity_id for found in store.find(Query("comment", within=project_id, limit=1000)).entities}
        assert comments == {champion for _, champion in moves}, "a batch is there whole or not at all"
        assert Decider(store).move(project_id)
        assert verify(store).ok


def test_an_answer_that_is_lost_can_be_asked_for_again(served: tuple[ModelDBServer, Path]) -> None:
    server, _ = served
    for cut_after in (200, 700, 1500, 4000):
        with (
            closing(Proxy(server.port, cut_after=cut_after)) as proxy,
            RemoteMetadataStore(server.url, token=TOKEN) as store,
            RemoteMetadataStore(f"http://127.0.0.1:{proxy.port}", token=TOKEN, retry_s=0) as through,
        ):
            project_id, _ = begin(store)
            writer = StreamWriter()
            change = writer.update("project", project_id, put={"attributes": {"a": 1}})
            expect = [RevisionIs("project", project_id, 1)]
            through.heads()
            proxy.mode = "cut"
            outcome = None
            try:
                through.apply([change], expect=expect)
            except StoreUnavailableError as error:
                outcome = error
            proxy.mode = "pass"
            assert change.stream_id in store.heads() or outcome is not None
            through.apply([change], expect=expect)  # the same again: acknowledged, or applied now
            assert store.get("project", project_id).revision == 2
            with pytest.raises(PreconditionError):
                through.apply([StreamWriter().update("project", project_id, set={"name": "x"})], expect=expect)


def test_a_long_batch_that_is_refused_leaves_no_parts(served: tuple[ModelDBServer, Path]) -> None:
    server, artifacts = served
    with RemoteMetadataStore(server.url, token=TOKEN) as store:
        project_id, _ = begin(store)
        writer = StreamWriter()
        writer.update("project", project_id, put={"attributes": {"long": os.urandom(7 << 20).hex()}})
        with pytest.raises(PreconditionError) as caught:
            store.apply(writer.changes, expect=[RevisionIs("project", project_id, 7)])
        assert caught.value.condition == RevisionIs("project", project_id, 7)
        assert caught.value.found == 1
        assert writer.stream_id not in store.heads()
        assert not [path for path in artifacts.rglob("*") if path.is_file() and path.stat().st_size > 1000]
        store.apply(writer.changes, expect=[RevisionIs("project", project_id, 1)])
