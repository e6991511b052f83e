"""Stores that each break one promise, and the suites over them: ``test_suite_catches.py`` runs these.

A store stands here for every mistake that the suites once could not see, and for those that authors make most often.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError, QuerySyntaxError
from modeldb_core.log.changes import EMPTY_HEAD
from modeldb_core.log.conditions import Absent, Instant, RevisionIs, Unique, Unset, ValueIs, asked_for, check_conditions
from modeldb_core.log.erasures import target_of
from modeldb_core.log.plots import draw
from modeldb_core.log.points import Series
from modeldb_core.log.replay import Record
from modeldb_core.model.claims import claims_of
from modeldb_core.model.entities import now_us
from modeldb_core.model.homes import Home, home_of
from modeldb_core.model.schema import KINDS, check_kind
from modeldb_core.queries import decode_cursor
from modeldb_core.stores import ArtifactStore, BlobInfo, ChangePage
from modeldb_core.stores.naming import derive
from modeldb_core.testing import ArtifactStoreTests, MetadataStoreTests

# Metadata stores: what is broken is what differs from the reference


class IgnoresSteps(MemoryStore):
    def read_series(self, run_id, key, *, steps=None, max_points=None):
        return super().read_series(run_id, key, max_points=max_points)


class IncludesOneEndOfARange(MemoryStore):
    def read_series(self, run_id, key, *, steps=None, max_points=None):
        steps = None if steps is None else (steps[0], steps[1] - 1)
        return super().read_series(run_id, key, steps=steps, max_points=max_points)


class DrawsThinnedOutPoints(MemoryStore):
    def plot_series(self, run_id, key, canvas):
        return draw(self.read_series(run_id, key, steps=canvas.steps, max_points=4 * canvas.columns), canvas)


class ThinsOutByTakingEveryNth(MemoryStore):
    def read_series(self, run_id, key, *, steps=None, max_points=None):
        found = super().read_series(run_id, key, steps=steps)
        if max_points is None:
            return found
        order = np.argsort(found.steps, kind="stable")
        chosen = order[:: max(1, -(-len(order) // max_points))]
        return Series(run_id, key, found.steps[chosen], found.times[chosen], found.values[chosen], found.total)


class OrdersPointsByStep(MemoryStore):
    def read_series(self, run_id, key, *, steps=None, max_points=None):
        found = super().read_series(run_id, key, steps=steps, max_points=max_points)
        order = np.argsort(found.steps, kind="stable")
        return Series(run_id, key, found.steps[order], found.times[order], found.values[order], found.total)


class HandsOutItsArrays(MemoryStore):
    def __init__(self):
        super().__init__()
        self._kept = {}

    def read_series(self, run_id, key, *, steps=None, max_points=None):
        asked = (run_id, key, steps, max_points)
        return self._kept.setdefault(asked, super().read_series(run_id, key, steps=steps, max_points=max_points))

    def apply(self, changes):
        super().apply(changes)
        self._kept.clear()


class HandsOutItsHeads(MemoryStore):
    def heads(self):
        return self._heads


class PagesHeadsAsTheyCame(MemoryStore):
    def heads_after(self, stream_id, limit=1000):
        names = list(self.heads())
        start = names.index(stream_id) + 1 if stream_id else 0
        return {name: self.head(name) for name in names[start : start + limit]}


class SkipsWithoutComparing(MemoryStore):
    def _hash_at(self, stream_id, seq):
        return SimpleNamespace(__eq__=lambda *_: True)

    def _check(self, changes):
        new = [change for change in changes if change.seq > self._heads.get(change.stream_id, EMPTY_HEAD).seq]
        return super()._check(new)


class TakesWhatComesTwiceInABatch(MemoryStore):
    def apply(self, changes):
        known = {}
        for change in changes:
            known.setdefault((change.stream_id, change.seq), change)
        super().apply(list(known.values()))


class AppliesOneByOne(MemoryStore):
    def apply(self, changes):
        for change in changes:
            super().apply([change])


class ShowsABatchBitByBit(MemoryStore):
    def apply(self, changes):
        self._check(changes)
        for change in changes:
            super().apply([change])
            time.sleep(0.0005)


class TakesGaps(MemoryStore):
    def apply(self, changes):
        try:
            super().apply(changes)
        except Exception as error:
            if type(error).__name__ != "StreamGapError":
                raise


class TakesWhatMeansNothing(MemoryStore):
    def apply(self, changes):
        try:
            super().apply(changes)
        except InvalidArgumentError:
            sound = [change for change in changes if change.seq == 1]
            super().apply(sound)


class TakesWithheldForErased(MemoryStore):
    def apply(self, changes):
        super().apply([change.erased() if change.withheld else change for change in changes])


class SaysNotWhichNumberIsMissing(MemoryStore):
    def apply(self, changes):
        from modeldb_core.errors import StreamGapError

        try:
            super().apply(changes)
        except StreamGapError as error:
            raise StreamGapError(str(error), expected=0) from error


class BelievesEveryHash(MemoryStore):
    def _check(self, changes):
        import modeldb_core.backends.memory as module

        verify, module.verify_change = module.verify_change, lambda *_: None
        try:
            return super()._check(changes)
        finally:
            module.verify_change = verify


class KeepsErasedPayloads(MemoryStore):
    def apply(self, changes):
        before = {(change.stream_id, change.seq): change for change in self._log}
        super().apply(changes)
        before.update({(change.stream_id, change.seq): change for change in changes})
        self._log = [before[change.stream_id, change.seq] for change in self._log]


class KeepsWhatAnErasedChangeSaid(MemoryStore):
    def apply(self, changes):
        records = dict(self._records)
        super().apply(changes)
        if any(change.action == "erase" for change in changes):
            self._records = records


class ForgetsErasuresThatComeFirst(MemoryStore):
    def apply(self, changes):
        super().apply(changes)
        self._erasing = set()


class ErasesWhateverItIsTold(MemoryStore):
    def _find_erased(self, log, names):
        return {target.place for change in log if (target := target_of(change)) is not None}


class ErasesWhatWasDeletedAMomentAgo(MemoryStore):
    def _find_erased(self, log, names):
        early = [replace(c, payload=b'{"window_s": 0}') if c.action == "delete" else c for c in log]
        return super()._find_erased(early, names)


class TakesARenewedLeaseOnlyFromBeats(MemoryStore):
    def apply(self, changes):
        before = dict(self._heads)
        super().apply(changes)
        for stream_id, head in self._heads.items():
            if stream_id in before and all(c.action != "beat" for c in changes if c.stream_id == stream_id):
                self._heads[stream_id] = dataclasses.replace(head, recorded_at=before[stream_id].recorded_at)


class NeverLosesARun(MemoryStore):
    def get(self, kind, entity_id):
        entity = super().get(kind, entity_id)
        if kind == "run" and entity.status == "lost":
            return dataclasses.replace(entity, status="running")
        return entity


class FiltersByTheStoredStatus(MemoryStore):
    def _column(self, record, column):
        if column == "status":
            return record.document.get("status", "running")
        return super()._column(record, column)


class CountsThePageOnly(MemoryStore):
    def find(self, query):
        page = super().find(query)
        return dataclasses.replace(page, total=len(page.entities) if query.count else None)


class CountsWithoutTheContainer(MemoryStore):
    def find(self, query):
        page = super().find(query)
        if not query.count:
            return page
        return dataclasses.replace(page, total=super().find(dataclasses.replace(query, within=None, cursor=None)).total)


class ForgetsTheContainer(MemoryStore):
    def find(self, query):
        try:
            return super().find(dataclasses.replace(query, within=None))
        except QuerySyntaxError:
            return super().find(query)


class LooksWithinTheFirstContainerOnly(MemoryStore):
    def _matching(self, query):
        within = query.within
        return super()._matching(dataclasses.replace(query, within=within[:1] if isinstance(within, tuple) else within))


class IgnoresTheOffset(MemoryStore):
    def find(self, query):
        return super().find(dataclasses.replace(query, offset=0))


class CountsFromTheOffset(MemoryStore):
    def find(self, query):
        page = super().find(query)
        return page if page.total is None else dataclasses.replace(page, total=max(page.total - query.offset, 0))


class FindsEverythingWithinNothing(MemoryStore):
    def _matching(self, query):
        return super()._matching(dataclasses.replace(query, within=query.within or None))


class KnowsNoContainersOfContainers(MemoryStore):
    def _home(self, record):
        return home_of(record.kind, record.entity_id, record.document, lambda *_: None)


class BelievesWhatDocumentsSayOfWhereTheyLie(MemoryStore):
    def _home(self, record):
        said = [record.document.get(name) for name in ("workspace_id", "project_id")]
        return Home(*(text if isinstance(text, str) else "" for text in said)).or_else(super()._home(record))


class LooksForDirectPartsOnly(MemoryStore):
    def _containers(self, record):
        return {record.document.get(field.name) for field in KINDS[record.kind].containers}


class TakesAnyCursorWithin(MemoryStore):
    def find(self, query):
        try:
            return super().find(query)
        except QuerySyntaxError:
            return super().find(dataclasses.replace(query, cursor=None))


class IgnoresLinks(MemoryStore):
    def _linked(self, linked):
        return None


class FollowsLinksOneWay(MemoryStore):
    def _linked(self, linked):
        return super()._linked(linked and dataclasses.replace(linked, direction="to"))


class TakesOneEntityOfALink(MemoryStore):
    def _linked(self, linked):
        return super()._linked(linked and dataclasses.replace(linked, entity_id=linked.entity_ids[0]))


class FollowsOneLink(MemoryStore):
    def _linked(self, linked):
        return super()._linked(linked and dataclasses.replace(linked, depth=1))


class ForgetsTheFieldOfALink(MemoryStore):
    def _linked(self, linked):
        return super()._linked(linked and dataclasses.replace(linked, field=""))


class RefusesWhatItDoesNotKnow(MemoryStore):
    def apply(self, changes, *, expect=()):
        for change in changes:
            check_kind("run" if change.kind == "stream" else change.kind)
        super().apply(changes, expect=expect)


class ShowsTheDeleted(MemoryStore):
    def find(self, query):
        return super().find(dataclasses.replace(query, include_deleted=True, cursor=None))


class CountsKeysOfTheDeleted(MemoryStore):
    def find_keys(self, query):
        return super().find_keys(dataclasses.replace(query, include_deleted=True))


class GroupsTheDeleted(MemoryStore):
    def find_groups(self, query, by, measures=()):
        return super().find_groups(dataclasses.replace(query, include_deleted=True), by, measures)


class GroupsWhatLooksAlike(MemoryStore):
    def find_groups(self, query, by, measures=()):
        page = super().find_groups(query, by, measures)
        groups = tuple(dataclasses.replace(group, value=group.value and str(group.value)) for group in page.groups)
        return dataclasses.replace(page, groups=groups)


class AlwaysGivesACursor(MemoryStore):
    def find(self, query):
        from modeldb_core.queries import effective_order, encode_cursor, order_value

        page = super().find(query)
        if page.cursor is None and page.entities:
            last = self._records[query.kind, page.entities[-1].entity_id]
            place = [order_value(self._look_up(last, criterion.field)) for criterion in effective_order(query)]
            return dataclasses.replace(page, cursor=encode_cursor(query, place))
        return page


class TakesAnyCursor(MemoryStore):
    def find(self, query):
        try:
            decode_cursor(query)
        except QuerySyntaxError:
            query = dataclasses.replace(query, cursor=None)
        return super().find(query)


class PutsMissingValuesFirst(MemoryStore):
    def find(self, query):
        page = super().find(query)
        if not query.order_by.startswith("metrics."):
            return page
        key = query.order_by.split(",")[0].split()[0].partition(".")[2]
        there = [key in entity.metrics for entity in page.entities]
        ordered = [entity for _, entity in sorted(zip(there, page.entities, strict=True), key=lambda pair: pair[0])]
        return dataclasses.replace(page, entities=tuple(ordered))


class BreaksTiesByRisingIdentifier(MemoryStore):
    def find(self, query):
        page = super().find(query)
        if query.order_by == "name" and len({entity.name for entity in page.entities}) == 1:
            return dataclasses.replace(page, entities=tuple(reversed(page.entities)))
        return page


class ReturnsWholeEntities(MemoryStore):
    def find(self, query):
        return super().find(dataclasses.replace(query, fields=None))


class ForgetsTheLimitOfKeys(MemoryStore):
    def find_keys(self, query):
        return super().find_keys(dataclasses.replace(query, limit=100_000))


class ReturnsALongerPageOfChanges(MemoryStore):
    def read_changes(self, *, after=0, limit=1000, entity_id=None, stream_id=None):
        return super().read_changes(after=after, limit=limit + 1, entity_id=entity_id, stream_id=stream_id)


class PicksByEntityOnly(MemoryStore):
    def read_changes(self, *, after=0, limit=1000, entity_id=None, stream_id=None):
        stream_id = None if entity_id else stream_id
        return super().read_changes(after=after, limit=limit, entity_id=entity_id, stream_id=stream_id)


class GivesTheEndOfItsLogAsCursor(MemoryStore):
    """Positions that are given out before they are seen: what arrives a little later under them is never read."""

    def read_changes(self, *, after=0, limit=1000, entity_id=None, stream_id=None):
        page = super().read_changes(after=after, limit=limit, entity_id=entity_id, stream_id=stream_id)
        return page if page.changes else ChangePage((), page.cursor + 2)


class OrdersTheLogByTime(MemoryStore):
    def read_changes(self, *, after=0, limit=1000, entity_id=None, stream_id=None):
        log = self._log
        self._log = sorted(log, key=lambda change: change.recorded_at)
        try:
            return super().read_changes(after=after, limit=limit, entity_id=entity_id, stream_id=stream_id)
        finally:
            self._log = log


class RaisesItsDriversErrorWhenClosed(MemoryStore):
    def close(self):
        self._records = None

    def get(self, kind, entity_id):
        if self._records is None:
            msg = "cannot operate on a closed database"
            raise RuntimeError(msg)
        return super().get(kind, entity_id)


class ComplainsOfASecondClose(MemoryStore):
    closed = False

    def close(self):
        if self.closed:
            msg = "already closed"
            raise RuntimeError(msg)
        self.closed = True


class TurnsIntegersIntoFloats(MemoryStore):
    def get(self, kind, entity_id):
        entity = super().get(kind, entity_id)
        if kind != "run":
            return entity
        attributes = {
            key: float(value) if type(value) is int and abs(value) < 1e300 else value
            for key, value in entity.attributes.items()
        }
        return dataclasses.replace(entity, attributes=attributes)


class DropsWhatItDoesNotKnow(MemoryStore):
    def get(self, kind, entity_id):
        entity = super().get(kind, entity_id)
        known = {key: value for key, value in entity.document.items() if key != "invented_later"}
        return dataclasses.replace(entity, document=known)


class ForgetsMinusZero(MemoryStore):
    def get(self, kind, entity_id):
        entity = super().get(kind, entity_id)
        if kind != "run":
            return entity
        return dataclasses.replace(
            entity,
            series={
                key: dataclasses.replace(item, last=item.last + 0.0, first=item.first + 0.0)
                for key, item in entity.series.items()
            },
        )


class TakesAKeyForItsLowerCase(MemoryStore):
    def read_series(self, run_id, key, *, steps=None, max_points=None):
        return super().read_series(run_id, key.lower(), steps=steps, max_points=max_points)


class ForgetsItselfWhenClosed(MemoryStore):
    """Two handles share everything, until the last one is closed: a store that never reached its disk."""

    shared = None
    handles = 0

    @classmethod
    def open(cls):
        if cls.shared is None:
            cls.shared = cls()
        cls.handles += 1
        return cls.shared

    def close(self):
        cls = type(self)
        cls.handles -= 1
        if cls.handles <= 0:
            cls.shared = None


class MergesBySendersOrder(MemoryStore):
    """Applies a batch stream by stream."""

    def apply(self, changes):
        super().apply(sorted(changes, key=lambda change: change.stream_id))


class SummarizesTheLastBatchOnly(MemoryStore):
    def get(self, kind, entity_id):
        record = self._records.get((kind, entity_id))
        if record is None or not record.series:
            return super().get(kind, entity_id)
        cut = Record(kind, entity_id, record.document, {key: item[-1:] for key, item in record.series.items()})
        return cut.entity(self._heads, now_us())


def _forgets(forgotten):
    """Return an ``apply`` that does not look at one kind of condition."""

    def apply(self, changes, *, expect=()):
        MemoryStore.apply(self, changes, expect=[each for each in expect if not isinstance(each, forgotten)])

    return apply


class ForgetsAbsent(MemoryStore):
    apply = _forgets(Absent)


class ForgetsRevisions(MemoryStore):
    apply = _forgets(RevisionIs)


class ForgetsValues(MemoryStore):
    apply = _forgets(ValueIs)


class ForgetsUnset(MemoryStore):
    apply = _forgets(Unset)


class ForgetsUnique(MemoryStore):
    apply = _forgets(Unique)


class AppliesBeforeItLooks(MemoryStore):
    def apply(self, changes, *, expect=()):
        documents = {name: record.document for name, record in self._records.items()}
        held = self.holders(asked_for(expect)[1])
        super().apply(changes)
        check_conditions(expect, Instant(documents, held))


class LooksBeforeItsLock(MemoryStore):
    def apply(self, changes, *, expect=()):
        if expect and any(change.seq > self._heads.get(change.stream_id, EMPTY_HEAD).seq for change in changes):
            documents = {name: record.document for name, record in list(self._records.items())}
            check_conditions(expect, Instant(documents, self.holders(asked_for(expect)[1])))
            time.sleep(0.002)
        super().apply(changes)


class LooksAtWhatItBrings(MemoryStore):
    def apply(self, changes, *, expect=()):
        copied = MemoryStore()
        copied.apply([*self._log, *changes])
        documents = {name: record.document for name, record in copied._records.items()}
        if any(change.seq > self._heads.get(change.stream_id, EMPTY_HEAD).seq for change in changes):
            check_conditions(
                [each for each in expect if isinstance(each, Absent)], Instant(documents, copied.holders([]))
            )
        super().apply(changes, expect=expect)


class LooksAgainAtWhatItHas(MemoryStore):
    def apply(self, changes, *, expect=()):
        documents = {name: record.document for name, record in self._records.items()}
        check_conditions(expect, Instant(documents, self.holders(asked_for(expect)[1])))
        super().apply(changes)


class TakesTheDeletedForAbsent(MemoryStore):
    def apply(self, changes, *, expect=()):
        kept = [
            each
            for each in expect
            if not isinstance(each, Absent)
            or (self.document(each.kind, each.entity_id) or {}).get("deleted_at") is None
        ]
        super().apply(changes, expect=kept)


class KeepsTheNamesOfTheDeleted(MemoryStore):
    def holders(self, claims):
        claims = set(claims)
        found = super().holders(claims)
        for record in self._records.values():
            without = {name: value for name, value in record.document.items() if name != "deleted_at"}
            found.update(dict.fromkeys(claims_of(record.kind, without) & claims, record.entity_id))
        return found


class ComparesNamesByteByByte(MemoryStore):
    def apply(self, changes, *, expect=()):
        taken = {record.document.get("name") for record in self._records.values()}
        kept = [each for each in expect if not isinstance(each, Unique) or each.value in taken]
        super().apply(changes, expect=kept)


class LetsTheFirstToArriveKeepTheName(MemoryStore):
    def history(self, kind, entity_id):
        return [replace(change, recorded_at=0) for change in super().history(kind, entity_id)]


class DerivesNamesOnly(MemoryStore):
    def identify(self, *path):
        return derive(path)


class LetsTwoHaveOneNumber(MemoryStore):
    def holders(self, claims):
        return {claim: holder for claim, holder in super().holders(claims).items() if claim.field == "name"}


BROKEN_STORES = {
    LooksWithinTheFirstContainerOnly: "test_one_of_several_containers_is_enough",
    IgnoresTheOffset: "test_an_offset_begins_anywhere_in_the_whole",
    CountsFromTheOffset: "test_an_offset_begins_anywhere_in_the_whole",
    FindsEverythingWithinNothing: "test_within_no_container_there_is_nothing",
    KnowsNoContainersOfContainers: "test_everything_lies_in_a_workspace_and_a_project",
    BelievesWhatDocumentsSayOfWhereTheyLie: "test_what_a_document_says_of_where_it_lies_counts_for_nothing",
    LooksForDirectPartsOnly: "test_a_container_that_arrives_late_says_where_its_parts_lie",
    TakesAnyCursorWithin: "test_pages_within_several_containers_add_up",
    IgnoresLinks: "test_links_lead_to_what_refers_to_an_entity",
    FollowsLinksOneWay: "test_links_lead_to_what_an_entity_refers_to",
    TakesOneEntityOfALink: "test_links_to_several_entities_are_asked_for_at_once",
    FollowsOneLink: "test_links_are_followed_as_deep_as_asked_for",
    ForgetsTheFieldOfALink: "test_links_can_be_asked_for_by_field",
    RefusesWhatItDoesNotKnow: "test_what_a_newer_client_says_is_carried",
    ForgetsAbsent: "test_a_condition_that_does_not_hold_refuses_the_batch",
    ForgetsRevisions: "test_a_condition_that_does_not_hold_refuses_the_batch",
    ForgetsValues: "test_a_condition_that_does_not_hold_refuses_the_batch",
    ForgetsUnset: "test_a_condition_that_does_not_hold_refuses_the_batch",
    ForgetsUnique: "test_a_condition_that_does_not_hold_refuses_the_batch",
    AppliesBeforeItLooks: "test_a_condition_that_does_not_hold_refuses_the_batch",
    LooksBeforeItsLock: "test_of_writers_at_once_one_wins_and_the_others_are_told",
    LooksAtWhatItBrings: "test_conditions_are_about_what_was_there_before_the_batch",
    LooksAgainAtWhatItHas: "test_a_batch_that_was_applied_is_acknowledged_again",
    TakesTheDeletedForAbsent: "test_a_deleted_entity_is_not_absent",
    KeepsTheNamesOfTheDeleted: "test_a_name_is_free_once_its_entity_is_renamed_or_deleted",
    ComparesNamesByteByByte: "test_names_are_equal_after_normalization",
    LetsTheFirstToArriveKeepTheName: "test_of_two_that_claim_a_name_the_later_one_is_renamed",
    DerivesNamesOnly: "test_a_name_leads_to_the_entity_that_has_it",
    LetsTwoHaveOneNumber: "test_versions_that_claim_one_number_get_the_next_ones_by_their_times",
    IgnoresSteps: "test_a_range_of_steps_includes_both_ends",
    DrawsThinnedOutPoints: "test_a_plot_sums_up_the_points_of_each_pixel_column",
    IncludesOneEndOfARange: "test_a_range_of_steps_includes_both_ends",
    ThinsOutByTakingEveryNth: "test_thinning_out_keeps_extremes_and_says_how_many_there_are",
    OrdersPointsByStep: "test_points_keep_the_order_of_logging",
    HandsOutItsArrays: "test_answers_are_no_door_into_the_store",
    HandsOutItsHeads: "test_answers_are_no_door_into_the_store",
    PagesHeadsAsTheyCame: "test_heads_come_in_pages_in_the_order_of_identifiers",
    SkipsWithoutComparing: "test_another_change_under_a_known_number_is_a_conflict",
    TakesWhatComesTwiceInABatch: "test_two_changes_under_one_number_of_a_batch_are_a_conflict",
    AppliesOneByOne: "test_a_conflict_anywhere_in_a_batch_stops_all_of_it",
    ShowsABatchBitByBit: "test_readers_see_a_batch_whole_or_not_at_all",
    TakesWhatMeansNothing: "test_content_that_no_writer_makes_is_refused",
    TakesWithheldForErased: "test_a_change_whose_payload_was_withheld_is_refused_and_never_taken_for_an_erased_one",
    TakesGaps: "test_a_stream_that_begins_late_is_a_gap",
    SaysNotWhichNumberIsMissing: "test_a_missing_number_is_a_gap_and_says_which_one",
    BelievesEveryHash: "test_an_altered_change_is_refused",
    KeepsErasedPayloads: "test_erased_payload_is_gone_and_the_chain_verifies",
    KeepsWhatAnErasedChangeSaid: "test_erased_payload_is_gone_and_the_chain_verifies",
    ForgetsErasuresThatComeFirst: "test_what_was_erased_before_it_arrived_stays_out",
    ErasesWhateverItIsTold: "test_others_erase_nothing_of_what_is_not_deleted",
    ErasesWhatWasDeletedAMomentAgo: "test_others_erase_only_what_cannot_be_restored_any_more",
    TakesARenewedLeaseOnlyFromBeats: "test_any_change_renews_the_lease",
    NeverLosesARun: "test_a_run_whose_writer_went_silent_is_lost",
    FiltersByTheStoredStatus: "test_a_run_whose_writer_went_silent_is_lost",
    CountsThePageOnly: "test_pages_add_up_to_the_whole",
    CountsWithoutTheContainer: "test_deleted_runs_are_counted_where_they_are_asked_for",
    ForgetsTheContainer: "test_numbers_compare",
    ShowsTheDeleted: "test_deleted_entities_hide_and_come_back",
    CountsKeysOfTheDeleted: "test_deleted_runs_are_counted_where_they_are_asked_for",
    GroupsTheDeleted: "test_deleted_entities_make_groups_only_where_they_are_asked_for",
    GroupsWhatLooksAlike: "test_values_of_any_type_make_groups_and_so_do_entities_without_one",
    AlwaysGivesACursor: "test_a_limit_is_kept",
    TakesAnyCursor: "test_a_foreign_cursor_is_refused",
    PutsMissingValuesFirst: "test_orders_put_missing_values_last",
    BreaksTiesByRisingIdentifier: "test_ties_go_by_falling_identifier",
    ReturnsWholeEntities: "test_fields_leave_the_rest_out",
    ForgetsTheLimitOfKeys: "test_keys_of_some_runs_only",
    ReturnsALongerPageOfChanges: "test_a_page_of_changes_keeps_its_limit",
    PicksByEntityOnly: "test_changes_are_picked_by_entity_and_stream_together",
    GivesTheEndOfItsLogAsCursor: "test_the_cursor_of_an_empty_page_is_a_place_to_go_on",
    OrdersTheLogByTime: "test_changes_come_in_the_order_of_their_arrival",
    RaisesItsDriversErrorWhenClosed: "test_a_closed_store_answers_or_refuses_in_a_sentence",
    ComplainsOfASecondClose: "test_closing_twice_is_no_error",
    TurnsIntegersIntoFloats: "test_values_come_back_exactly",
    DropsWhatItDoesNotKnow: "test_fields_of_a_newer_version_are_kept",
    ForgetsMinusZero: "test_summaries_keep_minus_zero",
    TakesAKeyForItsLowerCase: "test_what_is_not_there_is_not_found",
    ForgetsItselfWhenClosed: "test_what_was_applied_is_there_after_every_handle_was_closed",
    MergesBySendersOrder: "test_streams_may_alternate_within_a_batch",
    SummarizesTheLastBatchOnly: "test_summaries_say_what_a_series_holds",
}
"""Broken stores, and the test that must notice."""


# Artifact stores


class Dictionary(ArtifactStore):
    """A sound one, in which the others break something."""

    url = "dictionary://"
    blobs: dict[str, bytes]

    def __init__(self):
        self.blobs = {}

    def put(self, stream, *, digest=None):
        if digest is not None:
            self.check(digest)
        content = stream.read()
        found = hashlib.sha256(content).hexdigest()
        if digest not in (None, found):
            msg = f"the content hashes to {found}, not to {digest}"
            raise IntegrityError(msg)
        self.blobs[found] = content
        return BlobInfo(found, len(content))

    def open(self, digest):
        return Checked(digest, self.content(digest))

    def stat(self, digest):
        return BlobInfo(digest, len(self.content(digest)))

    def list(self):
        return iter([BlobInfo(digest, len(content)) for digest, content in self.blobs.items()])

    def delete(self, digest):
        self.check(digest)
        self.blobs.pop(digest, None)

    def close(self):
        pass

    def content(self, digest):
        self.check(digest)
        if digest not in self.blobs:
            msg = f"there is no blob {digest}"
            raise NotFoundError(msg)
        return self.blobs[digest]

    @staticmethod
    def check(digest):
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            msg = f"{digest!r} is not a digest"
            raise InvalidArgumentError(msg)


class Checked(io.BytesIO):
    def __init__(self, digest, content):
        super().__init__(content)
        self.is_sound = hashlib.sha256(content).hexdigest() == digest
        self.digest = digest

    def read(self, size=-1):
        if not self.is_sound:
            msg = f"blob {self.digest} is damaged"
            raise IntegrityError(msg)
        return super().read(size)


class NeverVerifies(Dictionary):
    def open(self, digest):
        return io.BytesIO(self.content(digest))


class BelievesTheCallersDigest(Dictionary):
    def put(self, stream, *, digest=None):
        if digest is None:
            return super().put(stream)
        self.check(digest)
        self.blobs[digest] = content = stream.read()
        return BlobInfo(digest, len(content))


class TrustsWhatIsThere(Dictionary):
    def put(self, stream, *, digest=None):
        if digest in self.blobs:
            return BlobInfo(digest, len(self.blobs[digest]))
        return super().put(stream, digest=digest)


class KeepsHalfABlob(Dictionary):
    def put(self, stream, *, digest=None):
        content = b""
        try:
            while part := stream.read(1000):
                content += part
        finally:
            found = hashlib.sha256(content).hexdigest()
            if digest in (None, found):
                self.blobs[found] = content
        return super().put(io.BytesIO(content), digest=digest)


class RewindsTheStream(Dictionary):
    def put(self, stream, *, digest=None):
        if stream.seekable():
            stream.seek(0)
        return super().put(stream, digest=digest)


class ClosesTheStream(Dictionary):
    def put(self, stream, *, digest=None):
        with stream:
            return super().put(stream, digest=digest)


class MissesTheDeletion(Dictionary):
    def list(self):
        self.seen = getattr(self, "seen", {}) | self.blobs
        return iter([BlobInfo(digest, len(content)) for digest, content in self.seen.items()])

    def put(self, stream, *, digest=None):
        info = super().put(stream, digest=digest)
        list(self.list())
        return info


class TakesAnythingForADigest(Dictionary):
    @staticmethod
    def check(digest):
        pass


BROKEN_ARTIFACTS = {
    NeverVerifies: "test_damage_shows_when_a_blob_is_read",
    BelievesTheCallersDigest: "test_content_must_hash_to_what_was_said",
    TrustsWhatIsThere: "test_other_content_under_a_known_digest_is_refused",
    KeepsHalfABlob: "test_a_source_that_fails_leaves_nothing",
    RewindsTheStream: "test_a_stream_is_read_from_its_position",
    ClosesTheStream: "test_the_stream_of_the_caller_stays_open",
    MissesTheDeletion: "test_deleted_blobs_are_gone",
    TakesAnythingForADigest: "test_what_is_no_digest_reaches_nothing",
}


def _suite(store):
    """Return the suite over a broken store, as a class that pytest finds."""

    class Suite(MetadataStoreTests):
        is_shared = store is ForgetsItselfWhenClosed

        @pytest.fixture
        def make_store(self):
            return store.open if self.is_shared else store

    return Suite


def _artifact_suite(store):
    class Suite(ArtifactStoreTests):
        @pytest.fixture
        def make_artifacts(self):
            one = store()
            return lambda: one

        def damage(self, store, digest, content):
            store.blobs[digest] = content

    return Suite


for _store in BROKEN_STORES:
    globals()[f"Test{_store.__name__}"] = _suite(_store)
for _store in (Dictionary, *BROKEN_ARTIFACTS):
    globals()[f"Test{_store.__name__}"] = _artifact_suite(_store)
