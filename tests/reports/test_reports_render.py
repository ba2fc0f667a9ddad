"""Renderings: golden files of one table, LaTeX that compiles, and strings that mean harm."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from golden_tables import make_effects, make_hard_table, make_panels, make_table
from page_reader import PageReader
from synthetic_study import ARMS, write_study

import reports
from reports.render.console import render_console
from reports.render.csv import render_csv, render_json
from reports.render.html import render_html
from reports.render.latex import PREAMBLE, render_latex
from reports.render.markdown import render_markdown
from reports.render.numbers import number, plain
from reports.render.tex import escape
from reports.table import Cell, Column, Footnotes, common_unit

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


TABLES = {"table": make_table, "panels": make_panels, "effects": make_effects}
RENDERERS = {
    "tex": render_latex,
    "md": render_markdown,
    "html": render_html,
    "csv": render_csv,
    "json": render_json,
    "txt": render_console,
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("suffix", RENDERERS)
def test_golden(suffix: str, name: str) -> None:
    """UPDATE_GOLDEN=1 writes the files again; look at the difference before keeping it."""
    text, path = RENDERERS[suffix](TABLES[name]()), GOLDEN / f"{name}.{suffix}"
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
    assert json.loads(render_json(table))["rows"][2]["cells"]["score.c"]["delta"]["estimate"] == -0.43


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
    assert escape("a_b & 10% #1 −× ✓") == r"a\_b \& 10\% \#1 $-$$\times$ {[}U+2713{]}"


def compile_latex(body: str, folder: Path) -> str:
    """The log of a document with these tables; fails where pdfLaTeX does, skips where it cannot run."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    document = (
        "\\documentclass{article}\\usepackage[letterpaper,margin=1in]{geometry}\n"
        "\\usepackage[T1]{fontenc}\\usepackage[utf8]{inputenc}\\usepackage{lmodern}\n"
        f"{PREAMBLE}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    (folder / "t.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "-draftmode", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
    log = done.stdout.decode("utf-8", "replace")
    if "lmodern.sty' not found" in log:
        pytest.skip("the Latin Modern fonts are not installed")
    assert done.returncode == 0, log[-3000:]
    assert "Overfull" not in log, log[log.index("Overfull") - 200 :][:600]
    assert "Float too large" not in log, log[log.index("Float too large") - 200 :][:600]
    return log


@pytest.mark.parametrize("which", ["study", "hostile"])
def test_latex_compiles_without_an_overfull_box(
    which: str, built: tuple[reports.ReportSummary, Path], hostile: Path, tmp_path: Path
) -> None:
    folder = built[1] if which == "study" else hostile
    tables = sorted(p for p in (folder / "tables").glob("*.tex") if p.name != "preamble.tex")
    compile_latex("\n".join(path.read_text(encoding="utf-8") for path in tables), tmp_path)


def test_latex_bears_hard_names_many_arms_and_many_columns(tmp_path: Path) -> None:
    """24 arms with names of 60 awkward characters, 40 columns, footnotes with the same: it goes on over pages."""
    hard = render_latex(make_hard_table())
    assert hard.count("\\begin{table*}") == hard.count("(continued)") + 1 > 2
    assert len(set(re.findall(r"\\label{(.*?)}", hard))) == hard.count("\\label")
    compile_latex("\n".join([hard, *(render_latex(make()) for make in TABLES.values())]), tmp_path)


def test_latex_traps() -> None:
    """What pdfLaTeX gets wrong without a word, each in the table that has it."""
    text = render_latex(make_table())
    assert "\\textbf{350.0}" in text and "\\textbf{$" not in text  # bold does not reach into math
    assert not re.search("[−×±Δ↑↓“”–—]", text.replace("% ", ""))  # unknown to inputenc, or to the font
    assert "r@{" not in text and "\\defaultrow default" in text  # a coloured row overpaints what spans two columns
    assert "void\\_rule \\#3" in text and "100\\% void" in text  # footnotes are escaped too
    columns = re.findall(r"^.* & .*\\\\$", text.split("\\midrule", 1)[1], re.MULTILINE)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in columns} == {6}
    for macro in set(re.findall(r"\\(cmark|xmark|pmsub|dbox|cited|defaultrow|two|delt\w*|lv\w+|same|second)\b", text)):
        assert f"{{\\{macro}}}" in PREAMBLE, macro
    assert "\\dbox" in render_latex(make_panels())


def test_a_bracket_at_the_start_of_a_row_is_no_argument(tmp_path: Path) -> None:
    table = make_effects()
    rows = [replace(row, cells={**row.cells, "effect": Cell(text)}) for row, text in zip(table.rows, "[✓", strict=True)]
    compile_latex(render_latex(replace(table, rows=tuple(rows), footer=("[x] a footer",))), tmp_path)


def test_a_rule_parts_cited_rows_from_our_own() -> None:
    lines = render_latex(make_table()).splitlines()
    at = next(i for i, line in enumerate(lines) if "\\defaultrow" in line)
    assert lines[at - 1] == "\\midrule" and "\\cited{Other" in lines[at - 2]
    assert 'class="default ruled"' in render_html(make_table())


def test_cited_numbers_are_never_bold() -> None:
    table = make_table()
    assert "\\cited{990.0}" in render_latex(table)
    assert "| 990.0 |" in render_markdown(table)
    assert json.loads(render_json(table))["rows"][0]["role"] == "cited"
    rows = list(csv.DictReader(io.StringIO(render_csv(table))))
    assert [row["role"] for row in rows] == ["cited", "default", "arm", "arm"]


def test_every_number_leads_to_its_runs() -> None:
    told = json.loads(render_json(make_table()))
    cell = told["rows"][2]["cells"]["score.c"]["from"]
    assert cell["seeds"] == [0, 1, 2] and cell["n_examples"] == 200
    runs = told["provenance"]["runs"]
    assert [runs[i]["arm"] for i in cell["runs"]] == ["merge_rate=0.5 & 10% −x"] * 3
    assert [runs[i]["arm"] for i in cell["against"]["runs"]] == ["default"] * 3
    assert cell["run_ids"] == [runs[i]["run_id"] for i in cell["runs"]]
    assert "from" not in told["rows"][0]["cells"]["score.c"]  # cited: no run of ours
    level = json.loads(render_json(make_panels()))["panels"][0]["rows"][1]["cells"]["score.c"]["from"]
    assert {runs[i]["arm"] for i in level["runs"]} == {"adapter"}
    first = render_latex(make_table()).split("\\begin{table*}")[0]
    assert "study demo_study, commit 0a1b2c3d (with local changes), plan abcdef123456, 9 runs" in first
