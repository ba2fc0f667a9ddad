"""Which examples the page shows: where arms disagree most, and as many at random against cherry-picking."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.samples import find_pictures
from reports.frame import Frame
from reports.measure import Measure
from reports.results import Results

PER_BENCHMARK = 12  # by disagreement, and as many at random
MOST = 120
MOST_ARMS = 24  # with answers on the page; a reader compares no more, and 200 arms would fill it
MOST_SEEDS = 8
CLIP = 300
PICTURES = (".png", ".webp", ".jpg")


@dataclass(frozen=True)
class Choice:
    """What was chosen from a benchmark, and from how many."""

    benchmark: str
    total: int
    pool: int
    shown: int


@dataclass
class Album:
    """The examples as plain data for the page, the rule that chose them, and the pictures that they name.

    `arms` are those whose answers are shown, in the order of each example's answers.
    """

    examples: list[dict[str, Any]]
    choices: list[Choice]
    pictures: dict[str, Path]
    rule: str
    arms: list[str]
    names: dict[Path, str] = field(default_factory=dict)


def choose_examples(results: Results, images: bool | None = None) -> Album:
    """Choose by rule: from each benchmark some by disagreement and as many at random (fixed seed).

    Args:
        results: the study's.
        images: with pictures or without; None leaves out those of datasets, whose licence is their own.
    """
    album = Album([], [], {}, "", _shown_arms(results))
    pictures = _evaluated_pictures(results.frame)
    licensed = of_datasets(pictures)
    measures = [m for m in results.outcomes if results.scores.cube(m) is not None]
    several = {m.benchmark for m in measures if sum(o.benchmark == m.benchmark for o in measures) > 1}
    each = max(2, min(PER_BENCHMARK, MOST // max(2 * len(measures), 1)))
    for measure in measures:
        name = measure.label if measure.benchmark in several else measure.benchmark
        shown = bool(images) or (images is None and measure.benchmark not in licensed)
        _choose(results, measure, name, each, pictures if shown else None, album)
    album.rule = (
        f"From each benchmark the {each} examples on which the arms' scores (mean over seeds) lie furthest apart, "
        f"and {each} drawn at random with a fixed seed from the rest"
    )
    counts = ", ".join(
        f"{c.shown} of {c.total:,} of {c.benchmark}" + (f" (from {c.pool} with pictures)" if c.pool < c.total else "")
        for c in album.choices
    )
    album.rule += f": {counts}. All are in records/*.parquet." if counts else "."
    if images is None and (without := [m.benchmark for m in measures if m.benchmark in licensed]):
        album.rule += f" Pictures of {', '.join(dict.fromkeys(without))} are a dataset's and are not on the page"
        album.rule += " (`lavit report --images` embeds them)."
    if len(album.arms) < len(results.frame.arms):
        album.rule += f" Of {len(results.frame.arms)} arms, {len(album.arms)} are shown: the default and those whose "
        album.rule += "headline lies furthest from its."
    if len(results.frame.seeds) > MOST_SEEDS:
        album.rule += f" Of each arm, the first {MOST_SEEDS} seeds are shown."
    return album


def _shown_arms(results: Results) -> list[str]:
    """The default and the arms whose headline lies furthest from its, at most `MOST_ARMS`, in the study's order."""
    arms, default = results.frame.arms, results.frame.study.default
    cube = results.scores.cube(results.headline) if results.headline else None
    if len(arms) <= MOST_ARMS:
        return arms
    if cube is None:
        return arms[:MOST_ARMS]
    means = {arm: fmean(values) for arm in arms if (values := cube.run_means(arm).values())}
    centre = means.get(default, 0.0)
    ranked = sorted(arms, key=lambda arm: (arm != default, -abs(means[arm] - centre) if arm in means else 0.0))
    kept = set(ranked[:MOST_ARMS])
    return [arm for arm in arms if arm in kept]


def _evaluated_pictures(frame: Frame) -> dict[str, Path]:
    """Name of an image or example -> its picture."""
    folder = frame.folder / "images"
    return {p.stem: p for p in sorted(folder.glob("*")) if p.suffix in PICTURES} if folder.is_dir() else {}


def of_datasets(pictures: dict[str, Path]) -> set[str]:
    """The benchmarks with pictures of their own, which lie as `BENCHMARK--IMAGE`: a dataset's, not the corpus's."""
    return {stem.split("--")[0] for stem in pictures if "--" in stem}


def _choose(
    results: Results, measure: Measure, name: str, each: int, pictures: dict[str, Path] | None, album: Album
) -> None:
    """Add a measure's examples, with `pictures` where any may be shown.

    `name` is its benchmark's, with the metric where the benchmark has several.
    """
    frame, images = results.frame, dict(pictures or {})
    rows = frame.records
    rows = rows[
        (rows["benchmark"] == measure.benchmark)
        & (rows["control"] == "")
        & (rows["split"] == measure.split)
        & (rows["metric"] == measure.name)
    ]
    drawn = {}
    for arm in album.arms if pictures is not None else []:
        for seed in frame.done(arm)[:MOST_SEEDS]:
            own, truth = find_pictures(frame, arm, seed, measure.benchmark)
            drawn[(arm, seed)] = own
            images = {**truth, **images}
    facts = rows.drop_duplicates("example_id").set_index("example_id")
    pictured = {e for e in facts.index if _picture_of(e, facts, images) is not None}
    drawings = set().union(*(set(d) for d in drawn.values())) if drawn else set()
    if drawings & set(facts.index):
        pictured &= drawings
    pool = pictured if len(pictured) >= each else set(facts.index)
    table = rows[rows["example_id"].isin(pool)].pivot_table(
        index="example_id", columns=["arm", "seed"], values="score", aggfunc="first", observed=True
    )
    spread = _describe(table, frame.study.default)
    ranked = spread.sort_values(["disagreement", "example_id"], ascending=[False, True], kind="stable").index
    by_gap = [e for e in ranked if spread.loc[e, "disagreement"] > 0][: min(each, len(spread) // 2)]
    rest = sorted(set(spread.index) - set(by_gap))
    at_random = random.Random(f"{measure.label}").sample(rest, min(each, len(rest)))
    top = _top(rows["score"])
    chosen = [*((e, "disagreement") for e in by_gap), *((e, "random") for e in at_random)]
    wanted = rows[rows["example_id"].isin([e for e, _ in chosen])]
    answers = _answers(wanted[wanted["arm"].isin(album.arms)])
    display = results.display(measure)
    for example, why in chosen:
        fact = facts.loc[example]
        picture = _picture_of(example, facts, images)
        key = _name(album, picture) if picture is not None else None
        arms = []
        for arm in album.arms:
            chips = []
            for seed, said, score in sorted(answers.get((example, arm), []))[:MOST_SEEDS]:
                chip: dict[str, Any] = {"s": seed, "t": said, "v": score}
                file = drawn.get((arm, seed), {}).get(example)
                if file is not None:
                    chip["i"] = _name(album, file)
                chips.append(chip)
            arms.append(chips)
        album.examples.append(
            {
                "id": f"{name}:{example}",
                "benchmark": name,
                "metric": display.name,
                "kind": str(fact["kind"]),
                "prompt": _clip(fact["prompt"]),
                "truth": [_clip(t) for t in _references(fact["reference"])][:5],
                "image": key,
                "why": why,
                "top": top,
                "scale": display.scale,
                "gap": round(float(spread.loc[example, "disagreement"]), 6),
                "margin": round(float(spread.loc[example, "margin"]), 6),
                "wobble": round(float(spread.loc[example, "wobble"]), 6),
                "arms": arms,
            }
        )
    album.choices.append(Choice(name, len(facts), len(pool), len(chosen)))


def _answers(rows: pd.DataFrame) -> dict[tuple[str, str], list[tuple[int, str, float]]]:
    """(example, arm) -> (seed, answer, score) of each of its runs."""
    found: dict[tuple[str, str], list[tuple[int, str, float]]] = {}
    columns = (rows[name].tolist() for name in ("example_id", "arm", "seed", "prediction", "score"))
    for example, arm, seed, said, score in zip(*columns, strict=True):
        found.setdefault((example, arm), []).append((int(seed), _clip(said), float(score)))
    return found


def _describe(table: pd.DataFrame, default: str) -> pd.DataFrame:
    """Per example: spread of the arms' means, the default's lead, and spread between seeds."""
    means = table.T.groupby(level=0).mean().T
    others = means.drop(columns=[default], errors="ignore")
    lead = means[default] - others.mean(axis=1) if default in means and len(others.columns) else means.mean(axis=1) * 0
    wobble = table.T.groupby(level=0).std(ddof=0).T.mean(axis=1)
    gap = means.max(axis=1) - means.min(axis=1)
    return pd.DataFrame({"disagreement": gap, "margin": lead.fillna(0), "wobble": wobble.fillna(0)})


def _picture_of(example: str, facts: pd.DataFrame, images: dict[str, Path]) -> Path | None:
    """The picture of an example: of its benchmark's own files, or of the corpus."""
    fact = facts.loc[example]
    cluster = str(fact["cluster_id"])
    return images.get(f"{fact['benchmark']}--{cluster}") or images.get(example) or images.get(cluster)


def _name(album: Album, path: Path) -> str:
    key = album.names.setdefault(path, f"p{len(album.pictures)}")
    album.pictures[key] = path
    return key


def _top(scores: pd.Series) -> float:
    """The score that colours a chip fully: 1 for scores between 0 and 1, else the 95th percentile."""
    values = scores.to_numpy()
    if values.min() >= 0 and values.max() <= 1:
        return 1.0
    return float(np.quantile(values, 0.95)) or 1.0


def _references(value: Any) -> list[str]:
    """References as a list of texts, whether stored as JSON, as a list or as one text."""
    import json

    if isinstance(value, str):
        if value.startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                return [value]
        else:
            return [value]
    if isinstance(value, (list, tuple, np.ndarray)):
        return [str(v) for v in value]
    return [] if value is None else [str(value)]


def _clip(text: Any) -> str:
    from reports.render.numbers import plain

    return plain(text, CLIP)
