"""What a page says is true: its numbers, labels, counts and arrows, and what is live; whatever the names and values are."""

from __future__ import annotations

import csv
import http.client
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from modeldb_core.model.entity import from_datetime
from modeldb_core.testing import StreamWriter

pytestmark = pytest.mark.browser

ROW = ".grid-row:has(a.name)"
PANEL = '.panel[aria-label="Chart of {}"]'
ODD: dict[str, list[float]] = {
    "close": [3.0001e-4, 3.0002e-4, 3.0004e-4],
    "minus": [-1_234_567.0, -1_234_565.0, -1_234_563.0],
    "vast": [1e299, 5e299, 1e300],
    "widest": [-1.7e308, 0.0, 1.7e308],
    "mixed": [-1.0, 0.0, 10.0, 100.0],
    "alone": [7.0],
}
EXACT = {"größe\x1b\x01漢": [-0.0, 0.1 + 0.2, 5e-324]}
TIMES = [1_700_000_000_000_001, 1_700_000_000_000_123, 1_700_000_000_999_999]


@pytest.fixture
def odd(site: Any) -> Iterator[dict[str, str]]:
    """A project of one run with odd numbers, which is gone afterwards."""
    writer = StreamWriter(actor="ada", at=site.demo.writer.at)
    writer.open(lease_s=86_400)
    ids = writer.create_containers("odd", "numbers")
    ids["run_id"] = writer.create_run(**ids, name="odd", status="finished").entity_id
    for key, values in ODD.items():
        writer.append(ids["run_id"], {key: values}, steps=list(range(len(values))))
    writer.append(ids["run_id"], EXACT, times=TIMES)
    writer.append(ids["run_id"], {"late": list(range(11))}, steps=[1_000_000_000 + step for step in range(11)])
    site.store.apply(writer.take())
    seen = len(writer.take())
    yield {**ids, "writer": writer, "seen": seen}
    for kind, name in (("run", "run_id"), ("experiment", "experiment_id"), ("project", "project_id")):
        writer.delete(kind, ids[name])
    site.store.apply(writer.take(seen))


def said(panel: str, text: str) -> str:
    return f"() => document.querySelector({json.dumps(panel)} + ' .said')?.textContent === {json.dumps(text)}"


def save_svg(page: Any, panel: str) -> ElementTree.Element:
    page.hover(panel)
    page.click(f"{panel} [aria-haspopup=menu]")
    with page.expect_download() as download:
        page.click("[role=menu] >> text=SVG")
    return ElementTree.fromstring(download.value.path().read_bytes())


def test_a_saved_chart_tells_apart_runs_of_one_color_and_names_that_differ_at_their_ends(
    site: Any, visitor: Any, odd: Any
) -> None:
    from PIL import Image

    writer, number = odd["writer"], 21
    ids = {kind: odd[kind] for kind in ("project_id", "experiment_id")}
    runs = [writer.create_run(**ids, name=f"{'the same ' * 14}{each}").entity_id for each in range(number)]
    for each, run in enumerate(runs):
        writer.append(run, {"loss": [each, each + 1.0]}, steps=[1, 2])
    site.store.apply(writer.take(odd["seen"]))
    odd["seen"] = len(writer.take())
    page = visitor().go(f"/compare?runs={','.join(runs)}&tab=charts", f"{PANEL.format('loss')} canvas")
    drawing = save_svg(page, PANEL.format("loss"))
    marks = [each for each in drawing.iter() if each.get("class") == "mark"]
    assert len({(each.get("stroke"), each.get("stroke-dasharray")) for each in marks}) == number
    page.hover(PANEL.format("loss"))
    page.click(f"{PANEL.format('loss')} [aria-haspopup=menu]")
    with page.expect_download() as download:
        page.click("[role=menu] >> text=PNG")
    picture = Image.open(download.value.path()).convert("RGB")
    ends = f"document.createElement('canvas').getContext('2d').measureText({'the same ' * 14!r}).width"  # of 10 pixels
    assert min(picture.width, float(drawing.get("width") or 0)) > page.evaluate(ends) * 1.1
    rows = [picture.height - 16 * each for each in range(1, number + 1)]
    legends = {picture.crop((0, top, 40, top + 16)).tobytes() for top in rows}
    assert len(legends) == number
    page.evaluate("() => { HTMLCanvasElement.prototype.toBlob = function (made) { made(null); }; }")
    page.click(f"{PANEL.format('loss')} [aria-haspopup=menu]")
    page.click("[role=menu] >> text=PNG")
    page.wait_for_selector("text=This picture is too large for the browser; save it as SVG")
    for run in runs:
        writer.delete("run", run)


def test_what_a_chart_saves_is_exact_and_can_be_read_whatever_its_name_holds(site: Any, visitor: Any, odd: Any) -> None:
    ((key, values),) = EXACT.items()
    page = visitor().go(f"/runs/{odd['run_id']}?tab=charts", f".panel:has-text('{key[-1]}')")
    panel = f".panel:has-text('{key[-1]}')"
    page.locator(panel).scroll_into_view_if_needed()
    page.wait_for_selector(f"{panel} canvas")
    assert "größe\ufffd\ufffd漢" in "".join(save_svg(page, panel).itertext())
    page.hover(panel)
    page.click(f"{panel} [aria-haspopup=menu]")
    with page.expect_download() as download:
        page.click("[role=menu] >> text=CSV")
    assert download.value.suggested_filename == "größe_漢.csv"
    rows = list(csv.DictReader(download.value.path().read_text("utf-8").splitlines()))
    assert [repr(float(row["value"])) for row in rows] == [repr(value) for value in values]
    assert [from_datetime(datetime.fromisoformat(row["time"])) for row in rows] == TIMES


def test_labels_of_axes_are_neither_cut_nor_repeated(site: Any, visitor: Any, odd: Any) -> None:
    page = visitor().go(f"/runs/{odd['run_id']}?tab=charts", f"{PANEL.format('close')} canvas")
    for key in ("close", "minus", "vast", "widest", "late", "alone"):
        panel = PANEL.format(key)
        page.locator(panel).scroll_into_view_if_needed()
        page.wait_for_selector(f"{panel} canvas")
        texts = [item for item in save_svg(page, panel).iter() if item.tag.endswith("}text")]
        for anchor in ("end", "middle"):
            labels = [item for item in texts if item.get("text-anchor") == anchor]
            assert labels, f"{key} has an axis without labels"
            assert len({item.text for item in labels}) == len(labels), [item.text for item in labels]
        room = [float(item.get("x", 0)) for item in texts if item.get("text-anchor") == "end"]
        longest = max(len(item.text or "") for item in texts if item.get("text-anchor") == "end")
        assert min(room) >= longest * 5, f"{key}: the labels are wider than the axis"


def test_what_a_logarithmic_axis_cannot_show_is_said(site: Any, visitor: Any, odd: Any) -> None:
    page = visitor().go(f"/runs/{odd['run_id']}?tab=charts", f"{PANEL.format('mixed')} canvas")
    page.wait_for_function(said(PANEL.format("mixed"), "4 points"))
    page.click("button[title='Logarithmic y']")
    page.wait_for_function(said(PANEL.format("mixed"), "4 points, 2 not above 0: not on a log axis"))
    page.click("button[title='Logarithmic y']")
    page.click("button[title='Logarithmic x']")
    page.wait_for_function(said(PANEL.format("mixed"), "4 points, 1 at x ≤ 0: not on a log axis"))


def test_a_mean_over_pixels_is_the_same_at_every_width(site: Any, visitor: Any, odd: Any) -> None:
    writer = odd["writer"]
    values = np.random.default_rng(4).exponential(1.0, 60_000)
    writer.append(odd["run_id"], {"wild": list(values)}, steps=list(range(60_000)))
    site.store.apply(writer.take(odd["seen"]))
    panel = PANEL.format("wild")
    for width in (700, 1400):
        page = visitor(width=width).go(f"/runs/{odd['run_id']}?tab=charts&keys=wild&smooth=1", f"{panel} canvas")
        page.wait_for_function(said(panel, "60,000 points as means"))
        box = page.locator(f"{panel} .u-over").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_selector(f"{panel} .tip:has-text('mean of')")
        tip = page.text_content(f"{panel} .tip")
        smooth = float(re.search(r"([\d.]+) smoothed", tip.replace("odd", " "))[1])
        assert smooth == pytest.approx(1.0, abs=0.03), tip


def test_a_run_that_is_deleted_elsewhere_disappears(site: Any, visitor: Any, odd: Any) -> None:
    writer = odd["writer"]
    other = writer.create_run(
        project_id=odd["project_id"], experiment_id=odd["experiment_id"], name="doomed", status="finished"
    ).entity_id
    writer.append(other, {"mixed": [1.0, 2.0]})
    site.store.apply(writer.take(odd["seen"]))
    page = visitor().go(
        f"{site.project(odd)}?runs={other},{odd['run_id']}&keys=mixed", ".grid-row a.name:text-is('doomed')"
    )
    page.wait_for_function(said(PANEL.format("mixed"), "6 points"))
    page.wait_for_selector(".live-dot.on")
    writer.delete("run", other)
    site.store.apply(writer.take(site.store.heads()[writer.stream_id].seq))
    page.wait_for_selector(".grid-row a.name:text-is('doomed')", state="detached")
    page.wait_for_selector(".statusbar:has-text('1 run')")
    page.wait_for_function(said(PANEL.format("mixed"), "4 points"))
    page.wait_for_selector(".statusbar:has-text('1 selected')")


def test_the_page_of_a_run_of_20_000_keys_asks_for_what_has_changed(site: Any, visitor: Any, odd: Any) -> None:
    writer, names = odd["writer"], [f"layer{number:05}" for number in range(20_000)]
    inside = {"project_id": odd["project_id"], "experiment_id": odd["experiment_id"]}
    run_id = writer.create_run(**inside, name="wide", status="running", attributes={"old": "here"}).entity_id
    for start in range(0, len(names), 5_000):
        writer.append(run_id, {name: [1.0] for name in names[start : start + 5_000]})
    site.store.apply(writer.take(odd["seen"]))
    sent: list[Any] = []
    visit = visitor()
    visit.page.on("requestfinished", lambda each: sent.append(each))
    page = visit.go(f"/runs/{run_id}", "section[aria-label=Metrics] a:text-is('layer00000')")
    page.wait_for_selector(".live-dot.on")

    def change(ready: str, **update: Any) -> None:
        seen = site.store.head(writer.stream_id).seq
        writer.append(run_id, {"layer00000": [float(seen)]}, steps=[seen])
        if update:
            writer.update("run", run_id, **update)
        site.store.apply(writer.take(seen))
        page.wait_for_selector(f"section[aria-label=Metrics] tr:has-text('layer00000') [title='{seen}']")
        page.wait_for_selector(ready)

    whole = max(each.sizes()["responseBodySize"] for each in sent if run_id in each.url)
    sent.clear()
    change("h1:has-text('wide')")
    change("h1:has-text('wider')", set={"name": "wider"}, put={"attributes": {"new": "there"}})
    page.wait_for_selector(".block span:text-is('there')")
    change("h1:has-text('wider')", remove={"attributes": ["old"]}, add={"tags": ["tagged"]})
    page.wait_for_selector(".block span:text-is('here')", state="detached")
    page.wait_for_selector(".tag:has-text('tagged')")
    change(".badge.finished", set={"status": "finished"})
    assert page.text_content("section[aria-label=Metrics] .count") == "20,000"
    asked = [each for each in sent if f"/{run_id}" in each.url]
    assert {each.url.split("?")[0].rpartition("/")[2] for each in asked} == {"changed"}
    assert whole > 50_000 > 2_500 > max(each.sizes()["responseBodySize"] for each in asked)
    writer.delete("run", run_id)
    site.store.apply(writer.take(site.store.head(writer.stream_id).seq))
    odd["seen"] = site.store.head(writer.stream_id).seq


def test_a_run_that_a_filter_matches_no_more_disappears(site: Any, visitor: Any, odd: Any) -> None:
    writer = odd["writer"]
    page = visitor().go(f'{site.project(odd)}?filter=name = "odd"', ROW)
    page.wait_for_selector(".live-dot.on")
    writer.update("run", odd["run_id"], set={"name": "even"})
    site.store.apply(writer.take(site.store.heads()[writer.stream_id].seq))
    page.wait_for_selector("text=No run matches this filter.")


def test_five_hundred_and_more_columns_lock_nobody_out(site: Any, visitor: Any) -> None:
    columns = ",".join(["*name", "metrics.auc", *(f"metrics.m{number}" for number in range(600))])
    page = visitor().go(f"{site.project(site.demo.churn)}?columns={columns}", ROW)
    page.wait_for_function(
        "() => /^0\\.\\d{4}$/.test(document.querySelectorAll('.grid-row [role=gridcell]')[2].textContent.trim())"
    )
    page.click("button:has-text('Columns')")
    page.click("button:has-text('Reset')")
    page.wait_for_selector("[data-column='status']")


def test_an_unknown_project_is_not_an_empty_one(site: Any, visitor: Any) -> None:
    visit = visitor()
    page = visit.go("/projects/0190d3a2-0000-7000-8000-000000000000", "h1:text-is('There is no such project')")
    assert page.locator("text=No runs in this project yet").count() == 0
    page.click("a:text-is('To the projects')")
    page.wait_for_selector("td.main a")
    visit.complaints.clear()


def test_an_arrow_stands_where_the_rows_are_sorted_and_nowhere_else(site: Any, visitor: Any) -> None:
    visit = visitor()
    page = visit.go(
        f"{site.project(site.demo.churn)}?order=metrics.auc desc", "[data-column='metrics.auc'][aria-sort='descending']"
    )
    page.route(
        "**/api/v2/runs?*order_by*",
        lambda route: route.fulfill(status=503, body='{"error": {"code": "busy", "message": "too busy"}}'),
    )
    page.click("[data-column='metrics.accuracy'] button.name")
    page.wait_for_selector(".notice:has-text('too busy')")
    assert page.get_attribute("[data-column='metrics.auc']", "aria-sort") == "descending"
    assert page.get_attribute("[data-column='metrics.accuracy']", "aria-sort") == "none"
    assert "order=metrics.auc" in page.url
    page.unroute("**/api/v2/runs?*order_by*")
    page.click(".notice button:text-is('Try again')")
    page.wait_for_selector(".notice", state="detached")
    visit.complaints.clear()


@pytest.mark.parametrize(
    "query", ["order=) nonsense (", "order=nosuch.field", "columns=constructor,__proto__,%25", "filter=metrics. >"]
)
def test_no_address_locks_anyone_out_of_a_page(site: Any, visitor: Any, query: str) -> None:
    visit = visitor()
    page = visit.go(f"{site.project(site.demo.churn)}?{query}", ".toolbar [aria-label='Filter runs']")
    page.wait_for_selector(".statusbar:not(:has-text('Loading'))")
    page.fill("[aria-label='Filter runs']", "boost")
    page.wait_for_selector(".grid-row a.name:has-text('boost')")
    assert [complaint for complaint in visit.complaints if "400" not in complaint] == []
    visit.complaints.clear()


@pytest.mark.parametrize("tab", ["constructor", "hasOwnProperty", "__proto__"])
def test_tabs_of_the_address_are_those_there_are(site: Any, visitor: Any, tab: str) -> None:
    run = site.demo.churn_runs[0]
    visit = visitor()
    visit.go(f"/runs/{run}?tab={tab}&x={tab}", "h2:has-text('Hyperparameters')")
    visit.go(f"/compare?runs={run},{site.demo.churn_runs[1]}&tab={tab}", ".diff-table")


def test_keys_that_every_object_has_are_keys_like_others(site: Any, visitor: Any) -> None:
    columns = "*name,hyperparameters.constructor,hyperparameters.__proto__,metrics.hasOwnProperty,metrics.toString,hyperparameters.valueOf"
    visit = visitor()
    page = visit.go(f"{site.project(site.demo.nasty)}?columns={columns}", ROW)
    page.wait_for_selector(".grid-row [role=gridcell]:has-text('4')")
    cells = page.evaluate(
        "[...document.querySelector('.grid-row').querySelectorAll('[role=gridcell]')].slice(2).map((cell) => cell.textContent.trim())"
    )
    assert cells == ["3", "4", "1", "2", ""]
    page = visit.go(f"{site.project(site.demo.nasty)}?group=constructor", ".groups tbody tr")
    assert page.text_content(".groups tbody td").strip() == "3"
    for key in ("constructor", "__proto__", "valueOf"):
        page = visit.go(f"{site.project(site.demo.nasty)}?view=charts-only&keys={key}", f"{PANEL.format(key)} canvas")
        page.wait_for_function(said(PANEL.format(key), "10 points"))
    # A run without any of it, beside one with it.
    runs = ",".join([site.demo.churn_runs[0], *site.demo.churn_runs[1:3]])
    visit.go(f"/compare?runs={runs}", ".diff-table")
    page = visit.go(f"{site.project(site.demo.churn)}?columns=*name,hyperparameters.constructor,metrics.toString", ROW)
    cells = page.evaluate(
        "[...document.querySelector('.grid-row').querySelectorAll('[role=gridcell]')].slice(2).map((cell) => cell.textContent.trim())"
    )
    assert cells == ["", ""]


def test_seven_windows_are_all_live(site: Any, visitor: Any, odd: Any) -> None:
    visit = visitor()
    pages = [visit.page] + [visit.page.context.new_page() for _ in range(6)]
    for page in pages:
        page.goto(site.url + site.project(odd))
    for page in pages:
        page.wait_for_selector(ROW)
        page.wait_for_selector(".live-dot.on")
    odd["writer"].update("run", odd["run_id"], set={"name": "renamed"})
    site.store.apply(odd["writer"].take(site.store.heads()[odd["writer"].stream_id].seq))
    for page in pages:
        page.wait_for_selector("a.name:text-is('renamed')")


def test_what_happens_while_a_page_loads_is_not_missed(site: Any, visitor: Any, odd: Any) -> None:
    visit = visitor()
    page = visit.page
    # The stream of events begins only after the page has read its rows and something else has happened.
    page.add_init_script(
        "window.SharedWorker = undefined; window.gate = new Promise((open) => (window.openGate = open)); const Real = EventSource; window.EventSource = function (url) { window.eventUrl = url; return new Real(url); }; const later = setTimeout; window.setTimeout = (f, ms, ...rest) => (ms === 300 ? window.gate.then(f) : later(f, ms, ...rest));"
    )
    page.goto(site.url + site.project(odd))
    page.wait_for_selector("a.name:text-is('odd')")
    odd["writer"].update("run", odd["run_id"], set={"name": "changed meanwhile"})
    site.store.apply(odd["writer"].take(site.store.heads()[odd["writer"].stream_id].seq))
    page.evaluate("openGate()")
    page.wait_for_selector("a.name:text-is('changed meanwhile')")


class _Proxy(BaseHTTPRequestHandler):
    """Serves what lies below ``/ml/`` from a server that knows nothing of it."""

    protocol_version = "HTTP/1.1"
    port = 0

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(self.command, self.path.removeprefix("/ml"), body or None, dict(self.headers))
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            while piece := answer.read1(65_536):
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            pass
        finally:
            connection.close()
        self.close_connection = True

    do_GET = do_POST = do_PATCH = _forward

    def do_HEAD(self) -> None:
        self._forward()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _ProxyServer(ThreadingHTTPServer):
    """Takes as many connections at once as a browser opens for the scripts of a page."""

    daemon_threads = True
    request_queue_size = 128


def test_the_pages_work_below_a_path_of_a_proxy(site: Any, visitor: Any) -> None:
    handler = type("Proxy", (_Proxy,), {"port": int(site.url.rsplit(":", 1)[1])})
    proxy = _ProxyServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    visit = visitor()
    try:
        page = visit.page
        home = f"http://127.0.0.1:{proxy.server_port}/ml/"
        visit.site = replace(site, url=home.rstrip("/"))
        page.goto(home)
        page.click("td.main a:text-is('churn')")
        page.wait_for_selector(ROW)
        page.wait_for_selector(f"{PANEL.format('train/loss')} canvas")
        page.wait_for_selector(".live-dot.on")
        page.click(f"{ROW} a.name >> nth=0")
        page.wait_for_selector("h2:has-text('Hyperparameters')")
        assert page.url.startswith(f"{home}runs/")
        page.fill("textarea[aria-label='Comment']", "from below")
        page.click("button:text-is('Comment')")
        page.wait_for_selector(".comment:has-text('from below')")
        page.click(".crumbs a:text-is('Projects')")
        page.wait_for_selector("td.main a")
        assert page.url == home
        assert page.evaluate("window.hacked") is None
    finally:
        # A page that still asks when its server goes away is reset, and says so.
        visit.page.goto("about:blank")
        proxy.shutdown()
        proxy.server_close()
        thread.join(30)


def test_what_modeldb_measures_comes_last_and_collapsed(site: Any, visitor: Any) -> None:
    visit = visitor()
    page = visit.go(f"/runs/{site.demo.vision_runs[0]}", "[aria-label=Metrics] table")
    assert page.locator("[aria-label=Metrics] details.own:not([open]) tr").count() == 3
    page = visit.go(f"/runs/{site.demo.vision_runs[0]}?tab=charts", f"{PANEL.format('train/loss')} canvas")
    heads = page.locator(".section-head")
    assert heads.last.text_content().startswith("Measured by ModelDB")
    assert heads.last.get_attribute("aria-expanded") == "false"
    page = visit.go(site.project(site.demo.vision), ROW)
    titles = page.evaluate("[...document.querySelectorAll('[data-column]')].map((e) => e.dataset.column)")
    assert not [title for title in titles if "modeldb/" in title or title == "hyperparameters.optimizer"]
    page.click("button:has-text('Columns')")
    page.wait_for_selector(".chooser label:has-text('top1')")
    page.evaluate("document.querySelector('.chooser .list').scrollTop = 1e6")
    page.wait_for_selector(".chooser label:last-child:has-text('modeldb/')")
