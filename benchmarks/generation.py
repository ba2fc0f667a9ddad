"""How fast images are written from one vocabulary: what guidance, forbidden ids and the head cost, on one thread.

The reference is the form in which LaVIT was released: guidance by a second pass with a cache of its own, text ids
forbidden by indexing with a Python list of them, and the head over all ids. Scores are checked for equality first.
The model is random, with LaVIT's vocabulary; ratios are the result.

    python -m benchmarks.generation [layers] [width]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from lavit.model.sampling import FORBIDDEN, forbid, guide
from lavit.official.generation import CONTROL, ImageWriter

TEXT, CODES = 32000, 16384  # LaVIT's vocabulary
PROMPTS, LENGTH, STEPS, REPEATS = 2, 12, 24, 3
GUIDANCE = 4.0


def make_llm(layers: int, width: int) -> LlamaForCausalLM:
    """A random Llama with LaVIT's vocabulary."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=TEXT + 2 + CODES,
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
    )
    return LlamaForCausalLM(config).eval()


def one_batch(llm: LlamaForCausalLM, prompts: list[list[int]], codes_TB: Tensor, full: bool) -> list[Tensor]:
    """Guided scores of each step, both halves in one batch."""
    writer, found = ImageWriter(llm, prompts, TEXT, TEXT + 1, GUIDANCE, full=full), []
    for codes_B in codes_TB:
        found.append(writer.scores(may_end=False))
        writer.step(codes_B)
    return found


def two_passes(llm: LlamaForCausalLM, prompts: list[list[int]], codes_TB: Tensor, listed: list[int]) -> list[Tensor]:
    """The same by two passes a step with a cache each, text forbidden through a list of ids."""
    caches = [DynamicCache(config=llm.config), DynamicCache(config=llm.config)]
    feed, found = [torch.tensor(prompts), torch.full((len(prompts), 1), TEXT)], []
    for codes_B in codes_TB:
        own, free = (
            llm(ids, past_key_values=cache).logits[:, -1].float() for ids, cache in zip(feed, caches, strict=True)
        )
        scores = guide(own, free, GUIDANCE)
        scores[:, TEXT + 1] = FORBIDDEN
        scores[:, listed] = FORBIDDEN
        found.append(scores)
        feed = [codes_B[:, None], codes_B[:, None]]
    return found


def seconds(function: Callable[[], object], calls: int = 1) -> float:
    """The fastest of a few rounds of calls, per call."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        best = min(best, (time.perf_counter() - start) / calls)
    return best


@torch.no_grad()
def main(layers: int = 4, width: int = 512) -> None:
    """Check, time, print."""
    torch.set_num_threads(1)
    llm = make_llm(layers, width)
    generator = torch.Generator().manual_seed(0)
    prompts = [[*row, TEXT] for row in torch.randint(3, TEXT, (PROMPTS, LENGTH), generator=generator).tolist()]
    codes_TB = torch.randint(TEXT + 2, TEXT + 2 + CODES, (STEPS, PROMPTS), generator=generator)
    listed = list(range(CONTROL, TEXT))

    reference = two_passes(llm, prompts, codes_TB, listed)
    for full in (True, False):
        for got, want in zip(one_batch(llm, prompts, codes_TB, full), reference, strict=True):
            if not full:
                want = torch.cat([want[:, :CONTROL], want[:, TEXT:]], 1)
            if not torch.allclose(got.log_softmax(-1), want.log_softmax(-1), atol=1e-3):
                raise SystemExit("the forms do not agree, so their times mean nothing")

    scores = torch.randn(PROMPTS, TEXT + 2 + CODES)
    times = {
        "two passes, two caches, list of forbidden ids (as released)": seconds(
            lambda: two_passes(llm, prompts, codes_TB, listed)
        ),
        "one batch of two, one cache, slice": seconds(lambda: one_batch(llm, prompts, codes_TB, True)),
        "... and the head over what may be written": seconds(lambda: one_batch(llm, prompts, codes_TB, False)),
    }
    released = next(iter(times.values()))
    print(f"{layers} layers of width {width}, {TEXT + 2 + CODES} ids, {PROMPTS} prompts, {STEPS} steps, one thread")
    for name, took in times.items():
        print(f"  {name:62} {took / STEPS * 1000:7.1f} ms a step   {released / took:5.2f} times as fast")

    def by_list() -> None:
        scores[:, listed] = FORBIDDEN

    through_list, through_slice = seconds(by_list, 20), seconds(lambda: forbid(scores, slice(CONTROL, TEXT)), 20)
    print(
        f"  forbidding {len(listed)} ids: list {through_list * 1000:.2f} ms, slice {through_slice * 1000:.3f} ms, ",
        end="",
    )
    print(f"{through_list / through_slice:.0f} times as fast")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
