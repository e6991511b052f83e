"""What a store keeps and whom it serves: reopening, processes that write and die, followers, and closed handles."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from modeldb_core.audit.differences import differences
from modeldb_core.audit.homes import LogHomes
from modeldb_core.audit.verify import SearchRows
from modeldb_core.errors import ConflictError, ModelDBError, NotFoundError
from modeldb_core.log.batches import encode_changes
from modeldb_core.log.changes import alters_entity
from modeldb_core.log.replay import replay
from modeldb_core.model.entities import new_id, now_us
from modeldb_core.queries import Query
from modeldb_core.stores import MetadataStore
from modeldb_core.stores.pages import touch_of
from modeldb_core.testing.scene import MakeStore, Scene, StoreCase
from modeldb_core.testing.streams import StreamWriter, end_of, read_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modeldb_core.log.changes import Change

_CHILD_S = 120.0  # which no process takes that has applied its changes


class LastingTests(StoreCase):
    """What :class:`~modeldb_core.stores.MetadataStore` promises about time: what lasts, and who may use it when."""

    promises: ClassVar[tuple[object, ...]] = (
        MetadataStore,
        MetadataStore.apply,
        MetadataStore.read_changes,
        MetadataStore.read_touches,
        MetadataStore.end_of_log,
        MetadataStore.close,
    )

    # What lasts

    def test_what_was_applied_is_there_after_every_handle_was_closed(self, scene: Scene, make_store: MakeStore) -> None:
        if not self.is_shared:
            pytest.skip("this store cannot be opened twice")
        run_id = scene.run("kept", tags=["kept"], metrics={"auc": 0.5})
        secret = scene.writer.update("run", run_id, put={"attributes": {"secret": "s3cr3t"}})
        scene.writer.append(run_id, {"loss": [1.0, 2.0]})
        scene.ship()
        scene.writer.erase(secret)
        scene.ship()
        before, heads = scene.get(run_id), dict(scene.store.heads())
        scene.store.close()
        with make_store() as again:
            scene.store = again
            assert again.get("run", run_id) == before
            assert again.read_series(run_id, "loss").values.tolist() == [1.0, 2.0]
            assert again.heads()[scene.writer.stream_id] == heads[scene.writer.stream_id]
            assert scene.names('tags contains "kept"') == ["kept"]
            assert scene.names("attributes.secret exists") == []
            stored = again.read_changes(stream_id=scene.writer.stream_id).changes
            assert [change.payload is None for change in stored] == [
                change.seq == secret.seq for change in scene.writer.changes
            ]
            again.apply(scene.writer.changes)
            assert "secret" not in again.get("run", run_id).attributes

    def test_every_answer_follows_from_the_log(self, scene: Scene) -> None:
        """What ``modeldb audit verify`` looks at, for the entities of this test."""
        run_id = scene.run("one", metrics={"auc": float("nan"), "loss": 2**70}, tags=["a"])
        other = StreamWriter()
        scene.writer.append(run_id, {"loss": [1.0, -0.0, float("nan")], "acc": [1.0, 2.0, 3.0]}, steps=[5, 5, -1])
        scene.ship()
        other.append(run_id, {"loss": [7.0]})
        other.update("run", run_id, set={"status": "finished"}, remove={"tags": ["a"]})
        scene.store.apply(other.changes)
        scene.writer.erase(scene.writer.update("run", run_id, put={"attributes": {"gone": 1}}))
        scene.writer.delete("run", run_id)
        scene.ship()
        store, heads = scene.store, scene.store.heads()
        for kind, entity_id in (("run", run_id), ("project", scene.project_id)):
            changes = store.read_changes(entity_id=entity_id).changes
            record = replay(kind, entity_id, [change for change in changes if alters_entity(change)])
            home = LogHomes(store).of(kind, entity_id, record.document)
            expected = record.entity(heads, now_us(), home=home)
            assert list(differences(store.get(kind, entity_id), expected)) == []
            if isinstance(store, SearchRows):
                summaries = {key: record.summary(key) for key in record.series}
                assert list(store.audit_entity(kind, entity_id, record.document, summaries)) == []

    # Batches

    def test_streams_may_alternate_within_a_batch(self, scene: Scene) -> None:
        scene.ship()
        start, entity_id = end_of(scene.store), new_id()
        first, second = StreamWriter(), StreamWriter()
        first.create("run", entity_id, name="one")
        for number in range(3):
            second.update("run", entity_id, set={"name": f"second {number}"}, put={"attributes": {"by": "second"}})
            first.update("run", entity_id, set={"name": f"first {number}"}, put={"attributes": {"by": "first"}})
        mixed = [first.changes[0]]
        for one, other in zip(second.changes, first.changes[1:], strict=True):
            mixed += (one, other)
        scene.store.apply(tuple(mixed))
        assert scene.get(entity_id).name == "first 2"
        assert scene.get(entity_id).attributes == {"by": "first"}
        assert list(scene.store.read_changes(after=start, entity_id=entity_id).changes) == mixed

    def test_two_changes_under_one_number_of_a_batch_are_a_conflict(self, scene: Scene) -> None:
        scene.ship()
        one = StreamWriter()
        run_id = one.create_run(**scene.ids).entity_id
        other = StreamWriter(one.stream_id)
        other.create_run(**scene.ids)
        with pytest.raises(ConflictError, match=one.stream_id):
            scene.store.apply([*one.changes, *other.changes])
        with pytest.raises(NotFoundError):
            scene.store.get("run", run_id)
        assert one.stream_id not in scene.store.heads()

    def test_a_batch_of_thousands_of_changes_arrives(self, scene: Scene) -> None:
        runs = [scene.run(f"run {number:03}", attributes={"n": number}) for number in range(400)]
        for number in range(4):
            for run_id in runs:
                scene.writer.update("run", run_id, put={"attributes": {"round": number}})
        scene.ship()
        page = scene.find("attributes.round = 3", order_by="name", limit=1000, count=True)
        assert [run.entity_id for run in page.entities] == runs
        assert page.total == 400
        assert scene.store.heads()[scene.writer.stream_id].seq == len(scene.writer.changes)

    def test_any_change_renews_the_lease(self, scene: Scene) -> None:
        silent = StreamWriter(at=now_us() - 60_000_000)
        silent.open(lease_s=30)
        run_id = silent.create_run(name="silent", **scene.ids).entity_id
        scene.store.apply(silent.changes)
        assert scene.get(run_id).status == "lost"
        silent.at = now_us()
        silent.append(run_id, {"loss": [1.0]})
        scene.store.apply(silent.changes[-1:])
        assert scene.get(run_id).status == "running"

    # Following

    def test_a_page_of_changes_keeps_its_limit(self, scene: Scene) -> None:
        for number in range(6):
            scene.run(f"run {number}")
        scene.ship()
        stream_id = scene.writer.stream_id
        for limit in (1, 2, 5):
            page = scene.store.read_changes(limit=limit, stream_id=stream_id)
            assert list(page.changes) == scene.writer.changes[:limit]
            rest = scene.store.read_changes(after=page.cursor, stream_id=stream_id)
            assert list(rest.changes) == scene.writer.changes[limit:]

    def test_what_changes_are_about_can_be_followed_without_what_they_say(self, scene: Scene) -> None:
        scene.ship()
        start = scene.store.end_of_log()
        assert start == end_of(scene.store)
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [0.5, 0.25]})
        scene.writer.update("run", run_id, set={"name": "x"})
        scene.writer.beat()
        scene.ship()
        changes = scene.store.read_changes(after=start).changes
        page = scene.store.read_touches(after=start)
        assert page.touches == tuple(map(touch_of, changes))
        assert page.cursor == scene.store.end_of_log() == end_of(scene.store)
        first = scene.store.read_touches(after=start, limit=2)
        assert first.touches == page.touches[:2]
        assert scene.store.read_touches(after=first.cursor).touches == page.touches[2:]
        assert scene.store.read_touches(after=page.cursor).touches == ()

    def test_changes_are_picked_by_entity_and_stream_together(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.ship()
        other = StreamWriter()
        mine = other.update("run", run_id, set={"name": "renamed"})
        other.create_run(**scene.ids)
        scene.store.apply(other.changes)
        picked = scene.store.read_changes(entity_id=run_id, stream_id=other.stream_id)
        assert picked.changes == (mine,)
        assert scene.store.read_changes(entity_id=run_id, stream_id="nowhere").changes == ()

    def test_the_cursor_of_an_empty_page_is_a_place_to_go_on(self, scene: Scene) -> None:
        scene.ship()
        start = end_of(scene.store)
        run_id = new_id()
        pages = [scene.store.read_changes(after=start), scene.store.read_changes(after=start, entity_id=run_id)]
        assert [page.changes for page in pages] == [(), ()]
        change = scene.writer.create("run", run_id, **scene.ids)
        scene.ship()
        for page in pages:
            assert scene.store.read_changes(after=page.cursor, entity_id=run_id).changes == (change,)

    def test_a_follower_misses_nothing_while_others_write(self, scene: Scene, second_store: MetadataStore) -> None:
        """Positions must become visible in their order: a follower never looks back."""
        scene.ship()
        cursor = end_of(second_store)
        writers = [StreamWriter() for _ in range(4)]
        for writer in writers:
            for _ in range(30):
                writer.create("comment", message="x")
        done = threading.Event()
        seen: list[Change] = []

        def follow() -> None:
            nonlocal cursor
            while True:
                was_done = done.is_set()
                page = second_store.read_changes(after=cursor, limit=50)
                seen.extend(page.changes)
                cursor = page.cursor
                if was_done and not page.changes:
                    return

        def write(writer: StreamWriter) -> None:
            for first in range(0, len(writer.changes), 3):
                scene.store.apply(writer.changes[first : first + 3])

        with ThreadPoolExecutor(5) as pool:
            follower = pool.submit(follow)
            try:
                list(pool.map(write, writers))
            finally:
                done.set()
            follower.result(60)
        for writer in writers:
            assert [change for change in seen if change.stream_id == writer.stream_id] == writer.changes

    # Threads, processes and closed handles

    def test_answers_are_no_door_into_the_store(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [1.0, 2.0, 3.0]})
        scene.ship()
        for options in ({}, {"steps": (0, 5)}, {"max_points": 10}):
            series = scene.store.read_series(run_id, "loss", **options)
            for part in (series.values, series.steps, series.times):
                with suppress(ValueError):  # an array that may only be read
                    part[:] = np.zeros(len(part), part.dtype)
        assert scene.store.read_series(run_id, "loss").values.tolist() == [1.0, 2.0, 3.0]
        heads: Any = scene.store.heads()
        with suppress(TypeError, AttributeError):  # a mapping that may only be read
            heads.clear()
        assert scene.writer.stream_id in scene.store.heads()

    def test_a_closed_store_answers_or_refuses_in_a_sentence(self, scene: Scene) -> None:
        run_id = scene.run()
        scene.writer.append(run_id, {"loss": [1.0]})
        scene.ship()
        store = scene.store
        store.close()
        questions: list[Callable[[], object]] = [
            lambda: store.get("run", run_id),
            lambda: store.find(Query(within=scene.project_id)),
            lambda: store.find_keys(Query(within=scene.project_id)),
            lambda: store.read_series(run_id, "loss"),
            lambda: store.read_changes(limit=1),
            store.heads,
            lambda: store.apply(scene.writer.changes),
        ]
        for question in questions:
            with suppress(ModelDBError):
                question()
        store.close()

    def test_processes_that_write_at_once_and_one_that_is_killed(self, scene: Scene, process_url: str | None) -> None:
        """Three processes, two of them with the same stream; what a process was told is stored survives its death."""
        if process_url is None:
            pytest.skip("no URL by which another process can open this store; override the fixture process_url")
        own, shared = _stream(scene), _stream(scene)
        scene.ship()
        with _children(process_url, [own, shared, shared]) as (victim, first, second):
            acknowledged = 0
            while acknowledged < 15:
                acknowledged = _told(victim)
            victim.kill()
            for child in (first, second):
                while _told(child) < len(shared.changes):
                    pass
                assert child.wait(_CHILD_S) == 0, _complaint(child)
        arrived = scene.store.heads()[own.stream_id].seq
        assert arrived >= acknowledged
        stored = read_stream(scene.store, own.stream_id)
        assert stored == own.changes[:arrived]
        scene.store.apply(own.changes)  # sent again from the beginning, as after any failure
        for writer in (own, shared):
            assert read_stream(scene.store, writer.stream_id) == writer.changes
            run_id = writer.changes[0].entity_id
            count = len(writer.changes) - 1
            assert scene.store.read_series(run_id, "loss").values.tolist() == [float(step) for step in range(count)]
            assert scene.get(run_id).series["loss"].count == count


def _stream(scene: Scene) -> StreamWriter:
    writer = StreamWriter()
    run_id = writer.create_run(**scene.ids).entity_id
    for step in range(89):
        writer.append(run_id, {"loss": [float(step)]}, steps=[step])
    return writer


@contextmanager
def _children(url: str, writers: list[StreamWriter]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes that each apply a stream to the store at ``url``; all are gone afterwards."""
    with ExitStack() as ends:
        processes = []
        for writer in writers:
            process = subprocess.Popen(
                [sys.executable, "-m", "modeldb_core.testing.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "MODELDB_URL": url},  # not on the command line: it may hold a password
            )
            ends.enter_context(process)  # closes its pipes and waits
            ends.callback(process.kill)
            processes.append(process)
            assert process.stdin is not None
            process.stdin.write(encode_changes(writer.changes))
            process.stdin.close()
        yield processes


def _told(child: subprocess.Popen[bytes]) -> int:
    """Return how many changes a process says are stored."""
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, _complaint(child)
    return int(line)


def _complaint(child: subprocess.Popen[bytes]) -> str:
    child.kill()
    assert child.stderr is not None
    return f"a process that applied changes ended: {child.stderr.read().decode(errors='replace')}"
