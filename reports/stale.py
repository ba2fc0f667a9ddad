r"""The stale guard: does a table in somebody's paper still follow from its runs?

The table's ``\label{tab:STUDY-NAME}`` says which it is. It is made again from the study's folder, and the environment
that holds the label must be the same to the byte; whatever surrounds it in the file is the author's.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import LavitError, did_you_mean
from reports.render.latex import as_label

_TABLE = re.compile(r"\\begin\{table\*?\}.*?\\end\{table\*?\}", re.DOTALL)
_LABEL = re.compile(r"\\label\{(tab:[^}]+)\}")


@dataclass(frozen=True)
class Stale:
    """A table that its runs no longer give.

    Attributes:
        label: the table's.
        changes: lines of a unified diff, the committed table first.
    """

    label: str
    changes: tuple[str, ...]


def tables_in(path: Path) -> dict[str, str]:
    """Label -> environment of every labelled table of a LaTeX file.

    Raises:
        LavitError: the file cannot be read, or holds no table that `lavit report` made.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LavitError(
            f"{path} cannot be read: {error}", "give a .tex file that holds a table of a report"
        ) from error
    found = {}
    for environment in _TABLE.findall(text):
        label = _LABEL.search(environment)
        if label:
            found[label[1]] = environment
    if not found:
        raise LavitError(
            f"{path} holds no table with a label tab:STUDY-NAME", "copy runs/STUDY/tables/NAME.tex, or \\input it"
        )
    return found


def study_of(label: str, studies: Iterable[str]) -> str:
    """The study that a label names, of those that there are.

    Raises:
        LavitError: none of them.
    """
    known = sorted(studies, key=len, reverse=True)
    found = next((name for name in known if label.startswith(f"tab:{as_label(name)}-")), None)
    if found is None:
        asked = label.removeprefix("tab:").rsplit("-", 1)[0]
        raise LavitError(
            f"the table {label} is of no study that has results here", did_you_mean(asked, known) or "run it first"
        )
    return found


def check(committed: dict[str, str], study_dir: Path, declarations: Path | None = None) -> list[Stale]:
    """Make a study's tables again and return those of ``committed`` that differ.

    Args:
        committed: from :func:`tables_in`, all of this study.
        study_dir: the study's folder, up to date.
        declarations: folder of table declarations; by default the project's `conf/table`.

    Raises:
        LavitError: the study's report has no such table.
    """
    from reports.report import build

    stale = []
    with tempfile.TemporaryDirectory() as folder:
        build(study_dir, Path(folder), declarations)
        fresh: dict[str, str] = {}
        for path in sorted((Path(folder) / "tables").glob("*.tex")):
            if path.name != "preamble.tex":
                fresh |= tables_in(path)
    for label, environment in committed.items():
        if label not in fresh:
            raise LavitError(f"{study_dir} gives no table {label}", did_you_mean(label, fresh))
        if fresh[label].split() != environment.split():  # line ends and indents are an editor's business
            lines = difflib.unified_diff(
                environment.splitlines(), fresh[label].splitlines(), "committed", "from its runs", lineterm="", n=0
            )
            stale.append(Stale(label, tuple(lines)))
    return stale
