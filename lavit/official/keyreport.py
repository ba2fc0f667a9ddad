"""What became of each tensor of a release, part by part: the report that an import shows, and refuses by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from lavit.official.names import KeyReport


@dataclass
class PartReport:
    """The fate of one model's tensors.

    Attributes:
        part: what it is called.
        files: what it was read from.
        keys: every tensor, by its released name.
        reasons: why those left out by design are left out.
        notes: sentences on what was not or could not be checked.
        parameters: numbers in what is used.
        dtypes: tensors used of each type.
    """

    part: str
    files: list[str]
    keys: KeyReport
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    parameters: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Number of tensors in the files."""
        return sum(len(names) for names in (self.keys.used, self.keys.unused, self.keys.extra, self.keys.misshapen))

    @property
    def renamed(self) -> dict[str, str]:
        """Those of the used that have another name with us."""
        return {theirs: ours for theirs, ours in self.keys.used.items() if theirs != ours}

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {**asdict(self), "read": self.read, "renamed": len(self.renamed)}


_COLUMNS = ("read", "used", "renamed", "unused by design", "missing", "left over", "misshapen", "parameters")


def render(reports: Sequence[PartReport], every_key: bool = False) -> str:
    """All reports as text: a table of counts, then for each part what was left aside and what does not fit.

    Args:
        reports: one of each part.
        every_key: also list each used tensor with the name that it gets.
    """
    rows = [("part", *_COLUMNS), *(_counts(report) for report in reports if report.read or report.keys.missing)]
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(wide[0]), *(cell.rjust(w) for cell, w in zip(row[1:], wide[1:], strict=True))])
        for row in rows
    ]
    for report in reports:
        types = ", ".join(f"{count} {dtype}" for dtype, count in report.dtypes.items())
        lines += ["", f"{report.part}: {', '.join(report.files)}" + (f" ({types})" if types else "")]
        lines += [f"  unused     {names}: {reason}" for names, reason in _by_reason(report)]
        lines += [f"  {complaint}" for complaint in report.keys.complaints()]
        lines += [f"  note       {note}" for note in report.notes]
        if every_key:
            lines += [f"  used       {theirs} -> {ours}" for theirs, ours in report.keys.used.items()]
    return "\n".join(lines)


def _counts(report: PartReport) -> tuple[str, ...]:
    keys = report.keys
    groups = (keys.used, report.renamed, keys.unused, keys.missing, keys.extra, keys.misshapen)
    return (report.part, str(report.read), *(str(len(group)) for group in groups), f"{report.parameters:,}")


def _by_reason(report: PartReport) -> list[tuple[str, str]]:
    names: dict[str, list[str]] = {}
    for name in report.keys.unused:
        names.setdefault(report.reasons[name], []).append(name)
    return [
        (", ".join(group) if len(group) <= 4 else f"{group[0]} ... {group[-1]} ({len(group)})", reason)
        for reason, group in names.items()
    ]


def count_types(dtypes: Iterable[torch.dtype]) -> dict[str, int]:
    """How many tensors are of each type, the most frequent first."""
    return {str(dtype).removeprefix("torch."): count for dtype, count in Counter(dtypes).most_common()}
