"""NLVR's and NLVR2's own files: a sentence a line, with whether it is true of an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evals.datasets.reading import field_of, refuse_duplicates
from evals.datasets.rows import read_rows
from evals.errors import EvaluationError

ORDERS = 6
"""Images of an NLVR example: its three boxes in every order."""


@dataclass(frozen=True)
class Claim:
    """A sentence about an image (NLVR) or a pair (NLVR2).

    Attributes:
        id: what a prediction for it is called: ``1572-0-3`` in NLVR (the last is the order of boxes), ``dev-0-0-0``.
        identifier: the example's own.
        text: the sentence.
        label: ``true`` or ``false``.
        folder: NLVR's ``directory`` of the images, "" where the file does not tell.
    """

    id: str
    identifier: str
    text: str
    label: str
    folder: str


def read_nlvr(path: Path) -> list[Claim]:
    """Every claim: six an example in NLVR, whose identifiers have two parts, one in NLVR2, whose have four.

    Raises:
        EvaluationError: a row lacks a field, a label is neither true nor false, or an identifier stands twice.
    """
    claims, identifiers = [], []
    for number, row in read_rows(path):
        identifier = field_of(row, "identifier", str, path, f"row {number}")
        where = f"example {identifier}"
        parts = identifier.count("-") + 1
        if parts not in (2, 4):
            raise EvaluationError(f"{path}: row {number}: 'identifier' is {identifier!r}.", "Like 1572-0 or dev-0-0-0.")
        given = row.get("label")
        label = str(given).lower() if isinstance(given, bool) else field_of(row, "label", str, path, where).lower()
        if label not in ("true", "false"):
            raise EvaluationError(f"{path}: {where}: 'label' is {given!r}.", "It is true or false.")
        text = field_of(row, "sentence", str, path, where)
        folder = field_of(row, "directory", (str, int), path, where) if "directory" in row else ""
        names = [f"{identifier}-{order}" for order in range(ORDERS)] if parts == 2 else [identifier]
        identifiers.append(identifier)
        claims += [Claim(name, identifier, text, label, str(folder)) for name in names]
    refuse_duplicates(identifiers, path, "identifier")
    return claims
