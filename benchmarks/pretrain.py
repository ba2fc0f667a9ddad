"""What a training step of an arm costs: packed rows, Lightning's loop, and features that are kept, each as a ratio.

The references are our own: the whole mix in one batch padded to its longest sequence, a plain PyTorch loop over the
same module, and the vision encoder and tokenizer run anew in each step. The model is random at the sizes of a scale,
images are stand-ins whose numbers of tokens spread as the tokenizer's do, texts are the embedded world's. The sides
take turns, step by step or round by round, on one thread; times are CPU seconds, so that a machine that others use
costs less precision; ratios are medians, with their quartiles.

    python -m benchmarks.pretrain [--scale quick] [--steps 12]
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import quantiles
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from omegaconf import OmegaConf

from experiments.compose import compose
from lavit.pricing.text import ArmTrial, StandInStore, encoder_of
from lavit.pricing.trial import STAND_INS, kept_places
from lavit.sequences import VisualStore
from lavit.stages.context import StageContext
from lavit.stages.training import OptimizerConfig, fit
from lavit.tokenizer.loading import assemble
from lavit.tokenizer.tokenizer import Tokenizer

LARGER = 4  # times the mix of a step, for a larger batch
SPREAD = 0.55  # standard deviation of an image's number of tokens, as a share of its mean (quick scale, tokens=dynamic)
WARM = 2  # first steps, whose times do not count
ROWS = (64, 96, 128, 192, 256, 512)


class SpreadStore(StandInStore):
    """Stand-in tokens whose number differs from image to image as a learned selector's does."""

    def __init__(self, size: int, mean: float, visual: Tokenizer):
        draw = np.random.default_rng(0).normal(mean, SPREAD * mean, size)
        counts_S = np.clip(np.rint(draw), 1, visual.num_places).astype(np.int64)
        super().__init__(int(counts_S.sum()), 1.0, visual, "cpu")  # one row each: the rows of all images
        self.offsets = np.concatenate([np.zeros(1, np.int64), counts_S.cumsum()])
        self.places_M = torch.arange(len(self.codes_M)) - torch.from_numpy(np.repeat(self.offsets[:-1], counts_S))


def make(scale: str, times: int = 1) -> tuple[ArmTrial, Tokenizer]:
    """The arm of a scale over stand-in images, its step ``times`` as large; and its tokenizer with the encoder."""
    config = compose([f"scale={scale}"])
    for kind in ("captions", "questions", "text", "generation"):
        config["train"][kind] *= times
    encoder = encoder_of(config)
    visual = assemble(config["tokens"], config["tokenizer"], encoder.feature_dim, encoder.grid)
    visual.vision = encoder
    inputs: dict[str, Mapping[str, Any]] = {"language": config, "tokenizer": config}
    torch.manual_seed(0)
    module = ArmTrial(OmegaConf.create(config), inputs, visual, "pretrain", "cpu")
    mean = kept_places(config["tokens"], config["tokenizer"], visual.num_places)
    module.store = module.val_store = SpreadStore(STAND_INS, mean, visual)
    module.optimizer_config = OptimizerConfig(**{**config["optimizer"], "betas": tuple(config["optimizer"]["betas"])})
    module.local_steps, module.local_start = int(config["train"]["steps"]), 0
    return module, visual.eval()


class PlainLoop:
    """A module trained by plain PyTorch: same optimizer, clipping and schedule as :func:`lavit.stages.training.fit`."""

    def __init__(self, module: ArmTrial):
        self.module = module
        made = module.configure_optimizers()
        self.optimizer, self.schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]

    def step(self, step: int) -> float:
        """One step of training; its loss."""
        loss, _ = self.module.loss(self.module.batch(step), step)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.module.optimizer_config.clip)
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())


def spread(ratios: Iterable[float]) -> str:
    """The median of ratios and their quartiles."""
    low, middle, high = quantiles(ratios, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def in_turns(runs: Mapping[str, Callable[[int], object]], steps: int) -> dict[str, list[float]]:
    """CPU seconds of each run at each step but the first; another one begins each turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for step in range(steps + WARM):
        for name in names[step % len(names) :] + names[: step % len(names)]:
            began = time.process_time()
            runs[name](step)
            times[name].append(time.process_time() - began)
    return {name: taken[WARM:] for name, taken in times.items()}


def batching(scale: str, times: int, steps: int) -> dict[str, list[float]]:
    """Print useful positions a second of the ways of batching, and what they learn; seconds of each."""
    module, _ = make(scale, times)
    loops, losses = {}, dict[str, list[float]]()
    for name in ("padded", "buckets", "packed"):
        own = copy.deepcopy(module)
        own.config.train.batching = name
        loops[name], losses[name] = PlainLoop(own), []

    def run(name: str) -> Callable[[int], None]:
        return lambda step: losses[name].append(loops[name].step(step))

    taken = in_turns({name: run(name) for name in loops}, steps)
    useful = float(loops["packed"].module.counts[0]) / (steps + WARM)
    mix = {k: v for k, v in module.phase.counts(module.config.train, 0).items() if v}
    print(
        f"\nbatching, a step of {', '.join(f'{count} {kind}' for kind, count in mix.items())}: {useful:.0f} positions"
    )
    for name, seconds in taken.items():
        parts = loops[name].module.batch(0)
        shapes = " ".join(f"{b} x {t}" for b, t in (part.ids_BT.shape for part in parts))
        apart = max(abs(one - other) for one, other in zip(losses[name], losses["padded"], strict=True))
        print(
            f"  {name:8} {useful / float(np.median(seconds)):8,.0f} useful positions/s   "
            f"loss {losses[name][0]:.6f}, after {steps + WARM} steps {losses[name][-1]:.6f}, "
            f"at most {apart:.1e} from padded   rows {shapes}"
        )
    for name in ("padded", "buckets"):
        ratios = [a / b for a, b in zip(taken[name], taken["packed"], strict=True)]
        print(f"  packed over {name}: {spread(ratios)} times the useful positions/s")
    return taken


def row_lengths(scale: str, steps: int) -> None:
    """Print what the length of a packed row changes."""
    module, _ = make(scale)
    module.config.train.batching = "packed"

    def run(row: int) -> Callable[[int], None]:
        def step(number: int) -> None:
            module.config.train.row = row
            module.loss(module.batch(number), number)[0].backward()

        return step

    taken = in_turns({str(row): run(row) for row in ROWS}, steps)
    base = np.array(taken["128"])
    found = "   ".join(f"{row}: {float(np.median(np.array(seconds) / base)):.2f}" for row, seconds in taken.items())
    print(f"\npositions a row, forward and backward, seconds over those of rows of 128\n  {found}")


def lightning(scale: str, steps: int) -> None:
    """Print what Lightning's loop takes over a plain one: each trains a copy, and the plain loop takes its step in the
    moment in which Lightning asks for a batch."""
    module, _ = make(scale)
    plain = PlainLoop(copy.deepcopy(module))
    make_batch = module.batch
    clocks = (time.process_time, time.perf_counter)
    marks: list[tuple[np.ndarray, np.ndarray]] = []  # when Lightning's step ended, and when its next one began

    def batch(step: int) -> Any:
        ended = np.array([clock() for clock in clocks])
        plain.step(step)
        marks.append((ended, np.array([clock() for clock in clocks])))
        return make_batch(step)

    module.batch = batch  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as out:
        context = StageContext("pretrain", module.config, 0, {}, Path(out))
        fit(module, context, steps + WARM + 1, module.optimizer_config)
    marks = marks[WARM:]
    by_plain = np.array([began - ended for ended, began in marks[:-1]])
    by_lightning = np.array([after[0] - before[1] for before, after in itertools.pairwise(marks)])
    ratios, whole = by_lightning / by_plain, by_lightning.sum(0) / by_plain.sum(0)
    pairs = zip(module.model.parameters(), plain.module.model.parameters(), strict=True)
    same = all(torch.equal(one, other) for one, other in pairs)
    more = float(np.median(by_lightning[:, 0] - by_plain[:, 0]))
    print(
        f"\nLightning's step over a plain loop's, {len(ratios)} of each: {spread(ratios[:, 0])}, {more * 1e3:+.1f} ms"
    )
    print(f"  by the clock on the wall {spread(ratios[:, 1])}; all steps together {whole[0]:.3f}, wall {whole[1]:.3f}")
    print(f"  weights after both: {'equal to the bit' if same else 'DIFFERENT'}")


def features(scale: str, steps: int) -> None:
    """Print what a step would cost if features and tokens were made anew for each."""
    module, visual = make(scale)
    store: VisualStore = module.store
    loop = PlainLoop(module)
    counts = module.phase.counts(module.config.train, 0)
    streams = ((0, "captions"), (1, "questions"), (3, "generation"))

    def images(step: int) -> np.ndarray:
        index = np.concatenate([module.order[stream].take(step, counts[kind]) for stream, kind in streams])
        return module.corpus.images("train", index % len(store))

    drawn = [images(step) for step in range(steps + WARM)]
    taken = in_turns({"step": loop.step, "encode": lambda step: visual.encode(drawn[step])}, steps)
    ratios = [(step + encode) / step for step, encode in zip(taken["step"], taken["encode"], strict=True)]
    print(f"\nencoding a step's {len(drawn[0])} images anew, over a step with kept features: {spread(ratios)}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="What a training step of an arm costs, as ratios.")
    parser.add_argument("--scale", choices=["smoke", "quick", "standard"], default="quick")
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each side")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"scale {options.scale}, random weights, one thread, CPU seconds; {options.steps} steps of each side in turns"
    )
    batching(options.scale, 1, options.steps)
    batching(options.scale, LARGER, max(2, options.steps // 2))
    row_lengths(options.scale, options.steps)
    lightning(options.scale, 5 * options.steps)
    features(options.scale, options.steps)


if __name__ == "__main__":
    main()
