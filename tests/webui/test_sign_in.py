"""A browser at a server with accounts: sign in, make a token, see the members, sign out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.commands import people
from modeldb_core.queries import Query
from modeldb_server import Server, ServerSettings, create_app

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def closed(request: pytest.FixtureRequest, site: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the same store that asks who one is, below a path where a test names one."""
    tmp_path = tmp_path_factory.mktemp("closed")
    settings = ServerSettings(
        port=0,
        poll_interval_s=0.1,
        accounts=f"sqlite:///{tmp_path}/accounts.db",
        base_path=getattr(request, "param", ""),
    )
    server = Server(create_app(site.store, FsspecArtifactStore(f"file://{tmp_path}/blobs"), settings))
    accounts = server.context.accounts
    assert accounts is not None
    for name, is_admin in (("sign-in-ada", True), ("sign-in-bob", False)):
        if accounts.directory().named(name) is None:
            accounts.execute(people.create_user(site.store, name, is_admin=is_admin), "tester")
    user = accounts.directory().named("sign-in-ada")
    assert user is not None
    accounts.set_password(user, PASSWORD)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.stop()
    assert server.wait(30)
    thread.join(30)


def accessible(page: Any, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert not found, (name, [(each["id"], [node["html"] for node in each["nodes"]]) for each in found])


def test_a_person_signs_in_makes_a_token_and_signs_out(closed: Server, chromium: Any, tmp_path: Path) -> None:
    project = closed.context.whole_store.find(Query("project", limit=1)).entities[0]
    with chromium.new_context() as context:
        page, problems = context.new_page(), []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{closed.url}/projects/{project.entity_id}")
        page.get_by_role("heading", name="Sign in").wait_for()
        assert "/sign-in?next=/projects/" in page.url
        page.get_by_label("Name or address").fill("sign-in-ada")
        page.get_by_label("Password").fill("not the right password")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("The name or the password is wrong.").wait_for()
        accessible(page, "sign-in")
        page.screenshot(path=tmp_path / "sign-in.png")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{closed.url}/projects/{project.entity_id}")
        page.goto(f"{closed.url}/account")
        page.get_by_text("Signed in as sign-in-ada").wait_for()
        page.get_by_label("What the token is for").fill("nightly")
        page.get_by_role("button", name="Make a token").click()
        page.get_by_text("mdb_").wait_for()
        page.get_by_role("cell", name="nightly", exact=True).wait_for()
        accessible(page, "account")
        page.screenshot(path=tmp_path / "account.png")
        page.get_by_role("button", name="Revoke nightly").click()
        page.get_by_role("cell", name="revoked", exact=True).wait_for()
        workspace = closed.context.whole_store.find(Query("workspace", order_by="name", limit=1)).entities[0]
        page.get_by_role("link", name=f"Members of {workspace.name}", exact=True).click()
        page.get_by_role("heading", name=f"Members of {workspace.name}").wait_for()
        page.goto(f"{closed.url}/members/projects/{project.entity_id}")
        page.get_by_role("heading", name=f"Members of {project.name}").wait_for()
        page.get_by_label("Name", exact=True).fill("sign-in-bob")
        page.get_by_role("button", name="Give").click()
        page.get_by_role("cell", name="sign-in-bob", exact=True).wait_for()
        accessible(page, "members")
        page.screenshot(path=tmp_path / "members.png")
        page.goto(f"{closed.url}/account")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        page.goto(closed.url)
        page.get_by_role("heading", name="Sign in").wait_for()
        assert not problems


def sign_in(page: Any) -> None:
    page.get_by_label("Name or address").fill("sign-in-ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize(
    "target", ["//elsewhere.test/", "/.//elsewhere.test/", "{url}//elsewhere.test/", "/\\elsewhere.test"]
)
def test_signing_in_leads_to_no_other_server(closed: Server, chromium: Any, target: str) -> None:
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{closed.url}/sign-in?next={target.format(url=closed.url)}")
        sign_in(page)
        # Until it is loaded: Chromium may never close a page that is closed while it arrives.
        page.wait_for_url(lambda url: "/sign-in" not in url)
        assert page.url.startswith(f"{closed.url}/")


@pytest.mark.parametrize("closed", ["/models"], indirect=True)
def test_below_a_path_of_a_proxy_signing_in_leads_to_the_page_that_was_asked_for(closed: Server, chromium: Any) -> None:
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{closed.url}/compare?runs=x")
        sign_in(page)
        page.wait_for_url(f"{closed.url}/compare?runs=x")
