"""Changing what is stored, in the pages: every edit is a change, an error keeps what was typed, deleting can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modeldb_core.testing import StreamWriter

pytestmark = pytest.mark.browser

ROW = ".grid-row:has(a.name)"


@pytest.fixture
def own(site: Any) -> Iterator[dict[str, Any]]:
    """A project of three runs to change, which is gone afterwards."""
    writer = StreamWriter(actor="ada", at=site.demo.writer.at)
    writer.open(lease_s=86_400)
    ids: dict[str, Any] = writer.create_containers(f"editing {writer.stream_id[-6:]}", "all")
    ids["runs"] = [writer.create_run(**ids, name=f"run {n}", status="finished").entity_id for n in range(3)]
    site.store.apply(writer.take())
    seen = site.store.heads()[writer.stream_id].seq
    yield ids
    for run_id in ids["runs"]:
        writer.delete("run", run_id)
    writer.delete("experiment", ids["experiment_id"])
    writer.delete("project", ids["project_id"])
    site.store.apply(writer.take(seen))


def refuse(page: Any, path: str) -> None:
    page.route(path, lambda route: route.fulfill(status=403, body='{"error": {"code": "x", "message": "not today"}}'))


def test_a_run_is_renamed_described_and_tagged_where_it_stands(site: Any, visitor: Any, own: Any) -> None:
    run_id = own["runs"][0]
    visit = visitor()
    page = visit.go(f"/runs/{run_id}", "h1:text-is('run 0')")
    page.click("[aria-label='Rename the run']")
    refuse(page, f"**/api/v2/runs/{run_id}")
    page.fill("input[aria-label='Rename the run']", "a better name")
    page.keyboard.press("Enter")
    page.wait_for_selector(".editor .notice:has-text('not today')")
    assert page.input_value("input[aria-label='Rename the run']") == "a better name", "what was typed is kept"
    page.unroute(f"**/api/v2/runs/{run_id}")
    visit.complaints.clear()
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:text-is('a better name')")
    page.wait_for_selector(".crumbs span:text-is('a better name')")
    page.click("[aria-label='Describe the run']")
    page.fill("textarea[aria-label='Describe the run']", "why\nit was made")
    page.click(".editor button:text-is('Save')")
    page.wait_for_selector(".description:has-text('it was made')")
    page.click("button:text-is('+ tag')")
    page.fill("[aria-label='Tags to add, between commas']", "good, kept")
    page.keyboard.press("Enter")
    page.wait_for_selector(".run-title .tag:has-text('kept')")
    page.click("[aria-label='Untag good']")
    page.wait_for_selector(".run-title .tag:has-text('good')", state="detached")
    run = site.store.get("run", run_id)
    assert (run.name, run.description, run.tags) == ("a better name", "why\nit was made", ("kept",))
    changes = [change for change in site.store.read_changes(entity_id=run_id).changes if change.actor == "grace"]
    assert [change.action for change in changes] == ["update"] * 4, "every edit is a change"


def test_a_run_is_deleted_after_a_question_and_the_deletion_undone(site: Any, visitor: Any, own: Any) -> None:
    run_id = own["runs"][1]
    page = visitor().go(f"/runs/{run_id}", "h1")
    page.click(".run-title button:has-text('Delete')")
    page.click("[role=dialog] button:text-is('Cancel')")
    assert site.store.get("run", run_id).deleted_at is None
    page.click(".run-title button:has-text('Delete')")
    page.click("[role=dialog] button:text-is('Delete')")
    page.wait_for_selector(".run-title .badge:text-is('deleted')")
    assert site.store.get("run", run_id).deleted_at is not None
    page.click(".toasts button:text-is('Undo')")
    page.wait_for_selector(".run-title .badge:text-is('deleted')", state="detached")
    assert site.store.get("run", run_id).deleted_at is None
    page.click(".run-title button:has-text('Delete')")
    page.click("[role=dialog] button:text-is('Delete')")
    page.click(".run-title button:text-is('Restore')")
    page.wait_for_selector(".run-title button:has-text('Delete')")
    assert site.store.get("run", run_id).deleted_at is None


def test_selected_runs_are_tagged_and_all_that_match_deleted_and_brought_back(
    site: Any, visitor: Any, own: Any
) -> None:
    visit = visitor()
    page = visit.go(site.project(own), ROW)
    page.wait_for_selector(".statusbar:has-text('3 runs')")
    for number in (0, 2):
        page.click(f".grid-row:has(a.name:text-is('run {number}')) .pick")
    page.keyboard.press("e")
    page.fill("[role=dialog] [aria-label='Tags, between commas']", "chosen")
    refuse(page, "**/api/v2/runs/edit")
    page.click("[role=dialog] button:text-is('Tag 2 runs')")
    page.wait_for_selector("[role=dialog] .notice:has-text('not today')")
    assert page.input_value("[role=dialog] [aria-label='Tags, between commas']") == "chosen"
    page.unroute("**/api/v2/runs/edit")
    visit.complaints.clear()
    page.click("[role=dialog] button:text-is('Tag 2 runs')")
    page.wait_for_function("() => document.querySelectorAll('.grid-row .tag').length === 2")
    assert [site.store.get("run", run_id).tags for run_id in own["runs"]] == [("chosen",), (), ("chosen",)]
    page.fill("[aria-label='Filter runs']", 'tags contains "chosen"')
    page.wait_for_selector(".statusbar:has-text('2 runs match')")
    page.click("button:has-text('Edit 2')")
    page.click("[role=dialog] label:has-text('All 2 runs that match')")
    page.click("[role=dialog] button:text-is('Delete')")
    page.click("[role=dialog] button:text-is('Delete 2 runs')")
    page.wait_for_selector("text=No run matches this filter.")
    assert [site.store.get("run", run_id).deleted_at is None for run_id in own["runs"]] == [False, True, False]
    page.click(".toasts button:text-is('Undo')")
    page.wait_for_selector(".statusbar:has-text('2 runs match')")
    assert all(site.store.get("run", run_id).deleted_at is None for run_id in own["runs"])


def test_deleted_runs_are_listed_and_brought_back(site: Any, visitor: Any, own: Any) -> None:
    page = visitor().go(site.project(own), ROW)
    page.click("button:has-text('Edit')")
    page.click("[role=dialog] button:text-is('Delete')")
    page.click("[role=dialog] button:text-is('Delete 3 runs')")
    page.wait_for_selector("text=No runs in this project yet")
    page.click(".statusbar button:text-is('Deleted runs')")
    page.wait_for_selector(".statusbar:has-text('3 runs match')")
    page.click(".grid-row:has(a.name:text-is('run 1')) .pick")
    page.keyboard.press("e")
    page.click("[role=dialog] button:text-is('Restore 1 run')")
    page.wait_for_selector(".statusbar:has-text('2 runs match')")
    page.click("button:has-text('Edit')")
    page.click("[role=dialog] label:has-text('All 2 runs that match')")
    page.click("[role=dialog] button:text-is('Restore 2 runs')")
    page.wait_for_selector("text=No run matches this filter.")
    assert all(site.store.get("run", run_id).deleted_at is None for run_id in own["runs"])


def test_a_project_is_renamed_in_place_and_a_taken_name_refused(site: Any, visitor: Any, own: Any) -> None:
    visit = visitor()
    page = visit.go(site.project(own), ROW)
    page.click("button:text-is('Edit project')")
    page.click("[role=dialog] [aria-label='Rename the project']")
    page.fill("[role=dialog] input[aria-label='Rename the project']", "churn")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=dialog] .notice:has-text('already')")
    visit.complaints.clear()
    page.fill("[role=dialog] input[aria-label='Rename the project']", "edited")
    page.keyboard.press("Enter")
    page.wait_for_selector(".crumbs span:text-is('edited')")
    assert site.store.get("project", own["project_id"]).name == "edited"


def test_a_failed_run_says_why(site: Any, visitor: Any) -> None:
    page = visitor().go(f"/runs/{site.demo.churn_runs[4]}", "[aria-label=Failure]")
    text = page.text_content("[aria-label=Failure]")
    assert "Failed with ValueError" in text
    assert "Input X contains NaN." in text
    assert "model.fit(X, y)" in page.text_content("[aria-label=Traceback]")
