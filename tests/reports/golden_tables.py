"""Tables with every kind of cell, row and footnote: what the golden files show, and what LaTeX must bear."""

from __future__ import annotations

from dataclasses import replace

from reports.contrast import Contrast
from reports.table import Cell, Column, Footnotes, Provenance, Row, Run, Table, ranked

BOTH = "seeds and examples"
WORSE = Contrast(-0.43, -0.6, -0.26, 0.08, 9, 0.0004, 3, 200, 200, BOTH, p_adjusted=0.0008, detectable=0.31)
OPEN = Contrast(0.002, -0.01, 0.014, 0.005, 9, 0.7, 3, 200, 200, BOTH, p_adjusted=0.7)
GAIN = Contrast(0.39, 0.34, 0.45, 0.02, 4.0, 0.001, 3, 200, 50, BOTH)
RUNS = tuple(
    Run(arm, seed, f"{i:02d}{seed}", (("pretrain", f"key{i}{seed}"),))
    for i, arm in enumerate(("default", "merge_rate=0.5 & 10% −x", "adapter"))
    for seed in (0, 1, 2)
)
PROVENANCE = Provenance("demo_study", "default", "0a1b2c3d", True, "abcdef123456", RUNS)


def seeds(*values: float) -> tuple[tuple[int, float], ...]:
    return tuple(enumerate(values))


def make_table() -> Table:
    """Every kind of cell, row and footnote: cited, default, check marks, significant or not, absent, unequal, tied."""
    columns = (
        Column("arm", "Arm", kind="text"),
        Column("axis.merge_rate", "merge_rate", "Axes", "axis"),
        Column("axis.llm", "llm", "Axes", "axis"),
        Column("cost.flops", "FLOPs (T)", "Cost", "cost", scale=1e-12, decimals=2, spread=False, hint="training"),
        Column("score.c", "CIDEr", "Captioning", better="higher", scale=100),
        Column("score.l", "loss", "Captioning", better="lower", decimals=3),
        Column("gap", "gain", "Control", scale=100, signed=True, note="a"),
    )
    notes = Footnotes()
    letter = notes.letter("The control was run on 50 of 200 examples & no more.")
    void = notes.letter("No level to take: 100% void_rule #3.")
    cited = notes.letter("Cited from Author_A et al., arXiv:2309.04669, Table 1; not rerun.")
    unequal = notes.letter("Seeds of merge_rate=0.5 & 10% −x (2.9×) spread unlike the other arms': own variance used.")
    assert letter == "a"
    rows = (
        Row("default", {
            "arm": Cell("default"), "axis.merge_rate": Cell("true", check=True),
            "axis.llm": Cell("unfrozen"), "cost.flops": Cell(mean=5.2e12),
            "score.c": Cell(mean=3.419, spread=0.071, seeds=seeds(3.3, 3.5, 3.457), examples=200),
            "score.l": Cell(mean=0.512, spread=0.004), "gap": Cell(mean=0.39, interval=GAIN, called=True),
        }, "default", rule=True),
        Row("merge_rate=0.5 & 10% −x", {
            "arm": Cell("merge_rate=0.5 & 10% −x"), "axis.merge_rate": Cell("false", check=False),
            "axis.llm": Cell("unfrozen", muted=True), "cost.flops": Cell(mean=4.1e12),
            "score.c": Cell(mean=2.989, spread=0.11, delta=WORSE, called=True, notes=(unequal,), examples=200,
                            seeds=seeds(2.9, 3.0, 3.067)),
            "score.l": Cell(mean=0.514, delta=OPEN), "gap": Cell(absent=True),
        }),
        Row("adapter", {
            "arm": Cell("adapter"), "axis.merge_rate": Cell(absent=True, notes=(void,)), "axis.llm": Cell("frozen"),
            "cost.flops": Cell(mean=3.1e12), "score.c": Cell(mean=3.5), "score.l": Cell(absent=True),
            "gap": Cell(absent=True),
        }),
    )  # fmt: skip
    groups = {"score.c": {0, 2}, "score.l": {0}}
    for column in columns:
        cells = ranked(column, [r.cells[column.key] for r in rows], groups.get(column.key, ()))
        for row, cell in zip(rows, cells, strict=True):
            row.cells[column.key] = cell
    blank = {c.key: Cell() if c.kind in ("axis", "cost") else Cell(absent=True) for c in columns}
    other = Row("Other & Co (7B)", {**blank, "arm": Cell("Other & Co (7B)", notes=(cited,)), "score.c": Cell(mean=9.9)},
                "cited")  # fmt: skip
    caption = "A caption, ± SD, Δ × 100. Best bold."
    table = Table("demo", "A table", caption, columns, (other, *rows), notes.listed(), footer=("caption: test_set.",))
    return replace(table, provenance=PROVENANCE)


def make_panels() -> Table:
    """Two panels, a level without a score, and a title with signs."""
    columns = (
        Column("level", "axis_1", kind="text"),
        Column("score.c", "CIDEr", better="higher", scale=100, compact=True),
        Column("score.v", "VQA accuracy", better="higher", scale=100, compact=True),
    )
    first = {"level": Cell("dynamic"), "score.c": Cell(mean=3.4, spread=0.1, rank=1), "score.v": Cell(mean=0.5)}
    second = {
        "level": Cell("50% #2"),
        "score.c": Cell(mean=2.97, spread=0.1, delta=WORSE, called=True, rank=2),
        "score.v": Cell(absent=True),
    }
    panels = []
    for title in ("axis_1: dynamic beats 50% #2", "llm: no evidence of a difference"):
        rows = (Row("dynamic", first, "default", arms=("default",)), Row("50% #2", second, "level", arms=("adapter",)))
        panels.append(Table(title[:3], title, "", columns, rows))
    return Table("panels", "One axis a panel", "Levels.", (), (), panels=tuple(panels), provenance=PROVENANCE)


def make_effects() -> Table:
    """Comparisons: p-values, intervals alone, and one that is not estimable."""
    columns = (
        Column("effect", "Effect", kind="text"),
        Column("estimate", "estimate", "Effect on CIDEr", signed=True, scale=100),
        Column("interval", "95 % interval", "Effect on CIDEr", scale=100),
        Column("p", "p", "Effect on CIDEr", form="p"),
        Column("verdict", "verdict", "Effect on CIDEr", kind="word"),
    )
    found = {
        "effect": Cell("llm: frozen instead of unfrozen"), "estimate": Cell(mean=-0.43, called=True),
        "interval": Cell(ends=(-0.6, -0.26)), "p": Cell(mean=0.0004), "verdict": Cell("hurts"),
    }  # fmt: skip
    lost = {c.key: Cell() for c in columns} | {"effect": Cell("a=1 × b=2")}
    rows = (
        Row("llm", found, "effect", arms=("default", "adapter")),
        Row("ab", lost, "effect", rule=True, message="not estimable: 100% void_rule #3 & more"),
    )
    return Table("effects", "Effects", "Differences × 100.", columns, rows, provenance=PROVENANCE)


HARD = ["_", "%", "&", "#", "−", "×", "~", "^", "\\", "{", "}", "$", "<", ">", "é", "Ω", "日本", "🙂", "“x”", "`", "'"]


def make_hard_table(arms: int = 24, columns: int = 40) -> Table:
    """Many arms with long names of every awkward character, many columns, and footnotes with the same."""
    names = []
    for i in range(arms):
        name = f"arm {HARD[i % len(HARD)]}{i} " if i % 2 else f"{HARD[i % len(HARD)]}{i}"
        names.append((name * 60)[:60] if i % 3 else (name + "x" * 60)[:60])
    notes = Footnotes()
    marks = [notes.letter(f"Of {name}: {name * 4} " + "w" * 90) for name in names]
    shown = [Column("arm", "Arm", kind="text")]
    for i in range(columns):
        group = f"group {HARD[i // 10]} of_columns" if i < columns - 5 else ""
        label = f"label {HARD[i % len(HARD)]} {'wide' * (i % 4)}"
        shown.append(Column(f"score.{i}", label, group, better="higher" if i % 2 else "lower", scale=100))
    rows = []
    for a, name in enumerate(names):
        cells = {"arm": Cell(name, notes=(marks[a],))}
        for i, column in enumerate(shown[1:]):
            cells[column.key] = Cell(
                mean=3.0 + i,
                spread=0.2,
                delta=WORSE if a else None,
                called=bool(i % 2),
                rank=(a + i) % 3,
                notes=(marks[i % arms],),
            )
        rows.append(Row(name, cells, "arm" if a else "default", rule=a == 3))
    caption = "Hard: " + " ".join(names[:6]) + " " + "c" * 200
    return Table("hard_%", "Hard & 100% #", caption, tuple(shown), tuple(rows), notes.listed(), footer=("f_" * 120,))
