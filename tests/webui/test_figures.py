"""Figures that were logged as numbers are drawn; a file that only says it is one does no harm."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_figures_are_drawn_on_the_page_of_the_run_and_can_be_read_aloud(site: Any, visitor: Any) -> None:
    visit = visitor()
    page = visit.go(f"/runs/{site.demo.vision_runs[0]}", "[aria-label=Figures] .matrix td:text-is('812')")
    page.wait_for_selector("[aria-label=Figures]:has-text('is not a figure that can be drawn')")
    page.wait_for_function("() => document.querySelectorAll('[aria-label=Figures] figcaption').length === 4")
    titles = page.locator("[aria-label=Figures] figcaption").all_text_contents()
    assert titles == ["Confusion matrix", "Feature importances", site.data.SCRIPT, "ROC curve"]
    assert page.locator(".matrix thead th[scope=col]").all_text_contents() == ["True", "fine", "scratch", "dent"]
    curves = page.locator("figure:has-text('ROC curve') svg")
    assert curves.locator("path.curve").count() == 2
    assert "True positive rate against False positive rate" in curves.get_attribute("aria-label")
    assert page.locator("figure:has-text('ROC curve') .legend li").first.text_content().startswith("scratch (AUC 0.88)")
    bars = page.locator("figure:has-text('Feature importances') svg")
    assert (bars.locator("rect.bar").count(), bars.locator("line.whisker").count()) == (5, 5)
    assert "edge density 0.4100" in bars.get_attribute("aria-label")
    page.locator("[aria-label=Figures]").scroll_into_view_if_needed()
    visit.picture("figures")


def test_a_hostile_figure_is_text_and_numbers(site: Any, visitor: Any) -> None:
    page = visitor().go(f"/runs/{site.demo.vision_runs[0]}", "[aria-label=Figures] figure:nth-child(1)")
    page.wait_for_function("() => document.querySelectorAll('[aria-label=Figures] figure').length === 4")
    assert page.evaluate("({}).polluted") is None
    assert page.locator("main img, main script, main iframe").count() == 0
    hostile = page.locator("[aria-label=Figures] figure", has=page.locator(f"figcaption:has-text('{'hacked=2'}')"))
    assert hostile.locator("rect.bar").count() == 2, "what is not a number has no bar"
    texts = hostile.locator("svg > g > text").all_text_contents()
    assert all(len(text) <= 24 for text in texts)
    for bad in ("NaN", "Infinity", "undefined"):
        assert (
            page.locator(f"[aria-label=Figures] svg [d*={bad}], [aria-label=Figures] svg [width*={bad}]").count() == 0
        )
