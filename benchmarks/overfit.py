"""Whether an arm can learn at all: 64 training images by heart, all their questions answered.

The shared stages are trained on the whole world, as for any arm, and kept under the runs folder; the arm alone sees
the first 64 images (`train.images`). It trains at a constant rate until it answers 99 % of the questions that it is
trained on, or for as many steps as it is given; of two phases the first is trained to its end, and what is measured is
the second. Commas make arms of all combinations, and a study brings its own:

    python -m benchmarks.overfit connector=mlp
    python -m benchmarks.overfit target=none,discrete,continuous visual_input=continuous,discrete --steps 4000
    python -m benchmarks.overfit study=families study=connectors
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from experiments.key import digest
from experiments.plan import StageJob
from experiments.planner import Planner
from lavit.build import locate
from lavit.model.text_tasks import answer_questions
from lavit.sequences import Sequence as Tokens
from lavit.stages.arm import QUESTION, ArmModule, scale_weights
from lavit.stages.context import StageContext
from lavit.stages.pretrain import optimizer_of
from lavit.stages.training import fit, step_generator

IMAGES, ENOUGH, EVERY = 64, 0.99, 100
SHARED = ("vision", "language", "tokenizer", "qformer")


class Overfitting(ArmModule):
    """An arm that stops once it knows its images."""

    accuracy, reached = 0.0, 0

    def question_sequences(self, step: int, count: int, per_image: int) -> list[Tokens]:
        """Training's own, in an order drawn by the step.

        In one order for a thousand epochs each would be learnt after those before it, and asked alone not be known.
        """
        index = self.order[QUESTION].take(step, count)
        draws = step_generator(self.seed, step, QUESTION)
        parts = []
        for i, questions in zip(index, self.corpus.questions("train", index, per_image), strict=True):
            turn = torch.randperm(len(questions), generator=draws).tolist()
            asked = [(questions[k].text, questions[k].answer) for k in turn]
            parts.append(self.builder.questions(self.store.entering(int(i)), asked))
        return scale_weights(parts, self.weights.question)

    def validate(self, step: int) -> dict[str, float]:
        """Share of the trained questions that are answered word for word."""
        index = np.arange(IMAGES)
        asked = self.corpus.questions("train", index, int(self.config.train.per_image))
        pairs = [(i, question) for i, questions in zip(index, asked, strict=True) for question in questions]
        rows = [self.store.entering(int(i)) for i, _ in pairs]
        answers = answer_questions(self.model, self.builder, self.store, rows, [q.text for _, q in pairs])
        right = [q.answer.lower() == text for (_, q), text in zip(pairs, answers, strict=True)]
        self.accuracy, self.reached = float(np.mean(right)), step
        self.trainer.should_stop = self.accuracy >= ENOUGH
        return {"vqa/accuracy": self.accuracy}


def shared(jobs: Mapping[str, StageJob], runs: Path) -> dict[str, Path]:
    """Folders of the shared stages; what is not there yet is trained."""
    folders: dict[str, Path] = {}
    for stage in (stage for stage in SHARED if stage in jobs):
        job = jobs[stage]
        out = runs / f"{stage}-{job.key[:12]}"
        if not (out / "ledger.json").is_file():
            out.mkdir(parents=True, exist_ok=True)
            needs = {need: folders[need] for need in job.needs}
            locate(job.run)(StageContext(stage, OmegaConf.create(job.config), 0, needs, out))
        folders[stage] = out
    return folders


def overfit(jobs: Mapping[str, StageJob], shared_folders: Mapping[str, Path], out: Path) -> Overfitting:
    """The trained arm, with ``accuracy`` and the step at which it was ``reached``.

    Args:
        jobs: stage -> job, of one run.
        shared_folders: of the stages that the arm needs.
        out: where the arm is kept.
    """
    folders = dict(shared_folders)
    last = "tune" if "tune" in jobs else "pretrain"
    if last == "tune":
        folders["pretrain"] = out / "pretrain"
        folders["pretrain"].mkdir(parents=True)
        first = jobs["pretrain"]
        locate(first.run)(StageContext("pretrain", OmegaConf.create(first.config), 0, folders, folders["pretrain"]))
    own = OmegaConf.create(jobs[last].config)
    (out / last).mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    context = StageContext(last, own, 0, folders, out / last)
    module = Overfitting(context)
    if last == "tune":
        module.model.load_state_dict(load_file(folders["pretrain"] / "model.safetensors"), strict=False)
    steps = len(module.recipe.span(last))
    points = sorted({*range(EVERY, steps, EVERY), steps})
    fit(module, context, steps, optimizer_of(context), validate_at=points, precision=own.train.precision)
    return module


def arms(choices: Sequence[str], fixed: Sequence[str]) -> Iterator[tuple[str, dict[str, StageJob]]]:
    """Name and jobs (stage -> job, seed 0) of every arm that the command line names.

    Raises:
        LavitError: a choice or study that there is not.
    """
    studies = [choice for choice in choices if choice.startswith("study=")]
    for study in studies:
        plan = Planner(count=False).plan_study([study, "study.seeds=1", "~study.match", *fixed])
        for run in plan.runs:
            yield f"{study} {run.arm}", {stage: plan.jobs[stage, key] for stage, key in run.stage_keys.items()}
    lists = [
        [f"{name}={value}" for value in values.split(",")]
        for name, _, values in (choice.partition("=") for choice in choices if choice not in studies)
    ]
    for own in itertools.product(*lists) if lists or not studies else ():
        plan = Planner(count=False).plan_run([*fixed, *own])
        yield " ".join(own) or "as shipped", {stage: job for (stage, _), job in plan.jobs.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Whether arms learn 64 images by heart.")
    parser.add_argument("choices", nargs="*", help="group=level, key=value or study=name; commas make several arms")
    parser.add_argument("--steps", type=int, default=4000, help="at most so many")
    parser.add_argument("--scale", default="quick")
    parser.add_argument("--runs", type=Path, default=Path("runs/overfit"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    fixed = [f"scale={options.scale}", f"train.images={IMAGES}", f"train.steps={options.steps}"]
    print(f"{'arm':80}{'steps':>8}{'accuracy':>10}{'seconds':>9}")
    for name, jobs in arms(options.choices, fixed):
        folders = shared(jobs, options.runs)
        began = time.monotonic()
        out = options.runs / f"arm-{digest([name, options.scale, began])[:12]}"
        arm = overfit(jobs, folders, out)
        print(f"{name:80}{arm.reached:>8}{arm.accuracy:>10.1%}{time.monotonic() - began:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
