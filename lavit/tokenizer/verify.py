"""Is this the official tokenizer? Runs a parity fixture through our modules and compares every tensor.

``python -m lavit.tokenizer.verify FILE.safetensors`` reads a fixture (tensors of an official run, its JSON beside it),
loads the weights by their official names, runs every case three times (policy softmax; exact masked softmax; exact
and packed, the way in which it runs otherwise), and prints a row for each tensor compared. Exit code 0 where all agree
within the fixture's own tolerances, 1 where one does not, 2 where the fixture cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lavit.errors import LavitError
from lavit.official.fixture import Fixture, read_fixture
from lavit.official.trace import inputs, trace

FORMS = {"policy": ("policy", False), "exact": ("exact", False), "packed": ("exact", True)}


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: of the tensor.
        form: ``policy``, ``exact`` or ``packed``.
        difference: largest absolute difference; NaN where a value is not a number.
        tolerance: in words.
        passed: whether every element agrees.
        why: what is wrong besides differing values.
    """

    name: str
    form: str
    difference: float
    tolerance: str
    passed: bool
    why: str = ""


def compare(name: str, form: str, expected: Tensor, found: Tensor | None, fixture: Fixture) -> Row:
    """One tensor against what is expected: integers and masks exactly, floats within the fixture's tolerance."""
    if found is None:
        return Row(name, form, float("nan"), "", False, "nothing here computes a tensor of this name")
    if found.shape != expected.shape:
        shapes = f"shape {list(found.shape)}, expected {list(expected.shape)}"
        return Row(name, form, float("nan"), "", False, shapes)
    difference = (found.double() - expected.double()).abs()
    largest = float(difference.max()) if difference.numel() else 0.0
    if not expected.is_floating_point() or name.endswith(".decisions"):
        return Row(name, form, largest, "exact", bool((difference == 0).all()))
    allowed = fixture.tolerance(name, FORMS[form][0])
    within = (difference <= allowed.atol + allowed.rtol * expected.double().abs()).all()  # false for NaN
    return Row(name, form, largest, f"{allowed.atol:g} + {allowed.rtol:g} |x|", bool(within))


def verify(fixture: Fixture, forms: Sequence[str] = tuple(FORMS)) -> Iterator[Row]:
    """Compare every tensor of a fixture in each form.

    The packed form has nothing to show of dropped places, so inner tensors of the merger are compared in the other two.
    """
    given = inputs(fixture)
    for form in forms:
        softmax, packed = FORMS[form]
        found = trace(fixture, softmax, packed)
        for name, expected in fixture.tensors.items():
            inner = ".merger." in f".{name}" or name.endswith("llm.vit_proj_all")
            if (
                name in given
                or not fixture.compares(name, softmax)
                or (packed and inner and not name.startswith("shared"))
            ):
                continue
            yield compare(name, form, expected, found.get(name), fixture)


def _print(rows: list[Row]) -> None:
    width = max(len(row.name) for row in rows)
    print(f"{'tensor':<{width}}  {'form':<6}  {'largest |difference|':>20}  {'tolerance':<20}  result")
    for row in rows:
        result = "pass" if row.passed else f"FAIL {row.why}".rstrip()
        print(f"{row.name:<{width}}  {row.form:<6}  {row.difference:>20.3g}  {row.tolerance:<20}  {result}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lavit.tokenizer.verify",
        description="Compare the visual tokenizer with a run of the official one, tensor by tensor.",
        epilog="The fixture: FILE.safetensors, and FILE.json beside it with config, cases and tolerance.",
    )
    parser.add_argument("fixture", type=Path, metavar="FILE.safetensors")
    parser.add_argument("--form", choices=[*FORMS, "all"], default="all", help="which of the three runs (default: all)")
    options = parser.parse_args(arguments)
    try:
        fixture = read_fixture(options.fixture)
        rows = list(verify(fixture, list(FORMS) if options.form == "all" else [options.form]))
    except LavitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _print(rows)
    failed = sum(not row.passed for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
