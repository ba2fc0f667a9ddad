"""The page for a reader with a mouse, a keyboard, a narrow window, a printer or no colours, in a real browser."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from contrast_of_colours import MEASURE
from PIL import Image

import reports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.EXECUTABLE is None, reason="Chromium is not installed"),
]
CELL = "#table-main td.traceable"
FOCUS = "document.activeElement"


@pytest.fixture(scope="module")
def opened(study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    """The page of a study that is tracked on a server, opened once."""
    out = tmp_path_factory.mktemp("page")
    tracked = study_folder / "mlflow.json"
    tracked.write_text(json.dumps({"tracking_uri": "http://tracking.lab:5000", "experiment_id": "3"}))
    built = reports.build(study_folder, out)
    tracked.unlink()
    browser = chromium.Browser(f"file://{built.html}")
    yield browser
    browser.close()


@pytest.fixture
def page(opened: chromium.Browser) -> Iterator[chromium.Browser]:
    """The page as it is when it is opened; no test may make it complain or ask for anything."""
    resize(opened, 1280)
    opened.run("location.hash = ''")
    opened.call("Page.reload")
    opened.wait_for("document.readyState === 'complete'")
    yield opened
    assert not opened.errors
    assert not [url for url in opened.requests if not url.startswith(("file://", "data:"))]


def resize(page: chromium.Browser, width: int) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)


def text(page: chromium.Browser, selector: str) -> str:
    return str(page.run(f"document.querySelector({selector!r}).textContent"))


def test_every_number_leads_to_its_runs(page: chromium.Browser) -> None:
    numbers = "[...document.querySelectorAll('table[data-table] tr:not(.cited) .num')]"
    assert page.run(f"{numbers}.length") > 60
    assert page.run(f"{numbers}.every((n) => n.closest('.traceable'))")
    page.run("document.querySelector('#table-main tr[data-row=\"4\"] td.score').click()")
    told = text(page, "#trace")
    for said in ("llm=frozen", "Δ to the default", "seed 0", "seed 2", "MLflow run", "lavit train llm=frozen seed=1"):
        assert said in told
    assert "60 examples in 60 clusters of caption" in told
    assert "commit 0a1b2c3d4e5f" in told
    links = page.run("[...document.querySelectorAll('#trace .ids a')].map((a) => a.href)")
    assert len(links) == 3
    assert all(link.startswith("http://tracking.lab:5000/#/experiments/3/runs/") for link in links)
    page.run("document.querySelector('h1').click()")
    assert page.run("document.getElementById('trace').hidden")


def test_the_keyboard_reaches_every_number(page: chromium.Browser) -> None:
    assert page.run("document.querySelectorAll('#table-main .traceable[tabindex=\"0\"]').length") == 1
    page.run(f"document.querySelector('{CELL}').focus()")
    first = page.run(f"{FOCUS}.dataset.v")
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft"):
        page.press(key)
        assert page.run(f"{FOCUS}.matches('.traceable')")
    assert page.run(f"{FOCUS}.dataset.v") == first
    page.press("End")
    at = page.run(f"{FOCUS}.cellIndex")
    page.press("Enter")
    assert not page.run("document.getElementById('trace').hidden")
    assert page.run(f"document.getElementById('trace').contains({FOCUS})")
    page.press("Escape")
    assert page.run("document.getElementById('trace').hidden")
    assert page.run(f"{FOCUS}.cellIndex") == at
    assert page.run(f"getComputedStyle({FOCUS}).outlineStyle") == "solid"


def test_a_link_leads_to_one_number_a_figure_and_an_example(page: chromium.Browser) -> None:
    page.run("document.querySelector('#table-main td.score').click()")
    link = page.run("document.querySelector('#trace .foot a').getAttribute('href')")
    page.run("document.querySelector('#trace .shut').click()")
    page.run(f"location.hash = {link!r}")
    page.wait_for("!document.getElementById('trace').hidden")
    assert page.run("document.querySelector('.traced').closest('figure').id") == "table-main"
    page.run("location.hash = '#figure-forest'")
    page.wait_for("Math.abs(document.getElementById('figure-forest').getBoundingClientRect().top) < 400")
    page.run("location.hash = '#ex=' + encodeURIComponent('vqa:nothing')")
    page.run("location.hash = '#ex=%E0%A4%A'")
    page.run("location.hash = '#cell=main/nobody/x'")


def test_headers_sort_from_the_keyboard_and_say_so(page: chromium.Browser) -> None:
    values = "[...document.querySelectorAll('#table-main tbody tr')].map((r) => Number(r.cells[%d].dataset.v))"
    at = page.run("document.querySelector('#table-main th.score').cellIndex")
    page.run("document.querySelector('#table-main th.score button').focus()")
    for key, code in (("Enter", "\r"), (" ", " ")):
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=code if kind == "keyDown" else "",
                      windowsVirtualKeyCode=ord(code))  # fmt: skip
        state = page.run("document.querySelector('#table-main th.score').getAttribute('aria-sort')")
        found = page.run(values % at)
        assert found == sorted(found, reverse=state == "descending")
        assert state in ("ascending", "descending")


def test_examples_step_by_key_and_the_filter_is_a_slash_away(page: chromium.Browser) -> None:
    total = page.run("document.querySelectorAll('#list li').length")
    at = "[...document.querySelectorAll('#list li')].findIndex((item) => item.getAttribute('aria-current'))"
    page.run("document.getElementById('list').focus()")
    for key, place in (("End", total - 1), ("ArrowRight", total - 1), ("Home", 0), ("ArrowDown", 1), ("ArrowUp", 0)):
        page.press(key)
        assert page.run(at) == place, key
    page.press("/")
    assert page.run(f"{FOCUS}.id") == "f-text"
    page.call("Input.insertText", text="circle")
    assert 0 < page.run("document.querySelectorAll('#list li').length") < total
    page.press("Escape")
    assert page.run("document.querySelectorAll('#list li').length") == total
    before = page.run(at)
    page.run("document.getElementById('f-next').click()")
    assert page.run(at) == before + 1


def test_sources_are_copied(page: chromium.Browser) -> None:
    page.run(
        "window.copied = [];"
        "document.execCommand = () => { copied.push(document.activeElement.value); return true; };"
        "if (navigator.clipboard) navigator.clipboard.writeText = () => Promise.reject(new Error('no'))"
    )
    page.run("document.querySelectorAll('#table-main ~ .copies button').forEach((button) => button.click())")
    page.wait_for("copied.length === 3")
    latex, markdown, table = page.run("copied")
    assert "\\begin{tabular}" in latex
    assert markdown.count("\n|") > 5
    assert table.startswith("arm,") or '"' in table
    assert text(page, "#table-main ~ .copies .said") == "copied"


@pytest.mark.parametrize("width", [1280, 800, 420])
def test_nothing_is_wider_than_the_window_or_lies_over_another(page: chromium.Browser, width: int) -> None:
    resize(page, width)
    page.run("document.querySelectorAll('#runs details').forEach((d) => { d.open = true; })")
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    over = page.run(
        """(() => {
          const watched = '.strip > div, .card, nav a, main > section, .filters label, .copies button';
          const boxes = [...document.querySelectorAll(watched)].map((e) => [e, e.getBoundingClientRect()]);
          const over = [];
          boxes.forEach(([e, a], i) => boxes.slice(i + 1).forEach(([f, b]) => {
            if (e.contains(f) || f.contains(e)) return;
            const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (w > 1 && h > 1) over.push(e.textContent.slice(0, 40) + ' / ' + f.textContent.slice(0, 40));
          }));
          return over;
        })()"""
    )
    assert not over
    cut = page.run(
        "[...document.querySelectorAll('.card *, .strip *, h1, h2, .filters *, .notice')].filter((e) => "
        "e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')"
        ".map((e) => e.textContent.slice(0, 60))"
    )
    assert not cut
    rows = page.run(
        "[...document.querySelectorAll('.cards')].map((c) => [...c.children].map((a) => "
        "[Math.round(a.getBoundingClientRect().top), Math.round(a.offsetHeight)]))"
    )
    for cards in rows:
        assert len(set(map(tuple, cards))) == len({top for top, _ in cards}), "cards of a row are of one height"


def test_text_stands_out(page: chromium.Browser) -> None:
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.run("document.querySelector('#table-main td.score').click()")
    assert page.run(MEASURE) == []


def test_headings_are_in_order_and_every_picture_is_told_in_words(page: chromium.Browser) -> None:
    levels = page.run("[...document.querySelectorAll('main h2, main h3, header h1')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.run("[...document.querySelectorAll('img')].every((i) => i.hasAttribute('alt'))")
    assert page.run("[...document.querySelectorAll('#detail img, .samples img')].every((i) => i.alt.length > 5)")
    drawings = "[...document.querySelectorAll('figure.plot svg')].map((s) => s.closest('.drawing[role=img]'))"
    assert page.run(f"{drawings}.every((d) => d.ariaLabel.length > 20)")
    unnamed = "[...document.querySelectorAll('button, a, select, input')].filter((e) => !(e.textContent.trim() || "
    unnamed += "e.ariaLabel || e.closest('label')))"
    assert page.run(f"{unnamed}.map((e) => e.outerHTML.slice(0, 80))") == []
    assert page.run("new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size") == page.run(
        "document.querySelectorAll('[id]').length"
    )


def test_states_have_a_sign_beside_their_colour(page: chromium.Browser) -> None:
    signs = page.run(
        "[...document.querySelectorAll('.audit tr')].map((r) => [r.className, r.querySelector('.state').textContent])"
    )
    assert {tuple(pair) for pair in signs} <= {("ok", "✓"), ("warn", "!"), ("info", "·")}
    assert page.run(
        "[...document.querySelectorAll('.strip .warn dt, .notice')].every((e) => e.textContent.trim()[0] === '!')"
    )
    called = page.run("[...document.querySelectorAll('.delta.up b, .delta.down b')].map((e) => e.textContent[0])")
    assert called
    assert set(called) <= {"▲", "▼"}
    grey = Image.open(io.BytesIO(base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"]))).convert(
        "L"
    )
    assert np.asarray(grey).std() > 10


def test_motion_and_print_are_asked_for_first(page: chromium.Browser) -> None:
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    media: Any = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.call("Emulation.setEmulatedMedia", media="", features=media)
    assert page.run(behaviour) == "auto"
    moving = "[...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).animationName !== 'none').length"
    assert page.run(moving) == 0
    page.call("Emulation.setEmulatedMedia", media="print", features=[])
    hidden = "[...document.querySelectorAll('nav, .copies, .filters, #list')]"
    assert page.run(f"{hidden}.every((e) => getComputedStyle(e).display === 'none')")
    assert page.run("getComputedStyle(document.querySelector('#table-main .scroll')).overflowX") == "visible"
    page.call("Emulation.setEmulatedMedia", media="", features=[])
