"""The whole tokenizer: encoding, decoding, packing, its kinds, its stage."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

import lavit.stages.training
from lavit import data, tokenizer, vision
from lavit.build import plain
from lavit.errors import LavitError
from lavit.stages.context import StageContext
from lavit.stages.tokenizer import TokenizerTraining, run
from lavit.tokenizer.loading import assemble
from lavit.tokenizer.tokenizer import Tokenizer
from lavit.tokenizer.tokens import PackedTokens, pack

MakeConfig = Callable[..., DictConfig]
KINDS = ["dynamic", "fixed", "pooled", "random"]


def make(config: DictConfig, **changes: object) -> Tokenizer:
    torch.manual_seed(0)
    settings = OmegaConf.merge(config.tokenizer, OmegaConf.create(changes))
    return assemble(plain(config.tokens), plain(settings), feature_dim=32, grid=4).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", ["place", "rank"])
def test_every_kind_encodes_and_decodes(make_visual_config: MakeConfig, kind: str, positions: str) -> None:
    net = make(make_visual_config("tokenizer", tokens=kind), positions=positions)
    features, keys = torch.randn(5, 16, 32), torch.arange(5) * 7919
    with torch.no_grad():
        tokens, again = net.tokens(features, keys_B=keys), net.tokens(features, keys_B=keys)
    assert torch.equal(tokens.codes_BK, again.codes_BK)
    assert torch.equal(tokens.mask_BK, again.mask_BK)
    assert (tokens.mask_BK.sum(1) >= 1).all()
    assert tokens.features_BKC.shape[-1] == 32
    assert tokens.vectors_BKD.shape[-1] == net.code_dim
    assert torch.allclose(tokens.vectors_BKD[tokens.mask_BK].norm(dim=-1), torch.ones(int(tokens.mask_BK.sum())))
    assert (tokens.vectors_BKD[~tokens.mask_BK] == 0).all()
    assert (tokens.codes_BK[~tokens.mask_BK] == 0).all()
    assert net.decode(net.lookup(tokens.codes_BK), tokens.places_BK, tokens.mask_BK).shape == (5, 16, 32)
    expected = {"fixed": 16, "pooled": 6}.get(kind)
    assert net.tokens_per_image == expected
    assert net.places_implied == (expected is not None)  # otherwise the model has to end the image, ranks or not
    assert net.positions == positions
    if net.places_implied or positions == "rank":
        assert torch.equal(tokens.places_BK[tokens.mask_BK], (tokens.mask_BK.cumsum(1) - 1)[tokens.mask_BK])


@pytest.mark.parametrize("positions", ["place", "rank"])
def test_padding_and_company_change_nothing(make_visual_config: MakeConfig, positions: str) -> None:
    net = make(make_visual_config("tokenizer"), positions=positions)
    features = torch.randn(6, 16, 32)
    with torch.no_grad():
        tokens = net.tokens(features)
        decoded = net.decode(tokens.vectors_BKD, tokens.places_BK, tokens.mask_BK)
        for i in range(6):
            one = net.tokens(features[i : i + 1])
            count = int(tokens.mask_BK[i].sum())
            assert one.codes_BK[0].tolist() == tokens.codes_BK[i, :count].tolist()
            alone = net.decode(one.vectors_BKD, one.places_BK, one.mask_BK)
            assert torch.allclose(alone[0], decoded[i], atol=1e-5)


def test_training_form_and_token_form_decode_alike(make_visual_config: MakeConfig) -> None:
    """Training decodes all places weighted by the decisions; a model decodes left-aligned tokens."""
    for positions in ("place", "rank"):
        net = make(make_visual_config("tokenizer"), positions=positions)
        features = torch.randn(4, 16, 32)
        with torch.no_grad():
            held, tokens = net.places(features), net.tokens(features)
            dense = net.restore(net.decoder(held.vectors_BMD, held.selection.keep_BM))
            ragged = net.decode(tokens.vectors_BKD, tokens.places_BK, tokens.mask_BK)
        assert torch.allclose(dense, ragged, atol=1e-5)


def test_gradients_reach_selector_and_merger_but_not_the_codebook(
    make_visual_config: MakeConfig, finished_vision: Path
) -> None:
    module = training(
        make_visual_config("tokenizer", tokenizer__keep={"rate": 0.3, "weight": 0.0, "per": "batch"}), finished_vision
    )
    module.after_step(module.quantise_from - 1)
    codebook = module.tokenizer.quantizer.codebook_KD.clone()
    module.loss(module.batch(10), 10)[0].backward()
    for part in (module.tokenizer.selector, module.tokenizer.merger, module.tokenizer.decoder):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    assert torch.equal(codebook, module.tokenizer.quantizer.codebook_KD)
    module.after_step(10)
    assert not torch.equal(codebook, module.tokenizer.quantizer.codebook_KD)


def test_the_keep_rate_anneals_and_tokens_settle(make_visual_config: MakeConfig, finished_vision: Path) -> None:
    module = training(make_visual_config("tokenizer"), finished_vision)
    rates = [module.keep_rate(step) for step in range(module.steps)]
    assert rates[0] == 1
    assert all(before >= after for before, after in itertools.pairwise(rates))
    assert rates[8] == pytest.approx(0.37)
    standard = module.tokenizer.standardise(module.batch(0))
    last = module.steps - 1
    assert module.settled(last)
    assert not module.settled(module.settled_from - 1)
    settled = module.hold(standard, last).keep_BM
    assert torch.equal(settled, module.tokenizer.selector(standard).keep_BM)
    drawn = [module.hold(standard, step).keep_BM for step in (9, 10)]
    assert not torch.equal(*drawn)


def training(config: DictConfig, vision_dir: Path, seed: int = 0) -> TokenizerTraining:
    torch.manual_seed(seed)
    return TokenizerTraining(
        config, data.build(config.data), vision.load(vision_dir), vision.load_label_head(vision_dir), seed
    )


@pytest.mark.parametrize(("kind", "positions"), [*((kind, "place") for kind in KINDS), ("dynamic", "rank")])
def test_stage_writes_tokens_that_equal_a_fresh_encoding(
    make_visual_config: MakeConfig, finished_vision: Path, tmp_path: Path, kind: str, positions: str
) -> None:
    config = make_visual_config("tokenizer", tokens=kind, scale__steps__tokenizer=8, tokenizer__positions=positions)
    run(StageContext("tokenizer", config, 1, {"vision": finished_vision}, tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"tokenizer/cosine_objects", "tokenizer/kept", "tokenizer/codes_used"} <= set(metrics)
    assert ("tokenizer/sampled_kept" in metrics) == (kind == "dynamic"), "only a learned selector can be undecided"
    net = tokenizer.load(tmp_path, finished_vision)
    corpus = data.build(config.data)
    index = np.array([3, 17, 4])
    fresh = net.encode(corpus.images("train", index))
    packed = PackedTokens.load(tmp_path / "tokens-train.safetensors")
    stored = packed.padded(torch.from_numpy(index))
    assert len(packed) == 96
    assert int(packed.offsets[-1]) == len(packed.codes_R)
    assert packed.counts().float().mean() >= 1
    assert torch.equal(stored.mask_BK, fresh.mask_BK)
    assert torch.equal(stored.places_BK, fresh.places_BK)
    assert torch.equal(stored.codes_BK, fresh.codes_BK)
    assert torch.allclose(stored.features_BKC, fresh.features_BKC, atol=1e-2)
    if kind in ("pooled", "random"):
        assert metrics["tokenizer/kept"] == 6


def test_packing_returns_what_was_packed(make_visual_config: MakeConfig) -> None:
    net = make(make_visual_config("tokenizer"))
    with torch.no_grad():
        parts = [net.tokens(torch.randn(3, 16, 32)), net.tokens(torch.randn(2, 16, 32))]
    packed = pack(parts)
    back = packed.padded(torch.tensor([4, 0]))
    for row, (part, i) in enumerate([(parts[1], 1), (parts[0], 0)]):
        count = int(part.mask_BK[i].sum())
        assert back.mask_BK[row].sum() == count
        assert torch.equal(back.codes_BK[row, :count], part.codes_BK[i, :count])
        assert torch.equal(back.places_BK[row, :count], part.places_BK[i, :count])
        assert torch.equal(back.features_BKC[row, :count], part.features_BKC[i, :count])


def test_an_interrupted_stage_ends_with_the_same_bits(
    make_visual_config: MakeConfig, finished_vision: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lavit.stages.training, "SAVE_EVERY_S", 0.0)
    config = make_visual_config("tokenizer", scale__steps__tokenizer=24)

    def context(out: Path) -> StageContext:
        return StageContext("tokenizer", config, 0, {"vision": finished_vision}, out)

    (tmp_path / "whole").mkdir()
    run(context(tmp_path / "whole"))
    (tmp_path / "broken").mkdir()
    straight = TokenizerTraining.loss

    def dies(self: TokenizerTraining, batch: torch.Tensor, step: int) -> object:
        if step == 17:
            raise RuntimeError("power cut")
        return straight(self, batch, step)

    monkeypatch.setattr(TokenizerTraining, "loss", dies)
    with pytest.raises(RuntimeError, match="power cut"):
        run(context(tmp_path / "broken"))
    assert (tmp_path / "broken" / "resume" / "state.safetensors").exists()
    monkeypatch.setattr(TokenizerTraining, "loss", straight)
    run(context(tmp_path / "broken"))
    for name in ("tokenizer.safetensors", "tokens-train.safetensors", "metrics.json", "history.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes(), name


def test_bad_settings_and_features_are_named(make_visual_config: MakeConfig) -> None:
    config = make_visual_config("tokenizer")
    with pytest.raises(LavitError, match=r"tokenizer\.positions='nowhere'"):
        make(config, positions="nowhere")
    net = make(config)
    with pytest.raises(ValueError, match="not finite"):
        net.tokens(torch.full((1, 16, 32), float("nan")))
    with pytest.raises(ValueError, match="places must lie in 0 to 15"):
        net.decode(torch.zeros(1, 1, net.code_dim), torch.tensor([[16]]), torch.ones(1, 1))
    with pytest.raises(ValueError, match="vision"):
        net.encode(np.zeros((1, 32, 32, 3), np.uint8))
