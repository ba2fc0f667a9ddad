"""The interactive charts in a real browser, where Chromium is installed: they draw under the page's policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from synthetic_study import write_study

import reports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.EXECUTABLE is None, reason="Chromium is not installed"),
]
POINTS = "[...document.querySelectorAll('#chart-pareto .points_marks > path')]"
LINES = "document.querySelectorAll('#chart-curves .lines_marks > path').length"
HOSTILE = {
    "regime=adapter": "</script><script>window.hit=1</script>",
    "tokens=pooled": "<img src=x onerror='window.hit=2'>",
    "target=continuous": "\u202eevil\u202c \u05e2\u05d1\u05e8\u05d9\u05ea {{7*7}} ${window.hit=3}",
    "llm=frozen": "x" * 10_000,
}


@pytest.fixture
def page(built: tuple[reports.ReportSummary, Path]) -> Iterator[chromium.Browser]:
    """The synthetic study's page with its charts drawn."""
    browser = opened(built[0].html)
    yield browser
    browser.close()


def opened(path: Path) -> chromium.Browser:
    browser = chromium.Browser(f"file://{path}")
    browser.wait_for("document.querySelectorAll('#explore .chart svg').length === 2")
    return browser


def choose(page: chromium.Browser, control: str, value: str, chart: str) -> None:
    """Set a control, and wait until its chart is drawn anew."""
    turn = page.run(f"document.getElementById('chart-{chart}').dataset.turn")
    page.run(
        f"(() => {{ const c = document.getElementById('c-{control}');"
        f" if (c.type === 'checkbox') c.checked = {value}; else c.value = '{value}';"
        " c.dispatchEvent(new Event('change')); })()"
    )
    page.wait_for(f"document.getElementById('chart-{chart}').dataset.turn > {turn}")


def point_at(page: chromium.Browser, kind: str, place: int) -> None:
    """Move the mouse onto a point, or click it."""
    page.run(f"{POINTS}[{place}].scrollIntoView({{block: 'center', behavior: 'instant'}})")
    x, y = page.run(f"(() => {{ const b = {POINTS}[{place}].getBoundingClientRect();"
                    " return [b.x + b.width / 2, b.y + b.height / 2]; })()")  # fmt: skip
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    for step in ("mousePressed", "mouseReleased") if kind == "click" else ():
        page.call("Input.dispatchMouseEvent", type=step, x=x, y=y, button="left", clickCount=1)


def test_every_arm_is_a_point_and_a_line_and_nothing_is_asked_for(page: chromium.Browser) -> None:
    assert page.run(f"{POINTS}.length") == 5
    assert page.run(LINES) == 5
    assert page.run(f"{POINTS}.every(p => p.getAttribute('aria-label').includes('CIDEr'))")
    assert len([url for url in page.requests if not url.startswith("data:")]) == 1
    assert not page.errors


def test_other_costs_and_qualities_move_the_points(page: chromium.Browser) -> None:
    spots = f"{POINTS}.map(p => p.getAttribute('transform'))"
    seen = [page.run(spots)]
    for control, value in (("cost", "3"), ("measure", "2"), ("cost-log", "true"), ("colour", "1")):
        choose(page, control, value, "pareto")
        seen.append(page.run(spots))
        assert len(seen[-1]) == 5
    assert len({tuple(s) for s in seen}) == 4  # colours move nothing
    assert "trainable parameters" in page.run("document.querySelector('#chart-pareto svg').textContent")
    assert page.run(f"new Set({POINTS}.map(p => p.getAttribute('stroke'))).size") == 2
    choose(page, "measure", "1", "pareto")
    assert page.run(f"{POINTS}.length") == 4
    assert "so not drawn: 2." in page.run("document.getElementById('say-pareto').textContent")
    assert not page.errors


def test_hover_tells_and_a_click_picks_the_arm_everywhere(page: chromium.Browser) -> None:
    point_at(page, "move", 1)
    page.wait_for("!document.getElementById('c-tip').hidden")
    told = page.run("document.getElementById('c-tip').textContent")
    assert "regime=adapter" in told and "regime: adapter" in told and "target: none" in told
    assert "SD" in told and "95 % [" in told and "seeds 0: " in told and "training FLOPs (T) 3.1" in told
    point_at(page, "click", 1)
    page.wait_for("document.getElementById('c-arm').value === '1'")
    faint = f"{POINTS}.map(p => Number(p.getAttribute('opacity')))"
    page.wait_for(f"{faint}[0] < 1")
    assert page.run(f"{faint}[1]") == 1
    link = page.run("document.querySelector('#c-detail a').getAttribute('href')")
    assert page.run(f"document.querySelector('{link}').textContent.includes('regime=adapter')")
    assert page.run("document.querySelector('#table-main tr.picked th').textContent").startswith("regime=adapter")
    assert not page.errors


def test_arms_can_be_left_out_and_curves_put_on_flops(page: chromium.Browser) -> None:
    turn = page.run("document.getElementById('chart-curves').dataset.turn")
    page.run("document.getElementById('c-show-2').focus()")
    page.run("document.getElementById('c-show-2').click()")
    page.wait_for(f"document.getElementById('chart-curves').dataset.turn > {turn}")
    page.wait_for(f"{POINTS}.length === 4")
    assert page.run(LINES) == 4
    assert page.run("document.activeElement.id") == "c-show-2"
    choose(page, "clock", "flops", "curves")
    choose(page, "curve", "1", "curves")
    choose(page, "value-log", "true", "curves")
    text = page.run("document.querySelector('#chart-curves svg').textContent")
    assert "training FLOPs" in text and "train/loss" in text
    bands = "document.querySelectorAll('#chart-curves .bands_marks > path').length"
    assert page.run(bands) == 4
    choose(page, "band", "false", "curves")
    assert page.run(bands) == 0
    page.run("document.getElementById('c-none').click()")
    page.wait_for("document.getElementById('chart-curves').textContent.startsWith('Nothing to draw')")
    page.run("document.getElementById('c-all').click()")
    page.wait_for(f"{POINTS}.length === 5")
    assert not page.errors


def test_the_charts_fit_a_narrow_window(page: chromium.Browser) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=800, height=900, deviceScaleFactor=1, mobile=False)
    page.wait_for("document.querySelector('#chart-pareto svg').getBoundingClientRect().width < 790")
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_hostile_names_are_text(tmp_path: Path) -> None:
    summary = reports.build(write_study(tmp_path, seeds=(0, 1), images=12, pictures=0, rename=HOSTILE))
    page = opened(summary.html)
    try:
        for place in range(5):
            point_at(page, "click", place)
            page.wait_for(f"document.getElementById('c-arm').value === '{place}'")
        assert page.run("window.hit === undefined")
        assert page.run("document.querySelectorAll('#explore img, #explore script:not([type])').length") == 0
        names = page.run("[...document.querySelectorAll('#c-key bdi')].map(b => b.textContent)")
        assert names[1] == HOSTILE["regime=adapter"]
        assert max(map(len, names)) == 80
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
        assert not page.errors
    finally:
        page.close()
