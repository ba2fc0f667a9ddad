r"""LaTeX: booktabs with grouped headers, the default row grey, ± as a subscript, Δ and its interval below.

A body can be \input{} after `preamble.tex`, whose macros (\cmark \xmark \pmsub \dbox \delt \cited \defaultrow ...)
an author may restyle without making the table again. A table too wide for a page is laid out as strips that share their
rows, and one too tall for a page goes on in further floats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reports.render.numbers import panel_title, plain
from reports.render.tex import prose
from reports.render.tex_grid import height, strips, tabular, total_width
from reports.table import Column, Row, Table

PREAMBLE = r"""% Needed once in the preamble of a document that \input{}s the tables; restyle here.
\usepackage{booktabs}
\usepackage[table]{xcolor}
\usepackage{graphicx}
\usepackage{pifont}
\definecolor{lvgood}{HTML}{1B7837}
\definecolor{lvbad}{HTML}{B2182B}
\definecolor{lvmuted}{gray}{0.55}
\definecolor{lvdefault}{gray}{0.92}
\providecommand{\cmark}{\ding{51}}
\providecommand{\xmark}{\textcolor{lvmuted}{\ding{55}}}
\providecommand{\pmsub}[1]{\raisebox{-0.3ex}{\scriptsize$\,\pm$#1}}
\providecommand{\delt}[2]{\scriptsize\textcolor{lvmuted}{#1 #2}}
\providecommand{\deltgood}[2]{\scriptsize\textcolor{lvgood}{#1} \textcolor{lvmuted}{#2}}
\providecommand{\deltbad}[2]{\scriptsize\textcolor{lvbad}{#1} \textcolor{lvmuted}{#2}}
\providecommand{\cited}[1]{\textcolor{lvmuted}{#1}}
\providecommand{\same}[1]{\textcolor{lvmuted}{#1}}
\providecommand{\second}[1]{\underline{#1}}
\providecommand{\defaultrow}{\rowcolor{lvdefault}}
\newlength{\lvdim}
\providecommand{\dbox}[2]{\settowidth{\lvdim}{\scriptsize #1}\,\makebox[\lvdim][r]{\scriptsize #2}}
\providecommand{\diff}[1]{\textcolor{lvmuted}{#1}}
\providecommand{\diffgood}[1]{\textcolor{lvgood}{#1}}
\providecommand{\diffbad}[1]{\textcolor{lvbad}{#1}}
\providecommand{\lvname}[2]{\begin{tabular}[c]{@{}l@{}}#1\\[-1.5pt]#2\end{tabular}}
\providecommand{\two}[2]{\begin{tabular}[c]{@{}c@{}}#1\\[-1.5pt]#2\end{tabular}}
\newsavebox{\lvbox}
\providecommand{\lvfit}[1]{\sbox{\lvbox}{#1}%
  \ifdim\wd\lvbox>\linewidth\resizebox{\linewidth}{!}{\usebox{\lvbox}}\else\usebox{\lvbox}\fi}
\newsavebox{\lvsub}
\providecommand{\lvpanel}[2]{\sbox{\lvsub}{#2}\begin{minipage}[t]{\wd\lvsub}\usebox{\lvsub}\\[3pt]%
  {\scriptsize\raggedright\hyphenpenalty=10000\exhyphenpenalty=10000 #1\par}\end{minipage}}
"""

LINE = 118  # characters of footnotesize on a page of 6.5 inches
PAGE = 640  # points of a float on a page of 9 inches, which are 650


@dataclass(frozen=True)
class _Body:
    """A part of a float, and about how tall it is in points."""

    text: str
    tall: float


def render_latex(table: Table, label: str | None = None) -> str:
    """`table*` environments for documents that have loaded `preamble.tex`; one, unless it is taller than a page."""
    label = as_label(label or f"tab:{table.name}")
    bodies = (_panels(table) if table.panels else _strips(table)) + _notes(table)
    caption_tall = 12 * (1 + len(table.caption) / 100)
    floats: list[list[_Body]] = []
    filled = 0.0
    for body in bodies:
        if not floats or filled + body.tall > PAGE - caption_tall:
            floats.append([])
            filled = 0.0
        floats[-1].append(body)
        filled += body.tall
    source = (
        f"% {plain(table.title)}: made by lavit report; edit the study or preamble.tex, not this file.\n{_from(table)}"
    )
    return source + "".join(_float(table, label, place, own) for place, own in enumerate(floats))


def _from(table: Table) -> str:
    """A comment: which study, commit and runs the table comes from."""
    behind = table.provenance
    if not behind.study:
        return ""
    parts = [f"study {plain(behind.study, 80)}"]
    parts += (
        [f"commit {plain(behind.commit, 40)}{' (with local changes)' if behind.dirty else ''}"] if behind.commit else []
    )
    parts += [f"plan {behind.plan}"] if behind.plan else []
    return (
        f"% from: {', '.join(parts)}, {len(behind.runs)} runs; every number's runs: tables/{plain(table.name)}.json\n"
    )


def _float(table: Table, label: str, place: int, bodies: list[_Body]) -> str:
    caption = prose(table.caption, 2000) if not place else f"{prose(table.title)} (continued)."
    again = "\\addtocounter{table}{-1}\n" if place else ""
    where = "p" if sum(body.tall for body in bodies) > 0.7 * PAGE else "t"
    own = label if not place else f"{label}-part{place + 1}"
    return (
        f"\\begin{{table*}}[{where}]\n{again}\\centering\\footnotesize\\setlength{{\\tabcolsep}}{{3pt}}\n"
        f"\\caption{{{caption}}}\n\\label{{{own}}}\\vspace{{3pt}}\n"
        + "\n\\par\\vspace{4pt}\n".join(body.text for body in bodies)
        + "\n\\end{table*}\n"
    )


def _strips(table: Table) -> list[_Body]:
    """The table in strips of columns, each in pieces of rows that fit a page."""
    bodies = []
    parts = strips(table)
    for i, columns in enumerate(parts):
        head = rf"\textbf{{({chr(ord('a') + i % 26)})}}\\[1pt]" + "\n" if len(parts) > 1 else ""
        for rows in _pieces([row for row in table.rows if _says(row, columns)], columns):
            tall = 40 + sum(height(row, columns) for row in rows)
            bodies.append(_Body(head + "\\lvfit{%\n" + tabular(table, columns, rows) + "}", tall))
    return bodies


def _says(row: Row, columns: list[Column]) -> bool:
    """Whether a row has its place in a strip: a cited one only where it has a number there."""
    return row.role != "cited" or any(row.cells[column.key].mean is not None for column in columns)


def _pieces(rows: list[Row], columns: list[Column]) -> list[list[Row]]:
    pieces: list[list[Row]] = [[]]
    filled = 0.0
    for row in rows:
        tall = height(row, columns)
        if pieces[-1] and filled + tall > PAGE - 110:
            pieces.append([])
            filled = 0.0
        pieces[-1].append(row)
        filled += tall
    return pieces


def _panels(table: Table) -> list[_Body]:
    """Small tables side by side, as many on a line as fit."""
    widest = max(total_width(panel, list(panel.columns)) for panel in table.panels)
    many = max(1, min(3, len(table.panels), int(1.08 * LINE / (widest + 3))))
    lines = []
    for at in range(0, len(table.panels), many):
        drawn, tall = [], 0.0
        for place, panel in enumerate(table.panels[at : at + many], at):
            columns = list(panel.columns)
            body = tabular(panel, columns, list(panel.rows), "t")
            drawn.append(f"\\lvpanel{{{prose(panel_title(place, panel))}}}{{%\n{body}}}")
            tall = max(tall, 50 + sum(height(row, columns) for row in panel.rows))
        lines.append(_Body("\\lvfit{%\n" + "\\hspace{2.2em}%\n".join(drawn) + "}", tall))
    return lines


def _notes(table: Table) -> list[_Body]:
    """The footnotes, in pieces that fit a page."""
    texts = [(rf"\textsuperscript{{{letter}}} ", text) for letter, text in table.notes]
    texts += [("", line) for line in table.footer]
    bodies: list[_Body] = []
    lines: list[str] = []
    filled = 0.0
    for place, (mark, text) in enumerate(texts):
        lines.append(mark + prose(text))
        filled += 9.5 * (1 + len(plain(text, 600)) // 110)
        if filled > PAGE / 3 or place == len(texts) - 1:
            body = "\\\\\n".join(lines)
            start = "\\begin{minipage}{\\textwidth}\\scriptsize\\raggedright\n"
            bodies.append(_Body(f"{start}{body}\n\\end{{minipage}}", filled))
            lines, filled = [], 0.0
    return bodies


def as_label(text: str) -> str:
    """A table's name as its LaTeX label."""
    return re.sub(r"[^A-Za-z0-9:.-]+", "-", text)
