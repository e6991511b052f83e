"""The pages of data sets, models, and everything else that is not a run: lists, versions, uses, lineage, history."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.plugins import open_store
from modeldb_server import Server, ServerSettings, create_app
from tests.webui.conftest import Site
from tests.webui.test_accessibility import serious

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.hacked=1">'
LONG = "customers of the north " * 8


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Data sets, a model and what was made from what, logged as programs log them."""
    folder = tmp_path_factory.mktemp("entities")
    url, artifact_url = f"sqlite:///{folder}/modeldb.db", f"file://{folder}/blobs"
    with modeldb.connect(url=url, artifact_url=artifact_url) as client:
        fill(client, folder)
    with open_store(url) as store:
        artifacts = FsspecArtifactStore(artifact_url)
        app = create_app(store, artifacts, ServerSettings(port=0, poll_interval_s=0.1))
        server = Server(app)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield Site(server.url, store, None)
        server.stop()
        thread.join(30)
        app.extensions["modeldb_server"].close()
        artifacts.close()


def fill(client: modeldb.Client, folder: Path) -> None:
    """Train three models on three versions of a data set, register them, and promote one."""
    for number in range(1, 4):
        with modeldb.start_run("churn", name=f"train {number}", client=client) as run:
            run.log_dataset({"age": list(range(number))}, "train", name="customers")
            run.log_dataset({"name": [HOSTILE]}, "test", name=LONG)
            weights = folder / "weights.bin"
            weights.write_bytes(b"weights %d" % number)
            run.log_artifact(weights, "model/weights.bin")
        version = modeldb.register_model("churn", run=run, description=HOSTILE, client=client)
        model = modeldb.registered_model("churn", client=client)
        model.promote(version, stage="staging", reason=f"as good as {number}")
    data = folder / "photos"
    (data / "cats").mkdir(parents=True)
    for length in (1, 2):
        (data / "cats" / "one.jpg").write_bytes(b"x" * length)
        (data / f"{length}.txt").write_text("there since then")
        modeldb.log_dataset_version("photos", modeldb.path(data), client=client)
    repository = modeldb.repository("churn", client=client)
    for number in (1, 2):
        with repository.commit(f"batches of {number}", branch="main") as commit:
            commit["config/training"] = {"batch": number, "note": HOSTILE}
            commit["config/model"] = {"depth": 8}
    with repository.commit("deeper", branch="deep", base="main") as commit:
        commit["config/model"] = {"depth": 16}
    version.request_approval("production", HOSTILE)
    version.approve("production")
    model.promote(version, stage="production", alias="champion", reason="the best so far")


def first(site: Site, kind: str, filter_: str = "") -> str:
    """Return the path of the page of the newest entity of a kind."""
    from modeldb_core.queries import Query

    (entity,) = site.store.find(Query(kind, filter_, limit=1)).entities
    from modeldb_core.model.schema import KINDS

    return f"/kinds/{KINDS[kind].path}/{entity.entity_id}"


def test_from_a_data_set_to_its_versions_their_difference_and_what_used_them(site, visitor) -> None:
    from playwright.sync_api import expect

    visit = visitor()
    page = visit.go("/", ".rail a:has-text('Datasets')")
    page.click(".rail a:has-text('Datasets')")
    page.click(".grid-row a:text-is('customers')")
    expect(page.get_by_role("heading", level=1)).to_have_text("customers")
    page.click(".tabs a:has-text('Versions')")
    expect(page.locator(".grid-row")).to_have_count(3)
    expect(page.locator(".grid-row").first).to_contain_text("customers v3")
    page.locator(".grid-row .pick").nth(0).click()
    page.locator(".grid-row .pick").nth(2).click()
    visit.picture("dataset-versions")
    page.click("button:has-text('Compare 2')")
    expect(page.locator(".diff-table thead a")).to_have_text(["customers v1", "customers v3"])
    expect(page.locator(".diff-table tr:has(th:text-is('Version'))")).to_contain_text("13")
    page.click(".tabs a:has-text('Used by')")
    expect(page.locator(".grid-row")).to_have_count(1)
    page.click(".tabs a:has-text('History')")
    expect(page.locator("tbody tr")).not_to_have_count(0)
    page.go_back()
    expect(page.locator(".tabs a[aria-current]")).to_contain_text("Used by")
    expect(page.locator(".grid-row")).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_selector("h1:text-is('train 1'), h1:text-is('train 3')")
    page.click(".tabs a:has-text('Lineage')")
    expect(page.locator(".lineage .node.root")).to_contain_text("train")
    page.click(".lineage a.node:has-text('customers@v')")
    page.wait_for_selector(".tabs a:has-text('Used by')")


def test_a_version_of_files_shows_its_folders_and_which_files_differ(site, visitor) -> None:
    from playwright.sync_api import expect

    page = visitor().go(first(site, "dataset_version", "name = 'photos'") + "?tab=contents", ".tab tbody")
    expect(page.locator(".tab tbody tr")).to_have_text(["1.txt16 B", "2.txt16 B", "cats/"])
    page.click(".tab button:text-is('cats/')")
    expect(page.locator(".tab tbody tr")).to_have_text(["one.jpg2 B"])
    page.click(".crumbs a:has-text('photos')")
    page.click(".tabs a:has-text('Versions')")
    page.locator(".grid-row .pick").nth(0).click()
    page.locator(".grid-row .pick").nth(1).click()
    page.click("button:has-text('Compare 2')")
    expect(page.locator("section[aria-label=Files] tbody tr")).to_have_text(["cats/one.jpg1 B2 B", "2.txt16 B"])


def test_a_model_shows_its_stages_aliases_and_versions(site, visitor) -> None:
    from playwright.sync_api import expect

    page = visitor().go(first(site, "registered_model"), "section[aria-label=Aliases]")
    expect(page.locator("section[aria-label=Aliases]")).to_contain_text("championv3")
    page.click("section[aria-label=Aliases] a")
    expect(page.locator("section[aria-label=Facts]")).to_contain_text("production")
    expect(page.locator(".crumbs")).to_contain_text("churn")
    page.click(".tabs a:has-text('Approvals')")
    expect(page.locator(".grid-row")).to_have_count(2)


def test_what_cannot_be_shown_says_so(site, visitor) -> None:
    from playwright.sync_api import expect

    visit = visitor()
    page = visit.go("/kinds/datasets/01a226a6-23cd-7601-8652-8989fb0a5b50", ".notice.bad")
    expect(page.locator(".notice.bad")).to_contain_text("dataset")
    visit.complaints[:] = [each for each in visit.complaints if "404" not in each]
    page = visit.go("/kinds/repositories?filter=name = 'none'", ".grid-empty")
    expect(page.locator(".grid-empty")).to_have_text("Nothing matches this filter.")


def test_a_model_tells_its_moves_what_was_where_and_its_card(site, visitor) -> None:
    from playwright.sync_api import expect

    page = visitor().go(first(site, "registered_model") + "?tab=moves", "section[aria-label=Moves] tbody")
    moves = page.locator("section[aria-label=Moves] tbody tr")
    expect(moves).to_have_count(4)
    expect(moves.first).to_contain_text("the best so far")
    expect(moves.first).to_contain_text("staging → production")
    expect(page.locator("section[aria-label='What was where']")).to_contain_text("championv3")
    page.fill("input[type=datetime-local]", "2020-01-01T00:00:00")
    expect(page.locator("section[aria-label='What was where']")).to_contain_text("The model was not there then.")
    moves.first.locator("a").first.click()
    page.click(".tabs a:has-text('Card')")
    expect(page.locator(".prose h2").first).to_have_text("churn v3")
    expect(page.locator(".prose")).to_contain_text(HOSTILE)


def test_a_version_is_promoted_from_the_page_of_its_model(site, visitor) -> None:
    from playwright.sync_api import expect

    visit = visitor()
    page = visit.go(first(site, "registered_model") + "?tab=moves", "section[aria-label=Moves] tbody")
    form = page.locator("section[aria-label=Promote]")
    expect(form.locator("button")).to_be_disabled()
    form.locator("[aria-label=Version]").fill("v9")
    form.locator("[aria-label=Alias]").fill("challenger")
    form.locator("[aria-label=Reason]").fill("to be compared with")
    form.locator("button").click()
    expect(form.locator(".notice.bad")).to_contain_text("v9")
    expect(form.locator("[aria-label=Reason]")).to_have_value("to be compared with")
    form.locator("[aria-label=Version]").fill("v1")
    form.locator("button").click()
    expect(page.locator("section[aria-label=Moves] tbody tr").first).to_contain_text("challenger: none → v1")
    expect(page.locator("section[aria-label='What was where']")).to_contain_text("challengerv1")
    visit.complaints[:] = [each for each in visit.complaints if "404" not in each]


def test_a_repository_shows_its_log_what_commits_hold_and_what_they_changed(site, visitor) -> None:
    from playwright.sync_api import expect

    page = visitor().go(first(site, "repository"), "section[aria-label=Branches]")
    expect(page.locator("section[aria-label=Branches]")).to_contain_text("mainbatches of 2")
    page.click(".tabs a:has-text('Log')")
    expect(page.locator(".tab tbody tr")).to_have_count(2)
    page.select_option("select[aria-label='Branch or tag']", "deep")
    expect(page.locator(".tab tbody tr")).to_have_count(3)
    page.click(".tab tbody a:has-text('deeper')")
    page.click(".tabs a:has-text('Contents')")
    page.click(".tab button:text-is('config/')")
    page.click(".tab button:text-is('model')")
    expect(page.locator("section[aria-label='config/model']")).to_contain_text("hyperparameters.depth16")
    page.click(".tabs a:has-text('Changes')")
    expect(page.locator("section:has(h2:has-text('config/model')) tbody")).to_contain_text("816")
    page.click(".crumbs a:has-text('churn')")
    page.click(".tabs a:has-text('Commits')")
    expect(page.locator(".grid-row")).to_have_count(3)
    page.locator(".grid-row .pick").nth(0).click()
    page.locator(".grid-row .pick").nth(2).click()
    page.click("button:has-text('Compare 2')")
    expect(page.locator("section:has(h2:has-text('config/training')) tbody")).to_contain_text("12")
    expect(page.locator(".diff-table thead a")).to_have_text(["batches of 1", "deeper"])


PAGES = {
    "datasets": "/kinds/datasets",
    "dataset": "{dataset}",
    "versions": "{dataset}?tab=dataset-versions",
    "version": "{dataset_version}",
    "files": "{dataset_version}?tab=contents",
    "uses": "{dataset_version}?tab=uses",
    "lineage": "{model_version}?tab=lineage",
    "history": "{registered_model}?tab=history",
    "model": "{registered_model}",
    "model-version": "{model_version}",
    "moves": "{registered_model}?tab=moves",
    "card": "{model_version}?tab=card",
    "repository": "{repository}",
    "log": "{repository}?tab=log",
    "contents": "{commit}?tab=contents&path=config/model",
    "changes": "{commit}?tab=changes",
}


@pytest.mark.parametrize(("look", "width"), [("light", 1280), pytest.param("dark", 390, marks=pytest.mark.thorough)])
def test_axe_finds_nothing_serious_on_pages_of_entities(site, visitor, look: str, width: int) -> None:
    kinds = ("dataset", "dataset_version", "registered_model", "model_version", "repository", "commit")
    paths = {kind: first(site, kind) for kind in kinds}
    visit = visitor(width=width, height=860, color_scheme=look)
    for name, path in PAGES.items():
        page = visit.go(path.format(**paths), ".grid-row, .tab .plain, .lineage, .tab.muted")
        visit.picture(f"entity-{name}-{look}-{width}")
        assert serious(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"
