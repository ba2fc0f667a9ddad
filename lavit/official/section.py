"""One model of a release: what became of its tensors, and how it is written in our format.

A section is made from names and shapes alone. Its tensors are read when it is written, one after the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import nn

from lavit.official.keyreport import PartReport, count_types
from lavit.official.names import Rules, match
from lavit.official.reading import Weights
from lavit.official.writing import Entry, write_safetensors, write_shards


@dataclass
class Section:
    """See the module's docstring.

    Attributes:
        report: the fate of its tensors.
        target: what it becomes, below the imported folder: a file of weights, or a folder that gets shards.
        entries: its tensors under our names.
        copies: small files that are copied beside the weights.
        options: what the imported ``config.json`` says about it.
    """

    report: PartReport
    target: str
    entries: list[Entry] = field(default_factory=list)
    copies: list[Path] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(entry.bytes for entry in self.entries) + sum(path.stat().st_size for path in self.copies)

    def write(self, out: Path, shard_bytes: int) -> None:
        """Write it below ``out``."""
        target = out / self.target
        folder = target.parent if target.suffix else target
        folder.mkdir(parents=True, exist_ok=True)
        for path in self.copies:
            shutil.copyfile(path, folder / path.name)
        if target.suffix:
            write_safetensors(target, self.entries)
        elif self.entries:
            write_shards(target, self.entries, most=shard_bytes)


def make_section(
    part: str,
    target: str,
    weights: Weights,
    module: nn.Module,
    rules: Rules = (),
    unused: Mapping[str, str] | None = None,
    ignored: Iterable[str] = (),
) -> Section:
    """Account for every tensor of a model's files and every tensor that the model needs.

    Args:
        part: what the model is called in the report.
        target: see :class:`Section`.
        weights: what is there.
        module: the model (on the meta device: only names and shapes matter).
        rules: our names to released ones.
        unused: patterns of released names that are left out by design -> reason.
        ignored: patterns of left-over names that the user asked to leave out.
    """
    reasons = {name: why for name in weights for pattern, why in (unused or {}).items() if fnmatchcase(name, pattern)}
    _, keys = match(module, weights.shapes(), rules, part, unused=reasons)
    asked = {name: pattern for name in keys.extra for pattern in ignored if fnmatchcase(name, pattern)}
    for name, pattern in asked.items():
        del keys.extra[name]
        keys.unused.append(name)
        reasons[name] = f"left out on request (--ignore {pattern})"
    needed = module.state_dict()
    entries = [weights.entry(theirs, ours, needed[ours].shape) for theirs, ours in keys.used.items()]
    report = PartReport(part, [str(path) for path in weights.paths], keys, reasons)
    report.parameters = sum(entry.shape.numel() for entry in entries)
    report.dtypes = count_types(entry.dtype for entry in entries)
    return Section(report, target, entries)
