"""The page of any kind of entities, also of one that only a plugin knows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.plugins import open_store
from modeldb_server import Server, ServerSettings, create_app
from tests.core.test_kinds import Written, gauges  # noqa: F401 - a fixture

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture
def url(gauges, tmp_path: Path) -> Iterator[str]:  # noqa: F811
    gauges("new")
    with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
        Written.to(store)
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
        page.wait_for_selector("tbody tr:has-text('low')")
        heads = [text.strip() for text in page.locator("thead th").all_text_contents()]
        assert heads[0] == "name"
        assert {"unit", "limit", "checked at", "run id", "project id"} <= set(heads)
        page.click("thead button:has-text('limit')")
        page.wait_for_function("() => document.querySelector('tbody tr').textContent.includes('high')")
        page.click("input[role=combobox]")
        page.keyboard.type("lim")
        page.wait_for_selector(".completions li:has-text('limit')")
        page.keyboard.type("it < 1")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
        assert "low" in page.text_content("tbody tr")
        page.fill("input[role=combobox]", "color = 'red'")
        page.keyboard.press("Enter")
        page.wait_for_selector(".filter-error")
        assert "is not a field of a gauge" in page.text_content(".filter-error")
        assert complaints == []
