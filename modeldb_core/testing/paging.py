"""How a store orders, counts and cuts into pages what it finds, and leaves out what nobody asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from modeldb_core.errors import InvalidArgumentError, QuerySyntaxError
from modeldb_core.log.changes import Head
from modeldb_core.model.entities import Run, now_us
from modeldb_core.queries import MAX_OFFSET, Query
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.letters import LettersCase
from modeldb_core.testing.streams import StreamWriter

if TYPE_CHECKING:
    from modeldb_core.testing.scene import Scene


class PageTests(LettersCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.find` promises about orders, pages, counts and fields, and the pages of heads."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.find, MetadataStore.find_keys, MetadataStore.heads_after)

    def test_orders_put_missing_values_last(self, letters: Scene) -> None:
        cases = {
            "name desc": "fedcba",
            "metrics.auc, name": "dabecf",
            "metrics.auc desc, name": "ebadcf",
            "metrics.loss, name": "afbcde",
            "metrics.loss.max desc, name": "fabcde",
            "hyperparameters.lr, name": "abcdef",
            "hyperparameters.lr desc, name": "cbadef",
            "hyperparameters.flag, name": "bacdef",
            "attributes.text, name": "dcbafe",
            "attributes.seed desc, name": "ecabdf",
            "started_at, name": "bacdef",
            "started_at desc, name desc": "abfedc",
            "duration, name": "abcdef",
            "status, name": "bacdef",
            "metrics.nowhere, name desc": "fedcba",
            "parent_id, project, experiment desc, name": "bacdef",
            "description desc, name": "bacdef",
            "description, name": "cdefab",
            "created_at": "abcdef",
            "": "fedcba",
        }
        found = {order: "".join(letters.names(order_by=order)) for order in cases}
        assert found == cases

    @pytest.mark.parametrize(
        "order_by",
        ["", "name", "metrics.auc desc", "metrics.loss", "hyperparameters.lr desc", "started_at", "status, name desc"],
    )
    @pytest.mark.parametrize("limit", [1, 2, 4])
    def test_pages_add_up_to_the_whole(self, letters: Scene, order_by: str, limit: int) -> None:
        whole = [run.entity_id for run in letters.find(order_by=order_by).entities]
        pages: list[str] = []
        cursor = None
        while True:
            page = letters.find(order_by=order_by, limit=limit, cursor=cursor, count=True)
            assert page.total == 6
            assert len(page.entities) <= limit
            pages += [run.entity_id for run in page.entities]
            cursor = page.cursor
            if cursor is None:
                break
        assert pages == whole
        assert len(set(pages)) == 6

    def test_ties_go_by_falling_identifier(self, scene: Scene) -> None:
        at = now_us()
        ids = []
        for _ in range(5):
            scene.writer.at = at
            ids.append(scene.run("same"))
        scene.ship()
        for order_by in ("", "name", "name desc", "metrics.nowhere"):
            assert [run.entity_id for run in scene.find(order_by=order_by).entities] == sorted(ids, reverse=True)

    def test_a_cursor_stays_where_it_was_while_runs_are_added(self, scene: Scene) -> None:
        for number in range(4):
            scene.run(f"run {number}")
        scene.ship()
        page = scene.find(limit=2)
        scene.run("newer")
        scene.ship()
        assert [run.name for run in scene.find(limit=5, cursor=page.cursor).entities] == ["run 1", "run 0"]

    def test_a_foreign_cursor_is_refused(self, letters: Scene) -> None:
        cursor = letters.find(order_by="name", limit=2).cursor
        for options in ({"order_by": "name desc"}, {"order_by": "name", "filter": "metrics.auc > 0"}, {}):
            with pytest.raises(QuerySyntaxError, match="cursor"):
                letters.find(cursor=cursor, **options)
        for forged in ("", "x", "AAAA", "é", cursor[:-3] if cursor else ""):
            with pytest.raises(QuerySyntaxError, match="cursor"):
                letters.find(order_by="name", cursor=forged)

    def test_a_count_costs_no_entities(self, letters: Scene) -> None:
        page = letters.find("metrics.auc exists", limit=0, count=True)
        assert (page.entities, page.total) == ((), 5)
        assert letters.find().total is None

    def test_deleted_runs_are_counted_where_they_are_asked_for(self, letters: Scene) -> None:
        asked: dict[str, Any] = {"limit": 0, "count": True, "include_deleted": True}
        assert letters.find("metrics.auc exists", **asked).total == 6
        assert letters.find(**asked).total == 7
        assert letters.find('name = "g"', **asked).total == 1
        assert letters.find('name = "g"', limit=0, count=True).total == 0
        keys = {include: self._count_of_auc(letters, include) for include in (False, True)}
        assert keys == {False: 5, True: 6}

    @staticmethod
    def _count_of_auc(letters: Scene, include_deleted: bool) -> int:
        infos = letters.store.find_keys(Query(within=letters.project_id, include_deleted=include_deleted))
        return next(info.count for info in infos if (info.section, info.key) == ("metrics", "auc"))

    @pytest.mark.parametrize(
        "order_by", ["", "name desc", "metrics.auc desc, name", "attributes.text, name", "started_at"]
    )
    def test_an_offset_begins_anywhere_in_the_whole(self, letters: Scene, order_by: str) -> None:
        whole = [run.entity_id for run in letters.find(order_by=order_by).entities]
        for offset in (0, 1, 3, len(whole) - 1, len(whole), len(whole) + 5):
            page = letters.find(order_by=order_by, offset=offset, limit=2, count=True)
            assert [run.entity_id for run in page.entities] == whole[offset : offset + 2], offset
            assert (page.total, page.cursor is None) == (len(whole), offset + 2 >= len(whole))
            if page.cursor is not None:  # it goes on without the offset
                rest = letters.find(order_by=order_by, cursor=page.cursor)
                assert [run.entity_id for run in rest.entities] == whole[offset + 2 :], offset
        some = [run.entity_id for run in letters.find("metrics.auc exists", order_by=order_by).entities]
        page = letters.find("metrics.auc exists", order_by=order_by, offset=2)
        assert [run.entity_id for run in page.entities] == some[2:]
        assert letters.store.find_keys(Query(within=letters.project_id, offset=3)) == letters.store.find_keys(
            Query(within=letters.project_id)
        )

    def test_an_offset_that_cannot_be_is_refused(self, letters: Scene) -> None:
        for wrong in (-1, MAX_OFFSET + 1, 1.0, True, "1", None):
            with pytest.raises(InvalidArgumentError, match="offset"):
                Query(offset=wrong)  # type: ignore[arg-type]
        cursor = letters.find(limit=1).cursor
        with pytest.raises(InvalidArgumentError, match="not at both"):
            letters.find(limit=1, cursor=cursor, offset=1)
        assert letters.find(limit=1, offset=MAX_OFFSET).entities == ()

    def test_a_limit_is_kept(self, letters: Scene) -> None:
        assert len(letters.find(limit=3).entities) == 3
        assert letters.find(limit=6).cursor is None
        assert letters.find(limit=5).cursor is not None

    def test_fields_leave_the_rest_out(self, letters: Scene) -> None:
        fields = ("status", "metrics.auc", "hyperparameters.opt.name", "series.loss", "tags")
        (run,) = letters.find('name = "a"', fields=fields).entities
        assert isinstance(run, Run)
        assert (run.run_id, run.name, run.status, run.tags) == (letters.runs["a"], "a", "finished", ("best", "v1"))
        assert run.metrics == {"auc": 0.9}
        assert run.hyperparameters == {"opt": {"name": "adam"}}
        assert set(run.series) == {"loss"}
        assert run.created_at is not None
        assert (run.description, run.attributes, run.code, run.started_at) == ("", {}, {}, None)
        (run,) = letters.find('name = "a"', fields=("metrics", "duration")).entities
        assert isinstance(run, Run)
        assert run.metrics == {"auc": 0.9, "n": 1, "loss": 2.0}
        assert run.duration_s == 90
        assert (run.hyperparameters, run.series) == ({}, {})
        (run,) = letters.find('name = "f"', fields=("metrics.loss", "metrics.nowhere", "attributes.list")).entities
        assert isinstance(run, Run)
        assert (run.metrics, run.attributes) == ({"loss": 5.0}, {"list": [1, 2]})

    @pytest.mark.parametrize(
        ("filter", "order_by", "fields"),
        [
            ("metrics.auc >", "", None),
            ("nobody = 1", "", None),
            ("", "metrics.auc sideways", None),
            ("", "tags", None),
            ("", "", ("nobody",)),
            ("", "", ("metrics..x",)),
        ],
    )
    def test_what_does_not_parse_is_a_syntax_error(
        self,
        store: MetadataStore,
        filter: str,  # noqa: A002
        order_by: str,
        fields: tuple[str, ...] | None,
    ) -> None:
        with pytest.raises(QuerySyntaxError):
            store.find(Query(filter=filter, order_by=order_by, fields=fields))

    def test_heads_come_in_pages_in_the_order_of_identifiers(self, scene: Scene) -> None:
        scene.ship()
        names = ["B", "a", "a!", "a.b", "ab", "z" * 200, "\u00fc", "\uffff", "\U0001f9ed"]
        writers = [StreamWriter(stream_id=f"{scene.writer.stream_id} {name}") for name in names]
        for writer in writers:
            writer.open()
        scene.store.apply([change for writer in reversed(writers) for change in writer.changes])
        own = [scene.writer.stream_id, *(writer.stream_id for writer in writers)]
        seen, last = list[tuple[str, Head]](), own[0][:-1]
        while last < own[-1] and (page := scene.store.heads_after(last, 3)):
            assert 0 < len(page) <= 3
            seen, last = [*seen, *page.items()], max(page)
        assert [name for name, _ in seen if name in own] == own
        assert [name for name, _ in seen] == sorted({name for name, _ in seen})
        heads = scene.store.heads()
        assert all(heads[name] == head for name, head in seen if name in own)
        assert len(scene.store.heads_after("", 1)) == 1
        assert not scene.store.heads_after("", 0)
        assert list(scene.store.heads_after(own[0], 1)) == own[1:2]
