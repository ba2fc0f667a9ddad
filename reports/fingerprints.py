"""How each benchmark's numbers came about: refuse to compare what was made by different rules, and say the rule.

An evaluation leaves, per run and benchmark, the parts of a fingerprint (dotted name → value). Runs whose parts differ
may not stand in one table, unless the study itself varies what differs. Other package versions are no other rule: they
are told and warned of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from experiments.errors import LavitError

SHORT = 6  # hexadecimal digits of a hash that are shown
ABSENT = "(absent)"
ASKED = ["example_id", "cluster_id", "prompt", "reference"]
Key = tuple[str, int]  # arm, seed


@dataclass
class Fingerprints:
    """What is known of the evaluation of every run.

    Attributes:
        by_run: (arm, seed) → benchmark → its fingerprint, as ``protocol.json`` has it.
        varied: config paths that the study varies.
    """

    by_run: dict[Key, dict[str, dict[str, Any]]] = field(default_factory=dict)
    varied: tuple[str, ...] = ()

    @property
    def benchmarks(self) -> list[str]:
        """Every benchmark that some run tells of."""
        return list(dict.fromkeys(name for own in self.by_run.values() for name in own))

    def of(self, benchmark: str) -> dict[Key, dict[str, Any]]:
        """The fingerprints of one benchmark."""
        return {key: own[benchmark] for key, own in self.by_run.items() if benchmark in own}

    def check(self, records: pd.DataFrame) -> None:
        """Refuse runs that were not evaluated by one rule.

        Raises:
            LavitError: names the benchmark, two runs, and each part that differs with both values.
        """
        for benchmark in self.benchmarks:
            own = self.of(benchmark)
            first = next(iter(own))
            firsts: dict[str, Key] = {}  # an arm's seeds are compared with its own first one: no axis excuses them
            for key, found in own.items():
                base = firsts.get(key[0], first)
                left = differences(own[base], found)
                if key[0] not in firsts:
                    left = self._unexplained(benchmark, left)
                firsts.setdefault(key[0], key)
                if left:
                    raise _refusal(benchmark, (base, own[base]), (key, found), left, records)

    def by_design(self, benchmark: str) -> dict[str, dict[str, list[str]]]:
        """Part → value, as it prints → arms, of what the study itself varies in a benchmark."""
        own = self.of(benchmark)
        parts: dict[str, dict[str, list[str]]] = {}
        for name in dict.fromkeys(name for found in own.values() for name in found.get("parts", {})):
            values: dict[str, list[str]] = {}
            for (arm, _), found in own.items():
                arms = values.setdefault(_print(found.get("parts", {}).get(name, ABSENT)), [])
                arms += [] if arm in arms else [arm]
            if len(values) > 1 and name != "examples_sha256":
                parts[name] = values
        return parts

    def line(self, benchmark: str) -> str:
        """The rule in words with its hash, for a table's footer; "" where nothing is known."""
        own = self.of(benchmark)
        if not own:
            return ""
        first = next(iter(own.values()))
        hygienes = list(dict.fromkeys(str(found.get("hygiene") or "hygiene not declared") for found in own.values()))
        words = [f"{benchmark}: {first.get('line', '')}", " or ".join(hygienes)]
        for name, values in self.by_design(benchmark).items():
            each = "; ".join(f"{value} ({', '.join(arms)})" for value, arms in values.items())
            words.append(f"{name} varied by the study: {each}")
        hashes = list(dict.fromkeys(str(found.get("hash", ""))[:SHORT] for found in own.values()))
        return ", ".join([*words, " / ".join(hashes)])

    def environments(self) -> list[str]:
        """Sentences on packages that were not the same in all runs."""
        said = []
        for benchmark in self.benchmarks:
            versions: dict[str, dict[str, list[str]]] = {}
            for (arm, seed), found in self.of(benchmark).items():
                for package, number in (found.get("environment") or {}).items():
                    versions.setdefault(package, {}).setdefault(str(number), []).append(f"{arm} seed {seed}")
            for package, where in versions.items():
                if len(where) > 1:
                    each = "; ".join(f"{number} for {_few(runs)}" for number, runs in where.items())
                    said.append(
                        f"{benchmark} was not evaluated with one version of {package}: {each}. The rule is the same, "
                        "so this should move last bits alone; evaluate again in one environment to be sure."
                    )
        return said

    def _unexplained(self, benchmark: str, differing: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
        explained = [name for name in differing if self._is_varied(benchmark, name)]
        # What a varied setting asks differently is another prompt of the same examples, whose ids are checked anyway.
        follows = ["examples_sha256"] if explained else []
        return {name: pair for name, pair in differing.items() if name not in (*explained, *follows)}

    def _is_varied(self, benchmark: str, name: str) -> bool:
        if name.startswith("image."):
            return any(path.rsplit(".", 1)[-1] == "image_size" for path in self.varied)
        own = f"suite.benchmarks.{benchmark}.{name}"
        return any(own == path or own.startswith(f"{path}.") for path in self.varied)


def read_fingerprints(header: Mapping[str, Any], entries: Iterable[Mapping[str, Any]], default: str) -> Fingerprints:
    """From runs.json: the entries of its runs, the default arm's first, and what the study varies."""
    by_run: dict[Key, dict[str, dict[str, Any]]] = {}
    for entry in sorted(entries, key=lambda entry: entry.get("arm") != default):
        if found := entry.get("fingerprints"):
            by_run[str(entry.get("arm")), int(entry.get("seed", 0))] = dict(found)
    return Fingerprints(by_run, tuple(map(str, header.get("varied") or ())))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Part → (value of one, of the other), where two fingerprints of a benchmark differ."""
    a, b = one.get("parts") or {}, other.get("parts") or {}
    names = dict.fromkeys([*a, *b])
    pairs = {name: (a.get(name, ABSENT), b.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _refusal(
    benchmark: str,
    one: tuple[Key, Mapping[str, Any]],
    other: tuple[Key, Mapping[str, Any]],
    differing: Mapping[str, tuple[Any, Any]],
    records: pd.DataFrame,
) -> LavitError:
    named = [f"'{arm}' seed {seed} ({str(found.get('hash', ''))[:SHORT]})" for (arm, seed), found in (one, other)]
    listed = "; ".join(f"{name}: {_print(a)} / {_print(b)}" for name, (a, b) in differing.items())
    text = f"{benchmark} was not evaluated alike in {named[0]} and {named[1]}: {listed}"
    if "examples_sha256" in differing:
        text += _first_example(benchmark, one[0], other[0], records)
    key = next(iter(differing))
    return LavitError(
        text,
        "evaluate these runs again with one suite (lavit run does what is missing); if the difference is what the "
        f"study asks about, make it an axis, e.g. {{key: suite.benchmarks.{benchmark}.{key}, levels: [...]}}",
    )


def _first_example(benchmark: str, one: Key, other: Key, records: pd.DataFrame) -> str:
    """``; first at example 12: 'a' / 'b'``."""
    rows = records[(records["benchmark"] == benchmark) & (records["control"] == "")]
    sides = []
    for arm, seed in (one, other):
        own = rows[(rows["arm"] == arm) & (rows["seed"] == seed)]
        sides.append([tuple(map(str, row)) for row in own[ASKED].itertuples(index=False)])
    for place, (a, b) in enumerate(zip(*sides, strict=False)):
        if a != b:
            odd = next(i for i in range(len(ASKED)) if a[i] != b[i])
            return f"; first at example {place} ('{a[0]}'), {ASKED[odd]}: {_print(a[odd])} / {_print(b[odd])}"
    return f"; {len(sides[0])} / {len(sides[1])} records, alike as far as both go"


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _print(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
