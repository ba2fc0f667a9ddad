"""Tokenizer records with known maps and codes, added to a study that `synthetic_study` wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

BOOK = 256


def add_tokens(folder: Path, images: int = 24, grid: int = 6, pictures: bool = True) -> Path:
    """Give every run of the study in `folder` records of `tokenizer/cosine`; returns the folder.

    What an arm's levels change: `pooled` keeps every patch, `frozen` nothing, `continuous` has no codes, and `adapter`
    is a tokenizer of its own, which keeps more.
    """
    study = yaml.safe_load((folder / "study.yaml").read_text())
    for path in sorted((folder / "records").glob("*.parquet")):
        records = pd.read_parquet(path)
        arm, seed = records["arm"].iloc[0], int(records["seed"].iloc[0])
        levels = set((study["arms"][arm] or {}).values())
        rows = [_row(records, i, levels, seed, grid) for i in range(images)]
        pd.concat([records, pd.DataFrame(rows)], ignore_index=True).to_parquet(path, index=False)
    if pictures:
        (folder / "images").mkdir(exist_ok=True)
        for i in range(images):
            tile = np.random.default_rng(i).integers(0, 255, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(np.kron(tile, np.ones((8, 8, 1), np.uint8))).save(folder / "images" / f"test-{i}.png")
    return folder


def keep_map(i: int, levels: set[str], seed: int, grid: int) -> np.ndarray:
    """Which patches an arm with these levels keeps of image `i`: more of a later image, the same ones in most seeds."""
    if "pooled" in levels:
        return np.ones(grid * grid, bool)
    ease = np.random.default_rng(i).random(grid * grid)
    wobble = np.random.default_rng([seed, i]).normal(0, 0.03, grid * grid)
    found = ease + wobble < 0.08 + 0.02 * i + 0.15 * ("adapter" in levels)
    found[i % len(found)] = True
    return found


def _row(records: pd.DataFrame, i: int, levels: set[str], seed: int, grid: int) -> dict:
    kept = keep_map(i, levels, seed, grid)
    rng = np.random.default_rng([seed, i, "pooled" in levels, "adapter" in levels])
    book = BOOK if "pooled" in levels else BOOK // 2
    codes = np.minimum(book - 1, rng.exponential(book / 6, kept.sum())).astype(int)
    return {
        "study": records["study"].iloc[0],
        "arm": records["arm"].iloc[0],
        "seed": seed,
        "benchmark": "tokenizer",
        "metric": "cosine",
        "control": "",
        "split": "test",
        "example_id": f"test-{i}",
        "cluster_id": f"test-{i}",
        "kind": "",
        "prompt": "",
        "prediction": "" if "continuous" in levels else " ".join(map(str, codes)),
        "reference": "[]",
        "score": 0.9,
        "aux": json.dumps({"kept": int(kept.sum()), "kept_at": "".join("01"[k] for k in kept.astype(int))}),
        "tokens": float(kept.sum()),
    }
