"""Two hundred strings that mean harm, as names, captions, answers and references: they print, and do nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import chromium
import hostile
import pytest
from page_reader import PageReader

import reports
from experiments.slugs import slugify
from reports import report
from reports.figures.samples import find_pictures
from reports.frame import load
from reports.html.scripts import as_json
from reports.render.latex import PREAMBLE
from reports.render.numbers import plain

in_a_browser = pytest.mark.skipif(chromium.EXECUTABLE is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the hostile study and of the same one without harm, with their reports."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "FIGURES", ())
        for name, of in (("hostile", hostile.same), ("harmless", hostile.harmless)):
            found[name] = hostile.write_study(tmp_path_factory.mktemp(name) / "study", of)
            reports.build(found[name])
    return found


def test_there_are_two_hundred_of_them_and_all_are_on_the_page(pages: dict[str, Path]) -> None:
    assert len(set(hostile.EACH)) >= 200
    data = (pages["hostile"] / "report.html").read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0]
    examples = json.loads(data)["examples"]
    shown = {chip["t"] for e in examples for arm in e["arms"] for chip in arm}
    assert {plain(text, 300) for text in hostile.EACH} <= shown
    assert max(map(len, shown)) <= 300


def test_the_page_has_the_elements_that_it_has_without_them(pages: dict[str, Path]) -> None:
    read = {name: PageReader((folder / "report.html").read_text("utf-8")) for name, folder in pages.items()}
    assert Counter(read["hostile"].tags) == Counter(read["harmless"].tags)
    assert not read["hostile"].handlers
    assert read["hostile"].asks_for_nothing()
    assert not read["hostile"].outward
    for path in (pages["hostile"] / "tables").glob("*.html"):
        mine, other = (
            PageReader(p.read_text("utf-8")) for p in (path, pages["harmless"] / path.parent.name / path.name)
        )
        assert not mine.handlers
        assert Counter(mine.tags) == Counter(other.tags)
        assert not {"script", "img", "iframe"} & set(mine.tags)


def test_no_table_is_broken(pages: dict[str, Path]) -> None:
    tables = pages["hostile"] / "tables"
    for path in tables.glob("*.md"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        assert len(lines) == hostile.ARMS + 2
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert not re.search(r"<(?!/?(sup|br|sub|u)>)", path.read_text(encoding="utf-8"))
    for path in tables.glob("*.csv"):
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
        assert len({len(row) for row in rows}) == 1
        formulas = [c for row in rows for c in row if re.match(r"[=+@\t\r]|-(?!\d)", c)]
        assert not formulas
    for path in tables.glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in tables.glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        bare = re.sub(r"\\[\\{}%]", "", re.sub(r"(?<!\\)%.*", "", text))
        assert bare.count("{") == bare.count("}")
        forbidden = r"\\(write|immediate|include|openout|catcode|csname|loop|verb|usepackage|badcommand)"
        assert not re.search(forbidden, text) or path.name == "preamble.tex"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_of_twenty_four_hostile_arms_compiles(pages: dict[str, Path], tmp_path: Path) -> None:
    tables = sorted(p for p in (pages["hostile"] / "tables").glob("*.tex") if p.name != "preamble.tex")
    body = "\n".join(path.read_text(encoding="utf-8") for path in tables)
    head = "\\documentclass{article}\\usepackage[letterpaper,margin=1in]{geometry}\n"
    head += "\\usepackage[T1]{fontenc}\\usepackage[utf8]{inputenc}\\usepackage{lmodern}\n"
    (tmp_path / "t.tex").write_text(f"{head}{PREAMBLE}\\begin{{document}}\n{body}\n\\end{{document}}\n", "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "-draftmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    log = done.stdout.decode("utf-8", "replace")
    if "lmodern.sty' not found" in log:
        pytest.skip("the Latin Modern fonts are not installed")
    assert done.returncode == 0, log[-3000:]
    assert not (tmp_path / "hacked.txt").exists()


@pytest.mark.parametrize("text", hostile.EACH, ids=range(len(hostile.EACH)))
def test_file_names_stay_in_their_folder(text: str, tmp_path: Path) -> None:
    name = slugify(text)
    path = (tmp_path / f"{name}-s0.parquet").resolve()
    assert path.parent == tmp_path.resolve()
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name)
    assert len(path.name) < 120


def test_pictures_are_looked_for_in_their_folder_alone(pages: dict[str, Path]) -> None:
    frame = load(pages["hostile"])
    secret = pages["hostile"].parent / "secret-x.png"
    secret.write_bytes(b"")
    arm = frame.arms[0]
    (frame.folder / "samples" / frame.slugs[arm] / "s0").mkdir(parents=True)
    for text in ["../../../../secret", "*", "/", "**/x", *hostile.EACH]:
        drawn, truth = find_pictures(frame, arm, 0, text)
        assert not drawn
        assert not truth


def test_json_in_the_page_can_hold_anything() -> None:
    texts = [*hostile.EACH, "\ud800", "a\udfffb"]
    text = as_json({t: t for t in texts})
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", text)
    assert set(hostile.EACH) <= set(json.loads(text).values())
    text.encode("utf-8")


def test_lone_surrogates_do_not_stop_a_report(pages: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(pages["hostile"], folder)
    study = folder / "study.yaml"
    lines = [line for line in study.read_text().splitlines() if not line.startswith("question:")]
    study.write_text("\n".join([*lines, 'question: "is \\ud800 fine?"']))
    for path in (folder / "records").glob("arm[1-9]*"):
        path.unlink()
    summary = reports.build(folder)
    assert "is \ufffd fine?" in summary.html.read_text(encoding="utf-8")
    json.loads((folder / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def browsed(pages: dict[str, Path]) -> Iterator[dict[str, chromium.Browser]]:
    """Both pages, open."""
    opened = {name: chromium.Browser(f"file://{folder / 'report.html'}") for name, folder in pages.items()}
    yield opened
    for browser in opened.values():
        browser.close()


@pytest.mark.slow
@in_a_browser
def test_nothing_runs_and_nothing_is_asked_for(browsed: dict[str, chromium.Browser]) -> None:
    page = browsed["hostile"]
    shown = page.run(
        """(() => {
          let shown = 0;
          document.querySelectorAll('details').forEach((d) => { d.open = true; });
          document.querySelectorAll('#list li').forEach((item) => { item.click(); shown += 1; });
          document.querySelectorAll('td.traceable').forEach((cell) => { cell.click(); shown += 1; });
          document.querySelectorAll('tr.heads button').forEach((head) => { head.click(); });
          document.querySelectorAll('#f-text').forEach((f) => { f.value = '<script>';
            f.dispatchEvent(new Event('input')); });
          return shown;
        })()"""
    )
    assert shown >= 24 * 4 + 72
    page.run("new Promise((done) => setTimeout(done, 300))")
    assert page.run("typeof window.hacked") == "undefined"
    assert not page.errors
    assert [url for url in page.requests if not url.startswith("data:")] == [page.requests[0]]


@pytest.mark.slow
@in_a_browser
def test_the_living_page_has_the_same_elements(pages: dict[str, Path]) -> None:
    counts = {}
    for name, folder in pages.items():
        page = chromium.Browser(f"file://{folder / 'report.html'}")
        page.run("[...document.querySelectorAll('td.traceable')].at(-1).click()")
        names = page.run("[...document.querySelectorAll('*')].map((e) => e.tagName)")
        counts[name] = Counter(names)
        for width in (1280, 800):
            page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            assert page.run("document.documentElement.scrollWidth <= window.innerWidth"), (name, width)
        page.close()
    assert counts["hostile"] == counts["harmless"]
