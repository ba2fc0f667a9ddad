"""Every tensor that a parity fixture may expect, computed by our modules from its inputs and weights.

Shapes: B images, H W pixels, N patches, R kept tokens, C channels, D code dimensions, T positions, K most tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.official.fixture import Fixture
from lavit.official.names import DECODER, TOKENIZER, UNUSED, load_strict
from lavit.official.tokenizer import OfficialDecoder, OfficialTokenizer
from lavit.tokenizer.attention import policy_softmax
from lavit.tokenizer.merger import MergerBlock
from lavit.tokenizer.objective import keep_loss
from lavit.tokenizer.packing import Kept, pack_kept
from lavit.tokenizer.quantizer import nearest_codes
from lavit.tokenizer.selector import DROP, KEEP

IMG_START, IMG_END, FIRST_CODE = 32000, 32001, 32002  # ids behind Llama's vocabulary (LaVIT, section 3.2; code)
KEEP_RATE = 1 / 3  # rho of the objective (LaVIT, equation 4)
Found = dict[str, Tensor]


class Official:
    """The official modules with a fixture's weights.

    Args:
        fixture: where sizes and weights come from.
        softmax: ``policy`` or ``exact``.

    Raises:
        LavitError: a weight is missing, left over or misshapen.
    """

    def __init__(self, fixture: Fixture, softmax: str):
        config, where = fixture.config, str(fixture.path)
        self.tokenizer = OfficialTokenizer(config, softmax)
        load_strict(self.tokenizer, fixture.weights["tokenizer"], TOKENIZER, f"{where}, sd.tokenizer", UNUSED)
        self.decoders: dict[str, OfficialDecoder] = {}
        for part in ("decoder", "decoder_highres"):
            if fixture.weights[part]:
                decoder = OfficialDecoder(config, high_resolution=part == "decoder_highres")
                load_strict(decoder, fixture.weights[part], DECODER, f"{where}, sd.{part}")
                self.decoders[part] = decoder.eval()
        for module in (self.tokenizer.merger, self.tokenizer.selector, *self.decoders.values()):
            for norm in module.modules():
                if isinstance(norm, nn.LayerNorm):
                    norm.eps = fixture.other_epsilon
        if softmax == "policy":
            for block in _blocks(self.tokenizer.merger):
                for attention in (block.self_attention, block.cross_attention):
                    attention.softmax = partial(policy_softmax, epsilon=config.policy_epsilon)
        self.tokenizer.eval()


def _blocks(merger: Any) -> list[MergerBlock]:
    return list(merger.blocks)


@contextmanager
def _outputs(modules: Mapping[str, nn.Module], into: Found) -> Iterator[None]:
    """Keep what modules give back, under names."""
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: into.__setitem__(name, out))
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def trace_shared(official: Official, images_B3HW: Tensor) -> tuple[Tensor, Found]:
    """Features [B, N, C], and what all cases share."""
    net, found = official.tokenizer, Found()
    encoder = net.encoder
    named: dict[str, nn.Module] = {f"shared.vit.block{i}": block for i, block in enumerate(encoder.blocks)}
    named |= {"shared.selector.in_conv": net.selector.enter, "shared.selector.hidden2": net.selector.decide[3]}
    with _outputs(named, found):
        features_BNC = encoder.features(images_B3HW)
        found["shared.selector.log_probs"] = net.selector.log_probs(features_BNC)
    embedded_BNC = encoder.embed(images_B3HW).flatten(2).transpose(1, 2)
    class_B1C = encoder.class_C.expand(len(embedded_BNC), 1, -1)
    found["shared.vit.patch_embed"] = embedded_BNC
    found["shared.vit.embed_plus_pos"] = torch.cat([class_B1C, embedded_BNC], 1) + encoder.position_TC
    found["shared.merger.x_origin"] = net.merger.norm_origin(features_BNC)
    return features_BNC, found


@torch.no_grad()
def trace_case(
    official: Official,
    case: str,
    features_BNC: Tensor,
    log_probs_BN2: Tensor,
    decisions_BN: Tensor,
    noise_BN2: Tensor | None,
    packed: bool,
) -> Found:
    """What one case makes of the features, under its stored decisions.

    Args:
        packed: run the merger packed: then there is nothing of dropped places to show.
    """
    net, found = official.tokenizer, Found()
    if case == "argmax" or noise_BN2 is not None:
        scores = log_probs_BN2 if noise_BN2 is None else log_probs_BN2 + noise_BN2
        found["decisions"] = (scores[..., KEEP] >= scores[..., DROP]).to(decisions_BN.dtype)
    keep_BN = decisions_BN.float()
    kept = pack_kept(keep_BN)
    found["token_nums"] = kept.rows.count_B
    if packed:
        merged_RC = net.merger.packed(features_BNC, keep_BN, kept)
    else:
        merged_BNC = _trace_merger(net.merger, features_BNC, keep_BN, found)
        merged_RC = kept.take(merged_BNC)
        found["llm.vit_proj_all"] = net.projector(merged_BNC)
    found["kept_packed"] = merged_RC
    found["quant.pre"] = net.quantizer.project(merged_RC)
    found["quant.pre_l2"] = vectors_RD = net.quantizer.vectors(merged_RC)
    found["quant.codes"] = codes_R = net.quantizer.codes(vectors_RD)
    found["quant.z_q"] = quantised_RD = net.quantizer.lookup(codes_R)
    found["llm.ids_with_special"] = _ids(codes_R, kept)
    found["llm.features_packed"] = net.projector(merged_RC)
    for part, decoder in official.decoders.items():
        found |= {f"{part}.{name}": value for name, value in _trace_decoder(decoder, quantised_RD, kept).items()}
    return {f"{case}.{name}": value for name, value in found.items()}


def _ids(codes_R: Tensor, kept: Kept) -> Tensor:
    """Ids of all images: start, codes, end, one image after the other."""
    counts = kept.rows.count_B.tolist()
    start, end = codes_R.new_tensor([IMG_START]), codes_R.new_tensor([IMG_END])
    return torch.cat([torch.cat([start, part + FIRST_CODE, end]) for part in codes_R.split(counts)])


def _trace_merger(merger: Any, features_BNC: Tensor, keep_BN: Tensor, found: Found) -> Tensor:
    own: Found = {}
    named: dict[str, nn.Module] = {}
    for i, block in enumerate(_blocks(merger)):
        at = f"merger.block{i}"
        named |= {f"{at}.causal_attn": block.self_attention, f"{at}.cross_attn": block.cross_attention}
        named |= {f"{at}.mlp": block.mlp, f"{at}.out": block}
        named |= {f"{at}.norm1": block.norm_self, f"{at}.norm2": block.norm_cross}
    with _outputs(named, own):
        merged_BNC = merger(features_BNC, keep_BN)
    number = keep_BN.shape[1]
    may_BNN = torch.where(torch.eye(number, dtype=torch.bool), 1.0, keep_BN[:, None].expand(-1, number, -1).tril())
    origin_BNC = merger.norm_origin(features_BNC)
    for i, block in enumerate(_blocks(merger)):
        at = f"merger.block{i}"
        inner = block.self_attention.probabilities(own.pop(f"{at}.norm1"), may_BNN)
        own[f"{at}.token_causal_attn.scores"], own[f"{at}.token_causal_attn.probs"] = inner
        inner = block.cross_attention.probabilities(own.pop(f"{at}.norm2"), origin_BNC, 1 - keep_BN[:, None])
        own[f"{at}.token_cross_attn.scores"], own[f"{at}.token_cross_attn.probs"] = inner
    found |= own
    found["merger.out"] = merged_BNC
    return merged_BNC


def _trace_decoder(decoder: OfficialDecoder, quantised_RD: Tensor, kept: Kept) -> Found:
    net, found = decoder.tokens, Found()
    entered_RC = net.enter(quantised_RD)
    found["in_proj"] = entered_RC
    found["codes_padded_plus_pos"] = kept.rows.pad(entered_RC) + net.rank_MW[: kept.rows.longest]
    tokens_RC, memory = net.memory(entered_RC, kept.rows)
    x_BNC = net.query_NW.expand(len(kept.rows.count_B), -1, -1)
    for i, block in enumerate(net.blocks):
        x_BNC = block.packed(x_BNC, tokens_RC, memory)  # type: ignore[operator]
        found[f"block{i}.out"] = x_BNC
    found["norm"] = net.leave[0](x_BNC)
    found["x_rec"] = net.packed(quantised_RD, kept.kept_R, kept.rows)
    condition = decoder.condition(found["x_rec"])
    if isinstance(condition, tuple):
        found["prompt_embeds"], found["pooled_prompt_embeds"] = condition
    else:
        found["cond"] = condition
    return found


@torch.no_grad()
def trace_quantizer(vectors_RD: Tensor, codebook_KD: Tensor) -> Found:
    """The quantizer alone, with a codebook whose rows are not of unit length: only the input is normalised."""
    unit_RD = F.normalize(vectors_RD, dim=-1)
    codes_R = nearest_codes(unit_RD, codebook_KD)
    return {
        "vq_nonunit.codes": codes_R,
        "vq_nonunit.z_q": codebook_KD[codes_R],
        "vq_nonunit.codes_if_codebook_were_normalised": nearest_codes(unit_RD, F.normalize(codebook_KD, dim=-1)),
    }


@torch.no_grad()
def trace_objective(case: str, features_BNC: Tensor, decisions_BN: Tensor, found: Found) -> Found:
    """The paper's objective on a case's tensors (equation 4), in its two readings of the keep rate."""
    keep_BN = decisions_BN.float()
    derived = {
        "keep_rate": keep_BN.mean(1),
        "loss_rate_per_image": torch.stack([keep_loss(row[None], KEEP_RATE, "image") for row in keep_BN]),
        "loss_rate_batch": keep_loss(keep_BN, KEEP_RATE, "batch"),
    }
    if f"{case}.decoder.x_rec" in found:
        cosine_BN = F.cosine_similarity(features_BNC, found[f"{case}.decoder.x_rec"], dim=-1)
        derived |= {"cosine": cosine_BN, "loss_rec": (1 - cosine_BN).mean(1)}
    vectors_RD, quantised_RD = found[f"{case}.quant.pre_l2"], found[f"{case}.quant.z_q"]
    if len(vectors_RD):
        derived["commit_mse"] = F.mse_loss(quantised_RD, vectors_RD)
    return {f"derived.{case}.{name}": value for name, value in derived.items()}


def trace(fixture: Fixture, softmax: str, packed: bool) -> Found:
    """Everything that our modules compute of a fixture.

    Args:
        softmax: ``policy`` or ``exact``.
        packed: whether the merger runs packed.
    """
    official = Official(fixture, softmax)
    tensors = fixture.tensors
    features_BNC, found = trace_shared(official, tensors["input.images"])
    for case in fixture.cases:
        decisions_BN = tensors[f"{case}.decisions"]
        noise_BN2 = tensors.get(f"{case}.noise")
        log_probs_BN2 = found["shared.selector.log_probs"]
        found |= trace_case(official, case, features_BNC, log_probs_BN2, decisions_BN, noise_BN2, packed)
        found |= trace_objective(case, features_BNC, decisions_BN, found)
    if "vq_nonunit.z" in tensors and "vq_nonunit.codebook" in tensors:
        found |= trace_quantizer(tensors["vq_nonunit.z"], tensors["vq_nonunit.codebook"])
    return found


def inputs(fixture: Fixture) -> set[str]:
    """Names of the tensors that are given to us: nothing to compare them with."""
    given = {"input.images", "vq_nonunit.z", "vq_nonunit.codebook", *(f"{case}.noise" for case in fixture.cases)}
    chosen = {"argmax", *(case for case in fixture.cases if f"{case}.noise" in fixture.tensors)}
    return (given | {f"{case}.decisions" for case in fixture.cases if case not in chosen}) & set(fixture.tensors)
