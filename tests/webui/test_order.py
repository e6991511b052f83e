"""Answers that come late, or in another order than they were asked for, put nothing old over anything newer."""

from __future__ import annotations

from typing import Any

import pytest

from modeldb_core.testing import StreamWriter

pytestmark = pytest.mark.browser

HOLD = """(() => {
  const real = fetch;
  window.held = [];
  window.fetch = async (...asked) => {
    const answer = await real(...asked);
    if (!window.holding || !String(asked[0]).includes(window.holding)) return answer;
    window.holding = "";
    return new Promise((go, stop) => {
      window.held.push(() => go(answer));
      asked[1]?.signal?.addEventListener("abort", () => stop(new DOMException("aborted", "AbortError")));
    });
  };
})()"""
"""Keeps back the next answer from an address that holds ``window.holding``."""
SERVER = """(() => {
  window.state = "old";
  window.delays = [];
  window.fetch = () => {
    const text = JSON.stringify({ items: [{ kind: "run", entity_id: "a", name: window.state }], cursor: null, total: 1 });
    return new Promise((answer) => setTimeout(() => answer(new Response(text)), window.delays.shift() ?? 0));
  };
})()"""
"""A server that answers each question by what is there when it is asked, after a time of its own."""


def hold(page: Any, part: str) -> None:
    page.evaluate("(part) => (window.holding = part)", part)


def release(page: Any) -> None:
    page.wait_for_function("() => window.held.length === 1")
    page.evaluate("window.held.pop()()")


@pytest.fixture
def mine(site: Any) -> dict[str, Any]:
    """A project of two runs that a test may change."""
    writer = StreamWriter(actor="ada", at=site.demo.writer.at)
    writer.open(lease_s=86_400)
    ids: dict[str, Any] = writer.create_containers(f"in order {writer.stream_id[-6:]}", "all")
    ids["runs"] = [writer.create_run(**ids, name=f"run {n}", status="running").entity_id for n in range(2)]
    site.store.apply(writer.take())
    return {**ids, "writer": writer}


def change(site: Any, mine: Any, **values: Any) -> None:
    """Change the first run, as a training does that logs."""
    writer = mine["writer"]
    writer.update("run", mine["runs"][0], set=values)
    site.store.apply(writer.take(site.store.heads()[writer.stream_id].seq))


def module(site: Any, visitor: Any, name: str, expression: str) -> Any:
    from modeldb_webui.assets import Assets

    page = visitor().go("/", "h1")
    page.evaluate(SERVER)
    address = f"/assets/{Assets().version}/js/{name}"
    return page.evaluate(f"async () => {{ const m = await import('{address}'); {expression} }}")


def test_a_row_shows_the_last_state_whichever_answer_comes_last(site: Any, visitor: Any) -> None:
    shown = module(
        site,
        visitor,
        "rows.js",
        """const rows = new m.Rows("runs", () => undefined);
        await rows.start({ filter: "", order: "", fields: ["name"], among: {} });
        window.delays = [50, 0];
        const ids = new Set(["a"]);
        window.state = "running";
        const first = rows.refresh(ids);
        window.state = "finished";
        await Promise.all([first, rows.refresh(ids)]);
        return rows.at(0).name;""",
    )
    assert shown == "finished"


def test_calls_in_turn_do_not_overtake_one_another_and_the_last_state_is_asked_for(site: Any, visitor: Any) -> None:
    seen = module(
        site,
        visitor,
        "timing.js",
        """const seen = []; let now = 0; let fails = true;
        const load = m.inTurn(async () => {
          const asked = now;
          seen.push(`asked ${asked}`);
          await new Promise((go) => setTimeout(go, 5));
          seen.push(`got ${asked}`);
          if (fails) { fails = false; throw new Error("not now"); }
        });
        const first = load().catch((error) => seen.push(error.message));
        const rest = [];
        for (now = 1; now < 4; now += 1) rest.push(load());
        await first;
        await Promise.all(rest);
        now = 5;
        await load();
        return seen;""",
    )
    assert seen == ["asked 0", "got 0", "not now", "asked 4", "got 4", "asked 5", "got 5"]


def test_a_name_that_was_just_given_is_not_taken_back_by_an_older_answer(site: Any, visitor: Any, mine: Any) -> None:
    page = visitor().page
    page.add_init_script(HOLD)
    page.goto(f"{site.url}/runs/{mine['runs'][0]}")
    page.wait_for_selector("h1:text-is('run 0')")
    page.wait_for_selector(".live-dot.on")
    hold(page, "/changed")
    change(site, mine, description="of the training")
    page.wait_for_function("() => window.held.length === 1")
    page.evaluate(
        "window.names = []; new MutationObserver(() => { const name = document.querySelector('h1')?.textContent; if (name && name !== window.names.at(-1)) window.names.push(name); }).observe(document.querySelector('main'), { subtree: true, childList: true, characterData: true })"
    )
    page.click("[aria-label='Rename the run']")
    page.fill("input[aria-label='Rename the run']", "better")
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        page.keyboard.press("Enter")
    release(page)
    page.wait_for_selector("h1:text-is('better')")
    change(site, mine, description="and what came after it")
    page.wait_for_selector(".description:has-text('and what came after it')")
    assert page.evaluate("window.names.join()").removeprefix("run 0,") == "better"


def test_a_filter_that_is_typed_before_the_table_is_sorted_takes_nothing_from_the_order(
    site: Any, visitor: Any, mine: Any
) -> None:
    page = visitor().page
    page.add_init_script(HOLD)
    page.goto(f"{site.url}{site.project(mine)}?columns=*name,created_at&view=table")
    page.wait_for_selector("a.name:text-is('run 1')")
    hold(page, "order_by=name")
    page.click("[role=columnheader]:has-text('Name')")
    page.wait_for_function("() => window.held.length === 1")
    page.fill("[aria-label='Filter runs']", "name = 'run 0'")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.grid-row').length === 1")
    page.wait_for_selector("[role=columnheader]:has-text('Name')[aria-sort=ascending]")
    page.wait_for_function("() => location.search.includes('order=name')")


def test_a_deleted_run_that_is_selected_stays_so_when_the_charts_learn_that_it_is_deleted(
    site: Any, visitor: Any, mine: Any
) -> None:
    for run_id in mine["runs"]:
        mine["writer"].delete("run", run_id)
    site.store.apply(mine["writer"].take(site.store.heads()[mine["writer"].stream_id].seq))
    page = visitor().page
    page.add_init_script(f"{HOLD}; window.holding = 'started_at%2Cseries'")
    page.goto(f"{site.url}{site.project(mine)}?filter=deleted_at+exists")
    page.wait_for_function("() => window.held.length === 1")
    page.click(".grid-row:has(a.name:text-is('run 1')) .pick")
    release(page)
    page.evaluate("() => new Promise((go) => setTimeout(go, 100))")  # in which the answer is read
    page.keyboard.press("e")
    page.wait_for_selector("[role=dialog] button:text-is('Restore 1 run')")


def test_a_filter_that_is_typed_before_the_columns_have_come_is_the_one_that_counts(
    site: Any, visitor: Any, mine: Any
) -> None:
    page = visitor().page
    page.add_init_script(f"{HOLD}; window.holding = 'limit=8';")
    page.goto(f"{site.url}{site.project(mine)}?view=table")
    page.wait_for_function("() => window.held.length === 1")
    page.fill("[aria-label='Filter runs']", "name = 'run 0'")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.grid-row').length === 1")
    release(page)
    page.wait_for_selector(".live-dot.on")
    change(site, mine, tags=["later"])
    page.wait_for_selector(".grid-row .tag:text-is('later')")
    assert page.locator(".grid-row").count() == 1


def test_what_is_typed_while_a_comment_is_sent_is_not_lost(site: Any, visitor: Any, mine: Any) -> None:
    page = visitor().page
    page.add_init_script(HOLD)
    page.goto(f"{site.url}/runs/{mine['runs'][0]}")
    page.fill("[aria-label=Comment]", "the first")
    hold(page, "/comments")
    page.click("button:text-is('Comment')")
    page.fill("[aria-label=Comment]", "the second")
    release(page)
    page.wait_for_selector(".comment:has-text('the first')")
    assert page.input_value("[aria-label=Comment]") == "the second"


def test_enter_in_the_palette_goes_to_what_was_typed_and_not_to_what_was_shown_before(
    site: Any, visitor: Any, mine: Any
) -> None:
    page = visitor().page
    page.add_init_script(HOLD)
    page.goto(site.url)
    page.wait_for_selector("main h1")
    page.keyboard.press("Control+k")
    page.wait_for_selector("#targets li")
    hold(page, "/projects?")
    page.keyboard.type(site.store.get("project", mine["project_id"]).name)
    page.keyboard.press("Enter")
    release(page)
    page.wait_for_url(f"**{site.project(mine)}*")
