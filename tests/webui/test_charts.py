"""Charts, in a real browser: that no spike is hidden, that zooming shows every point, that only news travel."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

PANEL = '.panel[aria-label="Chart of train/loss"]'


def said(page: Page, panel: str = PANEL) -> str:
    return page.text_content(f"{panel} .said") or ""


def test_a_spike_of_one_point_in_twenty_thousand_is_drawn(site, visitor) -> None:
    visit = visitor(device_scale_factor=1)
    page = visit.go(f"/runs/{site.demo.vision_runs[0]}?tab=charts", f"{PANEL} canvas")
    page.wait_for_function(
        "(panel) => document.querySelector(panel + ' .said').textContent.includes('20,000')", arg=PANEL
    )
    found = page.evaluate(
        """(panel) => {
            const canvas = document.querySelector(panel + ' canvas');
            const plot = document.querySelector(panel + ' .u-over');
            const left = plot.offsetLeft, width = plot.offsetWidth, top = plot.offsetTop, height = plot.offsetHeight;
            const data = canvas.getContext('2d').getImageData(left, top, width, Math.round(height * 0.5)).data;
            const columns = new Set();
            for (let at = 0; at < data.length; at += 4) {
                const [r, g, b, a] = data.slice(at, at + 4);
                if (a > 100 && Math.max(r, g, b) - Math.min(r, g, b) > 60) columns.add((at / 4) % width);
            }
            return [...columns].map((column) => column / width);
        }""",
        PANEL,
    )
    assert found, "nothing is drawn in the upper half of the chart"
    assert all(abs(place - site.data.SPIKE_STEP / 20_000) < 0.01 for place in found)
    visit.picture("spike")


def test_zooming_in_fetches_every_point_of_the_range(site, visitor) -> None:
    visit = visitor()
    page = visit.go(f"/runs/{site.demo.vision_runs[0]}?tab=charts", f"{PANEL} canvas")
    page.wait_for_function(
        "(panel) => document.querySelector(panel + ' .said').textContent.includes('20,000 points as means')", arg=PANEL
    )
    box = page.locator(f"{PANEL} .u-over").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.07, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.1, middle, steps=4)
    page.mouse.up()
    page.wait_for_function(
        "(panel) => /^\\d+ points$/.test(document.querySelector(panel + ' .said').textContent)", arg=PANEL
    )
    page.wait_for_function("() => location.search.includes('zoom=')")
    page.click("text=Reset zoom")
    page.wait_for_function(
        "(panel) => document.querySelector(panel + ' .said').textContent.includes('20,000 points as means')", arg=PANEL
    )


def test_the_tip_says_what_a_pixel_column_is_and_the_exact_value_once_zoomed(site, visitor) -> None:
    visit = visitor()
    path = f"/runs/{site.demo.vision_runs[0]}?tab=charts"
    page = visit.go(path, f"{PANEL} canvas")
    page.wait_for_function(f"() => document.querySelector('{PANEL} .said').textContent.includes('as means')")
    box = page.locator(f"{PANEL} .u-over").bounding_box()
    x = box["x"] + box["width"] * site.data.SPIKE_STEP / 20_000
    tips = []
    for shift in range(-3, 4):
        page.mouse.move(x + shift, box["y"] + 20)
        tips.append(page.text_content(f"{PANEL} .tip") or "")
    (tip,) = {tip for tip in tips if "41.500" in tip}
    said_of_it = re.search(r"steps ([\d,]+) to ([\d,]+).*?lr0.1([\d.]+), mean of (\d+) points, [\d.]+ to 41.500", tip)
    assert said_of_it, tip
    first, last = (int(text.replace(",", "")) for text in said_of_it.groups()[:2])
    assert first <= site.data.SPIKE_STEP <= last
    assert int(said_of_it[4]) == last - first + 1
    assert float(said_of_it[3]) < 10, "the mean of a column is not its extreme"
    page = visit.go(f"{path}&zoom={site.data.SPIKE_STEP - 100}:{site.data.SPIKE_STEP + 100}", f"{PANEL} canvas")
    page.wait_for_function(f"() => document.querySelector('{PANEL} .said').textContent === '201 points'")
    box = page.locator(f"{PANEL} .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.wait_for_selector(f"{PANEL} .tip:has-text('step 1,713')")
    assert re.search(r"step 1,713\D.*41\.500$", page.text_content(f"{PANEL} .tip"))
    assert "mean" not in page.text_content(f"{PANEL} .tip")


def test_a_chart_is_saved_as_picture_drawing_and_every_point(site, visitor) -> None:
    from xml.etree import ElementTree

    visit = visitor()
    page = visit.go(f"/runs/{site.demo.vision_runs[0]}?tab=charts", f"{PANEL} canvas")

    def save(item: str) -> bytes:
        page.hover(PANEL)
        page.click(f"{PANEL} [aria-haspopup=menu]")
        with page.expect_download() as download:
            page.click(f"[role=menu] >> text={item}")
        return download.value.path().read_bytes()

    lines = save("CSV").decode().splitlines()
    assert lines[0] == "run_id,run,key,step,time,value"
    assert len(lines) == 20_001
    assert lines[1 + site.data.SPIKE_STEP].endswith(",41.5")
    assert lines[1 + 9000].endswith(",NaN")
    assert save("PNG").startswith(b"\x89PNG")
    run = site.demo.nasty["project_id"]
    from modeldb_core.queries import Query

    nasty = site.store.find(Query(within=run, filter="metrics.one = 1", limit=1)).entities[0]
    visit.go(f"/runs/{nasty.entity_id}?tab=charts", ".panel canvas")
    panel = page.locator(".panel:has-text('onerror')")
    panel.hover()
    panel.locator("[aria-haspopup=menu]").click()
    with page.expect_download() as download:
        page.click("[role=menu] >> text=SVG")
    drawing = ElementTree.fromstring(download.value.path().read_bytes())
    assert site.data.NASTY in "".join(drawing.itertext())


def test_while_a_run_trains_only_new_points_travel(site, visitor) -> None:
    visit = visitor()
    run_id = site.demo.live_run
    page = visit.go(f"/runs/{run_id}?tab=charts", f"{PANEL} canvas")
    page.wait_for_function(
        "(panel) => document.querySelector(panel + ' .said').textContent.includes('20,000 points as means')", arg=PANEL
    )
    page.wait_for_selector(".live-dot.on")
    visit.requests.clear()
    writer = site.demo.writer
    writer.append(run_id, {"train/loss": [0.5, 0.4, 0.3]}, steps=[20_000, 20_001, 20_002])
    site.demo.ship(site.store)
    page.wait_for_function(
        "(panel) => document.querySelector(panel + ' .said').textContent.includes('20,003 points as means')", arg=PANEL
    )
    bodies = [json.loads(text[text.index("{") :]) for method, text in visit.requests if method == "POST"]
    asked = [body for body in bodies if body["series"][0]["key"] == "train/loss"]
    assert asked
    assert all(item["first"] == 20_000 for body in asked for item in body["series"])
