"""The page in a real browser, where Chromium is installed: sorting, filters, keys, links; no error, no request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest

import reports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.EXECUTABLE is None, reason="Chromium is not installed"),
]
ARMS = "[...document.querySelectorAll('#table-main tbody th')].map(h => h.textContent.trim())"


@pytest.fixture
def page(built: tuple[reports.ReportSummary, Path]) -> Iterator[chromium.Browser]:
    """The synthetic study's page, opened at an example."""
    browser = chromium.Browser(f"file://{built[0].html}#ex=caption%3Ac3")
    yield browser
    browser.close()


def test_the_page_asks_for_nothing_and_complains_of_nothing(page: chromium.Browser) -> None:
    assert page.run("document.querySelectorAll('#list li').length") > 20
    foreign = [url for url in page.requests if not url.startswith(("file://", "data:"))]
    assert not foreign
    assert len([url for url in page.requests if url.startswith("file://")]) == 1
    assert not page.errors


def test_a_click_sorts_and_a_third_restores(page: chromium.Browser) -> None:
    before = page.run(ARMS)
    click = "document.querySelector('#table-main th.score button').click()"
    page.run(click)
    values = (
        "[...document.querySelectorAll('#table-main tbody tr')].map(r => Number(r.querySelector('td.score').dataset.v))"
    )
    descending = page.run(values)
    assert descending == sorted(descending, reverse=True)
    page.run(click)
    assert page.run(values) == sorted(descending)
    page.run(click)
    assert page.run(ARMS) == before


def test_deep_link_keys_and_filters(page: chromium.Browser) -> None:
    current = "document.querySelector('#detail .meta').textContent"
    assert page.run(current).startswith("caption:c3 ")
    page.press("ArrowRight")
    after = page.run(current)
    assert not after.startswith("caption:c3 ")
    assert page.run("decodeURIComponent(location.hash)") == "#ex=" + after.split(" · ")[0]
    page.press("ArrowLeft")
    assert page.run(current).startswith("caption:c3 ")
    page.run(
        "(() => { const s = document.getElementById('f-benchmark'); s.value = 'vqa';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    assert page.run("[...document.querySelectorAll('#list small')].every(s => s.textContent.startsWith('vqa'))")
    page.run(
        "(() => { const s = document.getElementById('f-text'); s.value = 'no such text';"
        " s.dispatchEvent(new Event('input')); })()"
    )
    assert page.run("document.getElementById('f-count').textContent").startswith("0 of")
    assert not page.errors


def test_cards_are_of_one_height_and_nothing_is_wider_than_the_page(page: chromium.Browser) -> None:
    heights = page.run(
        "[...document.querySelectorAll('.cards')].map(c => [...c.children].map(a => Math.round(a.offsetHeight)))"
    )
    assert all(len(set(row)) == 1 for row in heights)
    for width in (1280, 800):
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
