"""Whether an arm can learn at all: 64 training images by heart, all their questions answered.

The shared stages are trained on the whole world, as for any arm, and kept under the runs folder; the arm alone sees
the first 64 images (`train.images`). It trains at a constant rate until it answers 99 % of the questions that it is
trained on, or for as many steps as it is given. Commas make arms of all combinations:

    python -m benchmarks.overfit connector=mlp
    python -m benchmarks.overfit target=none,discrete,continuous visual_input=continuous,discrete --steps 4000
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from omegaconf import OmegaConf

from experiments.compose import compose
from experiments.key import apply_canonical, digest, nest, select
from experiments.stages import StageSpec, read_all_stages
from lavit.build import locate
from lavit.model.text_tasks import answer_questions
from lavit.stages.arm import ArmModule
from lavit.stages.context import StageContext
from lavit.stages.pretrain import optimizer_of
from lavit.stages.training import fit

IMAGES, ENOUGH, EVERY = 64, 0.99, 100
SHARED = ("vision", "language", "tokenizer")


class Overfitting(ArmModule):
    """An arm that stops once it knows its images."""

    accuracy, reached = 0.0, 0

    def validate(self, step: int) -> dict[str, float]:
        """Share of the trained questions that are answered word for word."""
        index = np.arange(IMAGES)
        asked = self.corpus.questions("train", index, int(self.config.train.per_image))
        pairs = [(i, question) for i, questions in zip(index, asked, strict=True) for question in questions]
        rows = [self.store.entering(i) for i, _ in pairs]
        answers = answer_questions(self.model, self.builder, self.store, rows, [q.text for _, q in pairs])
        right = [q.answer.lower() == text for (_, q), text in zip(pairs, answers, strict=True)]
        self.accuracy, self.reached = float(np.mean(right)), step
        self.trainer.should_stop = self.accuracy >= ENOUGH
        return {"vqa/accuracy": self.accuracy}


def stage_config(config: Mapping[str, Any], spec: StageSpec, stage: str) -> dict[str, Any]:
    """What a stage may read of a config."""
    canonical, _, unread = apply_canonical(config, config["canonical"])
    keys = [key for key in spec.reads if key.split(".")[0] in canonical and key not in unread.get(stage, ())]
    return nest({key: select(canonical, key) for key in keys})


def shared(config: Mapping[str, Any], specs: Mapping[str, StageSpec], runs: Path) -> dict[str, Path]:
    """Folders of the shared stages; what is not there yet is trained."""
    folders: dict[str, Path] = {}
    for stage in SHARED:
        own = stage_config(config, specs[stage], stage)
        needs = {need: folders[need] for need in specs[stage].needs}
        out = runs / f"{stage}-{digest([own, {name: folder.name for name, folder in needs.items()}])[:12]}"
        if not (out / "ledger.json").is_file():
            out.mkdir(parents=True, exist_ok=True)
            locate(specs[stage].run)(StageContext(stage, OmegaConf.create(own), 0, needs, out))
        folders[stage] = out
    return folders


def overfit(config: Mapping[str, Any], folders: Mapping[str, Path], specs: Mapping[str, StageSpec], out: Path) -> Any:
    """The trained arm, with ``accuracy`` and the step at which it was ``reached``."""
    stage = "pretrain" if config["regime"]["tune"] is None else "tune"
    own = OmegaConf.create(stage_config(config, specs[stage], stage))
    steps = int(own.train.steps)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    context = StageContext(stage, own, 0, dict(folders), out)
    module = Overfitting(context)
    points = sorted({*range(EVERY, steps, EVERY), steps})
    fit(module, context, steps, optimizer_of(context), validate_at=points, precision=own.train.precision)
    return module


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Whether arms learn 64 images by heart.")
    parser.add_argument("choices", nargs="*", help="group=level or key=value; commas make several arms")
    parser.add_argument("--steps", type=int, default=4000, help="at most so many")
    parser.add_argument("--scale", default="quick")
    parser.add_argument("--runs", type=Path, default=Path("runs/overfit"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lists = [
        [f"{name}={value}" for value in values.split(",")]
        for name, _, values in (c.partition("=") for c in options.choices)
    ]
    print(f"{'arm':60}{'steps':>8}{'accuracy':>10}{'seconds':>9}")
    for choices in itertools.product(*lists):
        config = compose([f"scale={options.scale}", f"train.images={IMAGES}", f"train.steps={options.steps}", *choices])
        specs = read_all_stages(config["stages"])
        folders = shared(config, specs, options.runs)
        began = time.monotonic()
        out = options.runs / f"arm-{digest([*choices, options.scale, began])[:12]}"
        arm = overfit(config, folders, specs, out)
        name = " ".join(choices) or "as shipped"
        print(f"{name:60}{arm.reached:>8}{arm.accuracy:>10.1%}{time.monotonic() - began:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
