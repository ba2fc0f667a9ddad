"""Official tensor names against ours, and loading that leaves nothing unsaid.

The official names are facts of the released checkpoints; a rule turns one of ours into one of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lavit.errors import LavitError

Rules = Sequence[tuple[str, str]]

_BLOCK: Rules = (
    (r"\.norm_self\b", ".norm0"),
    (r"\.norm_cross\b", ".norm1"),
    (r"\.norm_mlp\b", ".norm2"),
    (r"\.mlp\.0\b", ".mlp.fc1"),
    (r"\.mlp\.2\b", ".mlp.fc2"),
    (r"attention\.out\b", "attention.proj"),
)
TOKENIZER: Rules = (
    (r"^encoder\.class_C$", "encoder.cls_token"),
    (r"^encoder\.position_TC$", "encoder.pos_embed"),
    (r"^encoder\.embed\.", "encoder.patch_embed.proj."),
    (r"^(encoder\..*)\.norm_attention\b", r"\1.norm1"),
    *_BLOCK,
    (r"\.attention\.query_bias_C$", ".attn.q_bias"),
    (r"\.attention\.value_bias_C$", ".attn.v_bias"),
    (r"\.attention\.", ".attn."),
    (r"\.self_attention\.", ".token_causal_attn."),
    (r"\.cross_attention\.", ".token_cross_attn."),
    (r"^selector\.enter\.", "token_predictor.in_conv."),
    (r"^selector\.decide\.", "token_predictor.out_conv."),
    (r"^merger\.norm_origin\.", "causal_encoder.ln_vision."),
    (r"^merger\.", "causal_encoder."),
    (r"^quantizer\.project\.", "encode_task_layer."),
    (r"^quantizer\.codebook_KD$", "quantize.embedding.weight"),
    (r"^projector\.", "vit_proj."),
)
DECODER: Rules = (
    *_BLOCK,
    (r"\.self_attention\.", ".self_attn."),
    (r"\.cross_attention\.", ".cross_attn."),
    (r"^tokens\.enter\.", "in_proj."),
    (r"^tokens\.rank_MW$", "pos_embed"),
    (r"^tokens\.query_NW$", "query_embed"),
    (r"^tokens\.leave\.0\.", "norm."),
    (r"^tokens\.leave\.1\.", "decode_task_layer.0."),
    (r"^tokens\.leave\.3\.", "decode_task_layer.2."),
    (r"^tokens\.", ""),
    (r"^condition\.project\.", "unet_proj."),
    (r"^condition\.first\.", "unet_proj_1."),
    (r"^condition\.second\.", "unet_proj_2."),
    (r"^condition\.pool\.positions_MC$", "unet_attnpool.positional_embedding"),
    (r"^condition\.pool\.query\.", "unet_attnpool.q_proj."),
    (r"^condition\.pool\.key\.", "unet_attnpool.k_proj."),
    (r"^condition\.pool\.value\.", "unet_attnpool.v_proj."),
    (r"^condition\.pool\.out\.", "unet_attnpool.c_proj."),
)
# In the released tokenizer and never used: the tower's final norm and its contrastive head.
UNUSED = ("encoder.norm.weight", "encoder.norm.bias", "encoder.head.weight", "encoder.head.bias")
# Of our modules, and without an official counterpart: the state of codebook learning.
OURS_ONLY = ("quantizer.usage_K", "quantizer.ready")


def official_name(name: str, rules: Rules) -> str:
    """The official name of one of our tensors."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


@dataclass
class KeyReport:
    """What became of every tensor of a state dict.

    Attributes:
        where: what was read, for messages.
        used: official name to our name.
        unused: official names that are left out by design.
        missing: official names that are not there, with the shape that they should have.
        extra: names that nothing asks for, with their shapes.
        misshapen: official name to (the shape found, the shape needed).
    """

    where: str
    used: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    missing: dict[str, tuple[int, ...]] = field(default_factory=dict)
    extra: dict[str, tuple[int, ...]] = field(default_factory=dict)
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """True where every tensor has its place."""
        return not (self.missing or self.extra or self.misshapen)

    def complaints(self) -> list[str]:
        """One line for each tensor that has none."""
        lines = [f"missing    {name} {list(shape)}" for name, shape in self.missing.items()]
        lines += [f"extra      {name} {list(shape)}" for name, shape in self.extra.items()]
        return lines + [
            f"misshapen  {name}: found {list(found)}, needed {list(needed)}"
            for name, (found, needed) in self.misshapen.items()
        ]

    def require_clean(self) -> None:
        """Raise what is wrong.

        Raises:
            LavitError: names every tensor that is missing, left over or misshapen, with its shapes.
        """
        if not self.clean:
            raise LavitError(f"{self.where} does not fit:\n  " + "\n  ".join(self.complaints()))


def match(
    module: nn.Module,
    state: Mapping[str, Tensor],
    rules: Rules,
    where: str,
    unused: Iterable[str] = (),
    only: str = "",
) -> tuple[dict[str, Tensor], KeyReport]:
    """Pair a module's tensors with a state dict in official names.

    Args:
        module: ours.
        state: theirs.
        rules: our names to theirs.
        where: what ``state`` was read from, for messages.
        unused: official names that are left out by design; they need not be there.
        only: prefix of our names; others are not asked for (a file that holds a part).

    Returns:
        Our names to tensors in our shapes, and the report. Nothing is loaded yet.
    """
    report, taken = KeyReport(where), {}
    wanted = {
        official_name(name, rules): (name, tuple(value.shape))
        for name, value in module.state_dict().items()
        if name.startswith(only) and name not in OURS_ONLY
    }
    for theirs, (ours, needed) in wanted.items():
        if theirs not in state:
            report.missing[theirs] = needed
            continue
        found = tuple(state[theirs].shape)
        # Tables carry a leading axis of length one there.
        if found == needed or (len(found) > len(needed) and found == (1,) * (len(found) - len(needed)) + needed):
            taken[ours] = state[theirs].reshape(needed)
            report.used[theirs] = ours
        else:
            report.misshapen[theirs] = (found, needed)
    for name, value in state.items():
        if name in unused:
            report.unused.append(name)
        elif name not in wanted:
            report.extra[name] = tuple(value.shape)
    return taken, report


@torch.no_grad()
def load_strict(
    module: nn.Module,
    state: Mapping[str, Tensor],
    rules: Rules,
    where: str,
    unused: Iterable[str] = (),
    only: str = "",
) -> KeyReport:
    """Load a state dict in official names into our module.

    Raises:
        LavitError: a tensor is missing, left over or misshapen.
    """
    taken, report = match(module, state, rules, where, unused, only)
    report.require_clean()
    module.load_state_dict(taken, strict=False)
    return report


def to_official(module: nn.Module, rules: Rules, like: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """A module's tensors under their official names (in the shapes of ``like`` where given)."""
    found = {
        official_name(name, rules): value.detach().clone()
        for name, value in module.state_dict().items()
        if name not in OURS_ONLY
    }
    return {name: value.reshape(like[name].shape) if like and name in like else value for name, value in found.items()}
