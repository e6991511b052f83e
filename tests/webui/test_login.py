"""A browser at a server that asks for a token: the token is the password."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_server import Server, ServerSettings, create_app

pytestmark = pytest.mark.browser

TOKEN, READ_TOKEN = "a-token-of-the-tests", "a-token-that-only-reads"
RENAME = """([path, name]) => fetch(path, {
    method: "PATCH",
    headers: {"X-ModelDB": "1", "Content-Type": "application/json"},
    body: JSON.stringify({name}),
}).then((response) => response.status)"""


@pytest.fixture
def closed(site: Any, tmp_path: Any) -> Iterator[Server]:
    """A server on the same store that asks for a token."""
    settings = ServerSettings(port=0, poll_interval_s=0.1, tokens=(TOKEN,), read_tokens=(READ_TOKEN,))
    server = Server(create_app(site.store, FsspecArtifactStore(f"file://{tmp_path}/blobs"), settings))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.stop()
    assert server.wait(30)
    thread.join(30)


@pytest.mark.parametrize("credentials", [None, {"username": "ada", "password": "not-the-right-token"}])
def test_without_the_token_no_page_is_shown(closed: Server, chromium: Any, credentials: Any) -> None:
    from playwright.sync_api import Error

    with chromium.new_context(http_credentials=credentials) as context:
        page = context.new_page()
        try:
            response = page.goto(closed.url)
        except Error as error:  # nobody is there to be asked for another one
            assert "ERR_INVALID_AUTH_CREDENTIALS" in str(error)
        else:
            assert response is not None
            assert response.status == 401
        assert not page.locator("td.main a").count()


def test_with_it_pages_live_updates_and_edits_work(closed: Server, chromium: Any, site: Any) -> None:
    credentials = {"username": "ada", "password": TOKEN}
    with chromium.new_context(http_credentials=credentials) as context:
        page = context.new_page()
        page.goto(closed.url)
        page.click("td.main a:text-is('churn')")
        page.wait_for_selector(".grid-row a.name")
        run_path = page.locator(".grid-row a.name").first.get_attribute("href")
        path = f"/api/v2/runs/{run_path.rstrip('/').rpartition('/')[2]}"
        before = site.store.get("run", path.rpartition("/")[2]).name
        page.wait_for_selector(".live-dot.on")
        assert page.evaluate(RENAME, [path, "renamed with the token"]) == 200
        page.wait_for_selector("a.name:text-is('renamed with the token')")  # by the event stream
        assert page.evaluate(RENAME, [path, before]) == 200


def test_a_token_that_only_reads_shows_pages_and_changes_nothing(closed: Server, chromium: Any) -> None:
    with chromium.new_context(http_credentials={"username": "", "password": READ_TOKEN}) as context:
        page = context.new_page()
        page.goto(closed.url)
        page.click("td.main a:text-is('churn')")
        page.wait_for_selector(".grid-row a.name")
        href = page.locator(".grid-row a.name").first.get_attribute("href")
        path = f"/api/v2/runs/{href.rstrip('/').rpartition('/')[2]}"
        assert page.evaluate(RENAME, [path, "never"]) == 403
