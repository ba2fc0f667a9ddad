"""What a study's records measure: benchmarks' scores, their parts and slices, corpus metrics, and runs' metrics.

Shape letters: A arms, S seeds, E examples, C clusters (images).
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from reports import corpus, sets
from reports.cube import Cube, Measure, build_cube
from reports.frame import Frame


class Scores:
    """All measures that a study's records hold, and their cubes (made once each)."""

    def __init__(self, frame: Frame):
        self.frame = frame
        self._groups: dict[tuple[str, str], pd.DataFrame] = dict(
            list(frame.records.groupby(["benchmark", "control"], sort=True))
        )
        self._cubes: dict[Measure, Cube | None] = {}
        self._parts: dict[tuple[str, str], pd.DataFrame] = {}
        self._sums: dict[tuple[str, str, str], tuple[np.ndarray, int]] = {}

    @cached_property
    def primary(self) -> list[Measure]:
        """Each benchmark's own score on its main split (`test` where there is one), the headline's first."""
        found = []
        for benchmark in self.frame.records["benchmark"].unique():
            rows = self._groups.get((benchmark, ""))
            if rows is None:
                continue
            splits = sorted(rows["split"].unique())
            split = "test" if "test" in splits else splits[0]
            found += [Measure(benchmark, m, split) for m in rows.loc[rows["split"] == split, "metric"].unique()]
        headline = self.frame.study.headline
        first = headline.split("/")[0]
        return sorted(found, key=lambda m: (m.label != headline, m.benchmark != first, m.benchmark, m.name))

    def find(self, label: str) -> Measure | None:
        """The measure that `benchmark/name` means: a score, else a corpus metric or a part of one, else a run's metric.

        None where neither records nor runs have it.
        A set whose records carry no metric column (all are `score`) is found by its benchmark alone.
        """
        benchmark, _, name = label.partition("/")
        of_benchmark = [m for m in self.primary if m.benchmark == benchmark]
        for measure in of_benchmark:
            if measure.name == name or (not name and len(of_benchmark) == 1):
                return measure
        for measure in of_benchmark:
            if name in self.corpus_names(measure):
                return replace(measure, name=name, form="corpus")
            if name in self.parts(measure):
                return replace(measure, name=name, part=True)
        if name and (self.frame.metrics["name"] == label).any():
            return Measure(benchmark, name, "", form="set")
        only = of_benchmark[0] if len(of_benchmark) == 1 else None
        return only if only is not None and only.name == "score" else None

    @property
    def headline(self) -> Measure | None:
        """The study's headline measure, None while nothing has been scored on it."""
        return self.find(self.frame.study.headline)

    def parts(self, measure: Measure) -> list[str]:
        """Names of the numeric sub-scores that the records of a measure carry beside the score."""
        rows = self._groups.get((measure.benchmark, measure.control))
        table = self._part_table(measure.benchmark, measure.control)
        if rows is None or table.empty:
            return []
        own = table[(rows["metric"] == measure.name).to_numpy()]
        others = {measure.name, *self.corpus_names(measure)}  # a mean of sentence BLEU is not BLEU
        return [c for c in own.columns if c not in others and own[c].notna().any()]

    def corpus_names(self, measure: Measure) -> list[str]:
        """The corpus metrics (`Bleu_4`) whose sums the records of a measure carry."""
        rows = self._rows(measure)
        return corpus.corpus_names(rows["aux"].iloc[0]) if rows is not None else []

    def sums(self, measure: Measure) -> tuple[np.ndarray, int]:
        """([arm, seed, cluster, sum], examples) of which a corpus metric is made, read once for all made of them."""
        key = (measure.benchmark, measure.split, corpus.source(measure.name))
        if key not in self._sums:
            rows = self._groups[(measure.benchmark, measure.control)]
            held = [bool(corpus.corpus_names(text)) for text in rows["aux"]]
            rows = rows[(rows["split"] == measure.split) & np.array(held)]
            self._sums[key] = corpus.cluster_sums(rows, key[2], tuple(self.frame.arms), tuple(self.frame.seeds))
        return self._sums[key]

    def kinds(self, measure: Measure) -> list[str]:
        """The kinds of examples (question types) of a benchmark, where there are several."""
        rows = self._groups.get((measure.benchmark, ""))
        if rows is None:
            return []  # a number of whole runs, of a benchmark without records
        kinds = sorted(k for k in rows.loc[rows["split"] == measure.split, "kind"].unique() if k)
        return kinds if len(kinds) > 1 else []

    def splits(self, measure: Measure) -> list[Measure]:
        """The same score on the benchmark's other splits."""
        rows = self._groups[(measure.benchmark, "")]
        return [replace(measure, split=s) for s in sorted(rows["split"].unique()) if s != measure.split]

    def controls(self, measure: Measure) -> list[str]:
        """The controls that were run for a benchmark, `""` left out."""
        return sorted(c for b, c in self._groups if b == measure.benchmark and c)

    def cube(self, measure: Measure) -> Cube | None:
        """Scores of a measure over all arms and seeds; None where no record has it."""
        if measure not in self._cubes:
            self._cubes[measure] = self._build(measure)
        return self._cubes[measure]

    def paired_gap(self, measure: Measure, control: str) -> tuple[Cube | None, Cube | None]:
        """(score minus control per example, the control's own cube), over the examples that both were run on.

        A control is often run on part of the examples; the gap is None where it shares none.
        """
        controlled = replace(measure, control=control)
        rows, controls = self._rows(measure), self._rows(controlled)
        other = self.cube(controlled)
        if rows is None or controls is None or other is None:
            return None, other
        of_score, of_control = (np.unique(r["example_id"].cat.codes) for r in (rows, controls))
        shared = np.intersect1d(of_score, of_control)
        if not len(shared):
            return None, other
        own = self.cube(measure) if len(shared) == len(of_score) else self._build(measure, shared)
        under = other if len(shared) == len(of_control) else self._build(controlled, shared)
        return (own.minus(under) if own is not None and under is not None else None), other

    def tokens(self, measure: Measure) -> Cube | None:
        """Visual tokens used per example of a benchmark; None where the records do not count them."""
        rows = self._rows(measure)
        if rows is None or not rows["tokens"].notna().any():
            return None
        return self._fill(rows, rows["tokens"].to_numpy())

    def _rows(self, measure: Measure) -> pd.DataFrame | None:
        rows = self._groups.get((measure.benchmark, measure.control))
        if rows is None:
            return None
        keep = rows["split"] == measure.split
        if not measure.part:
            keep &= rows["metric"] == measure.name
        if measure.kind:
            keep &= rows["kind"] == measure.kind
        rows = rows[keep]
        return rows if len(rows) else None

    def _build(self, measure: Measure, only: np.ndarray | None = None) -> Cube | None:
        """``only``: codes of the examples to keep."""
        if measure.form == "set":
            return sets.set_cube(self.frame, f"{measure.benchmark}/{measure.name}")
        if measure.form == "corpus":
            sums_ASCK, examples = self.sums(measure)
            return corpus.corpus_cube(measure, sums_ASCK, examples, tuple(self.frame.arms), tuple(self.frame.seeds))
        rows = self._rows(measure)
        if rows is not None and only is not None:
            rows = rows[np.isin(rows["example_id"].cat.codes, only)]
        if rows is None or rows.empty:
            return None
        if not measure.part:
            return self._fill(rows, rows["score"].to_numpy())
        table = self._part_table(measure.benchmark, measure.control)
        if measure.name not in table.columns:
            return None
        # Of a benchmark with several metrics, the records of one of them carry the part.
        values = table.loc[rows.index, measure.name]
        return self._fill(rows[values.notna()], values.dropna().to_numpy())

    def _fill(self, rows: pd.DataFrame, values: np.ndarray) -> Cube | None:
        arms, seeds = tuple(self.frame.arms), tuple(self.frame.seeds)
        arm_codes = pd.Categorical(rows["arm"], categories=list(arms)).codes
        seed_codes = np.searchsorted(np.array(seeds), rows["seed"].to_numpy())
        example_codes, names = pd.factorize(rows["example_id"], sort=True)
        scores_ASE = np.full((len(arms), len(seeds), len(names)), np.nan)
        scores_ASE[arm_codes, seed_codes, example_codes] = values
        present_AS = np.zeros((len(arms), len(seeds)), bool)
        present_AS[arm_codes, seed_codes] = True
        # A part may be undefined for an arm (it draws no image) or for an example; either is left out for
        # all alike.
        defined_AS = present_AS & np.isfinite(scores_ASE).any(axis=2)
        if not defined_AS.any():
            return None
        keep_E = np.isfinite(scores_ASE[defined_AS]).all(axis=0)
        if not keep_E.any():
            return None
        scores_ASE[~defined_AS] = np.nan
        cluster_codes = np.empty(len(names), dtype=int)
        cluster_codes[example_codes] = pd.factorize(rows["cluster_id"], sort=True)[0]
        return build_cube(scores_ASE[:, :, keep_E], cluster_codes[keep_E], arms, seeds)

    def _part_table(self, benchmark: str, control: str) -> pd.DataFrame:
        """The numeric entries of `aux`, one column each, aligned with the records' index."""
        key = (benchmark, control)
        if key not in self._parts:
            rows = self._groups.get(key)
            if rows is None:
                self._parts[key] = pd.DataFrame()
            else:
                codes, texts = pd.factorize(rows["aux"])
                loaded = pd.DataFrame([_numbers(text) for text in texts], index=range(len(texts))).astype("float64")
                self._parts[key] = loaded.take(codes).set_axis(rows.index)
        return self._parts[key]


def _numbers(text: object) -> dict[str, float]:
    """The numeric entries of one `aux` cell; anything else in it is not ours to average."""
    if isinstance(text, str):
        if text in ("", "{}"):
            return {}
        try:
            text = json.loads(text)
        except ValueError:
            return {}
    if not isinstance(text, dict):
        return {}
    return {str(k): float(v) for k, v in text.items() if isinstance(v, (int, float)) and v is not None}
