"""A browser, and a real server on a real store that looks like a month of work."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.plugins import open_store
from modeldb_server import Server, ServerSettings, create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Response

    from modeldb_core.stores import MetadataStore

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOTS = "MODELDB_TEST_SCREENSHOTS"
"""Names the folder in which pictures of the pages are left."""
MANY = 3000


def _load_demo() -> ModuleType:
    """Return the script beside this file as a module: tests are in no package."""
    spec = importlib.util.spec_from_file_location("modeldb_webui_demo", Path(__file__).with_name("demo.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


demo_data = _load_demo()


@dataclass
class Site:
    """A server with its store, and what was put into it."""

    url: str
    store: MetadataStore
    demo: Any
    data: ModuleType = demo_data
    many: int = MANY

    def project(self, ids: dict[str, str]) -> str:
        """Return the path of a project's runs."""
        return f"/projects/{ids['project_id']}"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with open_store(f"sqlite:///{folder}/modeldb.db") as store:
        artifacts = FsspecArtifactStore(f"file://{folder}/modeldb-artifacts")
        data = demo_data.fill(store, artifacts)
        demo_data.many(store, MANY)
        settings = ServerSettings(port=0, actor="grace", poll_interval_s=0.1)
        app = create_app(store, artifacts, settings)
        server = Server(app)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield Site(server.url, store, data)
        server.stop()
        assert server.wait(30)
        thread.join(30)
        app.extensions["modeldb_server"].close()
        artifacts.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("the browser tests need Chromium: apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page in the browser that remembers everything it should not have said."""

    page: Page
    site: Site
    folder: Path
    complaints: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and address with the body of every request to the API."""

    def go(self, path: str, ready: str) -> Page:
        """Open a path and wait for what a selector names."""
        self.page.goto(self.site.url + path)
        self.page.wait_for_selector(ready)
        return self.page

    def picture(self, name: str) -> None:
        """Leave a picture of the page."""
        self.page.screenshot(path=self.folder / f"{name}.png")

    def watch(self) -> None:
        """Begin to listen."""
        page = self.page
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("response", self._answered)
        page.on(
            "request",
            lambda request: self.requests.append((request.method, f"{request.url} {request.post_data or ''}")),
        )
        page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective, e.blockedURI))"
        )

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} for {response.url}")
        if not response.url.startswith((self.site.url, "blob:", "data:")):
            self.complaints.append(f"another origin: {response.url}")


Visitor = Callable[..., Visit]


@pytest.fixture
def visitor(chromium: Browser, site: Site, tmp_path: Path) -> Iterator[Visitor]:
    """Open pages of the site; afterwards none of them may have complained, or run what a user uploaded."""
    folder = Path(os.environ.get(SCREENSHOTS) or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    visits: list[Visit] = []
    with ExitStack() as stack:

        def visit(width: int = 1440, height: int = 860, **options: Any) -> Visit:
            options.setdefault("color_scheme", "light")
            context = chromium.new_context(viewport={"width": width, "height": height}, **options)
            stack.callback(context.close)
            context.set_default_timeout(15_000)
            made = Visit(context.new_page(), site, folder)
            made.watch()
            visits.append(made)
            return made

        yield visit
        for made in visits:
            assert made.page.evaluate("window.hacked") is None
    for made in visits:
        assert made.complaints == []
