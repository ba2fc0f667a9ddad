"""Renderings: golden files of one table, LaTeX that compiles, and strings that mean harm."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from page_reader import PageReader
from synthetic_study import ARMS, write_study

import reports
from reports.contrast import Contrast
from reports.render.console import render_console
from reports.render.csv import render_csv, render_json
from reports.render.html import render_html
from reports.render.latex import PREAMBLE, render_latex
from reports.render.markdown import render_markdown
from reports.render.numbers import number, plain
from reports.render.tex import escape
from reports.table import Cell, Column, Footnotes, Row, Table, common_unit, ranked

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>",
    "{{ 7*7 }}{% raw %}",
    "\\input{/etc/passwd}\\write18{id}",
    "$\\catcode`\\@=11 100% & #1 _x_ ^y^ ~z~ {",
    "−×“”↑ ‮drowssap‬ שלום مرحبا",
    "| a | b |\n|---|---|\n**x** [y](javascript:alert(4))",
    '=HYPERLINK("http://x","y")',
    "\x00\x1b[31mred\x1b[0m\u2028\u2029",
    "'\"`--><!-- ]]> &lt;b&gt; &#x3c;",
    "a" * 10_000,
    "",
    "🙂 ﷽ \ud7ff ﬁ ½",
]


def make_table() -> Table:
    """A table with every kind of cell."""
    columns = (
        Column("arm", "Arm", kind="text"),
        Column("axis.merge_rate", "merge_rate", "Axes", "axis"),
        Column("axis.llm", "llm", "Axes", "axis"),
        Column("cost.flops", "FLOPs (T)", "Cost", "cost", scale=1e-12, decimals=2, spread=False, hint="training"),
        Column("score.c", "CIDEr", "Captioning", better="higher", scale=100),
        Column("score.l", "loss", "Captioning", better="lower", decimals=3),
        Column("gap", "gain", "Control", scale=100, signed=True, note="a"),
    )
    both = "seeds and examples"
    worse = Contrast(-0.43, -0.6, -0.26, 0.08, 9, 0.0004, 3, 200, 200, both, p_adjusted=0.0008, detectable=0.31)
    open_ = Contrast(0.002, -0.01, 0.014, 0.005, 9, 0.7, 3, 200, 200, both, p_adjusted=0.7)
    gain = Contrast(0.39, 0.34, 0.45, 0.02, 4.0, 0.001, 3, 200, 50, both)
    notes = Footnotes()
    letter = notes.letter("The control was run on 50 of 200 examples & no more.")
    void = notes.letter("No level to take: 100% void_rule #3.")
    rows = (
        Row("default", {
            "arm": Cell("default"), "axis.merge_rate": Cell("true", check=True),
            "axis.llm": Cell("unfrozen"),
            "cost.flops": Cell(mean=5.2e12),
            "score.c": Cell(mean=3.419, spread=0.071, seeds=((0, 3.3), (1, 3.5))),
            "score.l": Cell(mean=0.512, spread=0.004), "gap": Cell(mean=0.39, interval=gain, called=True),
        }, "default"),
        Row("merge_rate=0.5 & 10% −x", {
            "arm": Cell("merge_rate=0.5 & 10% −x"), "axis.merge_rate": Cell("false", check=False),
            "axis.llm": Cell("unfrozen", muted=True), "cost.flops": Cell(mean=4.1e12),
            "score.c": Cell(mean=2.989, spread=0.11, delta=worse, called=True),
            "score.l": Cell(mean=0.514, delta=open_), "gap": Cell(absent=True),
        }),
        Row("adapter", {
            "arm": Cell("adapter"), "axis.merge_rate": Cell(absent=True, notes=(void,)),
            "axis.llm": Cell("frozen"),
            "cost.flops": Cell(mean=3.1e12), "score.c": Cell(mean=3.5), "score.l": Cell(absent=True),
            "gap": Cell(absent=True),
        }),
    )  # fmt: skip
    assert letter == "a"
    ranked_rows = []
    for column in columns:
        for row, cell in zip(rows, ranked(column, [r.cells[column.key] for r in rows]), strict=True):
            row.cells[column.key] = cell
    ranked_rows = rows
    return Table("demo", "A table", "A caption, ± SD, Δ × 100.", columns, tuple(ranked_rows), notes.listed())


RENDERERS = {
    "tex": render_latex,
    "md": render_markdown,
    "html": render_html,
    "csv": render_csv,
    "txt": render_console,
}


@pytest.mark.parametrize("suffix", RENDERERS)
def test_golden(suffix: str) -> None:
    """UPDATE_GOLDEN=1 writes the files again; look at the difference before keeping it."""
    text, path = RENDERERS[suffix](make_table()), GOLDEN / f"table.{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_all_renderings_print_the_same_digits() -> None:
    table = make_table()
    for render in (render_latex, render_markdown, render_html, render_console):
        text = render(table).replace("$-$", "−").replace("{-}", "-")
        for digits in ("341.9", "298.9", "−43.0", "0.512", "5.20"):
            assert digits in text, (render.__name__, digits)
    for render in (render_latex, render_markdown, render_html):
        assert "−60.0, −26.0" in render(table).replace("$-$", "−")
    assert json.loads(render_json(table))["rows"][1]["cells"]["score.c"]["delta"]["estimate"] == -0.43


def test_numbers_print_without_negative_zero() -> None:
    column = Column("x", "x", scale=100)
    assert number(column, -0.0001) == "0.0"
    assert number(column, 0.043, signed=True) == "+4.3"
    assert number(column, -0.043) == "−4.3"
    assert number(column, float("nan")) == "–"
    assert common_unit([1.2e13, 3.0]) == (1e-12, "T")


def test_footnotes_go_on_after_z() -> None:
    notes = Footnotes()
    assert [notes.letter(str(i)) for i in range(28)][-3:] == ["z", "aa", "ab"]
    assert notes.letter("0") == "a"


def test_plain_text_is_one_safe_line() -> None:
    for text in HOSTILE:
        line = plain(text, 100)
        assert len(line) <= 100
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", line)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose arms, captions and axes are all hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    rename = dict(zip(ARMS, ["default \\input{x} & 50% #1 _a_", *HOSTILE[:4]], strict=True))
    write_study(folder, images=24, seeds=(0, 1), pictures=2, rename=rename)
    for i, path in enumerate(sorted((folder / "records").glob("*.parquet"))):
        records = pd.read_parquet(path)
        texts = [HOSTILE[(i + k) % len(HOSTILE)] for k in range(len(records))]
        records.assign(prediction=texts, prompt=texts[::-1], kind="<b>|&").to_parquet(path, index=False)
    document = yaml.safe_load((folder / "study.yaml").read_text())
    document["question"] = "<script>alert('q')</script> \\immediate\\write18{ls}"
    document["conditional_on"] = HOSTILE[:11]
    (folder / "study.yaml").write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    reports.build(folder)
    return folder


def test_hostile_strings_stay_text(hostile: Path) -> None:
    page = (hostile / "report.html").read_text(encoding="utf-8")
    read = PageReader(page)
    assert read.tags.count("script") == 6
    assert not read.handlers
    assert read.asks_for_nothing()
    assert page.count("</script>") == 6
    data = page.split('id="data">')[1].split("</script>")[0]
    examples = json.loads(data)["examples"]
    assert any("<script>alert(1)</script>" in chip["t"] for e in examples for arm in e["arms"] for chip in arm)
    assert all(len(chip["t"]) <= 300 for e in examples for arm in e["arms"] for chip in arm)
    for path in [*(hostile / "tables").glob("*.html"), *(hostile / "figures").glob("*.svg")]:
        read = PageReader(path.read_text(encoding="utf-8"))
        assert not {"script", "img", "iframe"} & set(read.tags)
        assert not read.handlers


def test_hostile_strings_break_no_rendering(hostile: Path) -> None:
    for path in (hostile / "tables").glob("*.md"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(bars) == 1
    for path in (hostile / "tables").glob("*.csv"):
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        assert len({len(row) for row in rows}) == 1
        assert not any(cell.startswith("=") for row in rows for cell in row)
    for path in (hostile / "tables").glob("*.tex"):
        assert "\\input{x}" not in path.read_text(encoding="utf-8")
        assert "\\write18" not in path.read_text(encoding="utf-8")


def test_latex_escapes_each_character() -> None:
    assert escape("a_b & 10% #1 −× ✓") == r"a\_b \& 10\% \#1 $-$$\times$ [U+2713]"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("which", ["study", "hostile"])
def test_latex_compiles_without_an_overfull_box(
    which: str, built: tuple[reports.ReportSummary, Path], hostile: Path, tmp_path: Path
) -> None:
    folder = built[1] if which == "study" else hostile
    tables = sorted(p for p in (folder / "tables").glob("*.tex") if p.name != "preamble.tex")
    body = "\n".join(path.read_text(encoding="utf-8") for path in tables) + render_latex(make_table())
    document = (
        "\\documentclass{article}\\usepackage[letterpaper,margin=1in]{geometry}\n"
        "\\usepackage[T1]{fontenc}\\usepackage[utf8]{inputenc}\\usepackage{lmodern}\n"
        f"{PREAMBLE}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    (tmp_path / "t.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "-draftmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    log = done.stdout.decode("utf-8", "replace")
    if "lmodern.sty' not found" in log:
        pytest.skip("the Latin Modern fonts are not installed")
    assert done.returncode == 0, log[-3000:]
    assert "Overfull" not in log, log[log.index("Overfull") - 200 :][:600]
