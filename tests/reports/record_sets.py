"""Record sets as other programs write them: the ten required columns and a short study.yaml, of any shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml


def rows(
    seeds: Mapping[str, Sequence[int]],
    benchmarks: Sequence[str] = ("vqa",),
    splits: Sequence[str] = ("test",),
    examples: int = 12,
    per_cluster: int = 1,
    effect: float = 0.3,
    binary: bool = False,
    study: str = "foreign",
) -> pd.DataFrame:
    """One row per arm, seed, benchmark, split and example; every arm after the first is better by `effect`.

    Args:
        seeds: arm -> its seeds.
        benchmarks, splits: of the records.
        examples: of each benchmark and split.
        per_cluster: examples that share a `cluster_id`.
        effect: true difference to the first arm.
        binary: scores of 0 and 1.
        study: their study's name.
    """
    rng = np.random.default_rng(0)
    parts = []
    for benchmark in benchmarks:
        for split in splits:
            difficulty = rng.normal(0, 1, examples)
            for number, (arm, own) in enumerate(seeds.items()):
                for seed in own:
                    score = difficulty + effect * (number > 0) + rng.normal(0, 0.5, examples) + rng.normal(0, 0.1)
                    index = np.arange(examples)
                    parts.append(
                        pd.DataFrame(
                            {
                                "study": study,
                                "arm": arm,
                                "seed": seed,
                                "benchmark": benchmark,
                                "split": split,
                                "example_id": [f"{benchmark}-{i}" for i in index],
                                "cluster_id": [f"image-{i // per_cluster}" for i in index],
                                "prediction": "a red circle",
                                "reference": "red",
                                "score": (score > 0).astype(float) if binary else score,
                            }
                        )
                    )
    return pd.concat(parts, ignore_index=True)


def write(folder: Path, records: pd.DataFrame, document: Mapping[str, Any] | None = None, files: int = 1) -> Path:
    """Write a folder for `--records` and return it.

    Args:
        folder: made if missing.
        records: the rows.
        document: keys of study.yaml beside or instead of the shortest ones: every arm a level of one axis.
        files: over how many Parquet files the rows are spread.
    """
    (folder / "records").mkdir(parents=True, exist_ok=True)
    arms = [str(arm) for arm in dict.fromkeys(records["arm"])]
    body = {
        "name": str(records["study"].iloc[0]),
        "question": "Does it help?",
        "axes": {"recipe": arms},
        "arms": {arm: {"recipe": arm} for arm in arms},
        "default": arms[0],
        "headline": f"{records['benchmark'].iloc[0]}/score",
        **(document or {}),
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
    for number in range(files):
        records.iloc[number::files].to_parquet(folder / "records" / f"part-{number}.parquet", index=False)
    return folder
