"""The page of any kind of entities, also of one that only a plugin knows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.plugins import open_store
from modeldb_server import Server, ServerSettings, create_app
from tests.core.test_kinds import Written, gauges, more_of_runs, write_more_of_runs  # noqa: F401 - fixtures

pytestmark = pytest.mark.browser


@pytest.fixture
def url(gauges, more_of_runs, tmp_path: Path) -> Iterator[str]:  # noqa: F811
    gauges("new")
    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        Written.to(store)
        write_more_of_runs(store)
        app = create_app(store, FsspecArtifactStore(f"file://{tmp_path}/blobs"), ServerSettings(port=0))
        server = Server(app)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield server.url
        server.stop()
        thread.join(30)
        app.extensions["modeldb_server"].close()


def test_the_columns_of_a_plugins_kind_are_offered_and_can_be_filtered_and_ordered_by(chromium, url: str) -> None:
    with chromium.new_context() as context:
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.click(".rail a:has-text('gauges')")
        page.wait_for_selector(".grid-row:has-text('low')")
        heads = [text.strip() for text in page.get_by_role("columnheader").all_text_contents()]
        assert heads[0] == "Name"
        assert {"Unit", "Limit", "Armed", "Checked", "Run", "Project", "maker"} <= set(heads)
        page.click("[role=columnheader] .name:has-text('Limit')")
        page.wait_for_function(
            "() => document.querySelector('.grid-row[data-index=\"0\"]').textContent.includes('high')"
        )
        page.click("input[role=combobox]")
        page.keyboard.type("lim")
        page.wait_for_selector(".completions li:has-text('limit')")
        page.keyboard.type("it < 1")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelectorAll('.grid-row').length === 1")
        assert "low" in page.text_content(".grid-row")
        page.fill("input[role=combobox]", "color = 'red'")
        page.keyboard.press("Enter")
        page.wait_for_selector(".filter-error")
        assert "is not a field of a gauge" in page.text_content(".filter-error")
        page.fill("input[role=combobox]", "armed = ")
        page.keyboard.press("End")
        page.keyboard.type("t")
        page.wait_for_selector(".completions li:has-text('true')")
        page.goto(f"{url}/kinds/repositories")
        page.wait_for_selector(".grid-empty .snippet:has-text('modeldb.repository')")
        assert complaints == []


def test_a_new_field_of_runs_is_offered_compared_and_shown(chromium, url: str) -> None:
    from playwright.sync_api import expect

    with chromium.new_context() as context:
        page = context.new_page()
        asked = {"filter": "rig exists", "order_by": "name"}
        runs = page.request.get(f"{url}/api/v2/runs", params=asked).json()["items"]
        one, two = (run["entity_id"] for run in runs)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}/projects/{runs[0]['project_id']}")
        expect(page.get_by_role("columnheader").filter(has_text="pt100")).to_be_visible()
        page.click("button:has-text('Columns')")
        page.fill("input[aria-label='Find a column']", "rig")
        page.click(".chooser label:has-text('Rig')")
        page.click("button:has-text('Done')")
        expect(page.get_by_role("gridcell", name="north")).to_be_visible()
        page.click("input[role=combobox]")
        page.keyboard.type("rig = ")
        expect(page.locator(".completions li")).to_have_text(['"north"', '"south"'])
        page.fill("input[role=combobox]", "sensors.pt100 > 20.7")
        page.keyboard.press("Enter")
        expect(page.locator(".statusbar")).to_contain_text("1 run match")
        page.goto(f"{url}/compare?runs={one},{two}")
        expect(page.locator("tr:has(th:text-is('Rig'))")).to_contain_text("northsouth")
        expect(page.locator("tr:has(th:text-is('pt100'))")).to_contain_text("20.521")
        expect(page.locator("th.group:has-text('Sensors')")).to_be_visible()
        page.goto(f"{url}/runs/{one}")
        expect(page.locator("section[aria-label=Sensors]")).to_contain_text("pt100")
        assert complaints == []
