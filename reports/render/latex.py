r"""LaTeX: booktabs with grouped headers, the default row grey, ± as a subscript, Δ and its interval below.

A body can be \input{} after `preamble.tex`, whose macros (\cmark \xmark \pmsub \delt \cited \defaultrow ...)
an author may restyle without making the table again. A table too wide for a page is laid out as panels that
share their rows.
"""

from __future__ import annotations

import re
import unicodedata

from reports.render.numbers import good, interval, number, plain
from reports.table import Cell, Column, Row, Table

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
\providecommand{\two}[2]{\begin{tabular}[c]{@{}c@{}}#1\\[-1.5pt]#2\end{tabular}}
\newsavebox{\lvbox}
\providecommand{\lvfit}[1]{\sbox{\lvbox}{#1}%
  \ifdim\wd\lvbox>\textwidth\resizebox{\textwidth}{!}{\usebox{\lvbox}}\else\usebox{\lvbox}\fi}
"""

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "−": r"$-$", "×": r"$\times$",
    "±": r"$\pm$", "Δ": r"$\Delta$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$",
    "←": r"$\leftarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "·": r"$\cdot$", "†": r"\dag{}",
    "‡": r"\ddag{}", "–": "--", "—": "---", "“": "``", "”": "''", "‘": "`", "’": "'", "…": r"\ldots{}",
    "µ": r"$\mu$", "μ": r"$\mu$", "°": r"$^\circ$", "`": "{`}", "'": "{'}", "-": "{-}", "²": r"$^2$",
    "³": r"$^3$", "\u00a0": "~",
}  # fmt: skip
WIDTH = 142  # characters of footnotesize: a page of 6.5 inches holds 118, and \lvfit may shrink a panel to five sixths


def escape(text: object, limit: int = 0) -> str:
    """Text that pdfLaTeX prints as it is; a character that it has no glyph for becomes its code point."""
    out = []
    for char in plain(text, limit):
        if char in SPECIAL:
            out.append(SPECIAL[char])
        elif ord(char) < 128 or _accented(char):
            out.append(char)
        else:
            plainer = unicodedata.normalize("NFKD", char)
            out.append(plainer if plainer.isascii() and plainer.isalnum() else f"[U+{ord(char):04X}]")
    return "".join(out)


def _accented(char: str) -> bool:
    """A Latin-1 letter that is a plain letter with an accent: known to inputenc in every encoding."""
    return "\u00c0" <= char <= "\u00ff" and unicodedata.normalize("NFKD", char)[0].isascii() and char.isalpha()


def render_latex(table: Table, label: str | None = None) -> str:
    """A `table*` environment for documents that have loaded `preamble.tex`."""
    label = label or f"tab:{table.name}"
    panels = _panels(table)
    bodies = []
    for i, columns in enumerate(panels):
        head = rf"\textbf{{({chr(ord('a') + i)})}}\\[1pt]" + "\n" if len(panels) > 1 else ""
        bodies.append(head + "\\lvfit{%\n" + _tabular(table, columns) + "}")
    notes = ""
    if table.notes or table.footer:
        lines = [rf"\textsuperscript{{{letter}}} {escape(text)}" for letter, text in table.notes]
        lines += [escape(line) for line in table.footer]
        notes = (
            "\\par\\vspace{2pt}\n\\begin{minipage}{\\textwidth}\\scriptsize\\raggedright\n"
            + "\\\\\n".join(lines)
            + "\n\\end{minipage}\n"
        )
    return (
        f"% {plain(table.title)}: made by lavit report; edit the study or preamble.tex, not this file.\n"
        "\\begin{table*}[t]\n\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}\n"
        f"\\caption{{{escape(table.caption)}}}\n\\label{{{as_label(label)}}}\n"
        + "\n\\par\\vspace{4pt}\n".join(bodies)
        + f"\n{notes}\\end{{table*}}\n"
    )


def as_label(text: str) -> str:
    """A table's name as its LaTeX label."""
    return re.sub(r"[^A-Za-z0-9:.-]+", "-", text)


def _panels(table: Table) -> list[list[Column]]:
    """Columns by panel; every panel starts with the arm."""
    name, rest = table.columns[0], list(table.columns[1:])
    used = _width(table, name)
    if used + sum(_width(table, c) for c in rest) <= WIDTH:
        return [list(table.columns)]
    panels: list[list[Column]] = []
    line, width = [name], used
    last_kind = ""
    for _, columns in Table("", "", "", tuple(rest), ()).groups():
        need = sum(_width(table, c) for c in columns)
        turn = columns[0].kind == "score" and last_kind in ("axis", "cost")
        if len(line) > 1 and (width + need > WIDTH or turn):
            panels.append(line)
            line, width = [name], used
        line = line + columns
        width += need
        last_kind = columns[0].kind
    return [*panels, line]


def _width(table: Table, column: Column) -> float:
    widest = 0.75 * max(len(word) for word in (column.label.split() or [""]))
    for row in table.rows:
        cell = row.cells[column.key]
        if cell.delta is not None and cell.delta.known:
            below = len(number(column, cell.delta.estimate)) + len(interval(column, cell.delta.low, cell.delta.high))
            widest = max(widest, 0.72 * (below + 1))
        if cell.interval is not None and cell.interval.known:
            widest = max(widest, 0.72 * len(interval(column, cell.interval.low, cell.interval.high)))
        if cell.mean is not None:
            widest = max(widest, len(number(column, cell.mean)) + (4 if cell.spread is not None else 0))
        widest = max(widest, 0.8 * len(plain(cell.text, 60)))
    return widest + 1.6


def _tabular(table: Table, columns: list[Column]) -> str:
    groups = Table("", "", "", tuple(columns), ()).groups()
    spec = "".join("l" if c.kind == "text" else "c" for c in columns)
    lines = [rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}", r"\toprule"]
    if any(group for group, _ in groups):
        heads, rules, at = [], [], 1
        for group, members in groups:
            span = len(members)
            if group:
                heads.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(group, 60)}}}")
                rules.append(rf"\cmidrule(lr){{{at}-{at + span - 1}}}")
            else:
                heads += [""] * span
            at += span
        lines += [" & ".join(heads) + r" \\", " ".join(rules)]
    lines += [" & ".join(_head(c) for c in columns) + r" \\", r"\midrule"]
    lines += [_row(row, columns) for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines)


def _head(column: Column) -> str:
    arrow = {"higher": r"\,$\uparrow$", "lower": r"\,$\downarrow$"}.get(column.better or "", "")
    note = rf"\textsuperscript{{{column.note}}}" if column.note else ""
    words = plain(column.label, 40).split(" ")
    if column.kind != "text" and len(words) > 1 and len(column.label) > 8:
        half = max(1, len(words) // 2)
        top, bottom = " ".join(words[:half]), " ".join(words[half:])
        return rf"\two{{{escape(top)}}}{{{escape(bottom)}{arrow}{note}}}"
    return escape(" ".join(words)) + arrow + note


def _row(row: Row, columns: list[Column]) -> str:
    start = r"\defaultrow " if row.role == "default" else ""
    return start + " & ".join(_cell(row, column) for column in columns) + r" \\"


def _cell(row: Row, column: Column) -> str:
    cell: Cell = row.cells[column.key]
    notes = rf"\textsuperscript{{{','.join(cell.notes)}}}" if cell.notes else ""
    if cell.absent:
        return "--" + notes
    if cell.check is not None:
        return (r"\cmark" if cell.check else r"\xmark") + notes
    if cell.mean is None:
        text = escape(cell.text, 60)
        return (rf"\same{{{text}}}" if cell.muted else text) + notes
    text = number(column, cell.mean, column.signed).replace("−", "$-$")
    text = {1: rf"\textbf{{{text}}}", 2: rf"\second{{{text}}}"}.get(cell.rank, text)
    if cell.spread is not None and column.spread:
        text += rf"\pmsub{{{number(column, cell.spread)}}}"
    text += notes
    if cell.delta is not None and cell.delta.known:
        macro = r"\delt"
        if cell.called:
            macro = r"\deltgood" if good(column, cell.delta.estimate) else r"\deltbad"
        change = number(column, cell.delta.estimate, signed=True).replace("−", "$-$")
        around = interval(column, cell.delta.low, cell.delta.high).replace("−", "$-$")
        return rf"\two{{{text}}}{{{macro}{{{change}}}{{{around}}}}}"
    if cell.interval is not None and cell.interval.known:
        around = interval(column, cell.interval.low, cell.interval.high).replace("−", "$-$")
        return rf"\two{{{text}}}{{\delt{{}}{{{around}}}}}"
    return text
