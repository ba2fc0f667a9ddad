"""How fast an arm captions and answers, against transformers' ``generate`` one prompt at a time, on one thread.

The reference runs on the same model and is given finished embeddings; ours starts from visual tokens and ids. What both
write is compared token for token first. The model is random, its end mark made likely enough that texts end at many
lengths; ratios are the result, each of one run, each side the fastest of several that take turns.

    python -m benchmarks.evaluation [layers] [width]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig

from lavit.language import TextTokenizer, build_llm
from lavit.model.decoding import embed_prompts, generate_text
from lavit.model.lavit import LaVIT, build_lavit
from lavit.model.targets import DiscreteTarget
from lavit.model.text_settings import TextSettings
from lavit.sequences import Sequence, SequenceBuilder, VisualStore

IMAGES, PER_IMAGE = 128, 5
REFERENCE, REPEATS = 24, 3  # texts that the reference writes, and turns
STOP = 4.0  # how much longer than others the end mark's row of the head is: texts end at many lengths
TOKENS = (16, 64)  # visual tokens an image
FEATURES, CODES, CODE_DIM, PLACES = 64, 1024, 32, 64
WORDS = "what colour is the of how many are there left right above below small large red green blue square circle"
TASKS = {
    "captions, greedy": TextSettings(max_new=30),
    "captions, beams": TextSettings(beams=5, min_new=8, max_new=30),
    "answers, greedy": TextSettings(max_new=10),
    "answers, beams": TextSettings(beams=5, min_new=1, max_new=10, length_penalty=0.0, early_stopping=True),
}


@dataclass
class Arm:
    """A random arm, images, and questions about them."""

    model: LaVIT
    builder: SequenceBuilder
    store: VisualStore
    questions: list[tuple[int, str]]

    def prompts(self, task: str) -> list[Sequence]:
        """What the model reads in a task."""
        if task.startswith("captions"):
            return [self.builder.caption(self.store.rows(image), None) for image in range(IMAGES)]
        return [self.builder.questions(self.store.rows(image), [(text, None)]) for image, text in self.questions]


def make_arm(layers: int, width: int) -> Arm:
    """Everything from seed 0."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(WORDS.split(), 8)) for _ in range(500)]
    text = TextTokenizer.train(sentences, 512)
    heads = width // 32
    config = {"width": width, "layers": layers, "heads": heads, "mlp_width": width * 8 // 3, "max_positions": 256}
    llm = build_llm(config, 512)
    with torch.no_grad():
        llm.lm_head.weight[text.eos] *= STOP
    codebook_KD = torch.nn.functional.normalize(torch.randn(CODES, CODE_DIM), dim=-1)
    shape = {"num_places": PLACES, "places_implied": False, "positions": "place", "feature_dim": FEATURES}
    shape["place_patches_MN"] = torch.eye(PLACES)
    connector = {"_target_": "lavit.connectors.mlp.MLP"}
    model = build_lavit(llm, shape, codebook_KD, connector, DiscreteTarget, True).eval()
    counts = rng.integers(TOKENS[0], TOKENS[1] + 1, IMAGES)
    places = torch.cat([torch.randperm(PLACES)[:count].sort().values for count in counts])
    codes = torch.randint(CODES, (int(counts.sum()),))
    offsets = torch.tensor([0, *counts]).cumsum(0)
    store = VisualStore(torch.randn(len(codes), FEATURES), codebook_KD[codes], codes, places, offsets)
    questions = [
        (image, " ".join(rng.choice(WORDS.split(), rng.integers(4, 10))))
        for image in range(IMAGES)
        for _ in range(PER_IMAGE)
    ]
    return Arm(model, SequenceBuilder(text), store, questions)


def one_by_one(arm: Arm, rows: list[Tensor], settings: TextSettings) -> list[list[int]]:
    """transformers' ``generate``, a prompt a call."""
    eos, texts = arm.builder.text.eos, []
    search = {"length_penalty": settings.length_penalty, "early_stopping": settings.early_stopping}
    config = GenerationConfig(
        num_beams=settings.beams,
        min_new_tokens=settings.min_new,
        max_new_tokens=settings.max_new,
        eos_token_id=eos,
        pad_token_id=eos,
        do_sample=False,
        **(search if settings.beams > 1 else {}),
    )
    generate: Callable[..., Tensor] = arm.model.llm.generate  # type: ignore[misc, assignment]
    for row in rows:
        mask = torch.ones(1, len(row), dtype=torch.long)
        out = generate(inputs_embeds=row[None], attention_mask=mask, generation_config=config)
        ids = out[0].tolist()
        texts.append(ids[: ids.index(eos)] if eos in ids else ids)
    return texts


def seconds(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least processor time of each run; they take turns. (A busy machine stretches the clock, not what is done.)"""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(REPEATS):
        for name, run in runs.items():
            began = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - began)
    return best


@torch.no_grad()
def main(layers: int = 4, width: int = 128) -> None:
    """Check, time, print."""
    torch.set_num_threads(1)
    arm = make_arm(layers, width)
    positions = np.mean([len(prompt.ids) for prompt in arm.prompts("answers")])
    print(
        f"{layers} layers of width {width}, {IMAGES} images of {TOKENS[0]} to {TOKENS[1]} tokens, {PER_IMAGE} questions"
    )
    print(f"each, prompts of {positions:.0f} positions on average, one thread; texts a second of processor time")
    for task, settings in TASKS.items():
        prompts = arm.prompts(task)
        rows = embed_prompts(arm.model, prompts, arm.store)[:: len(prompts) // REFERENCE]
        ours = lambda: generate_text(arm.model, prompts, arm.store, settings, arm.builder.text.eos)  # noqa: B023, E731
        reference = lambda: one_by_one(arm, rows, settings)  # noqa: B023, E731
        written = ours()
        if written[:: len(prompts) // REFERENCE] != reference():
            raise SystemExit(f"{task}: the texts differ, so their times mean nothing")
        lengths = [len(ids) for ids in written]
        took = seconds({"one by one": reference, "ours": ours})
        speed = len(rows) / took["one by one"], len(written) / took["ours"]
        print(
            f"  {task:17} one by one {speed[0]:7.1f}   ours {speed[1]:7.1f}   ratio {speed[1] / speed[0]:5.1f}   "
            f"(length {np.mean(lengths):.1f} +- {np.std(lengths):.1f})"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
