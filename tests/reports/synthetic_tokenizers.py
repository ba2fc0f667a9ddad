"""A study of tokenizers with known effects, as one that stopped at the tokenizer leaves it.

Run as a module to write one and look at it: `python tests/reports/synthetic_tokenizers.py DIR`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

AXES = {"selector": ["learned", "random"], "quantizer": ["cosine", "none"], "revival": ["on", "off"]}
ARMS = {
    "default": {},
    "selector=random": {"selector": "random"},
    "quantizer=none": {"quantizer": "none"},
    "revival=off": {"revival": "off"},
}
EFFECTS = {"selector=random": -0.10, "quantizer=none": 0.05, "revival=off": 0.0}  # on the cosine on objects
NO_CODES = "the tokenizer has no codebook (tokenizer.quantise=false), so its tokens have no codes"


def write_tokenizer_study(folder: Path, seeds: tuple[int, ...] = (0, 1, 2), images: int = 60) -> Path:
    """Write the study's folder and return it."""
    (folder / "records").mkdir(parents=True)
    (folder / "images").mkdir()
    first = {axis: levels[0] for axis, levels in AXES.items()}
    document = {
        "name": "tokenizers",
        "question": "What makes a good token?",
        "design": "one_at_a_time",
        "axes": AXES,
        "arms": {arm: {**first, **levels} for arm, levels in ARMS.items()},
        "default": "default",
        "headline": "tokenizer/cosine_objects",
        "family": None,
        "seeds": list(seeds),
        "until": "tokenizer",
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    entries, curves = [], []
    for arm in ARMS:
        for seed in seeds:
            records = _records(arm, seed, images)
            name = arm.replace("=", "-")
            records.to_parquet(folder / "records" / f"{name}-s{seed}.parquet", index=False)
            entries.append(_entry(arm, seed, records))
            line = {"arm": arm, "seed": seed, "stage": "tokenizer", "flops": np.nan, "name": "train/loss"}
            curves += [{**line, "step": step, "value": 1 / (1 + step) + 0.01 * seed} for step in (0, 50, 100)]
            _draw(folder, name, seed)
    (folder / "runs.json").write_text(json.dumps({"runs": entries}))
    pd.DataFrame(curves).to_parquet(folder / "curves.parquet", index=False)
    return folder


def _records(arm: str, seed: int, images: int) -> pd.DataFrame:
    rng = np.random.default_rng([seed, sum(map(ord, arm))])
    ease_I = np.random.default_rng(0).normal(0, 0.05, images)
    luck = np.random.default_rng(100 + seed).normal(0, 0.01) + rng.normal(0, 0.005)
    effect = EFFECTS.get(arm, 0.0)
    rows = []
    for i in range(images):
        kept = float(rng.integers(3, 9)) if arm != "selector=random" else 7.0
        objects = 0.7 + effect + luck + ease_I[i] + rng.normal(0, 0.02)
        scores = {
            ("cosine_objects", ""): (objects, {}),
            ("cosine", ""): (objects + 0.1, {"kept": kept, "complexity_objects": float(i % 6)}),
            ("probe_objects", ""): (min(1.0, max(0.0, objects)), {}),
            ("probe_objects", "undecoded"): (0.95, {}),
            ("psnr", ""): (20 + 10 * effect + 20 * ease_I[i], {"scene_exact": float(i % 3 == 0), "scene_objects": 0.6}),
            ("psnr", "undecoded"): (27.0, {"scene_exact": 1.0, "scene_objects": 0.9}),
        }
        for (metric, control), (score, aux) in scores.items():
            rows.append(
                {
                    "study": "tokenizers", "arm": arm, "seed": seed, "benchmark": "tokenizer", "metric": metric,
                    "control": control, "split": "test", "example_id": f"test-{i}", "cluster_id": f"test-{i}",
                    "kind": "", "prompt": "", "prediction": "" if arm == "quantizer=none" else "3 1 4",
                    "reference": "[]", "score": score, "aux": json.dumps(aux), "tokens": kept if not control else None,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _entry(arm: str, seed: int, records: pd.DataFrame) -> dict:
    means = records[records["control"] == ""].groupby("metric")["score"].mean()
    metrics = {f"tokenizer/{name}": float(value) for name, value in means.items()}
    metrics |= {"tokenizer/kept": 7.0 if arm == "selector=random" else 5.5, "tokenizer/place_recovered": 0.2}
    skipped = {"caption": "the study stops at the tokenizer: there is no arm to ask"}
    if arm == "quantizer=none":
        skipped["tokenizer/codes_used"] = skipped["tokenizer/dead_codes"] = NO_CODES
    else:
        metrics |= {"tokenizer/codes_used": 50.0 - 30 * (arm == "revival=off"), "tokenizer/dead_codes": 14.0}
    blank = {"examples_understanding": 0, "examples_generation": 0, "params_trainable": 0, "positions": 0, "flops": 0}
    trained = {"flops": 4e9, "params_trainable": 36_000, "positions": 1600}
    return {
        "arm": arm,
        "seed": seed,
        "status": "done",
        "stage_keys": {
            "vision": "aa" * 8,
            "pixels": "bb" * 8,
            "tokenizer": f"{seed}{len(arm):03d}" * 4,
            "inspect": "c",
        },
        "metrics": metrics,
        "skipped": skipped,
        "ledgers": {"vision": {**blank, "flops": 9e12}, "tokenizer": {**blank, **trained}, "inspect": blank},
        "wall_s": {"tokenizer": 6.0, "inspect": 1.0},
        "command": "lavit train study.until=tokenizer",
        "error": None,
    }


def _draw(folder: Path, slug: str, seed: int) -> None:
    where = folder / "samples" / slug / f"s{seed}"
    where.mkdir(parents=True)
    for i in range(12):
        for kind, grey in (("tokenizer", 90 + 10 * seed), ("ceiling", 180), ("truth", 200)):
            Image.new("RGB", (8, 8), (grey, i, 0)).save(where / f"{kind}-test-{i}.png")
        Image.new("RGB", (8, 8), (200, i, 0)).save(folder / "images" / f"test-{i}.png")


if __name__ == "__main__":
    print(write_tokenizer_study(Path(sys.argv[1])))
