"""A study's folder of any size with invented scores: what the report's benchmark reads.

As `lavit run` leaves one: records with controls, kinds, parts and counts of n-grams, runs.json with ledgers and
metrics, curves, pictures of evaluated images and samples. The texts are short and repeat as those of a small world do.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

AXES_12 = {"regime": 2, "tokens": 2, "target": 2, "llm": 2}
AXES_200 = {"regime": 2, "tokens": 5, "target": 2, "llm": 2, "merger": 5}
KINDS = ("colour", "count", "existence", "position", "relation", "shape", "size")
COLOURS = ("red", "blue", "green", "yellow", "purple", "white")
SHAPES = ("circle", "square", "triangle")
SHARES = {"caption": 0.2, "vqa": 0.5, "t2i": 0.1, "tokenizer": 0.2}
PATCHES = 36
STEPS = np.arange(0, 601, 20)


def write_large_study(folder: Path, axes: Mapping[str, int], seeds: int, examples: int, void: bool) -> int:
    """Write a full factorial study; returns the number of its runs.

    Args:
        folder: where; must be empty.
        axes: name -> number of levels.
        seeds: replicates of every arm.
        examples: scored examples of a run over four benchmarks, controls not counted.
        void: leave out the arms with the second level of the first axis and of the third, as the paper's study does.
    """
    levels = {axis: [f"{axis[0]}{i}" for i in range(count)] for axis, count in axes.items()}
    names = list(levels)
    arms: dict[str, dict[str, str]] = {}
    for chosen in itertools.product(*levels.values()):
        arm = dict(zip(levels, chosen, strict=True))
        if void and arm[names[0]] != levels[names[0]][0] and arm[names[2]] != levels[names[2]][0]:
            continue
        arms[" ".join(f"{a}={v}" for a, v in arm.items() if v != levels[a][0]) or "default"] = arm
    (folder / "records").mkdir(parents=True)
    study = {
        "name": "large",
        "question": "How long does a report take?",
        "design": "full",
        "axes": levels,
        "arms": arms,
        "default": "default",
        "headline": "caption/CIDEr",
        "seeds": list(range(seeds)),
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    world = _World(examples)
    entries, curves = [], []
    for place, (arm, chosen) in enumerate(arms.items()):
        gain = -0.02 * sum(list(levels[a]).index(v) for a, v in chosen.items())
        for seed in range(seeds):
            rng = np.random.default_rng([place, seed])
            records = world.records(rng, gain)
            records.insert(0, "seed", seed)
            records.insert(0, "arm", arm)
            records.insert(0, "study", "large")
            slug = arm.replace("=", "-").replace(" ", "+")
            records.to_parquet(folder / "records" / f"{slug}-s{seed}.parquet", index=False)
            entries.append(_entry(arm, place, seed, records, rng))
            curves.append(_curve(arm, seed, rng))
            if seed == 0 and place < 12:
                _samples(folder / "samples" / slug / f"s{seed}", rng)
    header = {
        "study": "large",
        "git": {"commit": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567", "dirty": False},
        "environment": {"python": "3.11.2", "torch": "2.13.0", "platform": "Linux", "cores": 2},
        "created": "2026-01-01T00:00:00Z",
        "plan": {"seconds": 520.0, "jobs": 27, "instead_of": 105},
        "runs": entries,
    }
    (folder / "runs.json").write_text(json.dumps(header))
    pd.concat(curves, ignore_index=True).to_parquet(folder / "curves.parquet", index=False)
    (folder / "images").mkdir()
    for i in range(64):
        _picture(np.random.default_rng(i)).save(folder / "images" / f"test-{i}.png")
    return len(entries)


class _World:
    """What all runs share: the examples, their truth and how easy they are."""

    def __init__(self, examples: int):
        rng = np.random.default_rng(7)
        self.counts = {name: max(8, round(examples * share)) for name, share in SHARES.items()}
        self.scenes = [
            f"a {c} {s} above a {d} {t}" for c, s, d, t in itertools.product(COLOURS, SHAPES, COLOURS, SHAPES)
        ]
        self.scene_E = {name: rng.integers(0, len(self.scenes), count) for name, count in self.counts.items()}
        self.ease_E = {name: rng.normal(0, 1, count) for name, count in self.counts.items()}

    def records(self, rng: np.random.Generator, gain: float) -> pd.DataFrame:
        """One run's."""
        luck = rng.normal(0, 0.03)
        parts = [self._captions(rng, gain + luck, c) for c in ("", "shuffled", "vision_off")]
        parts += [self._answers(rng, gain + luck, c) for c in ("", "shuffled", "vision_off")]
        parts += [self._drawings(rng, gain + luck, c) for c in ("", "ceiling")]
        parts += [self._tokens(rng, gain, m) for m in ("cosine", "cosine_objects")]
        return pd.concat(parts, ignore_index=True)

    def _captions(self, rng: np.random.Generator, gain: float, control: str) -> pd.DataFrame:
        count, scene_E = self.counts["caption"], self.scene_E["caption"]
        right_E = rng.random(count) < (0.7 + gain if not control else 0.1)
        said = [self.scenes[k if right else 0] for k, right in zip(scene_E, right_E, strict=True)]
        score = np.maximum(0, 4 * right_E + self.ease_E["caption"] + rng.normal(0, 1, count))
        words = rng.integers(5, 9, count)
        aux = [
            json.dumps(
                {
                    "sums": {
                        "BLEU": [int(w - n - 2 * (not r)) for n in range(4)]
                        + [int(w - n) for n in range(4)]
                        + [int(w), 7]
                    }
                }
            )
            for w, r in zip(words, right_E, strict=True)
        ]
        return self._frame("caption", "CIDEr", control, said, score, aux, [""] * count, [""] * count, 1)

    def _answers(self, rng: np.random.Generator, gain: float, control: str) -> pd.DataFrame:
        count, scene_E = self.counts["vqa"], self.scene_E["vqa"]
        right_E = rng.random(count) < (0.75 + gain + 0.05 * self.ease_E["vqa"] if not control else 0.42)
        kinds = [KINDS[i % len(KINDS)] for i in range(count)]
        said = np.where(right_E, "yes", "no").tolist()
        prompts = [f"what {kind} is in {self.scenes[k]}?" for kind, k in zip(kinds, scene_E, strict=True)]
        return self._frame("vqa", "accuracy", control, said, right_E.astype(float), ["{}"] * count, kinds, prompts, 4)

    def _drawings(self, rng: np.random.Generator, gain: float, control: str) -> pd.DataFrame:
        count, scene_E = self.counts["t2i"], self.scene_E["t2i"]
        right_E = rng.random(count) < (0.6 + gain if not control else 0.95)
        said = [self.scenes[k] for k in scene_E]
        aux = [
            json.dumps({"objects": 1.0 if r else round(x, 3), "committed": float(x < 0.95), "background_distance": x})
            for r, x in zip(right_E, rng.random(count), strict=True)
        ]
        return self._frame("t2i", "exact", control, said, right_E.astype(float), aux, [""] * count, said, 1)

    def _tokens(self, rng: np.random.Generator, gain: float, metric: str) -> pd.DataFrame:
        count = self.counts["tokenizer"] // 2
        kept = ["".join(row) for row in np.where(rng.random((count, PATCHES)) < 0.3, "1", "0")]
        aux = [json.dumps({"kept": row}) for row in kept] if metric == "cosine" else ["{}"] * count
        said = [" ".join(map(str, row)) for row in rng.integers(0, 1024, (count, 6))]
        score = np.clip(0.9 + gain + rng.normal(0, 0.05, count), 0, 1)
        return self._frame("tokenizer", metric, "", said, score, aux, [""] * count, [""] * count, 1)

    def _frame(
        self,
        benchmark: str,
        metric: str,
        control: str,
        said: Sequence[str],
        score: np.ndarray,
        aux: Sequence[str],
        kinds: Sequence[str],
        prompts: Sequence[str],
        each: int,
    ) -> pd.DataFrame:
        count, scene_E = len(said), self.scene_E[benchmark]
        clusters = [f"test-{i // each}" for i in range(count)]
        return pd.DataFrame(
            {
                "benchmark": benchmark,
                "metric": metric,
                "control": control,
                "split": "test",
                "example_id": clusters if each == 1 else [f"{c}-{i % each}" for i, c in enumerate(clusters)],
                "cluster_id": clusters,
                "kind": kinds,
                "prompt": prompts,
                "prediction": said,
                "reference": [json.dumps([self.scenes[k], f"there is {self.scenes[k]}"]) for k in scene_E[:count]],
                "score": score,
                "aux": aux,
                "tokens": 3.0 + np.arange(count) % 9,
            }
        )


def _entry(arm: str, place: int, seed: int, records: pd.DataFrame, rng: np.random.Generator) -> dict[str, Any]:
    plain = records[records["control"] == ""]
    means = plain.groupby(["benchmark", "metric"])["score"].mean()
    metrics = {f"{benchmark}/{metric}": float(value) for (benchmark, metric), value in means.items()}
    metrics |= {f"caption/Bleu_{n}": float(0.8 / n + rng.normal(0, 0.01)) for n in (1, 2, 3, 4)}
    metrics |= {f"tokenizer/{name}": float(rng.uniform(0.5, 1)) for name in ("codes_used", "kept", "perplexity")}
    metrics |= {f"pretrain/extra_{i}": float(rng.normal()) for i in range(60)}
    flops = 5e12 * (1 + place % 3)
    ledger = {"examples_understanding": 19200, "examples_generation": 19200, "flops": flops, "steps": 600}
    return {
        "arm": arm,
        "seed": seed,
        "status": "done",
        "stage_keys": {"tokenizer": f"{seed:016x}", "pretrain": f"{place:08x}{seed:08x}"},
        "metrics": metrics,
        "ledgers": {"pretrain": ledger | {"params_total": 1.4e6, "params_trainable": 1.3e6}},
        "wall_s": {"tokenizer": 6.0, "pretrain": 31.0 + seed, "evaluate": 4.0},
        "mlflow_run_id": f"{place:016x}{seed:016x}",
        "command": f"lavit train {'' if arm == 'default' else arm} seed={seed}",
        "error": None,
    }


def _curve(arm: str, seed: int, rng: np.random.Generator) -> pd.DataFrame:
    flops = STEPS / 600 * 5e12
    loss = 0.6 + 3.2 * np.exp(-STEPS / 150) + rng.normal(0, 0.02, len(STEPS))
    score = 3.4 * (1 - np.exp(-STEPS / 140)) + rng.normal(0, 0.03, len(STEPS))
    base = {"arm": arm, "seed": seed, "stage": "pretrain", "step": STEPS, "flops": flops}
    named = (("train/loss", loss), ("val/caption/CIDEr", score))
    return pd.concat([pd.DataFrame({**base, "name": name, "value": value}) for name, value in named])


def _samples(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for i in range(8):
        _picture(rng).save(folder / f"t2i-test-{i}.png")
        _picture(rng).save(folder / f"truth-test-{i}.png")


def _picture(rng: np.random.Generator) -> Image.Image:
    small = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    return small.resize((96, 96), Image.Resampling.NEAREST)
