"""No position of a next-token arm sees what stands after it: neither the text nor the visual predictions move.

Each arm is the shipped config's, with random weights; the input at t + 1 is disturbed, and everything that is
predicted from positions up to t has to keep every bit. With attention in both directions the same check fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny_stages import CONF, question, whole
from torch import Tensor

from lavit.pricing import text
from lavit.sequences import SequenceBatch
from lavit.stages.arm import ArmModule

TARGETS = [name for name in ("none", "discrete", "continuous") if (CONF / "target" / f"{name}.yaml").is_file()]
ENTRIES = sorted(path.stem for path in (CONF / "entry").glob("*.yaml")) or [""]
INPUTS = sorted(path.stem for path in (CONF / "visual_input").glob("*.yaml"))
ARMS = [
    pytest.param(target, visual, entry, id="-".join(filter(None, (target, visual, entry))))
    for target in TARGETS
    for visual in INPUTS
    for entry in ENTRIES
    if not (entry.startswith(("gated", "xattn", "cross")) and (target != "none" or visual == "discrete"))
]


def arm(target: str, visual_input: str, entry: str) -> ArmModule:
    torch.manual_seed(0)
    groups = {"target": target, "visual_input": visual_input} | ({"entry": entry} if entry else {})
    asked = question(whole(**groups), "pretrain")
    module = text.arm(asked["config"], dict(asked["inputs"]), "cpu").module
    model = module.model.eval()
    with torch.no_grad():  # heads that begin at zero, and gates that begin closed, would let nothing through
        for parameter in model.parameters():
            if not parameter.any():
                parameter.add_(torch.randn(parameter.shape) * 0.3)
    return module


def predictions(module: ArmModule, part: SequenceBatch) -> tuple[Tensor, Tensor]:
    """Text logits of every position, and what the visual head makes of it [B, T, ...]."""
    model = module.model
    hidden = model.hidden(part, module.store)
    shape = part.ids_BT.shape
    text_logits = model.llm.lm_head(hidden).view(*shape, -1)
    if model.head is None:
        return text_logits, text_logits
    place = torch.zeros(len(hidden), dtype=torch.long)
    seen = [model.head.token_hidden(hidden, place)]
    if model.head.place_head is not None:
        places = model.head.place_logits(hidden, torch.full_like(place, -1))
        seen.append(places.nan_to_num(neginf=0.0))  # places that are not allowed
    return text_logits, torch.cat(seen, -1).view(*shape, -1)


@contextmanager
def disturbed(module: ArmModule, at: int) -> Iterator[None]:
    """The input of one position is another one, in every sequence."""
    real: Callable[..., Tensor] = module.model.embed

    def embed(*args: Any, **named: Any) -> Tensor:
        x_BTW = real(*args, **named).clone()
        x_BTW[:, at] = x_BTW[:, at].flip(-1) + 1
        return x_BTW

    module.model.embed = embed  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.model.embed


@contextmanager
def both_directions(module: ArmModule) -> Iterator[None]:
    """Every position sees every other."""

    def open_mask(llm: Any, args: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        batch, length, _ = named["inputs_embeds"].shape
        return args, named | {"attention_mask": torch.zeros(batch, 1, length, length)}

    hook = module.model.llm.model.register_forward_pre_hook(open_mask, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def leak(module: ArmModule, part: SequenceBatch, at: int) -> tuple[float, float, float]:
    """How far text and visual predictions before ``at`` move, and those at it, when its input is disturbed."""
    with torch.no_grad():
        before = predictions(module, part)
        with disturbed(module, at):
            after = predictions(module, part)
    earlier = [float((old[:, :at] - new[:, :at]).abs().max()) for old, new in zip(before, after, strict=True)]
    return earlier[0], earlier[1], float((before[0][:, at] - after[0][:, at]).abs().max())


@pytest.mark.parametrize(("target", "visual", "entry"), ARMS)
def test_what_comes_next_is_not_seen(target: str, visual: str, entry: str) -> None:
    module = arm(target, visual, entry)
    parts = [part for part in module.batch(0) if len(part.enter_at) or len(part.generated_at)]
    for part in parts[:2]:
        length = part.ids_BT.shape[1]
        places = {1, length // 2, length - 1}
        for flat in (part.enter_at, part.generated_at):  # inside images, too
            places |= {int(at) % part.ids_BT.shape[1] for at in flat[1:2]}
        for at in sorted(place for place in places if 0 < place < length):
            words, image, here = leak(module, part, at)
            assert (words, image) == (0.0, 0.0), f"input {at} is seen before it"
            assert here > 1e-3, "the disturbance has to be felt where it is"


def test_the_check_finds_a_leak() -> None:
    module = arm("discrete", "continuous", "")
    part = max(module.batch(0), key=lambda part: len(part.generated_at))
    assert len(part.generated_at)
    with both_directions(module):
        words, image, _ = leak(module, part, int(part.generated_at[1]) % part.ids_BT.shape[1])
    assert words > 1e-3 and image > 1e-3
