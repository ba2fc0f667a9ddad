"""A study with known effects, written as a finished study's folder: what the report's tests read.

Run as a module to write one and look at it: `python tests/reports/synthetic_study.py DIR`.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image, ImageDraw

from reports.records import REQUIRED

AXES = {
    "regime": ["unified", "adapter"],
    "tokens": ["dynamic", "pooled"],
    "target": ["discrete", "continuous"],
    "llm": ["unfrozen", "frozen"],
}
ARMS = {
    "default": {},
    "regime=adapter": {"regime": "adapter"},
    "tokens=pooled": {"tokens": "pooled"},
    "target=continuous": {"target": "continuous"},
    "llm=frozen": {"llm": "frozen"},
}
# True differences to the default: caption CIDEr (raw), VQA accuracy, text-to-image exact, background committed.
EFFECTS = {
    "adapter": (0.05, 0.01, np.nan, np.nan),
    "pooled": (-0.80, -0.06, -0.12, -0.02),
    "continuous": (-0.08, -0.01, -0.25, -0.55),
    "frozen": (-1.20, -0.14, -0.30, -0.03),
}
COLOURS = {"red": "#d62728", "blue": "#1f77b4", "green": "#2ca02c", "yellow": "#e6c700", "purple": "#8e44ad"}
SHAPES = ("circle", "square", "triangle")
KINDS = ("colour", "count", "existence", "position", "relation", "shape")


def effects_of(levels: dict[str, str]) -> tuple[float, float, float, float]:
    """An arm's true differences to the default: those of its levels, added up; NaN where it draws no image."""
    parts = [EFFECTS[level] for level in levels.values() if level in EFFECTS]
    caption, vqa, exact, committed = (
        (float(sum(column)) for column in zip(*parts, strict=True)) if parts else (0.0,) * 4
    )
    return caption, vqa, exact, committed


def full_factorial() -> dict[str, dict[str, str]]:
    """The twelve arms of all four axes without the voids, named by their differences from the default."""
    arms = {}
    for levels in itertools.product(*AXES.values()):
        chosen = dict(zip(AXES, levels, strict=True))
        if chosen["regime"] == "adapter" and chosen["target"] == "continuous":
            continue
        name = " ".join(f"{a}={v}" for a, v in chosen.items() if v != AXES[a][0])
        arms[name or "default"] = chosen
    return arms


def slug(arm: str) -> str:
    """An arm's name as a file name."""
    return arm.replace("=", "-").replace(" ", "+")


def write_study(
    folder: Path,
    arms: dict[str, dict[str, str]] | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    images: int = 200,
    questions: int = 3,
    pictures: int = 12,
    seed_sd: float = 1.0,
    foreign: bool = False,
    rename: dict[str, str] | None = None,
) -> Path:
    """Write a whole study folder and return it.

    Args:
        folder: where; made if missing.
        arms: arm -> the levels that differ from the first ones; by default the five of the quickstart study.
        seeds: replicates of every arm.
        images: evaluated images; `questions` questions are asked of each.
        pictures: how many sample and example pictures to draw.
        seed_sd: factor on the spread between seeds.
        foreign: write the minimal contract only (study.yaml and records with the ten required columns).
        rename: arm -> another name for it.
    """
    rename = rename or {}
    arms = arms or ARMS
    (folder / "records").mkdir(parents=True, exist_ok=True)
    world = _World(images, questions)
    names = {arm: rename.get(arm, arm) for arm in arms}
    _write_study_file(folder, arms, names, seeds, foreign)
    entries, curves = [], []
    for arm in arms:
        for seed in seeds:
            rng = np.random.default_rng([seed, sum(map(ord, arm))])
            records = world.records(arms[arm], seed, rng, seed_sd)
            metrics = _metrics(records, arm, rng)
            records.insert(0, "seed", seed)
            records.insert(0, "arm", names[arm])
            records.insert(0, "study", "synthetic")
            if foreign:
                records = records[(records["control"] == "") & (records["benchmark"] != "t2i")]
                records = records[list(REQUIRED)]
            records.to_parquet(folder / "records" / f"{slug(arm)}-s{seed}.parquet", index=False)
            entries.append(_entry(arm, names[arm], seed, metrics))
            curves.append(_curve(arm, names[arm], seed, metrics["caption/CIDEr"], rng))
    if foreign:
        return folder
    header = {
        "study": "synthetic",
        "git": {"commit": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567", "dirty": False},
        "environment": {"python": "3.11.2", "torch": "2.13.0", "platform": "Linux", "cores": 2},
        "created": "2026-01-01T00:00:00Z",
        "plan": {"seconds": 520.0, "jobs": 27, "instead_of": 105},
        "runs": entries,
    }
    (folder / "runs.json").write_text(json.dumps(header, indent=1))
    pd.concat(curves, ignore_index=True).to_parquet(folder / "curves.parquet", index=False)
    world.draw(folder, arms, seeds, pictures)
    return folder


def _write_study_file(folder, arms, names, seeds, foreign):
    first = {axis: levels[0] for axis, levels in AXES.items()}
    document = {
        "name": "synthetic",
        "question": "What does each of LaVIT's four design choices change, taken one at a time?",
        "axes": AXES,
        "arms": {names[arm]: {**first, **levels} for arm, levels in arms.items()},
        "default": next(iter(names.values())),
        "headline": "caption/CIDEr",
    }
    if not foreign:
        document |= {
            "design": "one_at_a_time" if len(arms) <= 5 else "full",
            "seeds": list(seeds),
            "family": None,
            "voids": [
                {
                    "arm": {"regime": "adapter", "target": "continuous"},
                    "why": "an adapter has no visual loss, so its target has no level to take",
                }
            ],
            "conditional_on": ["one vision encoder and one text LLM, trained once on the embedded world (scale quick)"],
        }
    (folder / "study.yaml").write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


class _World:
    """Scenes, and arms that caption, answer and draw them with known skill."""

    def __init__(self, images: int, questions: int):
        rng = np.random.default_rng(0)
        self.images, self.questions = images, questions
        self.ease_I = rng.normal(0, 1.0, images)
        self.colour_I = rng.integers(0, len(COLOURS), images)
        self.shape_I = rng.integers(0, 3, images)
        self.spots_I = rng.uniform(0.2, 0.8, (images, 2))

    def scene(self, i: int) -> tuple[str, str]:
        return list(COLOURS)[self.colour_I[i]], SHAPES[self.shape_I[i]]

    def records(self, levels: dict[str, str], seed: int, rng: np.random.Generator, seed_sd: float) -> pd.DataFrame:
        cider, vqa, exact, committed = effects_of(levels)
        block = np.random.default_rng(1000 + seed).normal(0, 0.08) * seed_sd
        luck = rng.normal(0, 0.07, 3) * seed_sd
        rows: list[dict] = []
        tokens = np.clip(20 + 4 * self.ease_I, 4, 36) if "pooled" not in levels.values() else np.full(self.images, 17.0)
        for i in range(self.images):
            colour, shape = self.scene(i)
            own = 3.4 + cider + block + luck[0] + 0.8 * self.ease_I[i]
            said = f"a {colour} {shape} on the left" if rng.random() < 0.7 + cider / 4 else f"a grey {shape}"
            references = [f"a {colour} {shape}", f"there is a {colour} {shape}", f"one {shape}, {colour}"]
            scores = {"": own + rng.normal(0, 1.2), "shuffled": 0.45 + rng.normal(0, 0.3), "vision_off": 0.3}
            for control, score in scores.items():
                rows.append(
                    self._row(
                        "caption",
                        "CIDEr",
                        control,
                        i,
                        f"c{i}",
                        "",
                        said,
                        references,
                        max(0.0, score),
                        {},
                        tokens[i],
                    )
                )
            for q in range(self.questions):
                kind = KINDS[(i * self.questions + q) % len(KINDS)]
                truth = colour if kind == "colour" else "yes"
                skill = 0.78 + vqa + block / 4 + luck[1] / 5 + 0.06 * self.ease_I[i]
                for control, chance in (("", skill), ("shuffled", 0.42), ("vision_off", 0.40)):
                    right = rng.random() < chance
                    text = truth if right else ("grey" if kind == "colour" else "no")
                    prompt = (
                        f"What colour is the {shape}?" if kind == "colour" else f"Is there a {colour} {shape} ({kind})?"
                    )
                    rows.append(
                        self._row(
                            "vqa",
                            "accuracy",
                            control,
                            i,
                            f"q{i}-{q}",
                            kind,
                            text,
                            [truth],
                            float(right),
                            {},
                            tokens[i],
                            prompt,
                        )
                    )
            if i < self.images // 2 and np.isfinite(exact):
                for control, chance in (("", 0.85 + exact + block / 5 + luck[2] / 3), ("ceiling", 0.95)):
                    right = rng.random() < chance
                    plain = rng.random() < 0.95 + committed
                    aux = {
                        "objects": 1.0 if right else round(rng.uniform(0.3, 0.9), 3),
                        "committed": float(plain),
                    }
                    said = f"a {colour} {shape}"
                    row = ("t2i", "exact", control, i, f"t{i}", "", said, ["scene"], float(right), aux)
                    rows.append(self._row(*row, tokens[i], said))
        return pd.DataFrame(rows)

    def _row(self, benchmark, metric, control, i, example, kind, text, references, score, aux, tokens, prompt=""):
        return {
            "benchmark": benchmark,
            "metric": metric,
            "control": control,
            "split": "test",
            "example_id": example,
            "cluster_id": f"i{i}",
            "kind": kind,
            "prompt": prompt,
            "prediction": text,
            "reference": json.dumps(references),
            "score": score,
            "aux": json.dumps(aux),
            "tokens": float(tokens),
        }

    def draw(self, folder: Path, arms, seeds, pictures: int) -> None:
        (folder / "images").mkdir(exist_ok=True)
        for i in range(pictures):
            self._picture(i).save(folder / "images" / f"c{i}.png")
            for q in range(self.questions):
                self._picture(i).save(folder / "images" / f"q{i}-{q}.png")
            for arm in arms:
                if not np.isfinite(effects_of(arms[arm])[2]):
                    continue
                for seed in seeds:
                    where = folder / "samples" / slug(arm) / f"s{seed}"
                    where.mkdir(parents=True, exist_ok=True)
                    blur = 0.6 if "continuous" in arms[arm].values() else 0.0
                    self._picture(i, blur, seed).save(where / f"t2i-t{i}.png")
                    self._picture(i).save(where / f"truth-t{i}.png")

    def _picture(self, i: int, grey: float = 0.0, shift: int = 0) -> Image.Image:
        ground = (240 - int(110 * grey),) * 3 if (i + shift) % 2 or grey else (20, 20, 24)
        image = Image.new("RGB", (48, 48), ground)
        x, y = (self.spots_I[i] * 30).astype(int) + shift
        box = [int(x), int(y), int(x) + 14, int(y) + 14]
        colour, shape = self.scene(i)
        pen = ImageDraw.Draw(image)
        if shape == "circle":
            pen.ellipse(box, fill=COLOURS[colour])
        elif shape == "square":
            pen.rectangle(box, fill=COLOURS[colour])
        else:
            pen.polygon([(box[0], box[3]), (box[2], box[3]), ((box[0] + box[2]) // 2, box[1])], fill=COLOURS[colour])
        return image.resize((96, 96), Image.Resampling.NEAREST)


def _metrics(records: pd.DataFrame, arm: str, rng: np.random.Generator) -> dict[str, float]:
    plain = records[records["control"] == ""]
    found = {
        f"{b}/{m}": float(v) for (b, m), v in plain.groupby(["benchmark", "metric"], sort=True)["score"].mean().items()
    }
    pooled = "tokens=pooled" in arm
    return found | {
        "tokenizer/cosine_objects": float(0.86 - 0.05 * pooled + rng.normal(0, 0.004)),
        "tokenizer/codes_used": float(rng.integers(200, 240)),
        "tokenizer/kept": float(17.0 if pooled else 20 + rng.normal(0, 0.3)),
        "tokenizer/kept_corr_objects": float(0.0 if pooled else 0.8 + rng.normal(0, 0.02)),
    }


def _entry(arm: str, name: str, seed: int, metrics: dict[str, float]) -> dict:
    generation = 0 if "regime=adapter" in arm else 19200
    flops = 3.1e12 if "regime=adapter" in arm else 5.2e12
    flops *= 0.7 if "llm=frozen" in arm else 1.0
    ledger = {
        "examples_understanding": 19200,
        "examples_generation": generation,
        "flops": flops,
        "params_total": 1.4e6,
        "params_trainable": 0.35e6 if "llm=frozen" in arm else 1.31e6,
        "steps": 600,
    }
    return {
        "arm": name,
        "seed": seed,
        "status": "done",
        "stage_keys": {
            "vision": "aa11" * 4,
            "tokenizer": f"bb{seed}2" * 4,
            "pretrain": f"cc{len(arm):02d}" * 4,
        },
        "metrics": metrics,
        "ledgers": {"pretrain": ledger},
        "wall_s": {"tokenizer": 6.0, "pretrain": 31.0 + seed, "evaluate": 4.0},
        "mlflow_run_id": f"{abs(hash_text(arm)) % 16**8:08x}{seed}",
        "command": f"lavit train {arm if arm != 'default' else ''} seed={seed}".replace("  ", " "),
        "error": None,
    }


def hash_text(text: str) -> int:
    """A number that depends on the text alone."""
    return sum((i + 1) * 7919 * ord(c) for i, c in enumerate(text))


def _curve(arm: str, name: str, seed: int, final: float, rng: np.random.Generator) -> pd.DataFrame:
    steps = np.arange(0, 601, 20)
    flops = steps / 600 * (3.1e12 if "regime=adapter" in arm else 5.2e12) * (0.7 if "llm=frozen" in arm else 1.0)
    loss = 0.6 + 3.2 * np.exp(-steps / 150) + rng.normal(0, 0.02, len(steps))
    every = np.arange(0, len(steps), 3)
    score = final * (1 - np.exp(-steps[every] / 140)) / (1 - np.exp(-600 / 140)) + rng.normal(0, 0.03, len(every))
    base = {"arm": name, "seed": seed, "stage": "pretrain"}
    return pd.concat(
        [
            pd.DataFrame({**base, "step": steps, "flops": flops, "name": "train/loss", "value": loss}),
            pd.DataFrame(
                {
                    **base,
                    "step": steps[every],
                    "flops": flops[every],
                    "name": "val/caption/CIDEr",
                    "value": score,
                }
            ),
        ]
    )


if __name__ == "__main__":
    print(write_study(Path(sys.argv[1])))
