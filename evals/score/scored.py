"""What scoring a file of predictions brings: totals, a record for each example, and what could not be computed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.records import Record


@dataclass(frozen=True)
class Scored:
    """The result of one ``lavit score`` call.

    Attributes:
        totals: name → number, or → {name: number}; unrounded, in the units of the official scorer. JSON-safe.
        records: one for each example and metric.
        fingerprint: how the numbers came about: metric and its version, tokenizer or protocol, files and their hashes.
        missing: metric → why it was not computed, one sentence each that says what to do.
    """

    totals: Mapping[str, Any]
    records: list[Record] = field(default_factory=list)
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def hashes(*paths: Path | None) -> dict[str, str]:
    """File name → the first 12 digits of its SHA-256, of the files that were given."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in paths if path is not None}
