"""What a person does with the pages, in a real browser; every test fails on anything that the console complains of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ROW = ".grid-row:has(a.name)"
NAMES = "[...document.querySelectorAll('.grid-row a.name')].sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map((a) => a.textContent)"
PANEL = '.panel[aria-label="Chart of train/loss"]'


def said(page: Page, panel: str = PANEL) -> str:
    return page.text_content(f"{panel} .said") or ""


def names(page: Page) -> list[str]:
    return page.evaluate(NAMES)


def wait_for_rows(page: Page, count: int) -> None:
    page.wait_for_function("(count) => document.querySelectorAll('.grid-row a.name').length === count", arg=count)


def column(page: Page, title: str) -> list[str]:
    """Return the texts of a column, from top to bottom."""
    at = page.evaluate(
        "(title) => [...document.querySelectorAll('.grid-titles [role=columnheader]')].findIndex((e) => e.querySelector('.name span')?.textContent === title)",
        title,
    )
    return page.evaluate(
        "(at) => [...document.querySelectorAll('.grid-row')].sort((a, b) => a.dataset.index - b.dataset.index).map((row) => row.querySelectorAll('[role=gridcell]')[at].textContent.trim())",
        at,
    )


def test_walk_from_the_projects_to_a_chart_and_a_comparison(site, visitor) -> None:
    visit = visitor()
    page = visit.go("/", "td.main a")
    assert set(page.locator("td.main a").all_text_contents()) == {"churn", "vision", "many", site.data.NASTY}
    visit.picture("projects")
    page.click("td.main a:text-is('vision')")
    page.wait_for_selector(ROW)
    page.wait_for_selector(f"{PANEL} canvas")
    visit.picture("runs")
    page.click("a.name:text-is('resnet50-lr0.1')")
    page.wait_for_selector("h1:text-is('resnet50-lr0.1')")
    assert "12 points could not be journalled" in page.text_content(".notice")
    visit.picture("run")
    page.click("nav.tabs a:has-text('Charts')")
    page.wait_for_selector(f"{PANEL} canvas")
    assert re.fullmatch(r"20,000 points as means, \d+ NaN", said(page))
    page.go_back()
    page.wait_for_selector("h2:has-text('Hyperparameters')")
    page.click(".crumbs a:text-is('vision')")
    page.wait_for_selector(ROW)
    for name in ("resnet50-lr0.1", "resnet50-lr0.05"):
        page.click(f".grid-row:has(a.name:text-is('{name}')) .pick")
    page.keyboard.press("c")
    page.wait_for_selector(".diff-table")
    assert page.locator(".diff-table thead a").all_text_contents() == ["resnet50-lr0.1", "resnet50-lr0.05"]
    visit.picture("compare")


def test_a_filter_narrows_the_table_and_stays_in_the_address(site, visitor) -> None:
    visit = visitor()
    page = visit.go(site.project(site.demo.churn), ROW)
    page.keyboard.press("/")
    page.keyboard.type('tags contains "best" and hyperparameters.max_depth > 1')
    page.keyboard.press("Enter")
    wait_for_rows(page, 3)
    assert names(page) == ["forest-022", "forest-011", "boost-000"]
    assert page.text_content(".statusbar span").strip() == "3 runs match"
    page.wait_for_function("() => location.search.includes('max_depth')")  # the first half alone finds the same runs
    page.reload()
    wait_for_rows(page, 3)
    assert page.input_value("[aria-label='Filter runs']").startswith("tags contains")


def test_plain_words_look_for_names(site, visitor) -> None:
    page = visitor().go(site.project(site.demo.churn), ROW)
    page.fill("[aria-label='Filter runs']", "boost")
    wait_for_rows(page, 8)
    assert all("boost" in name for name in names(page))


def test_the_filter_completes_keys_of_the_store(site, visitor) -> None:
    page = visitor().go(site.project(site.demo.churn), ROW)
    page.click("[aria-label='Filter runs']")
    page.keyboard.type("learn")
    page.wait_for_selector(".completions li:has-text('hyperparameters.learning_rate')")
    page.keyboard.press("Tab")
    assert page.input_value("[aria-label='Filter runs']") == "hyperparameters.learning_rate "
    page.wait_for_selector(".completions li:has-text('>=')")


def test_a_filter_that_does_not_parse_says_where_and_keeps_what_was_typed(site, visitor) -> None:
    visit = visitor()
    page = visit.go(site.project(site.demo.churn), ROW)
    page.fill("[aria-label='Filter runs']", "metrics.auc > > 3")
    page.keyboard.press("Enter")
    page.wait_for_selector(".filter-error")
    assert page.text_content(".filter-error mark").startswith("> 3")
    assert page.input_value("[aria-label='Filter runs']") == "metrics.auc > > 3"
    assert len(names(page)) == 24, "what was found before stays"
    assert all("400" in complaint for complaint in visit.complaints)
    visit.complaints.clear()


def test_a_click_on_a_head_sorts_by_a_metric(site, visitor) -> None:
    page = visitor().go(site.project(site.demo.churn), ROW)
    page.click("[data-column='metrics.auc'] button.name")
    page.wait_for_selector("[data-column='metrics.auc'][aria-sort='descending']")
    page.wait_for_function("() => location.search.includes('order=')")
    shown = [float(text) for text in column(page, "auc")]
    assert shown == sorted(shown, reverse=True)
    page.click("[data-column='metrics.auc'] button.name")
    page.wait_for_selector("[data-column='metrics.auc'][aria-sort='ascending']")
    page.wait_for_function("() => location.search.endsWith('order=metrics.auc')")
    assert [float(text) for text in column(page, "auc")] == sorted(shown)


def test_a_metric_column_shows_the_extreme_of_its_series(site, visitor) -> None:
    page = visitor().go(site.project(site.demo.vision), ROW)
    page.hover("[data-column='metrics.train/loss']")
    page.click("[data-column='metrics.train/loss'] .more")
    page.click("[role=menu] >> text=Largest point")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.grid-row')].some((row) => row.textContent.includes('41.5'))"
    )


def test_columns_are_chosen_and_kept(site, visitor) -> None:
    page = visitor().go(site.project(site.demo.churn), ROW)
    page.click("button:has-text('Columns')")
    page.fill("[aria-label='Find a column']", "branch")
    page.click("label:has-text('branch')")
    page.click("button:text-is('Done')")
    page.wait_for_function(
        "() => document.querySelector('[data-column=\"code.branch\"]') || location.search.includes('code.branch')"
    )
    page.evaluate("document.querySelector('.grid').scrollLeft = 5000")
    page.wait_for_selector("[data-column='code.branch']")
    page.goto(site.url + site.project(site.demo.churn))
    page.wait_for_selector(ROW)
    page.evaluate("document.querySelector('.grid').scrollLeft = 5000")
    page.wait_for_selector("[data-column='code.branch']")
    assert "main" in column(page, "branch")


def test_what_is_selected_is_what_is_drawn(site, visitor) -> None:
    page = visitor().go(site.project(site.demo.churn), f"{PANEL} canvas")
    page.wait_for_function("() => document.querySelector('.said').textContent === '3,000 points'")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.wait_for_function("() => document.querySelector('.said').textContent === '600 points'")
    assert page.locator(".grid-row.selected").count() == 2
    page.wait_for_function("() => new URLSearchParams(location.search).get('runs')?.split(',').length === 2")
    page.reload()
    page.wait_for_selector(".grid-row.selected")
    page.wait_for_function("() => document.querySelector('.said')?.textContent === '600 points'")


def test_groups_show_count_mean_and_spread_and_lead_to_their_runs(site, visitor) -> None:
    visit = visitor()
    page = visit.go(f"{site.project(site.demo.churn)}?group=criterion", ".groups tbody tr")
    cells = page.locator(".groups tbody tr td").all_text_contents()
    width = len(cells) // 2
    assert [text.strip() for text in (*cells[:2], *cells[width : width + 2])] == ["entropy", "12", "gini", "12"]
    assert all("±" in text for text in (cells[2], cells[width + 2]))
    page.wait_for_function("() => document.querySelector('.said')?.textContent === '7,200 points as means'")
    visit.picture("groups")
    page.click(".groups button:text-is('gini')")
    wait_for_rows(page, 12)
    assert page.input_value("[aria-label='Filter runs']") == 'hyperparameters.criterion = "gini"'


def test_a_new_run_appears_on_top_by_itself(site, visitor) -> None:
    visit = visitor()
    page = visit.go(site.project(site.demo.nasty), ROW)
    page.wait_for_selector(".live-dot.on")
    run_id = site.demo.writer.create_run(**site.demo.nasty, name="just now", metrics={"one": 3.0}).entity_id
    site.demo.ship(site.store)
    page.wait_for_selector("a.name:text-is('just now')")
    assert names(page)[0] == "just now"
    site.demo.writer.update("run", run_id, set={"status": "failed"})
    site.demo.ship(site.store)
    page.wait_for_selector(".grid-row:has(a.name:text-is('just now')) .badge.failed")
    site.demo.writer.delete("run", run_id)
    site.demo.ship(site.store)


def test_a_run_whose_writer_vanished_is_shown_as_lost(site, visitor) -> None:
    from modeldb_core.testing import StreamWriter

    writer = StreamWriter(at=site.demo.writer.at - 3_600_000_000)
    writer.open(lease_s=30)
    run_id = writer.create_run(**site.demo.churn, name="vanished").entity_id
    writer.delete("run", run_id)  # so that other tests do not count it
    site.store.apply(writer.take())
    page = visitor().go(f"/runs/{run_id}", "h1")
    assert page.text_content(".run-title .badge.lost") == "lost"
    assert page.text_content(".run-title .badge.failed") == "deleted"


def test_three_thousand_runs_scroll_with_few_elements(site, visitor) -> None:
    visit = visitor()
    project = next(item for item in site.store.find(_projects()).entities if item.name == "many")
    page = visit.go(f"/projects/{project.entity_id}", ROW)
    page.wait_for_function(
        "(count) => document.querySelector('.statusbar').textContent.startsWith(count)", arg=f"{site.many:,} runs"
    )
    page.evaluate("document.querySelector('.grid').scrollTop = 1e9")
    page.wait_for_selector("a.name:text-is('run 000000')")
    assert names(page)[-1] == "run 000000"
    page.evaluate("document.querySelector('.grid').scrollTop = 40000")
    page.wait_for_function(
        f"() => {{ const all = {NAMES}; return all.length > 20 && all.every((name) => name.startsWith('run 001')); }}"
    )
    shown = [int(name.split()[1]) for name in names(page)]
    assert shown == list(range(shown[0], shown[0] - len(shown), -1))
    assert page.locator(".grid-row").count() < 80
    visit.picture("many")


def _projects() -> Any:
    from modeldb_core.queries import Query

    return Query(kind="project")


def test_the_comparison_shows_what_differs_and_hides_the_rest(site, visitor) -> None:
    visit = visitor()
    page = visit.go(f"/compare?runs={','.join(site.demo.vision_runs[:3])}", ".diff-table")
    keys = page.locator(".diff-table tbody th[scope=row]").all_text_contents()
    assert "lr" in keys
    assert "batch" not in keys
    assert "train/loss" in keys
    page.click("button:has-text('that are the same')")
    assert "batch" in page.locator(".diff-table tbody th[scope=row]").all_text_contents()
    page.click("nav.tabs a:has-text('Charts')")
    page.wait_for_function(
        "(panel) => document.querySelector(panel + ' .said')?.textContent.includes('60,000 points as means')", arg=PANEL
    )
    page.click("nav.tabs a:has-text('Parallel')")
    assert page.locator(".parallel path").count() == 3
    page.click("nav.tabs a:has-text('Code')")
    assert page.locator(".code .add").count() == 4


def test_artifacts_are_shown_as_data_and_downloaded(site, visitor) -> None:
    visit = visitor()
    page = visit.go(f"/runs/{site.demo.vision_runs[0]}?tab=artifacts", "button:has-text('confusion.png')")
    page.click("button:has-text('confusion.png')")
    page.wait_for_function("() => document.querySelector('.preview img')?.naturalWidth === 320")
    page.click("button:has-text('predictions.csv')")
    page.wait_for_selector(".preview td:text-is('img0007.png')")
    page.click("button:has-text('.html')")
    page.wait_for_selector(".preview .code")
    assert "<h1>Report</h1></script>" in page.text_content(".preview .code")
    page.click("button:has-text('settings.json')")
    page.wait_for_selector(".preview .code:has-text('layers')")
    shown = page.text_content(".preview .code").strip()
    assert '  "layers": [\n    3,\n' in shown
    assert shown.endswith(
        '"$schema": "a { of \\"it\\": ,",\n  "exact": 12345678901234567890,\n  "one": 1.0,\n  "none": []\n}'
    )
    page.click("button:has-text('weights.bin')")
    page.wait_for_selector(".preview:has-text('download')")
    with page.expect_download() as download:
        page.click("a[aria-label='Download log.txt']")
    assert download.value.path().read_bytes().startswith(b"epoch 1")


def test_a_comment_is_added(site, visitor) -> None:
    page = visitor().go(f"/runs/{site.demo.churn_runs[0]}", "textarea")
    page.fill("textarea", f"looks good {site.data.SCRIPT}")
    page.click("button:text-is('Comment')")
    page.wait_for_selector(".comment p")
    assert page.text_content(".comment p") == f"looks good {site.data.SCRIPT}"
    assert "grace" in page.text_content(".comment header")


def test_the_audit_tab_tells_who_changed_what(site, visitor) -> None:
    page = visitor().go(f"/runs/{site.demo.churn_runs[3]}?tab=audit", ".plain tbody tr")
    lines = page.locator(".plain tbody tr").all_text_contents()
    assert "ada" in lines[0]
    assert "create forest" in lines[0] or "create boost" in lines[0]
    assert "points of train/loss, val/loss, val/auc" in lines[1]


@pytest.mark.parametrize(
    "tab",
    [
        *("overview", "artifacts", "data"),
        *(
            pytest.param(tab, marks=pytest.mark.thorough)
            for tab in ("charts", "code", "environment", "children", "audit")
        ),
    ],
)
def test_nothing_that_was_logged_is_ever_run(site, visitor, tab: str) -> None:
    from modeldb_core.queries import Query

    visit = visitor()
    runs = site.store.find(Query(within=site.demo.nasty["project_id"], order_by="name")).entities
    for run in runs:
        page = visit.go(f"/runs/{run.entity_id}?tab={tab}", ".tabs")
        page.wait_for_function("() => document.querySelector('main').childElementCount > 1")
        assert page.locator("main img").count() == 0
        assert page.locator("main script").count() == 0
    visit.go(f"/compare?runs={','.join(run.entity_id for run in runs)}", ".diff-table")
    visit.go(site.project(site.demo.nasty), ROW)


def test_the_palette_goes_anywhere(site, visitor) -> None:
    page = visitor().go("/", "td.main a")
    page.keyboard.press("Control+k")
    page.keyboard.type("forest-011")
    page.wait_for_selector("#targets li:has-text('forest-011')")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:text-is('forest-011')")


def test_keys_are_explained_and_focus_comes_back(site, visitor) -> None:
    page = visitor().go(site.project(site.demo.churn), ROW)
    page.focus("button:has-text('Columns')")
    page.keyboard.press("?")
    page.wait_for_selector("[role=dialog] dl.keys")
    assert "Compare what is drawn" in page.text_content("[role=dialog]")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Columns"


def test_a_key_that_comes_before_a_dialog_is_painted_goes_into_it(site, visitor) -> None:
    page = visitor().go(site.project(site.demo.churn), ROW)
    page.focus("button:has-text('Columns')")
    left = page.evaluate(
        """() => {
            const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
            press("?");
            const wasOpen = Boolean(document.querySelector("[role=dialog]"));
            press("Escape");
            return [wasOpen, Boolean(document.querySelector("[role=dialog]")), document.activeElement.textContent];
        }"""
    )
    assert left == [True, False, "Columns"]


def test_the_theme_is_kept(site, visitor) -> None:
    page = visitor().go("/", "td.main a")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    page.wait_for_selector("td.main a")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
