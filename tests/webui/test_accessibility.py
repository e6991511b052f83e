"""Every place, light, dark and on a narrow screen: axe finds nothing serious, nothing is wider than the screen."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

ROW = ".grid-row:has(a.name)"
PANEL = '.panel[aria-label="Chart of train/loss"]'


def places(site) -> dict[str, tuple[str, str]]:
    """Return path and what to wait for, by the name of the picture."""
    run = f"/runs/{site.demo.vision_runs[0]}"
    return {
        "projects": ("/", "td.main a"),
        "runs": (site.project(site.demo.churn), f"{PANEL} canvas"),
        "nasty": (site.project(site.demo.nasty), ROW),
        "run": (run, ".comment"),
        "charts": (f"{run}?tab=charts", f"{PANEL} canvas"),
        "artifacts": (f"{run}?tab=artifacts&path=predictions.csv", ".preview td"),
        "code": (f"{run}?tab=code", ".code"),
        "environment": (f"{run}?tab=environment", "h2:has-text('Packages')"),
        "data": (f"{run}?tab=data", "h2"),
        "children": (f"{run}?tab=children", "a:text-is('fold-0')"),
        "audit": (f"{run}?tab=audit", "tbody tr"),
        "compare": (f"/compare?runs={','.join(site.demo.vision_runs)}", ".diff-table"),
        "parallel": (f"/compare?runs={','.join(site.demo.vision_runs)}&tab=plots", ".parallel path"),
    }


def serious(page) -> list[str]:
    """Return what axe finds that keeps somebody out."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{item['id']}: {item['help']}: {[node['html'] for node in item['nodes'][:3]]}"
        for item in Axe().run(page).response["violations"]
        if item["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("look", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
def test_axe_finds_nothing_serious_where_something_is_edited(site, visitor, look: str) -> None:
    visit = visitor(color_scheme=look)
    page = visit.go(site.project(site.demo.churn), ROW)
    page.keyboard.press("e")
    page.wait_for_selector("[role=dialog]")
    page.click("[role=dialog] button:text-is('Delete')")
    visit.picture(f"edit-{look}")
    assert serious(page) == []
    page = visit.go(f"/runs/{site.demo.churn_runs[4]}", "[aria-label=Failure]")
    page.click("[aria-label='Rename the run']")
    page.click("[aria-label='Describe the run']")
    page.click("button:text-is('+ tag')")
    assert serious(page) == []


PLACES = (
    *("projects", "runs", "nasty", "run", "charts", "artifacts", "code", "environment", "data", "children", "audit"),
    *("compare", "parallel"),
)
ALWAYS = {("dark", 1440): ("runs",), ("light", 360): ("runs", "run")}
"""Also looked at in the dark or on a narrow screen by every run of the tests: they have most of what the others have."""


@pytest.mark.parametrize(
    ("place", "look", "width"),
    [
        pytest.param(place, look, width, marks=[] if place in always else pytest.mark.thorough)
        for (look, width), always in ({("light", 1440): PLACES} | ALWAYS).items()
        for place in PLACES
    ],
)
def test_axe_finds_nothing_serious(site, visitor, place: str, look: str, width: int) -> None:
    visit = visitor(width=width, height=860 if width > 400 else 740, color_scheme=look)
    path, ready = places(site)[place]
    if width < 400 and place in ("runs", "nasty"):
        ready = ".two-lines"
    page = visit.go(path, ready)
    visit.picture(f"{place}-{look}-{width}")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
